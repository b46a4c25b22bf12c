"""The accuracy-time table end to end on a tiny task: cells kept, killed, gone on with, paired with their controls, and shown."""

import json

import numpy as np
import pytest
import torch

from benchmarks import accuracy_time
from benchmarks.table import command, controls, frontier, page, plan, runner, store, systems, tasks
from filterloader import Random, TrainAll
from filterloader.experiments import models as encoder
from filterloader.experiments import run as experiment
from filterloader.policies import POLICIES
from tests.conftest import sentences

WANTED = {"dataset", "policy", "budget", "seed", "accuracy", "wall_s", "t_norm_measured", "t_norm_modelled", "forwarded", "backwarded",
          "device", "macro_f1", "accuracy_low", "accuracy_high", "threads", "train_rows", "correct", "settings", "hardware", "version",
          "date", "controls", "base_accuracy"}  # fmt: skip
ROWS = ["three_stage/example", "fixed_threshold/0.3", "train_all/frozen"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two data sets whose labels are told by their words."""
    folder = tmp_path_factory.mktemp("data")
    for number, name in enumerate(("one", "two")):
        (folder / name).mkdir()
        for split, n, seed in (("train", 120, number), ("test", 40, 10 + number)):
            rows = [{"text": row["text"], "label": int("hard" in row["text"])} for row in sentences(n, seed, hard=0.4)]
            (folder / name / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def call(data, out, *more, datasets=("one",), seeds=("0",), policies=ROWS):
    return command.main(accuracy_time.TABLE, ["--data", str(data), "--out", str(out), "--datasets", *datasets, "--seeds", *seeds, "--policies", *policies,
                               "--epochs", "2", "--threads", "1", "--precision", "fp32", "--device", "cpu", *more])  # fmt: skip


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("finished")
    assert call(data, out) == 0
    return out


def lines(out):
    return [json.loads(line) for line in (out / "cells.jsonl").read_text().splitlines()]


def names(cells):
    return [(cell["policy"], cell["budget"] if cell["controls"] is None else "=", cell["controls"]) for cell in cells]


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


@pytest.mark.parametrize("arguments, said", [
    (("--device", "nowhere"), "error: "), (("--threads", "0"), "must be at least 1, got 0"), (("--train", "-5"), "must be at least 1, got -5"),
    (("--test", "0"), "must be at least 1, got 0"), (("--max-length", "1"), "must be at least 3, got 1"),
])  # fmt: skip
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


# -- systems and plan ----------------------------------------------------------------------------------------------------


def test_what_the_library_lacks_is_left_out_with_a_note(monkeypatch):
    monkeypatch.setitem(systems.POLICIES, "infobatch", TrainAll)  # takes no epochs=
    monkeypatch.setattr(
        systems, "POLICIES", {name: kind for name, kind in systems.POLICIES.items() if name != "fixed_threshold"}
    )
    rows, notes = systems.choose(systems.SYSTEMS, None)
    assert not {"infobatch", "fixed_threshold"} & {row.policy for row in rows}
    assert any("no 'fixed_threshold'" in note for note in notes)
    assert any("infobatch does not take these settings" in note for note in notes)


def test_the_names_of_rows_are_unique():
    assert len({system.name for system in systems.SYSTEMS}) == len(systems.SYSTEMS)


def test_order_is_seed_then_data_set_then_baseline_controls_rows():
    rows, _ = systems.choose(systems.SYSTEMS, ["three_stage/example"])
    cells = list(plan.cells(["one", "two"], rows, [0, 1], own=["three_stage/example"]))
    assert list(dict.fromkeys((cell.seed, cell.dataset) for cell in cells)) == [
        (0, "one"),
        (0, "two"),
        (1, "one"),
        (1, "two"),
    ]
    first = [cell for cell in cells if (cell.seed, cell.dataset) == (0, "one")]
    assert first[0].system.name == "train_all/1"
    place = [cell.controls or cell.system.policy for cell in first]
    assert place.index("three_stage") > max(i for i, kind in enumerate(place) if kind == "random")
    assert place[place.index("three_stage") + 1] == "three_stage/example"


def test_frozen_layers_stay_as_they_are_and_the_filter_works_all_the_same(tokenizer):
    rows = [{**row, "label": int("hard" in row["text"])} for row in sentences(96, hard=0.5)]
    for policy in (TrainAll(), POLICIES["three_stage"](warmup=16, alt=10.0)):
        model = encoder.small_encoder(len(tokenizer), 2, hidden=16, layers=3, heads=2)
        systems.freeze(model)
        before = {name: parameter.clone() for name, parameter in model.named_parameters()}
        experiment.train(model, tokenizer, rows, policy, experiment.Recipe(text="text", lr=1e-2, batch_size=8), seed=0)
        changed = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
        assert changed and all(any(part in name for part in ("layer.2", "classifier", "pooler")) for name in changed)


# -- store ---------------------------------------------------------------------------------------------------------------


def cell(policy="train_all", budget="1", seed=0, correct=(1, 0, 1, 1), wall=10.0, **more):
    right = np.array(correct, bool)
    return {"dataset": "one", "policy": policy, "budget": budget, "seed": seed, "controls": None, "setup": "s", "wall_s": wall,
            "correct": store.packed(right), "test_rows": right.size, "accuracy": float(right.mean()), **more}  # fmt: skip


def test_what_was_right_survives_packing():
    rng = np.random.default_rng(0)
    for n in (1, 7, 8, 9, 100):
        right = rng.random(n) < 0.5
        assert (store.unpacked(store.packed(right), n) == right).all()


def test_broken_lines_are_taken_out_wherever_they_are(tmp_path):
    kept = [json.dumps(cell(seed=seed)) for seed in range(3)]
    path = tmp_path / "cells.jsonl"
    path.write_text(
        "\n".join([kept[0], kept[1][:30], '{"no": "cell"}', "null", "[1, 2]", kept[1], kept[2]])
    )  # no newline at the end: whole all the same
    found = store.Store(path)
    assert [one["seed"] for one in found.cells.values()] == [
        0,
        1,
        2,
    ] and "4 lines that hold no whole cell" in found.notes[0]
    with found.claimed():
        assert path.read_text() == "\n".join(kept) + "\n"
        found.add(cell(seed=3))
    assert len(store.Store(path).cells) == 4 and not store.Store(path).notes


# -- controls ------------------------------------------------------------------------------------------------------------


def test_a_control_is_read_off_the_ladder_at_the_rows_time():
    rungs = [cell(wall=10.0, correct=[1, 1, 1, 1]), cell("random", "0.1", wall=1.0, correct=[0, 0, 1, 1])]
    halfway = controls.at_wall_clock(rungs, np.sqrt(10.0))
    assert halfway == pytest.approx([0.5, 0.5, 1, 1])
    assert controls.at_wall_clock(rungs, 10.0).tolist() == controls.at_wall_clock(rungs, 99.0).tolist() == [1, 1, 1, 1]
    assert controls.at_wall_clock(rungs, 0.5).tolist() == [0, 0, 1, 1]


def test_merit_is_against_the_better_control_of_the_same_seed(tmp_path):
    found = store.Store(tmp_path / "cells.jsonl")
    for seed in (0, 1):
        found.add(cell(seed=seed, correct=[1, 1, 1, 1]))
        found.add(cell("random", "0.1", seed, [seed, 0, 0, 0], 1.0))
        found.add(cell("class_balanced", "0.1", seed, [1, 1, seed, 0], 1.0))
        found.add(cell("three_stage", "example", seed, [1, 1, 1, seed], 1.0))
    row = next(row for row in controls.rows(found, "one") if row.policy == "three_stage")
    assert row.better == "class_balanced" and not row.own
    assert row.controls["random"].tolist() == [[0, 0, 0, 0], [1, 0, 0, 0]]
    assert row.merit[0] == pytest.approx((3 + 4 - 2 - 3) / 8) and row.merit[1] <= row.merit[0] <= row.merit[2]


def test_own_controls_are_rungs_of_their_rows_ladder(tmp_path):
    found = store.Store(tmp_path / "cells.jsonl")
    found.add(cell())
    found.add(cell("random", "0.1", correct=[0, 0, 0, 0], wall=0.5))
    for budget in ("example", "batch"):
        found.add(cell("three_stage", budget, correct=[1, 1, 1, 1], wall=1.0))

    def merits():
        return [row.merit[0] for row in controls.rows(found, "one") if row.policy == "three_stage"]

    assert merits()[0] == merits()[1] > 0.8
    found.add(cell("random", "0.12", correct=[1, 1, 0, 0], wall=2.0, controls="three_stage/example"))
    assert (
        merits() == [pytest.approx(0.75), merits()[1]] and merits()[1] > 0.8
    )  # half of the way, in the logarithm, from .5 to 2 s
    mine, other = (row for row in controls.rows(found, "one") if row.policy == "three_stage")
    assert len(mine.own["random"]) == 1 and not other.own
    assert [len(row.cells) for row in controls.rows(found, "one")] == [1, 1, 1, 1]


def test_an_own_control_keeps_what_its_row_cost(data, tmp_path):
    bench = runner.Bench(None, torch.device("cpu"), "fp32")
    control = bench.control("random", cell("three_stage", "example", wall=5.0), cell(wall=20.0))
    assert repr(control.make(1)) == repr(Random(0.25)) and control.budget == "0.25"
    found, size = store.Store(tmp_path / "cells.jsonl"), tasks.size_of("one")
    late = plan.Cell("one", systems.System("random", "=", lambda kind, _: None), 1, controls="three_stage/example")
    found.add(cell(seed=1))
    with pytest.raises(ValueError, match="one three_stage/example seed 1 has not been run yet"):
        runner.run_cell(bench, tasks.load("one", size, data), late, found, "s")


def test_an_own_control_is_run_again_with_its_row(tmp_path):
    found = store.Store(tmp_path / "cells.jsonl")
    found.add(cell("three_stage", "example", wall=5.0))
    found.add(cell("random", "0.25", controls="three_stage/example", row_wall_s=5.0))
    asked = [plan.Cell("one", systems.System("random", "=", lambda kind, _: None), 0, controls="three_stage/example")]
    assert plan.missing(asked, found, {"one": "s"}) == []
    found.add(cell("three_stage", "example", wall=7.0))
    assert plan.missing(asked, found, {"one": "s"}) == asked


def test_one_process_fills_a_folder_and_readers_change_nothing(finished, data, tmp_path, capsys):
    whole = (finished / "cells.jsonl").read_text()
    (tmp_path / "cells.jsonl").write_text(whole + whole[:100])
    assert len(store.Store(tmp_path / "cells.jsonl").cells) == len(lines(finished))
    assert (tmp_path / "cells.jsonl").read_text() == whole + whole[:100]
    with store.Store(tmp_path / "cells.jsonl").claimed():
        assert (tmp_path / "cells.jsonl").read_text() == whole
        assert call(data, tmp_path) == 2
        assert "another process is filling" in capsys.readouterr().err
    assert call(data, tmp_path) == 0
    late = store.Store(tmp_path / "cells.jsonl")
    more = json.dumps(cell(dataset="of another process"))
    (tmp_path / "cells.jsonl").write_text(whole + more + "\n")
    with late.claimed():  # what came in since it was read counts
        late.compact()
    assert (tmp_path / "cells.jsonl").read_text() == whole + more + "\n"


def test_cells_of_another_setup_are_not_mixed_in(tmp_path):
    found = store.Store(tmp_path / "cells.jsonl")
    found.add(cell(setup="old", correct=[0, 0, 0, 0]))
    found.add(cell("random", "0.1", setup="old"))
    found.add(cell(setup="new"))
    assert [(row.name, row.accuracy[0]) for row in controls.rows(found, "one")] == [("train_all/1", 0.75)]


def test_a_hub_name_makes_no_folder(tmp_path):
    found = store.Store(tmp_path / "cells.jsonl")
    for one in (cell(base_accuracy=0.25), cell("random", "0.1", correct=[1, 0, 0, 0], wall=1.0)):
        shown = {"train_rows": 9, "epochs": 1, "max_length": 8, "model": None, "lr": 1e-3, "precision": "fp32", "batch_size": 8, "hardware": "x",
                 "device": "cpu", "threads": 1, "date": "d", "version": "0", "torch": "2", "t_norm_measured": one["wall_s"] / 10,
                 "t_norm_modelled": 1.0, "alpha_fb": 0.0, "seen": 9, "backwarded": 9, "macro_f1": 0.5}  # fmt: skip
        found.add(shown | one | {"dataset": "some/glue:sst2", "base_accuracy": 0.25})
    assert [path.name for path in page.write(found, tmp_path)] == ["README.md", "some-glue-sst2.png"]


def test_the_page_marks_the_front_and_the_best_gain_over_time(tmp_path):
    found = store.Store(tmp_path / "cells.jsonl")
    found.add(cell(correct=[1, 1, 1, 0], base_accuracy=0.25, t_norm_measured=1.0))
    found.add(cell("three_stage", "example", correct=[1, 1, 1, 0], wall=5.0, base_accuracy=0.25, t_norm_measured=0.5))
    found.add(
        cell("auto_threshold", "default", correct=[1, 0, 0, 0], wall=9.0, base_accuracy=0.25, t_norm_measured=0.9)
    )
    front, best = frontier.marked(controls.rows(found, "one"))
    assert front == ["three_stage/example"] and best == "three_stage/example"
