"""The hook: each loss belongs to its batch under any look-ahead, and only sound losses are learnt from."""

from collections import deque

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch.utils.data import DataLoader

from filterloader import AutoThreshold, FilteringDataLoader, FixedThreshold, TrainAll


class Spy(TrainAll):
    """Remembers which example was credited with which loss."""

    gates_backward = True

    def __init__(self):
        self.credited = {}

    def judge(self, candidates, losses):
        if candidates.merged == 1:
            self.credited.update(zip(candidates.positions.tolist(), losses.tolist(), strict=True))
        return super().judge(candidates, losses)


def rows(n):
    return [{"input_ids": [1, i], "label": 0} for i in range(n)]


def spied(n, batch_size=4, **kw):
    spy = Spy()
    return FilteringDataLoader(rows(n), batch_size=batch_size, policy=spy, **kw), spy


def own(batch):
    return batch["input_ids"][:, 1].float()


def with_graph(batch):
    """The same losses as a model would give them: the graph holds the batch."""
    table = torch.zeros(100, 1, requires_grad=True)
    return own(batch) + torch.nn.functional.embedding(batch["input_ids"], table).sum()


def right(spy, reported):
    assert sorted(spy.credited) == sorted(reported)
    assert all(loss == place for place, loss in spy.credited.items())


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
    for batch in loader:  # the last one lives on
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
        loader = FilteringDataLoader(rows(12), batch_size=4, policy=spy, collate_fn=collate)
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
    assert len(loader.hook._awaited) <= 1024


def judged(policy, losses, **kw):
    loader = FilteringDataLoader(rows(len(losses)), batch_size=len(losses), policy=policy, **kw)
    next(iter(loader))
    return loader, loader.hook.report(losses)


def test_the_loss_is_the_mean_of_what_is_kept_and_carries_the_gradient():
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    losses = weight * 1.0
    before = losses.detach().clone()
    _, loss = judged(FixedThreshold(2.5), losses)
    loss.backward()
    assert loss.item() == 3.5 and weight.grad.tolist() == [0, 0, 0.5, 0.5]
    assert torch.equal(losses.detach(), before)


def test_nothing_worth_it_gives_none():
    assert judged(FixedThreshold(9.0), torch.ones(4))[1] is None


def test_a_scalar_report_comes_back_whole_or_not_at_all():
    scalar = torch.tensor(0.5, requires_grad=True) * 1
    assert judged(FixedThreshold(0.1), torch.ones(4))[1] == 1
    for granularity in ("example", "batch"):
        loader = FilteringDataLoader(rows(8), batch_size=4, policy=FixedThreshold(0.4), granularity=granularity)
        batches = iter(loader)
        next(batches)
        assert loader.hook.report(scalar) is scalar
        next(batches)
        assert loader.hook.report(scalar * 0.1) is None


def test_at_batch_granularity_the_mean_decides():
    _, loss = judged(FixedThreshold(2.0), torch.tensor([0.0, 1.0, 3.0, 4.0]), granularity="batch")
    assert float(loss) == 2.0
    assert judged(FixedThreshold(2.1), torch.tensor([0.0, 1.0, 3.0, 4.0]), granularity="batch")[1] is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_any_floating_dtype(dtype):
    loss = judged(FixedThreshold(1.5), torch.tensor([1.0, 2.0, 3.0], dtype=dtype))[1]
    assert loss.dtype == dtype and float(loss) == 2.5


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_neither_learnt_nor_trained_on(bad):
    policy = AutoThreshold(warmup=0)
    with pytest.warns(UserWarning, match="1 reported losses are NaN or infinite"):
        loader, loss = judged(policy, torch.tensor([1.0, bad, 3.0]))
    assert float(loss) == 2.0 and policy.loss_threshold == 2.0
    assert loader.ledger.scalars()["nonfinite"] == 1
    with pytest.warns(UserWarning):
        assert judged(AutoThreshold(), torch.tensor([bad, bad]))[1] is None
    with pytest.warns(UserWarning):
        loader, loss = judged(AutoThreshold(), torch.tensor([1.0, bad, 3.0]), granularity="batch")
    assert float(loss) == 2.0 and loader.policy.loss_threshold == 2.0


