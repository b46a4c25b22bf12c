"""The accuracy-time table end to end on a tiny task: cells kept, killed, gone on with, paired with their controls."""

import json

import pytest
import torch

from benchmarks.table import command, controls, runner, systems, tasks
from filterloader.policies import POLICIES
from tests.benchmarks.conftest import ROWS, call, lines, names

WANTED = {
    "dataset",
    "policy",
    "budget",
    "seed",
    "accuracy",
    "wall_s",
    "t_norm_measured",
    "t_norm_modelled",
    "forwarded",
    "backwarded",
    "device",
    "macro_f1",
    "accuracy_low",
    "accuracy_high",
    "threads",
    "train_rows",
    "correct",
    "settings",
    "hardware",
    "version",
    "date",
    "controls",
    "base_accuracy",
}


def test_one_command_leaves_cells_a_table_and_a_picture(finished):
    cells = lines(finished)
    assert all(cell.keys() >= WANTED for cell in cells)
    assert cells[0]["policy"] == "train_all" and cells[0]["t_norm_measured"] == 1.0
    kinds = sum(control in POLICIES for control in systems.CONTROLS)
    assert len(cells) == 1 + 5 * kinds + len(ROWS) + kinds
    for cell in cells:
        assert cell["accuracy"] == pytest.approx(controls.scores_of(cell).mean())
        assert cell["t_norm_measured"] == pytest.approx(cell["wall_s"] / cells[0]["wall_s"])
        assert cell["seen"] == 2 * cell["train_rows"]
    text = (finished / "README.md").read_text()
    assert all(f"| {cell['policy']} {cell['budget']} |" in text for cell in cells if cell["controls"] is None)
    assert (finished / "one.png").stat().st_size > 10_000


def test_a_second_call_runs_nothing(data, finished):
    before = (finished / "cells.jsonl").read_bytes()
    assert call(data, finished) == 0
    assert (finished / "cells.jsonl").read_bytes() == before


def test_a_killed_run_goes_on_and_what_it_finished_stays(data, finished, tmp_path, capsys):
    ref = lines(finished)
    whole = (finished / "cells.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "cells.jsonl").write_text("".join(whole[:6]) + whole[6][:200])
    assert call(data, tmp_path) == 0
    assert "1 line that holds no whole cell taken out" in capsys.readouterr().err
    comp = lines(tmp_path)
    assert comp[:6] == ref[:6] and names(comp) == names(ref)
    fixed = [i for i, cell in enumerate(ref) if cell["controls"] is None]  # an own control's share is a measured time
    assert [comp[i]["correct"] for i in fixed] == [ref[i]["correct"] for i in fixed]


def test_time_that_is_over_stops_between_cells(data, tmp_path, monkeypatch, capsys):
    clock = iter([0, 0, 0, 0, *[61] * 99])
    monkeypatch.setattr(command.time, "monotonic", lambda: next(clock))
    assert call(data, tmp_path, "--minutes", "1") == 0
    assert len(lines(tmp_path)) == 3
    assert "are left for the next call" in capsys.readouterr().err


def test_list_says_what_is_done_and_what_is_missing(data, finished, capsys):
    assert call(data, finished, "--list", seeds=("0", "1")) == 0
    done, todo = capsys.readouterr().out.splitlines()
    n = len(lines(finished))
    assert done.startswith(f"one seed 0: {n} of {n} done") and "missing" not in done
    assert todo.startswith(f"one seed 1: 0 of {n} done") and "random as three_stage/example" in todo


def test_every_row_can_have_controls_of_its_own(data, tmp_path, capsys):
    assert call(data, tmp_path, "--list", "--own", "all") == 0
    listed = capsys.readouterr().out
    assert (
        all(f"random as {name}" in listed for name in ROWS)
        and "as train_all/1" not in listed
        and "as random" not in listed
    )


def test_names_of_rows_with_own_controls_are_checked(data, tmp_path, capsys):
    assert call(data, tmp_path, "--list", "--own", "fixed_threshold") == 0
    assert "random as fixed_threshold/0.3" in capsys.readouterr().out
    assert call(data, tmp_path, "--list", "--own", "nope/x") == 2
    assert "--own: no row is called ['nope/x']" in capsys.readouterr().err


def test_what_is_named_twice_is_run_once(data, finished, capsys):
    assert call(data, finished, "--list", seeds=("0", "0"), datasets=("one", "one")) == 0
    done = capsys.readouterr().out.splitlines()
    assert len(done) == 1 and "missing" not in done[0]


def test_a_policy_whose_defaults_have_changed_is_run_again(data, finished, tmp_path, capsys):
    cells = lines(finished)
    next(cell for cell in cells if cell["policy"] == "fixed_threshold")["settings"] = (
        "FixedThreshold(threshold=0.3, old=True)"
    )
    (tmp_path / "cells.jsonl").write_text("".join(json.dumps(cell) + "\n" for cell in cells))
    assert call(data, tmp_path, "--list") == 0
    assert capsys.readouterr().out.splitlines()[0].endswith("missing: fixed_threshold/0.3")


def test_cells_of_a_busy_machine_can_be_run_again(data, finished, tmp_path):
    cells = lines(finished)
    for cell in cells:
        cell["cpu_s"] = cell["elapsed_s"] * (0.5 if cell["policy"] in ("train_all", "fixed_threshold") else 1.0)
    (tmp_path / "cells.jsonl").write_text("".join(json.dumps(cell) + "\n" for cell in cells))
    assert (
        call(data, tmp_path, policies=["fixed_threshold/0.3"]) == 0 and lines(tmp_path) == cells
    )  # unless it is asked for
    call(data, tmp_path, "--steady", "0.75", policies=["fixed_threshold/0.3"])
    again = lines(tmp_path)
    full = again[0]
    assert len(again) == len(cells) and full["wall_s"] != cells[0]["wall_s"]
    assert all(
        cell["t_norm_measured"] == pytest.approx(cell["wall_s"] / full["wall_s"]) for cell in again if cell["seed"] == 0
    )
    changed = [cell["policy"] for cell, before in zip(again, cells, strict=True) if cell["wall_s"] != before["wall_s"]]
    assert set(changed) == {"train_all", "fixed_threshold"}


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("--device", "nowhere"), "error: "),
        (("--threads", "0"), "must be at least 1, got 0"),
        (("--train", "-5"), "must be at least 1, got -5"),
        (("--test", "0"), "must be at least 1, got 0"),
        (("--max-length", "1"), "must be at least 3, got 1"),
    ],
)
def test_bad_numbers_are_said_in_one_line(data, tmp_path, capsys, arguments, said):
    try:
        code = call(data, tmp_path, *arguments)
    except SystemExit as stopped:
        code = stopped.code
    assert code == 2 and said in capsys.readouterr().err.splitlines()[-1]


