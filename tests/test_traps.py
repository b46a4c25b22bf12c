"""Traps that other filtering loaders fell into: wrappers, look-ahead, schedules, memory."""

import copy
import gc
import pickle
import tracemalloc
import warnings
import weakref
from functools import partial
from inspect import signature

import numpy as np
import pytest
import torch
from torch.utils.data import IterableDataset

from filterloader import POLICIES, FilteringDataLoader, FixedThreshold, Random, ThreeStage, TrainAll
from tests.conftest import everywhere, losses_of, own, right, sentences, spied, train


def test_accelerate_prepare_leaves_the_filter_in_place(tokenizer):
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True)
    loader = FilteringDataLoader(sentences(200), tokenizer=tokenizer, batch_size=8, policy=Random(0.3), seed=0)
    net = torch.nn.Linear(2, 2)
    prepared, net, _ = accelerator.prepare(loader, net, torch.optim.SGD(net.parameters(), 0.1))
    assert prepared is loader
    assert sum(len(batch["labels"]) for batch in prepared) < 100


def test_accelerates_look_ahead_credits_the_right_batch():
    pytest.importorskip("accelerate")
    from accelerate.data_loader import send_to_device

    loader, spy = spied(60)
    iterator = iter(loader)
    current, more = next(iterator), True
    while more:  # what accelerate's loader does: move the batch, fetch the next one, then hand the first to the loop
        current = send_to_device(current, torch.device("cpu"))
        following = next(iterator, None)
        more = following is not None
        loader.hook.report(own(current))
        current = following
    right(spy, range(60))


def test_a_batch_survives_being_moved_and_copied(tokenizer):
    loader = FilteringDataLoader(sentences(8), tokenizer=tokenizer, batch_size=8, policy=FixedThreshold(0.0))
    (batch,) = loader
    again = pickle.loads(pickle.dumps(batch))
    assert again.batch_id == batch.batch_id and set(again) == {
        "input_ids",
        "token_type_ids",
        "attention_mask",
        "labels",
    } & set(again)
    loader.hook.report(losses_of(again), again)


def test_a_loader_pickles_with_its_state(tokenizer):
    loader = FilteringDataLoader(
        sentences(300), tokenizer=tokenizer, batch_size=8, policy=ThreeStage(warmup=40), seed=0
    )
    train(loader, 10)
    copy = pickle.loads(pickle.dumps(loader))
    copy.load_state_dict(loader.state_dict())
    loader.load_state_dict(loader.state_dict())
    assert [b["input_ids"].tolist() for b, _ in train(copy)] == [b["input_ids"].tolist() for b, _ in train(loader)]


NEEDED = {"fixed_threshold": {"threshold": 0.5}, "infobatch": {"epochs": None}}
MAKE = {
    name: partial(kind, **({"keep": 1.0} if "keep" in signature(kind).parameters else NEEDED.get(name, {})))
    for name, kind in POLICIES.items()
}


@pytest.mark.parametrize("name, granularity", everywhere(MAKE))
def test_a_loop_that_never_reports_still_gets_its_data(tokenizer, name, granularity):
    kw = {"granularity": granularity, "score_fn": losses_of if POLICIES[name].survey else None}
    loader = FilteringDataLoader(sentences(50), tokenizer=tokenizer, batch_size=8, policy=MAKE[name](), **kw)
    for _ in range(2):
        assert sum(len(batch["labels"]) for batch in loader) == 50


def test_a_policy_of_your_own_needs_four_methods_only(tokenizer):
    class Longest:
        def screen(self, candidates):
            return (candidates.lengths > 6).astype(np.float32)

        def judge(self, candidates, losses):
            return np.ones(len(candidates), np.float32)

        def state_dict(self):
            return {}

        def load_state_dict(self, state):
            pass

    loader = FilteringDataLoader(sentences(100), tokenizer=tokenizer, batch_size=8, policy=Longest())
    for batch in loader:
        assert (batch["attention_mask"].sum(1) > 6).all()
        assert loader.hook.report(losses_of(batch)) is not None


class Endless(IterableDataset):
    def __init__(self, n):
        self.n = n

    def __iter__(self):
        for i in range(self.n):
            yield {"input_ids": [4 + i % 40, 5 + i % 7, 6], "label": i % 2}


def peak_over(n, policy):
    loader = FilteringDataLoader(Endless(n), batch_size=256, policy=policy)
    for i, batch in enumerate(loader):
        if i == 20:
            tracemalloc.start()
        loader.hook.report(losses_of(batch))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert loader.ledger.scalars()["seen"] == n
    return peak


def test_memory_does_not_grow_with_the_stream():
    short, long = (peak_over(n, ThreeStage(warmup=2000, audit=0.05)) for n in (20_000, 80_000))
    assert long < short + 300_000


@pytest.mark.slow
def test_memory_is_flat_over_a_million_rows():
    short, long = (peak_over(n, Random(0.05, seed=0)) for n in (200_000, 1_000_000))
    assert long < short + 300_000
    short, long = (peak_over(n, ThreeStage(warmup=2000)) for n in (50_000, 1_000_000))
    assert long < short + 300_000


def test_a_loader_goes_with_its_workers_as_soon_as_nobody_holds_it(tokenizer):
    gc.disable()  # the collector ends the queues of workers before the workers, which then wait for seconds
    try:
        loader = FilteringDataLoader(
            sentences(200), tokenizer=tokenizer, batch_size=8, num_workers=1, persistent_workers=True, seed=0
        )
        train(loader)
        iterator = iter(loader)
        loader.hook.report(losses_of(next(iterator)))
        there = weakref.ref(loader)
        del loader, iterator
        assert there() is None
    finally:
        gc.enable()


def test_a_copy_notes_its_own_reports(tokenizer):
    loader = FilteringDataLoader(sentences(200), tokenizer=tokenizer, batch_size=8, seed=0)
    for other in (pickle.loads(pickle.dumps(loader)), copy.deepcopy(loader)):
        train(other, 2)
        assert other.ledger.stages and not loader.ledger.stages


def test_dropping_nearly_everything_is_said_once(tokenizer):
    loader = FilteringDataLoader(sentences(5000), tokenizer=tokenizer, batch_size=64, policy=Random(0.001), seed=0)
    with pytest.warns(UserWarning, match="drops nearly everything: it kept 0.* of the last 4.* candidates.*keep="):
        for _ in loader:
            pass
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in loader:
            pass


@pytest.mark.parametrize("policy", [TrainAll, lambda: ThreeStage(warmup=20), lambda: Random(0.5)])
def test_a_loader_that_is_dropped_in_mid_pass_is_gone_at_once_and_its_workers_with_it(tokenizer, policy):
    """In a circle of references it would wait for the garbage collector, which closes the queues of workers first."""
    loader = FilteringDataLoader(sentences(300), tokenizer=tokenizer, batch_size=8, policy=policy(), num_workers=1)
    iterator = iter(loader)
    for _ in range(3):
        loader.hook.report(losses_of(next(iterator)))
    (worker,) = loader._read._groups.source._workers
    gone = weakref.ref(loader)
    gc.disable()
    try:
        del loader, iterator
        assert gone() is None and not worker.is_alive() and worker.exitcode == 0
    finally:
        gc.enable()
