"""The table of what ``ledger.scalars()`` holds, and what it says of where the run stands."""

import inspect
import math
import re
from pathlib import Path

import pytest
import torch

import filterloader.feedback
from filterloader import FixedThreshold, Random, ThreeStage
from filterloader.feedback.ledger import Ledger
from tests.conftest import build, losses_of, train
from tests.zoo import MAKE

PAGE = Path(filterloader.feedback.__file__).with_name("README.md")


def table(text):
    return [line.strip() for line in text.splitlines() if line.strip().startswith("|")]


def keys(lines):
    """Keys that every policy has, and those that a policy adds: {key: class name}."""
    rows = [re.match(r"\| `(\w+)` \| (?:`(\w+)`: )?", line) for line in lines]
    found = [row.groups() for row in rows if row is not None]
    return [key for key, own in found if own is None], {key: own for key, own in found if own is not None}


def test_docstring_and_page_hold_one_table():
    lines = table(inspect.getdoc(Ledger.scalars))
    assert lines == table(PAGE.read_text()) and all(len(line) <= 120 for line in lines)


@pytest.mark.parametrize("policy", MAKE)
def test_the_table_names_every_key_of_every_policy(policy):
    shared, own = keys(table(PAGE.read_text()))
    ledger = Ledger(made := MAKE[policy]())
    assert len(shared) == len(set(shared))
    assert set(ledger.scalars()) == {*shared, *(key for key, name in own.items() if name == type(made).__name__)}


def test_every_key_of_the_table_is_somebodys():
    _, own = keys(table(PAGE.read_text()))
    classes = {type(make()).__name__: make() for make in MAKE.values()}
    assert all(key in classes[name].scalars() for key, name in own.items())


def test_where_a_run_stands(tokenizer):
    loader = build(tokenizer, ThreeStage(warmup=200), 640)
    assert [loader.ledger.scalars()[key] for key in ("epoch", "progress", "stage")] == [0, 0, 0]
    stages, progress = [], []
    for batch in loader:
        loader.hook.report(losses_of(batch), batch)
        scalars = loader.ledger.scalars()
        stages.append((scalars["stage"], loader.policy.stage))
        progress.append(scalars["progress"])
    assert sorted(set(stages)) == [(0, "warm-up"), (1, "fit"), (2, "filter")] and stages == sorted(stages)
    assert progress == sorted(progress) and 0 < progress[0] < progress[-1] == 1
    assert loader.ledger.scalars()["epoch"] == 1 and loader.ledger.scalars()["threshold"] > 0


def test_a_policy_without_stage_or_threshold_has_none():
    scalars = Ledger(Random(0.5)).scalars()
    assert math.isnan(scalars["stage"]) and math.isnan(scalars["threshold"])
    assert math.isnan(Ledger().scalars()["stage"])
    assert Ledger(FixedThreshold(0.5)).scalars()["threshold"] == 0.5


class Staged:
    stage = "warm-up"


def test_a_policy_says_the_order_of_its_stages():
    ledger = Ledger(policy := Staged())
    policy.stages = ("look", "leap", "rest")
    for stage, number in (("rest", 3), ("warm-up", 0), ("leap", 2), ("look", 1), ("rest", 3)):
        policy.stage = stage
        assert ledger.scalars()["stage"] == number
        ledger.stage(stage, 0)


def test_stages_without_an_order_have_that_in_which_they_came():
    ledger = Ledger(policy := Staged())
    told = []
    for stage in ("look", "leap", "warm-up", "leap", "look", "rest"):
        policy.stage = stage
        told.append((ledger.scalars()["stage"], ledger.stage(stage, 0), ledger.scalars()["stage"]))
    assert [before for before, _, _ in told] == [after for _, _, after in told] == [1, 2, 0, 2, 1, 3]
    again = Ledger(policy)
    again.load_state_dict(ledger.state_dict())
    assert again.scalars()["stage"] == 3


def test_a_log_goes_on_after_a_resume_as_if_never_stopped(tokenizer, tmp_path):
    def lines(path):
        return [line for line in path.read_text().splitlines() if '"report"' in line]

    def timeless(line):
        return re.sub(r'"time": [\d.]+, ', "", line)

    ref = build(tokenizer, FixedThreshold(0.5), 640)
    ref.ledger.log_to(tmp_path / "ref.jsonl")
    train(ref)
    first, second = build(tokenizer, FixedThreshold(0.5), 640), build(tokenizer, FixedThreshold(0.5), 640)
    first.ledger.log_to(tmp_path / "comp.jsonl")
    train(first, 13)
    second.load_state_dict(first.state_dict())
    second.ledger.log_to(tmp_path / "comp.jsonl")
    train(second)
    ref_lines, comp_lines = lines(tmp_path / "ref.jsonl"), lines(tmp_path / "comp.jsonl")
    assert len(ref_lines) == 4 and list(map(timeless, ref_lines)) == list(map(timeless, comp_lines))


def test_a_warning_of_losses_that_are_no_numbers_is_told_once_across_a_resume(tokenizer, recwarn):
    first = build(tokenizer, FixedThreshold(0.5), 64)
    first.hook.report(torch.full((16,), math.nan), next(iter(first)))
    second = build(tokenizer, FixedThreshold(0.5), 64)
    second.load_state_dict(first.state_dict())
    second.hook.report(torch.full((16,), math.nan), next(iter(second)))
    told = [one for one in recwarn if "NaN or infinite" in str(one.message)]
    assert len(told) == 1 and told[0].filename == __file__
