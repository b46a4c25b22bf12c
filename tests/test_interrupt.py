"""Interrupts and errors while the policy decides, the model scores or a batch is made: nothing is lost or doubled."""

from collections import Counter

import pytest
import torch

from filterloader import FilteringDataLoader, FixedThreshold, Random, TrainAll
from tests.conftest import through_a_file

ROWS = [{"input_ids": [i + 1] * (1 + i % 5), "label": i % 2} for i in range(160)]


class Trips:
    """A call that fails the n-th time."""

    def __init__(self, n, error, call):
        self.left, self.error, self.call = n, error, call

    def __call__(self, *arguments):
        self.left -= 1
        if self.left == 0:
            raise self.error
        return self.call(*arguments)


class TrippingPolicy(Random):
    trips = None

    def screen(self, candidates):
        return self.trips(candidates)


def ones(batch):
    return torch.ones(len(batch["labels"]))


def stack(rows):
    return {
        "input_ids": torch.tensor([row["input_ids"][:1] for row in rows]),
        "labels": torch.tensor([row["label"] for row in rows]),
    }


def tripping(where, n, error):
    """A loader that keeps everything, and fails once; and what makes one that does not."""

    def make(trip=True):
        count = n if trip else -1
        if where == "score":
            return FilteringDataLoader(ROWS, 8, policy=FixedThreshold(0.5), score_fn=Trips(count, error, ones))
        if where == "score, another buffer":
            return FilteringDataLoader(
                ROWS, 8, policy=FixedThreshold(0.5), score_fn=Trips(count, error, ones), buffer_batches=0
            )
        if where == "collate":
            return FilteringDataLoader(ROWS, 8, policy=Random(1.0, seed=0), collate_fn=Trips(count, error, stack))
        if where == "collate, in batches":
            return FilteringDataLoader(
                ROWS,
                8,
                policy=Random(1.0, seed=0),
                collate_fn=Trips(count, error, stack),
                granularity="batch",
                buffer_batches=2,
            )
        policy = TrippingPolicy(1.0, seed=0)
        policy.trips = Trips(count, error, lambda candidates: Random.screen(policy, candidates))
        return FilteringDataLoader(ROWS, 8, policy=policy, granularity="batch" if "batches" in where else "example")

    return make


WHERE = ["score", "score, another buffer", "collate", "collate, in batches", "screen", "screen, in batches"]


def ids(batch):
    return batch["input_ids"][:, 0].tolist()


def drain(iterator, seen):
    """Go on after whatever is raised; returns what was."""
    raised = []
    while True:
        try:
            seen += ids(next(iterator))
        except StopIteration:
            return raised
        except (KeyboardInterrupt, OSError) as error:
            raised.append(error)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("where", WHERE)
def test_an_interrupt_loses_nothing(where, n):
    if where == "screen" and n == 3:
        n = 2  # there are but two blocks
    loader, seen = tripping(where, n, KeyboardInterrupt())(), []
    assert len(drain(iter(loader), seen)) == 1
    assert Counter(seen) == Counter(range(1, 161))
    assert loader.ledger.scalars()["seen"] == 160 and loader.consumed == 160


@pytest.mark.parametrize("where", WHERE)
def test_a_state_saved_after_an_interrupt_holds_what_was_at_hand(where):
    make, seen = tripping(where, 2, KeyboardInterrupt()), []
    first = make()
    iterator = iter(first)
    with pytest.raises(KeyboardInterrupt):
        for batch in iterator:
            seen += ids(batch)
    assert first.consumed <= len(seen)
    state = through_a_file(first.state_dict())
    second = make(trip=False)
    second.load_state_dict(state)
    for batch in second:
        seen += ids(batch)
    assert Counter(seen) == Counter(range(1, 161))


