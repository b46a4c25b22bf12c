"""LossHook on a GPU: what waits for it in each stage, and losses that are learnt from when they have arrived."""

import warnings
from itertools import islice

import pytest
import torch

from filterloader import AutoThreshold, FilteringDataLoader, FixedThreshold, ThreeStage, TrainAll
from filterloader.feedback import report as module
from tests.conftest import losses_of, same, sentences, train
from tests.test_resume import through_a_file


class Event:
    """An event that has not happened until somebody waits for it."""

    waited = 0

    def __init__(self):
        self.there = False

    def query(self):
        return self.there

    def synchronize(self):
        self.there = True
        Event.waited += 1


@pytest.fixture
def away(monkeypatch):
    """Reports as if their losses lay on a GPU that is far behind."""
    monkeypatch.setattr(torch.Tensor, "is_cuda", True, raising=False)
    monkeypatch.setattr(module, "_copying", lambda losses: (losses.clone(), Event()))
    monkeypatch.setattr(Event, "waited", 0)


def forward_only(tokenizer, **how):
    policy = ThreeStage(warmup=100, backward_gate=False, alt=100.0)
    return FilteringDataLoader(sentences(2000), tokenizer=tokenizer, batch_size=16, policy=policy, seed=0, **how)


def test_eight_reports_may_be_on_their_way(tokenizer, away):
    loader = forward_only(tokenizer)
    iterator = iter(loader)
    for step in range(20):
        batch = next(iterator)
        assert Event.waited == max(step - 8, 0)
        loss = loader.hook.report(losses_of(batch))
        assert torch.equal(loss, losses_of(batch).mean())
        assert loader.ledger.scalars()["reports"] == max(step - 7, 0)
    for batch in iterator:
        loader.hook.report(losses_of(batch))
    scalars = loader.ledger.scalars()
    assert scalars["reports"] == scalars["batches"] == Event.waited and loader.policy.stage == "filter"
    assert scalars["screened_out"] > 500 and scalars["backwarded"] == scalars["forwarded"]


@pytest.mark.parametrize("stop", [3, 12, 40])
def test_losses_on_their_way_are_part_of_a_state(tokenizer, away, stop):
    ref = train(forward_only(tokenizer))
    first = forward_only(tokenizer)
    out = train(first, stop)
    state = through_a_file(first.state_dict())
    assert len(state["hook"]["arriving"]) == min(stop, 8)
    second = forward_only(tokenizer)
    second.load_state_dict(state)
    same(ref, out + train(second))
    third = forward_only(tokenizer)
    same(ref, train(third, 5, iterator := iter(third)) + (third.state_dict() and train(third, None, iterator)))


def test_a_decision_learns_from_all_before_it_first(tokenizer, away):
    loader = FilteringDataLoader(
        sentences(2000), tokenizer=tokenizer, batch_size=16, policy=ThreeStage(warmup=64), seed=0
    )
    iterator = iter(loader)
    for _ in range(12):
        assert loader.policy.stage == "warm-up"
        loader.hook.report(losses_of(next(iterator)))
    assert loader.policy.stage == "fit" and len(loader.hook._arriving) == 8
    loader.hook.report(losses_of(next(iterator)))
    assert not loader.hook._arriving and loader.ledger.scalars()["reports"] == 13


def test_scalar_reports_travel_too(tokenizer, away):
    loader = forward_only(tokenizer)
    for batch in islice(loader, 10):
        loader.hook.report(losses_of(batch).mean())
    comp = forward_only(tokenizer)
    comp.load_state_dict(through_a_file(loader.state_dict()))
    assert [float(a.arrived()) for a in comp.hook._arriving] == [float(a.arrived()) for a in loader.hook._arriving]


# -- with a GPU --------------------------------------------------------------------------------------------------------


class Waits:
    """How often the CPU waited for the GPU: what torch counts as a synchronising operation, and events waited for."""

    def __init__(self, monkeypatch):
        self.events = 0
        synchronize = torch.cuda.Event.synchronize

        def counted(event):
            self.events += 1
            synchronize(event)

        monkeypatch.setattr(torch.cuda.Event, "synchronize", counted)

    def of(self, call):
        """What ``call`` returned, and its waits."""
        before = self.events
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                out = call()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return out, self.events - before + sum("synchronizing CUDA operation" in str(one.message) for one in told)


