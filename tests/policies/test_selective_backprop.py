"""SelectiveBackprop: the share it keeps and by which rank, its window and warm-up, dense batches with a score_fn."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from filterloader import FilteringDataLoader, SelectiveBackprop
from filterloader.data.candidates import Candidates
from tests.conftest import losses_of, same, sentences, through_a_file, train


def judged(policy, losses, size=32, total=None):
    """What is trained on of a stream of losses, bool ``[n]``."""
    losses = np.asarray(losses, np.float32)
    said = []
    for at in range(0, losses.size, size):
        part = losses[at : at + size]
        said.append(policy.judge(Candidates(part.size).placed(at, None, total), part) > 0)
    return np.concatenate(said)


DRAWS = {
    "exponential": lambda rng, n: rng.exponential(1.0, n),
    "two kinds": lambda rng, n: np.where(rng.random(n) < 0.7, 0.01, 2.0),
    "all equal": lambda rng, n: np.full(n, 0.5),
    "heavy tail": lambda rng, n: rng.pareto(1.0, n),
}


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("beta", [0, 0.5, 1, 2, 3])
def test_the_share_kept_is_one_over_beta_and_one(beta, draw):
    losses = DRAWS[draw](np.random.default_rng(1), 20_000)
    policy = SelectiveBackprop(beta=beta, seed=0)
    kept = judged(policy, losses)
    assert kept.mean() == pytest.approx(1 / (beta + 1), abs=0.012)
    assert policy.scalars()["selectivity"] == kept.mean()


def test_by_default_a_third_is_kept():
    assert judged(SelectiveBackprop(seed=0), np.random.default_rng(1).random(20_000)).mean() == pytest.approx(
        1 / 3, abs=0.01
    )


@pytest.mark.parametrize("size", [1, 4, 32])
def test_the_share_is_kept_from_the_first_batch_on(size):
    rng = np.random.default_rng(2)
    kept = [
        judged(SelectiveBackprop(seed=seed), rng.exponential(1.0, size), size).mean() for seed in range(3000 // size)
    ]
    assert np.mean(kept) == pytest.approx(1 / 3, abs=0.04)


@pytest.mark.parametrize("beta", [1, 2, 3])
def test_the_chance_is_the_rank_to_the_power_of_beta(beta):
    ranks = np.random.default_rng(3).random(60_000)
    kept = judged(SelectiveBackprop(beta=beta, seed=0), -np.log1p(-ranks))  # any increasing function of the rank
    which = np.minimum((ranks * 10).astype(int), 9)
    comp = np.bincount(which, kept) / np.bincount(which)
    edges = np.linspace(0, 1, 11)
    ref = 10 * np.diff(edges ** (beta + 1)) / (beta + 1)
    np.testing.assert_allclose(comp, ref, atol=0.03)


def test_the_chance_against_the_formula_one_by_one():
    """A full window of known losses, one more loss: (those below + its place among itself) / window, squared."""
    window = np.arange(99, dtype=np.float32)
    for loss, below, equal in ((49.5, 50, 1), (9.5, 10, 1), (120.0, 99, 1), (50.0, 50, 2), (-0.0, 0, 2)):
        policy = SelectiveBackprop(window=100, seed=0)
        state, often = policy.state_dict(), 0
        for _ in range(4000):
            policy.load_state_dict({**state, "recent": window, "rng": policy.state_dict()["rng"]})
            often += policy.judge(Candidates(1).placed(0, None, None), np.array([loss], np.float32))[0]
        low, high = below / 100, (below + equal) / 100
        assert often / 4000 == pytest.approx((high**3 - low**3) / (3 * (high - low)), abs=0.03)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1e6, width=32), min_size=1, max_size=300), st.integers(1, 64), st.integers(1, 100))
def test_the_window_holds_the_last_losses(losses, window, size):
    policy = SelectiveBackprop(window=window, seed=0)
    judged(policy, losses, size)
    ref = np.array(losses, np.float32)[-window:]
    np.testing.assert_array_equal(policy.state_dict()["recent"], ref)
    assert policy.scalars()["median_loss"] == pytest.approx(float(np.median(ref)))


def test_a_batch_larger_than_the_window_is_ranked_among_itself():
    losses = np.random.default_rng(4).random(30_000)
    assert judged(SelectiveBackprop(window=8, seed=0), losses, size=1000).mean() == pytest.approx(1 / 3, abs=0.01)


def test_falling_losses_are_judged_by_the_recent_ones():
    rng = np.random.default_rng(5)
    losses = np.concatenate([rng.exponential(5.0, 4096), rng.exponential(0.05, 4096)])
    kept = judged(SelectiveBackprop(window=1024, seed=0), losses)
    assert kept[4096:4600].mean() < 0.1  # easy beside what was
    assert kept[-2048:].mean() == pytest.approx(1 / 3, abs=0.03)


@pytest.mark.parametrize(
    "warmup, total, length",
    [(0.0, 3200, 0), (500, None, 512), (0.25, 3200, 800), (None, None, 1024), (1.0, 3200, 3200)],
)
def test_the_warm_up_trains_on_everything(warmup, total, length):
    policy = SelectiveBackprop(warmup=warmup, seed=0)
    losses = np.random.default_rng(6).random(6400)
    for at in range(0, 6400, 32):
        assert policy.gates_backward == (at >= length) == (policy.stage == "select")
        kept = judged(policy, losses[at : at + 32], total=total)
        assert kept.all() == (at < length)
    assert policy.scalars()["selectivity"] == pytest.approx(1 / 3, abs=0.03)


def test_it_never_drops_before_the_forward_pass():
    assert SelectiveBackprop().screen(Candidates(5)).tolist() == [1] * 5


def test_scalars_before_anything():
    assert all(np.isnan(value) for value in SelectiveBackprop().scalars().values())


def test_a_refused_state_changes_nothing():
    policy = SelectiveBackprop(seed=0)
    judged(policy, np.random.default_rng(0).random(100))
    before = policy.state_dict()
    for state in ({**before, "settings": "SelectiveBackprop(beta=9.0)"}, {**before, "recent": "none"}):
        with pytest.raises(ValueError, match=r"beta=9.0|could not convert"):
            policy.load_state_dict(state)
        np.testing.assert_equal(policy.state_dict(), before)


def build(tokenizer, n=1600, **kw):
    kw = {"batch_size": 16, "shuffle": True, "seed": 7, "policy": SelectiveBackprop(), **kw}
    return FilteringDataLoader(sentences(n), tokenizer=tokenizer, **kw)


def test_without_a_score_function_examples_leave_the_mean_of_whole_batches(tokenizer):
    loader, kept = build(tokenizer), 0
    for batch in loader:
        losses = losses_of(batch).requires_grad_()
        assert len(losses) == 16
        loss = loader.hook.report(losses)
        if loss is not None:
            loss.backward()
            chosen = losses.grad > 0
            torch.testing.assert_close(loss, losses[chosen].mean())
            kept += int(chosen.sum())
    scalars = loader.ledger.scalars()
    assert scalars["backwarded"] == kept == pytest.approx(1600 / 3, abs=60) and scalars["forwarded"] == 1600
    assert scalars["examples_run_back"] > 1500  # it saves nothing


def test_with_a_score_function_what_is_kept_leaves_in_dense_batches(tokenizer):
    scored = []

    def score(batch):
        scored.append(len(batch["labels"]))
        assert not torch.is_grad_enabled()
        return losses_of(batch)

    loader, sizes, high = build(tokenizer, score_fn=score), [], []
    for batch in loader:
        losses = losses_of(batch)
        sizes.append(len(losses))
        high += (losses > 1).tolist()
        torch.testing.assert_close(loader.hook.report(losses), losses.mean())  # all of it, judged once
    assert set(sizes[:-1]) == {16} and sum(scored) == 1600
    assert sum(sizes) == pytest.approx(1600 / 3, abs=60) and np.mean(high) > 0.55
    scalars = loader.ledger.scalars()
    assert scalars["scored_out"] == 1600 - sum(sizes) and scalars["selectivity"] == sum(sizes) / 1600


def test_scores_that_are_not_finite_are_counted_among_what_is_scored_out(tokenizer):
    def score(batch):
        losses = losses_of(batch)
        losses[0] = float("nan")
        return losses

    loader = build(tokenizer, score_fn=score)
    with pytest.warns(UserWarning, match="NaN or infinite"):
        kept = sum(len(batch["labels"]) for batch in loader)
    scalars = loader.ledger.scalars()
    assert scalars["nonfinite"] >= 100 and scalars["scored_out"] + kept == 1600


def test_the_warm_up_scores_nothing(tokenizer):
    scored = []

    def score(batch):
        scored.append(len(batch["labels"]))
        return losses_of(batch)

    loader = build(tokenizer, score_fn=score, policy=SelectiveBackprop(warmup=1.0), buffer_batches=1)
    first = train(loader)
    assert sum(len(batch["labels"]) for batch, _ in first) == 1600 and sum(scored) < 200
    second = train(loader)
    assert sum(len(batch["labels"]) for batch, _ in second) == pytest.approx(1600 / 3, abs=80)


@pytest.mark.parametrize("stop", [3, 20])
def test_with_a_score_function_it_resumes_from_a_file(tokenizer, stop):
    def make():
        return build(tokenizer, score_fn=losses_of, policy=SelectiveBackprop(warmup=100))

    ref = train(make())
    first = make()
    out = train(first, stop)
    second = make()
    second.load_state_dict(through_a_file(first.state_dict()))
    same(ref, out + train(second))


def test_it_is_not_told_that_it_drops_nothing_before_the_forward_pass(tokenizer):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(build(tokenizer, 5000, batch_size=64))
