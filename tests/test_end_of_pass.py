"""A pass is over when its last batch is out, whether or not the loop asked for one more."""

import pytest
import torch

from filterloader import FilteringDataLoader, Random, TrainAll
from tests.conftest import Stream, losses_of, through_a_file
from tests.machines.differences import difference, stop_clocks
from tests.machines.setups import POLICY_NAMES, Setup, policy_of, rows

PASSES = 3


@pytest.fixture(autouse=True)
def still_clocks(monkeypatch, tokenizer):
    monkeypatch.setattr(Setup, "tokenizer", tokenizer)
    stop_clocks(monkeypatch)


def step(loader, batch):
    loss = loader.hook.report(losses_of(batch))
    tensors = {name: value.clone() for name, value in batch.items()}
    return {"batch": tensors, "loss": None if loss is None else float(loss), "consumed": loader.consumed}


def plain(loader):
    """What a ``for`` loop gets of each pass, and where the loader stands after it."""
    passes, after = [], []
    for _ in range(PASSES):
        passes.append([step(loader, batch) for batch in loader])
        after.append([loader.epoch, loader.consumed])
    return passes, after


def counting(loader, counts):
    """The same of a loop that takes as many batches as it counts on, never asks for one more, and begins a pass."""
    passes, after = [], []
    iterator = iter(loader)
    for count in counts:
        passes.append([step(loader, next(iterator)) for _ in range(count)])
        iterator = iter(loader)
        after.append([loader.epoch, loader.consumed])
    return passes, after


def demand_same(make, told):
    by_for, for_after = plain(first := make())
    by_count, count_after = counting(second := make(), [len(batches) for batches in by_for])
    iter(first)  # both have now begun one more pass
    found = [(a, b) for a, b in zip(for_after, count_after, strict=True) if a != b]
    assert not found, (
        f"{told}: [epoch, consumed] after each pass of {[len(p) for p in by_for]} batches\n"
        f"for loop {for_after}\ncounting {count_after}"
    )
    assert (found := difference(by_for, by_count)) is None, f"{told}: for loop | counting: {found}"
    left, right = first.ledger.scalars(), second.ledger.scalars()
    assert (found := difference(left, right)) is None, f"{told}: the ledger of the for loop | counting: {found}"
    left, right = first.policy.state_dict(), second.policy.state_dict()
    assert (found := difference(left, right)) is None, f"{told}: the policy of the for loop | counting: {found}"


EVERY = [
    Setup(source, policy, granularity=granularity, drop_last=drop_last, sampler=sampler)
    for policy in POLICY_NAMES
    for granularity in getattr(policy_of(policy), "granularities", ("example", "batch"))
    for source, sampler, drop_last in (
        ("list", "shuffle, seed", False),
        ("list", "shuffle, seed", True),
        ("arrow", "none", False),
        ("torch stream", "none", False),
        ("arrow stream text", "none", True),
    )
]


@pytest.mark.parametrize("setup", [s for s in EVERY if s.fits()], ids=repr)
def test_a_loop_that_counts_gets_what_a_for_loop_gets(setup):
    demand_same(setup.build, setup)


@pytest.mark.parametrize("setup", [
    Setup(policy="random", workers=2), Setup("arrow", policy="train_all", workers=2, persistent=True),
    Setup("torch stream", policy="random", workers=2), Setup(policy="train_all", collate=True),
    Setup(score=True), Setup(buffer_batches=3, granularity="batch"), Setup("arrow text", features="words"),
], ids=repr)  # fmt: skip
def test_the_same_of_every_chain(setup):
    demand_same(setup.build, setup)


class Counts(Random):
    """Counts the passes that it is told of."""

    def __init__(self, keep=1.0):
        super().__init__(keep, seed=0)
        self.begun = self.ended = 0

    def begin_pass(self):
        self.begun += 1

    def end_pass(self):
        self.ended += 1


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("granularity", ["example", "batch"])
@pytest.mark.parametrize("keep", [1.0, 0.5])
def test_every_pass_has_one_beginning_and_one_end(granularity, keep, drop_last):
    data, policy = rows()[:100], Counts(keep)
    loader = FilteringDataLoader(data, batch_size=16, policy=policy, granularity=granularity, drop_last=drop_last)
    for number in range(4):
        iterator = iter(loader)
        assert (policy.begun, policy.ended, loader.epoch) == (number + 1, number, number)
        for _ in range(len(loader)):
            if next(iterator, None) is None:
                break
    assert loader.progress == 1.0


def test_a_pass_ends_once_however_often_the_loop_asks():
    policy = Counts()
    loader = FilteringDataLoader(rows()[:32], batch_size=8, policy=policy)
    iterator = iter(loader)
    assert sum(1 for _ in iterator) == 4
    for _ in range(3):
        assert next(iterator, None) is None
    assert (policy.ended, loader.epoch, loader.consumed) == (1, 1, 32)
    iter(loader)
    assert (policy.ended, loader.epoch, loader.consumed) == (1, 1, 32)


@pytest.mark.parametrize("policy", ["static_el2n", "dynamic_el2n", "selection_via_proxy", "infobatch"])
def test_policies_that_go_by_passes_see_them(policy):
    """Trainer's loop: ``len(loader)`` batches a pass if there are as many, and no more."""
    loader = Setup(policy=policy).build()
    lengths = []
    for _ in range(4):
        iterator, length = iter(loader), 0
        while length < len(loader) and (batch := next(iterator, None)) is not None:
            loader.hook.report(losses_of(batch))
            length += 1
        lengths.append(length)
    other = Setup(policy=policy).build()
    wanted = [sum(loader_step is not None for loader_step in (step(other, b) for b in other)) for _ in range(4)]
    assert lengths == wanted, f"batches a pass: {lengths}, a for loop {wanted}"
    assert loader.ledger.scalars()["surveyed"] == other.ledger.scalars()["surveyed"]