def on_gpu(batch, dtype=torch.float32):
    return losses_of(batch).to(dtype).pin_memory().to("cuda", non_blocking=True)


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("granularity", ["example", "batch"])
def test_waits_a_step_in_each_stage(tokenizer, monkeypatch, granularity, dtype):
    policy = ThreeStage(warmup=320, alt=100.0)
    loader = FilteringDataLoader(
        sentences(4000), tokenizer=tokenizer, batch_size=16, policy=policy, granularity=granularity, seed=0
    )
    waits, found, iterator = Waits(monkeypatch), {}, iter(loader)
    while True:
        gated, stage = policy.gates_backward, policy.stage
        batch, fetching = waits.of(lambda: next(iterator, None))
        if batch is None:
            break
        losses = on_gpu(batch, dtype)
        torch.cuda.synchronize()
        _, reporting = waits.of(lambda losses=losses, batch=batch: loader.hook.report(losses, batch))
        torch.cuda.synchronize()
        if gated == policy.gates_backward and stage == policy.stage:
            found.setdefault(stage, set()).add((reporting, fetching))
    assert found == {"warm-up": {(0, 0)}, "fit": {(1, 0)}, "filter": {(1, 0)}}


@pytest.mark.cuda
@pytest.mark.parametrize(
    "policy",
    [lambda: ThreeStage(warmup=320, alt=100.0, backward_gate=False), TrainAll, lambda: AutoThreshold(warmup=10_000)],
)
def test_without_a_backward_gate_nothing_waits_though_the_gpu_is_behind(tokenizer, monkeypatch, policy):
    loader = FilteringDataLoader(sentences(4000), tokenizer=tokenizer, batch_size=16, policy=policy(), seed=0)
    waits, iterator = Waits(monkeypatch), iter(loader)
    for _ in range(60):
        loader.hook.report(on_gpu(batch := next(iterator)), batch)
        torch.cuda.synchronize()
    assert not isinstance(loader.policy, ThreeStage) or loader.policy.stage == "filter"
    big = torch.randn(4096, 4096, device="cuda")
    for _ in range(6):
        batch, fetching = waits.of(lambda: next(iterator))
        losses = on_gpu(batch)
        for _ in range(20):
            big = (big @ big).clamp(-1, 1)
        losses = losses + 0 * big.sum()
        done = torch.cuda.Event()
        done.record()
        _, reporting = waits.of(lambda losses=losses, batch=batch: loader.hook.report(losses, batch))
        assert (reporting, fetching) == (0, 0) and not done.query()


@pytest.mark.cuda
@pytest.mark.parametrize("gated", [False, True])
def test_on_cuda_only_a_decision_waits(gated):
    rows = [{"input_ids": [4 + i % 50, 5], "label": 0} for i in range(400)]
    loader = FilteringDataLoader(
        rows, batch_size=8, policy=FixedThreshold(0.5) if gated else AutoThreshold(warmup=10_000)
    )
    big = torch.randn(4096, 4096, device="cuda")
    waited = 0
    for batch in loader:
        for _ in range(20):
            big = (big @ big).clamp(-1, 1)
        losses = losses_of(batch).cuda() + 0 * big.sum()
        done = torch.cuda.Event()
        done.record()
        loader.hook.report(losses)
        waited += done.query()
    assert waited == 50 if gated else waited < 25
    assert loader.ledger.scalars()["reports"] == 50
    assert gated or loader.policy.loss_threshold is not None


@pytest.mark.cuda
def test_what_is_learnt_on_a_gpu_is_what_would_be_learnt_on_the_cpu(tokenizer):
    def run(device):
        loader = FilteringDataLoader(
            sentences(2000), tokenizer=tokenizer, batch_size=16, policy=ThreeStage(warmup=0, alt=100.0), seed=0
        )
        kept = []
        for batch in loader:
            loss = loader.hook.report(losses_of(batch).to(device), batch)
            kept.append((batch["input_ids"].tolist(), None if loss is None else round(float(loss), 4)))
        return kept

    ref, comp = run("cpu"), run("cuda")
    assert len(ref) == len(comp) and all(a == b for a, b in zip(ref, comp, strict=True))


def test_what_went_back_before_its_losses_arrived_is_booked_as_backwarded(tokenizer, away):
    loader, ran = (
        FilteringDataLoader(
            sentences(800), tokenizer=tokenizer, batch_size=16, policy=AutoThreshold(warmup=160), seed=0
        ),
        0,
    )
    for batch in loader:
        warming, losses = loader.policy.stage == "warm-up", losses_of(batch)
        loss = loader.hook.report(losses)
        if warming or loss is None:
            ran += len(losses) * warming
            continue
        kept = [kept for kept in (losses >= cut for cut in losses.unique()) if torch.isclose(losses[kept].mean(), loss)]
        ran += int(kept[0].sum())
    assert loader.ledger.scalars()["backwarded"] == ran
