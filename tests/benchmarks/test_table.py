"""The parts of a table: its rows and their order, the store, the controls, and the page."""

import json

import numpy as np
import pytest
import torch

from benchmarks.table import controls, frontier, page, plan, runner, store, systems, tasks
from filterloader import Random, TrainAll
from filterloader.experiments import models as encoder
from filterloader.experiments import run as experiment
from filterloader.experiments.recipe import Recipe
from filterloader.policies import POLICIES
from tests.benchmarks.conftest import call, lines
from tests.conftest import sentences

# -- systems and plan


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
        experiment.train(model, tokenizer, rows, policy, Recipe(text="text", lr=1e-2, batch_size=8), seed=0)
        changed = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
        assert changed and all(any(part in name for part in ("layer.2", "classifier", "pooler")) for name in changed)


# -- store


def cell(policy="train_all", budget="1", seed=0, correct=(1, 0, 1, 1), wall=10.0, **more):
    right = np.array(correct, bool)
    return {
        "dataset": "one",
        "policy": policy,
        "budget": budget,
        "seed": seed,
        "controls": None,
        "setup": "s",
        "wall_s": wall,
        "correct": store.packed(right),
        "test_rows": right.size,
        "accuracy": float(right.mean()),
        **more,
    }


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


# -- controls


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
        shown = {
            "train_rows": 9,
            "epochs": 1,
            "max_length": 8,
            "model": None,
            "lr": 1e-3,
            "precision": "fp32",
            "batch_size": 8,
            "hardware": "x",
            "device": "cpu",
            "threads": 1,
            "date": "d",
            "version": "0",
            "torch": "2",
            "t_norm_measured": one["wall_s"] / 10,
            "t_norm_modelled": 1.0,
            "alpha_fb": 0.0,
            "seen": 9,
            "backwarded": 9,
            "macro_f1": 0.5,
        }
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