def test_a_scalar_that_is_not_finite():
    loader = FilteringDataLoader(rows(4), batch_size=4, policy=AutoThreshold())
    next(iter(loader))
    with pytest.warns(UserWarning):
        assert loader.hook.report(torch.tensor(float("nan"))) is None
    assert loader.policy.loss_threshold is None


@pytest.mark.parametrize(
    "losses, error, message",
    [
        (torch.ones(3), ValueError, "3 losses were reported for batch 0, which has 4 examples"),
        (torch.ones(4, 1), ValueError, r"shape \[4, 1\].*shape \[4\]"),
        (torch.ones(4, 7), ValueError, "token losses"),
        (torch.tensor([1.0, -0.5, 1, 1]), ValueError, "negative, got -0.5"),
        (torch.tensor(-2.0), ValueError, "negative, got -2"),
        (torch.ones(0), ValueError, "empty"),
        (torch.ones(4, dtype=torch.int64), TypeError, "int64"),
        (0.5, TypeError, "float.*not loss.item"),
        (np.ones(4), TypeError, "ndarray"),
        (None, TypeError, "NoneType"),
    ],
)
def test_bad_reports_say_so_and_change_nothing(losses, error, message):
    loader, spy = spied(4)
    (batch,) = list(loader)
    with pytest.raises(error, match=message):
        loader.hook.report(losses)
    loader.hook.report(own(batch))
    right(spy, range(4))


def test_rounding_below_zero_is_tolerated():
    assert float(judged(FixedThreshold(0.0), torch.tensor([-1e-7, 1.0]))[1]) == pytest.approx(0.5)


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


def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Embedding(60, 8), torch.nn.Flatten(), torch.nn.Linear(16, 2))


def per_example(net, batch):
    return torch.nn.functional.cross_entropy(net(batch["input_ids"]).float(), batch["labels"], reduction="none")


def test_training_on_all_equals_a_plain_loop():
    plain, hooked = model(), model()
    loader = FilteringDataLoader(rows(40), batch_size=4, policy=TrainAll())
    for net, batches, report in ((plain, DataLoader(rows(40), batch_size=4, collate_fn=stack), torch.mean), (hooked, loader, loader.hook.report)):
        optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
        for batch in batches:
            report(per_example(net, batch)).backward()
            optimizer.step()
            optimizer.zero_grad()
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), hooked.parameters(), strict=True))


def stack(batch):
    return {"input_ids": torch.tensor([row["input_ids"] for row in batch]), "labels": torch.tensor([row["label"] for row in batch])}


def test_accumulation_with_skipped_batches_steps_only_on_gradients():
    net = model()
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    loader = FilteringDataLoader(rows(48), batch_size=4, policy=FixedThreshold(0.6))
    kept = steps = 0
    for batch in loader:
        loss = loader.hook.report(per_example(net, batch))
        if loss is None:
            continue
        (loss / 2).backward()
        kept += 1
        if kept % 2 == 0:
            optimizer.step()
            optimizer.zero_grad()
            steps += 1
    assert 0 < kept < 12 and steps == kept // 2


def test_autocast_and_a_scaler_skip_together():
    net = model()
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.5)
    scaler = torch.amp.GradScaler("cpu")
    loader = FilteringDataLoader(rows(60), batch_size=4, policy=FixedThreshold(0.4))
    skipped = 0
    for batch in loader:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            losses = torch.nn.functional.cross_entropy(net(batch["input_ids"]), batch["labels"], reduction="none")
        loss = loader.hook.report(losses)
        if loss is None:
            skipped += 1
            continue
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
    assert 0 < skipped < 15 and all(p.isfinite().all() for p in net.parameters())


def test_an_unbatched_row_takes_a_report_of_any_length(tokenizer):
    loader = FilteringDataLoader([torch.ones(3, 2), torch.ones(5, 2)], batch_size=None, policy=FixedThreshold(1.0))
    for batch, mean in zip(loader, (1.5, None), strict=True):
        loss = loader.hook.report(torch.full((len(batch),), 1.5 if mean else 0.5))
        assert loss is None if mean is None else float(loss) == mean