@pytest.mark.parametrize("where", WHERE)
def test_after_an_error_the_pass_goes_on_behind_it(where):
    loader, seen = tripping(where, 2, OSError("no"))(), []
    iterator = iter(loader)
    assert len(drain(iterator, seen)) == 1  # not the same one for ever
    assert max(Counter(seen).values()) == 1 and 0 < len(seen) < 160
    assert loader.progress == 1.0


@pytest.mark.parametrize("collate", [stack, None])
def test_a_batch_that_was_made_as_it_was_read_is_part_of_the_state(collate):
    """Where no policy takes batches apart, the reader makes them, and the rows are gone."""

    def make(trip=True):
        loader = FilteringDataLoader(
            [{"x": float(i), "label": 0} for i in range(64)] if collate is None else ROWS,
            8,
            collate_fn=collate,
            policy=TrainAll(),
        )
        if trip:
            loader._chain.collate = Trips(3, KeyboardInterrupt(), loader._chain.collate)
        return loader

    first, ref = make(), [{name: part.tolist() for name, part in batch.items()} for batch in make(trip=False)]
    iterator, seen = iter(first), []
    with pytest.raises(KeyboardInterrupt):
        for batch in iterator:
            seen.append({name: part.tolist() for name, part in batch.items()})  # noqa: PERF401 (it is broken off)
    second = make(trip=False)
    second.load_state_dict(through_a_file(first.state_dict()))
    assert seen + [{name: part.tolist() for name, part in batch.items()} for batch in second] == ref


def test_tensors_of_a_batch_sampler_are_read_again_after_an_interrupt():
    class Rows(torch.utils.data.Dataset):
        trips = Trips(20, KeyboardInterrupt(), lambda i: ROWS[i])

        def __len__(self):
            return 160

        def __getitem__(self, i):
            return self.trips(int(i))

    loader, seen = FilteringDataLoader(Rows(), batch_sampler=list(torch.arange(160).split(8)), policy=TrainAll()), []
    assert len(drain(iter(loader), seen)) == 1 and seen == list(range(1, 161))


@pytest.mark.parametrize("left, right", [
    ({"batch_size": 16}, {"batch_size": 8}),
    ({"batch_size": 8, "granularity": "batch", "buffer_batches": 4}, {"batch_size": 8, "granularity": "batch"}),
    ({"batch_size": 8, "granularity": "batch"}, {"batch_size": 8, "granularity": "batch", "buffer_batches": 4}),
    ({"batch_size": 8, "score_fn": ones}, {"batch_size": 8}),
    ({"batch_size": 8}, {"batch_size": 8, "score_fn": ones}),
])  # fmt: skip
def test_a_state_of_a_loader_that_batches_otherwise_is_refused(left, right):
    def make(how):
        granularity = how.get("granularity", "example")
        return FilteringDataLoader(
            ROWS, policy=Random(1.0, seed=1) if granularity == "batch" else FixedThreshold(0.0), **how
        )

    first, second = make(left), make(right)
    next(iter(first))
    with pytest.raises(ValueError, match=r"batch_size|of a chain with"):
        second.load_state_dict(first.state_dict())
    assert [ids(batch) for batch in second] == [ids(batch) for batch in make(right)]


def test_the_batch_size_of_plain_training_is_checked_too():
    first = FilteringDataLoader(ROWS, 16, policy=TrainAll())
    next(iter(first))
    with pytest.raises(ValueError, match=r"block_size.*16.*8"):
        FilteringDataLoader(ROWS, 8, policy=TrainAll()).load_state_dict(first.state_dict())


def test_the_number_of_batches_of_a_listed_batch_sampler_is_checked():
    first, second = (
        FilteringDataLoader(ROWS, batch_sampler=[range(i, i + n) for i in range(0, 160, n)], policy=TrainAll())
        for n in (16, 8)
    )
    next(iter(first))
    with pytest.raises(ValueError, match=r"batches in the batch_sampler.*10.*20"):
        second.load_state_dict(first.state_dict())
