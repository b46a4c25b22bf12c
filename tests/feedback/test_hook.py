"""The hook: the loss it gives back is the mean of what is kept, and only sound losses are learnt from."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from filterloader import AutoThreshold, FilteringDataLoader, FixedThreshold, TrainAll
from tests.conftest import numbered, own, right, spied, stack


def judged(policy, losses, **kw):
    loader = FilteringDataLoader(numbered(len(losses)), batch_size=len(losses), policy=policy, **kw)
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
        loader = FilteringDataLoader(numbered(8), batch_size=4, policy=FixedThreshold(0.4), granularity=granularity)
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
    with pytest.warns(UserWarning, match="2 reported losses are NaN or infinite"):
        assert judged(AutoThreshold(), torch.tensor([bad, bad]))[1] is None
    with pytest.warns(UserWarning, match="1 reported losses are NaN or infinite"):
        loader, loss = judged(AutoThreshold(), torch.tensor([1.0, bad, 3.0]), granularity="batch")
    assert float(loss) == 2.0 and loader.policy.loss_threshold == 2.0


def test_a_scalar_that_is_not_finite():
    loader = FilteringDataLoader(numbered(4), batch_size=4, policy=AutoThreshold())
    next(iter(loader))
    with pytest.warns(UserWarning, match="NaN or infinite"):
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


def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Embedding(60, 8), torch.nn.Flatten(), torch.nn.Linear(16, 2))


def per_example(net, batch):
    return torch.nn.functional.cross_entropy(net(batch["input_ids"]).float(), batch["labels"], reduction="none")


def test_training_on_all_equals_a_plain_loop():
    plain, hooked = model(), model()
    loader = FilteringDataLoader(numbered(40), batch_size=4, policy=TrainAll())
    for net, batches, report in (
        (plain, DataLoader(numbered(40), batch_size=4, collate_fn=stack), torch.mean),
        (hooked, loader, loader.hook.report),
    ):
        optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
        for batch in batches:
            report(per_example(net, batch)).backward()
            optimizer.step()
            optimizer.zero_grad()
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), hooked.parameters(), strict=True))


def test_accumulation_with_skipped_batches_steps_only_on_gradients():
    net = model()
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    loader = FilteringDataLoader(numbered(48), batch_size=4, policy=FixedThreshold(0.6))
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
    loader = FilteringDataLoader(numbered(60), batch_size=4, policy=FixedThreshold(0.4))
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
