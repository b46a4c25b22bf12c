"""Pairing: each loss belongs to its batch, by order under any look-ahead, or by id."""

from collections import deque

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from filterloader import FilteringDataLoader
from tests.conftest import Spy, numbered, own, right, spied, stack


def with_graph(batch):
    """The same losses as a model would give them: the graph holds the batch."""
    table = torch.zeros(100, 1, requires_grad=True)
    return own(batch) + torch.nn.functional.embedding(batch["input_ids"], table).sum()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("ahead", [0, 1, 2, 7, 30])
def test_pairs_by_order_under_any_look_ahead(ahead, workers):
    loader, spy = spied(100, num_workers=workers)
    for _ in range(2):
        spy.credited.clear()
        fetched, iterator = deque(), iter(loader)
        while True:
            while len(fetched) <= ahead and (batch := next(iterator, None)) is not None:
                fetched.append(batch)
            if not fetched:
                break
            batch = fetched.popleft()
            loader.hook.report(own(batch))
        right(spy, range(100))


@pytest.mark.parametrize("ahead", [0, 2, 5])
def test_pairs_by_order_when_only_the_losses_are_kept(ahead):
    loader, spy = spied(40)
    losses = deque()
    for batch in loader:
        losses.append(own(batch))
        if len(losses) > ahead:
            loader.hook.report(losses.popleft())
    while losses:
        loader.hook.report(losses.popleft())
    right(spy, range(40))


def test_skipping_several_from_the_first_with_a_real_graph():
    loader, spy = spied(40)
    for i, batch in enumerate(loader):
        if i % 4 == 3:
            loader.hook.report(with_graph(batch))
    right(spy, [place for place in range(40) if place // 4 % 4 == 3])


def test_pairs_by_order_in_groups_as_accumulating_trainers_fetch():
    loader, spy = spied(96)
    iterator = iter(loader)
    while group := [batch for _ in range(5) if (batch := next(iterator, None)) is not None]:
        for batch in group:
            loader.hook.report(own(batch))
    right(spy, range(96))


@pytest.mark.parametrize("skip", [lambda i: i == 0, lambda i: i % 3 == 0, lambda i: i in (5, 6, 7), lambda i: i > 3])
def test_a_batch_never_reported_is_legal(skip):
    loader, spy = spied(80)
    expected = []
    for i, batch in enumerate(loader):
        if skip(i):
            continue
        expected += own(batch).int().tolist()
        loader.hook.report(own(batch))
    right(spy, expected)
    assert loader.ledger.scalars()["unreported"] <= 20


def test_an_unreported_batch_under_look_ahead():
    loader, spy = spied(80)
    expected, fetched, iterator, i = [], deque(), iter(loader), 0
    while True:
        while len(fetched) <= 3 and (batch := next(iterator, None)) is not None:
            fetched.append(batch)
        if not fetched:
            break
        batch = fetched.popleft()
        i += 1
        if i in (1, 2, 9):
            continue
        expected += own(batch).int().tolist()
        loader.hook.report(with_graph(batch))
    right(spy, expected)


def test_a_peek_before_training_changes_nothing():
    loader, spy = spied(40)
    next(iter(loader))
    for batch in loader:
        loader.hook.report(own(batch))
    right(spy, range(40))


def test_a_whole_pass_without_reports_changes_nothing():
    loader, spy = spied(62)
    for _batch in loader:  # the last one lives on
        pass
    for _ in range(2):
        spy.credited.clear()
        for batch in loader:
            loader.hook.report(with_graph(batch))
        right(spy, range(62))


def test_a_batch_that_is_kept_but_not_reported():
    loader, spy = spied(80)
    kept, expected = [], []
    for i, batch in enumerate(loader):
        if i in (6, 11):
            kept.append(batch)
            continue
        expected += own(batch).int().tolist()
        loader.hook.report(with_graph(batch))
    right(spy, expected)


def test_a_batch_of_any_kind_says_itself_which_it_is():
    class Odd(dict):
        pass

    for collate in (lambda rows: Odd(stack(rows)), lambda rows: tuple(stack(rows).values())):
        spy = Spy()
        loader = FilteringDataLoader(numbered(12), batch_size=4, policy=spy, collate_fn=collate)
        for batch in list(loader)[::-1]:
            ids = batch["input_ids"] if isinstance(batch, dict) else batch[0]
            loader.hook.report(ids[:, 1].float(), batch)
        right(spy, range(12))


def test_a_first_batch_passed_over_is_said():
    loader, _ = spied(12)
    batches = iter(loader)
    next(batches)
    batch = next(batches)
    with pytest.warns(UserWarning, match="taken to be that of batch 1.*report\\(losses, batch\\)"):
        loader.hook.report(own(batch))


def test_pairs_by_id_in_any_order():
    loader, spy = spied(60)
    batches = list(loader)
    for batch in batches[::-2]:
        loader.hook.report(own(batch), batch_id=batch.batch_id)
    for batch in batches[1::2]:
        loader.hook.report(own(batch), batch)
    right(spy, range(60))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["fetch", "report", "skip"]), max_size=60))
def test_any_interleaving_by_id_is_credited_right(moves):
    loader, spy = spied(64)
    iterator, waiting = iter(loader), []
    for move in moves:
        if move == "fetch":
            batch = next(iterator, None)
            waiting += [] if batch is None else [batch]
        elif waiting:
            batch = waiting.pop(len(waiting) // 2)
            if move == "report":
                loader.hook.report(own(batch), batch)
    assert all(loss == place for place, loss in spy.credited.items())


def test_a_loop_that_never_reports_forgets_old_batches():
    loader, _ = spied(5000, batch_size=2)
    for _ in loader:
        pass
    assert len(loader.hook.pairing) <= 1024


def test_a_report_without_a_batch():
    loader, _ = spied(4)
    with pytest.raises(ValueError, match="no batch waits"):
        loader.hook.report(torch.ones(4))
    batch = next(iter(loader))
    loader.hook.report(own(batch))
    with pytest.raises(ValueError, match="no batch waits"):
        loader.hook.report(own(batch))


def test_a_wrong_batch_id():
    loader, _ = spied(8)
    batches = list(loader)
    loader.hook.report(own(batches[0]), batches[0])
    for wrong in (batches[0], 99, "first"):
        with pytest.raises(ValueError, match="waiting: 1 to 1"):
            loader.hook.report(own(batches[0]), wrong)