# -- saved after the last batch ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["for", "twice", "counting"])
@pytest.mark.parametrize("setup", [
    Setup(policy="train_all"), Setup(), Setup(granularity="batch"), Setup("arrow", policy="random", drop_last=True),
    Setup("torch stream"), Setup("arrow stream", policy="train_all"), Setup(policy="static_el2n"),
], ids=repr)  # fmt: skip
def test_a_state_saved_after_the_last_batch(setup, how):
    whole = setup.build()
    first_pass, second_pass = ([step(whole, batch) for batch in whole] for _ in range(2))
    first = setup.build()
    iterator = iter(first)
    got = [step(first, next(iterator)) for _ in first_pass]
    assert difference(first_pass, got) is None
    second = setup.build()
    second.load_state_dict(through_a_file(first.state_dict()))
    if how == "for":
        assert [step(second, batch) for batch in second] == [], "the rest of the pass is not empty"
        assert second.epoch == 1 and second.progress == 1.0
        got = [step(second, batch) for batch in second]
    else:
        iter(second)  # the rest of the pass, which nobody looks at
        assert second.progress == 1.0
        iterator = iter(second)
        assert second.epoch == 1, "the pass that was over when it was saved has not ended"
        count = len(second_pass) if how == "counting" else 10**6
        got = [b for _ in range(count) if (b := next(iterator, None)) is not None and (b := step(second, b))]
    assert (found := difference(second_pass, got)) is None, f"{setup}: {found}"


# -- passes that are broken off ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("setup", [
    Setup(policy="train_all"), Setup(policy="random"), Setup(), Setup(granularity="batch"), Setup(score=True),
    Setup("arrow", policy="random"), Setup("torch stream", policy="random"), Setup("arrow stream", total=True),
    Setup(policy="random", workers=2), Setup(drop_last=True), Setup(granularity="batch", buffer_batches=3),
], ids=repr)  # fmt: skip
def test_a_pass_that_was_broken_off_counts_as_far_as_it_came(setup):
    loader, before, end = setup.build(), 0, None
    for number, stop in enumerate((3, 1, 5, None, 2, None)):
        begin = loader.consumed
        iterator, taken = iter(loader), 0
        assert loader.consumed == begin, f"pass {number}: {begin} consumed before it began, {loader.consumed} after"
        while taken != stop and (batch := next(iterator, None)) is not None:
            loader.hook.report(losses_of(batch), batch)
            taken += 1
            assert before <= loader.consumed <= begin + len(rows()), f"pass {number}, batch {taken}"
            assert 0 <= loader.progress <= 1
            before = loader.consumed
        if stop is None:
            length = loader.consumed - begin
            assert end in (None, length), f"a whole pass counted {end} examples, and now {length}"
            end = length
        else:
            assert loader.consumed == before, "breaking off changed what is consumed"
            assert loader.consumed - begin < len(rows())
    assert loader.epoch == 2


def test_what_is_consumed_of_plain_training_is_what_was_handed_out():
    loader = FilteringDataLoader(rows()[:160], batch_size=8, policy=TrainAll())
    for stop, wanted in ((5, 40), (5, 80), (20, 240), (3, 264)):
        iterator = iter(loader)
        for _ in range(stop):
            next(iterator)
        assert loader.consumed == wanted


@pytest.mark.parametrize("total", [50, 100, 200])
@pytest.mark.parametrize("stop", [5, 7, None])
def test_a_stream_of_another_length_than_was_told(stop, total):
    """What is consumed is what was read, whatever ``total_examples`` says; progress stays in [0, 1]."""
    loader = FilteringDataLoader(Stream(rows()[:100]), batch_size=8, policy=Random(1.0, seed=0), total_examples=total)
    seen, before = 0, 0
    for _ in range(2):
        for i, batch in enumerate(loader, 1):
            seen += len(batch["idx"])
            assert 0 <= loader.progress <= 1
            assert before <= loader.consumed
            before = loader.consumed
            if i == stop:
                break
        if stop is None:
            assert loader.consumed == seen
        assert before <= loader.consumed <= seen + len(rows()[:100])


@pytest.mark.parametrize(
    "setup", [Setup(policy="train_all"), Setup(), Setup("torch stream", policy="random")], ids=repr
)
def test_a_pass_broken_off_at_its_last_batch_is_over(setup):
    """``break`` after the last batch, as a loop with a limit of steps does, and a new iterator."""
    count = sum(1 for _ in setup.build())
    loader = setup.build()
    for number, _ in enumerate(loader, 1):
        if number == count:
            break
    iter(loader)
    assert loader.epoch == 1
    assert loader.consumed in (len(rows()), loader.total_examples)


def test_a_schedule_ends_where_a_counting_loop_ends():
    from filterloader import get_scheduler

    loader = Setup(policy="train_all").build()
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = get_scheduler("linear", optimizer, loader, epochs=2, warmup=0.0)
    rates = []
    for _ in range(2):
        iterator = iter(loader)
        for _ in range(len(loader)):
            next(iterator)
            schedule.step()
            rates.append(optimizer.param_groups[0]["lr"])
    assert rates == sorted(rates, reverse=True) and 0 <= rates[-1] < 0.05
    assert rates[len(loader) - 1] == pytest.approx(0.5, abs=0.01)