def test_models_are_told_apart_by_what_is_in_them(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "model").mkdir(parents=True)
        (tmp_path / name / "model" / "config.json").write_text(f'{{"of": "{name}"}}')
    assert runner.contents(str(tmp_path / "a" / "model")) != runner.contents(str(tmp_path / "b" / "model"))


def test_rows_of_one_policy_with_other_predictors_are_warmed_up_each(data, finished):
    bench = runner.Bench(None, torch.device("cpu"), "fp32")
    task = tasks.load("one", tasks.Size(40, 10, 1, 16, 1e-4, tune=8), data)
    chosen = {system.name: system for system in systems.SYSTEMS if system.policy == "three_stage"}
    tokenizer, model = bench.make(task, 0)
    for name in ("three_stage/scored", "three_stage/script"):
        runner._warm_up(bench, chosen[name], model, tokenizer, task, bench.recipe(task, chosen[name]))
    assert bench.warmed == {"three_stage/scored", "three_stage/script"}


def test_other_sizes_are_other_cells(data, finished, capsys):
    assert call(data, finished, "--list", "--train", "50") == 0
    first, last = capsys.readouterr().out.splitlines()
    assert ": 0 of" in first and last.startswith(f"{len(lines(finished))} more cells")


def test_a_cell_that_fails_costs_no_other_cell(data, tmp_path, monkeypatch, capsys):
    real = runner.run_cell

    def sometimes(bench, task, cell, *rest):
        if cell.system.policy == "fixed_threshold":
            raise RuntimeError("out of luck")
        return real(bench, task, cell, *rest)

    monkeypatch.setattr(runner, "run_cell", sometimes)
    assert call(data, tmp_path, policies=["fixed_threshold/0.3", "auto_threshold"]) == 1
    assert "out of luck" in capsys.readouterr().err
    assert {cell["policy"] for cell in lines(tmp_path)} >= {"train_all", "random", "auto_threshold"}


def test_the_tuning_split_is_never_trained_on_and_the_reported_one_never_tuned_on(data, tmp_path):
    task = tasks.load("one", tasks.size_of("one", train=None, epochs=1), data)
    texts = [[row["text"] for row in rows] for rows in (task.train, task.tune, task.test)]
    train = [json.loads(line)["text"] for line in (data / "one" / "train.jsonl").read_text().splitlines()]
    assert len(texts[1]) == 30 and sorted(texts[0] + texts[1]) == sorted(train)
    assert call(data, tmp_path, "--tune") == 0
    cells = [json.loads(line) for line in (tmp_path / "tune.jsonl").read_text().splitlines()]
    assert [cell["lr"] for cell in cells] == list(tasks.RATES) and all(cell["test_rows"] == 30 for cell in cells)
    assert not (tmp_path / "cells.jsonl").exists()


def test_bad_input_is_told_in_one_line(data, tmp_path, capsys):
    assert call(data, tmp_path, policies=["threestage"]) == 2
    assert "no row is called ['threestage']" in capsys.readouterr().err.splitlines()[-1]
