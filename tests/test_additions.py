"""Additions: a toy stage, feature, data set and framework, added as CONTRIBUTING says, and found."""

import sys

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from filterloader import FilteringDataLoader, Random, ThreeStage, TrainAll
from filterloader.data.candidates import Bag
from filterloader.stages.stage import Stage
from tests.conftest import build, losses_of, own, right, spied, train
from tests.stages import test_every_stage as suite

# -- a stage -----------------------------------------------------------------------------------------------------------


class Peek(Stage):
    """Hands everything on, and counts it."""

    def __init__(self, source):
        super().__init__(source)
        self.passed = 0

    def work(self, taken):
        self.passed, self.item, self.taken = self.passed + taken.examples, taken, None

    def own_state(self):
        return {"passed": self.passed}

    def load_own_state(self, state):
        self.passed = state["passed"]


@pytest.fixture
def peek(monkeypatch, tmp_path):
    """The room of stages with a file more."""
    (tmp_path / "peek.py").write_text(f"from {__name__} import Peek\n")
    monkeypatch.setattr(sys.modules["filterloader.stages"], "__path__", [*suite.ROOM, str(tmp_path)])
    monkeypatch.setattr(suite, "ROOM", sys.modules["filterloader.stages"].__path__)
    yield
    sys.modules.pop("filterloader.stages.peek", None)


def test_a_stage_that_is_added_is_asked_for_and_keeps_the_rule(peek, monkeypatch):
    with pytest.raises(AssertionError, match=r"add to CHAINS: .*Peek"):
        suite.test_every_stage_of_the_room_is_tried()
    monkeypatch.setitem(suite.CHAINS, "peek", lambda: Peek(suite.given(decided=True)))
    suite.test_every_stage_of_the_room_is_tried()
    suite.test_an_item_stays_until_it_is_taken("peek")
    for twice in (False, True):
        suite.test_saved_and_loaded_after_each_item("peek", twice)
    suite.test_interrupted_at_any_line_nothing_is_lost_or_doubled("peek")


# -- a feature ---------------------------------------------------------------------------------------------------------


def hardest(candidates):
    """One word a row: its largest token."""
    tokens = candidates.tokens
    ids = np.array([row.max() for row in np.split(tokens.values, tokens.offsets[1:-1])], np.int32)
    return Bag(ids, np.arange(len(candidates) + 1), 64)


def test_a_function_is_a_feature(tokenizer):
    loader = build(tokenizer, ThreeStage(warmup=100), 1600, features=hardest)
    train(loader)
    assert loader.policy.stage == "filter" and loader.features is hardest
    assert loader.ledger.scalars()["forwarded_share"] < 0.8


# -- a data set --------------------------------------------------------------------------------------------------------


class Lines(Dataset):
    """Rows that are made when they are asked for."""

    def __len__(self):
        return 100

    def __getitem__(self, i):
        return {"input_ids": torch.tensor([i, 1]), "label": i % 2}


def test_whatever_a_dataloader_reads_is_a_data_set():
    ours = FilteringDataLoader(Lines(), batch_size=8, policy=TrainAll(), shuffle=True, seed=3)
    theirs = DataLoader(Lines(), batch_size=8, shuffle=True, generator=torch.Generator().manual_seed(3))
    for left, right_ in zip(ours, theirs, strict=True):
        assert torch.equal(left["input_ids"], right_["input_ids"]) and torch.equal(left["labels"], right_["label"])
    loader, again = (FilteringDataLoader(Lines(), batch_size=8, policy=Random(0.5), seed=3) for _ in range(2))
    iterator = iter(loader)
    next(iterator)
    again.load_state_dict(loader.state_dict())
    rest = [batch["input_ids"].tolist() for batch in iterator]
    assert rest and [batch["input_ids"].tolist() for batch in again] == rest


# -- a framework -------------------------------------------------------------------------------------------------------


def moved(batch):
    """As a framework moves a batch: a mapping of its own, of copies."""
    return {name: column.clone() for name, column in batch.items()}


def test_a_framework_that_fetches_ahead_and_rebuilds_batches_credits_each_row_with_its_loss():
    loader, spy = spied(40)
    coming = iter(loader)
    ahead = moved(next(coming))
    for _ in range(len(loader)):
        batch, ahead = ahead, next(map(moved, coming), None)
        assert loader.report(own(batch), batch) is not None
    right(spy, range(40))


def test_a_framework_that_counts_batches_ends_its_passes(tokenizer):
    loader = build(tokenizer, TrainAll(), 64)
    for epoch in range(3):
        batches = iter(loader)
        assert loader.epoch == epoch
        for _ in range(len(loader)):
            loader.report(losses_of(next(batches)))
