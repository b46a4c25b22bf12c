"""AutoAssist: its recursions against plain NumPy, its chances against the formula, its two warm-ups, its food."""

import numpy as np
import pytest

from filterloader import AutoAssist, FilteringDataLoader
from filterloader.data.candidates import Candidates
from tests.conftest import losses_of, sentences, train
from tests.naive import dense
from tests.zoo import WORDS, block


class Reference:
    """The source's words, one dense row at a time: W over words, U over labels."""

    def __init__(self, lr, l2):
        self.lr, self.l2, self.w, self.u = lr, l2, np.zeros(WORDS), np.zeros(2)
        self.s = self.n = self.confidence = 0.0

    def chance(self, candidates):
        x = dense(candidates.bag.ids, candidates.bag.offsets, WORDS)
        return 1 / (1 + np.exp(-(x @ self.w + self.u[candidates.labels])))

    def learn(self, candidates, losses):
        size = len(losses)
        self.s = 0.75 * self.s + 0.25 * float(losses.sum(dtype=np.float64))
        self.n = 0.75 * self.n + 0.25 * size
        target = losses > self.s / self.n
        p = self.chance(candidates)
        self.confidence = 0.95 * self.confidence + 0.05 * np.mean((p > 0.5) == target)
        x, y = dense(candidates.bag.ids, candidates.bag.offsets, WORDS), np.eye(2)[candidates.labels]
        self.w = self.w - self.lr / size * ((p - target) @ x + self.l2 * self.w)
        self.u = self.u - self.lr / size * ((p - target) @ y + self.l2 * self.u)


def begun(**settings):
    """A policy in its second pass."""
    policy = AutoAssist(**settings)
    policy.load_state_dict({**policy.state_dict(), "passes": 1})
    return policy


@pytest.mark.parametrize("lr, l2", [(0.01, 1e-3), (1.0, 0.05)])
def test_the_recursions_are_those_of_the_source(lr, l2):
    policy, ref = AutoAssist(warmup="paper", lr=lr, l2=l2, seed=0), Reference(lr, l2)
    for i in range(60):
        candidates, losses = block(i, 1 + i % 20)
        assert policy.judge(candidates, losses).tolist() == [1] * len(losses)
        ref.learn(candidates, losses)
        coef = policy._assistant.coef_
        np.testing.assert_allclose(coef[:WORDS], ref.w, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(coef[WORDS : WORDS + 2], ref.u, rtol=1e-9, atol=1e-12)
        assert policy.scalars()["confidence"] == pytest.approx(ref.confidence)
        assert policy.loss_threshold == pytest.approx(ref.s / ref.n)
    assert not coef[WORDS + 2 :].any()


@pytest.mark.parametrize("gamma, warmup", [(0.3, "paper"), (0.0, "paper"), (0.5, "text"), (0.9, "text")])
def test_the_chance_is_the_floor_and_a_share_of_the_rest(gamma, warmup):
    policy, ref = begun(gamma=gamma, warmup=warmup, lr=1.0, seed=0), Reference(1.0, 1e-3)
    for i in range(15):
        policy.judge(*block(i))
        ref.learn(*block(i))
    floor = gamma if warmup == "paper" else max(gamma, 1 - ref.confidence)
    assert policy.floor == pytest.approx(floor)
    candidates, _ = block(99, 40)
    often = np.mean([policy.screen(candidates) for _ in range(4000)], axis=0)
    chance = floor + (1 - floor) * ref.chance(candidates)
    np.testing.assert_allclose(often, chance, atol=4 * 0.5 / np.sqrt(4000))
    assert np.ptp(chance) > 0.3 * (1 - floor)


def test_the_text_variant_keeps_the_first_pass_whole():
    policy = AutoAssist(seed=0)
    for begins in (True, False):
        if begins:
            policy.begin_pass()
        for i in range(30):
            candidates, losses = block(i)
            assert policy.stage == "warm-up" and policy.floor == 1.0
            assert policy.screen(candidates).all()
            policy.judge(candidates, losses)
    policy.begin_pass()
    assert policy.stage == "filter" and policy.floor < 1.0
    assert not np.concatenate([policy.screen(block(i)[0]) for i in range(10)]).all()


def test_the_paper_filters_from_the_first_candidate_on():
    policy = AutoAssist(warmup="paper", gamma=0.3, seed=0)
    policy.begin_pass()
    kept = np.concatenate([policy.screen(block(i, 100)[0]) for i in range(50)])
    assert policy.stage == "filter" and kept.mean() == pytest.approx(0.3 + 0.7 * 0.5, abs=0.03)


def test_an_unsure_assistant_skips_little_and_a_sure_one_skips_down_to_gamma():
    policy = begun(lr=1.0, seed=0)
    assert policy.floor == 1.0
    floors = []
    for i in range(150):
        policy.judge(*block(i))
        floors.append(policy.floor)
    assert floors[0] >= 0.95 and floors[-1] == 0.5
    hard = np.array([True, False] * 200)
    candidates, _ = block(500, 400, hard=hard)
    kept = policy.screen(candidates) > 0
    assert kept[hard].mean() > 0.9 and kept[~hard].mean() == pytest.approx(0.5, abs=0.12)


def test_it_learns_from_reports_only():
    policy = AutoAssist(warmup="paper", seed=0)
    policy.judge(*block(0))
    before = policy.state_dict()
    for i in range(20):
        policy.screen(block(i)[0])
    after = policy.state_dict()
    for name in ("assistant", "losses", "confidence"):
        np.testing.assert_equal(after[name], before[name])


def test_the_label_tells_where_the_words_do_not():
    policy, rng = begun(lr=0.5, seed=0), np.random.default_rng(0)
    for i in range(200):
        candidates, _ = block(i, hard=np.zeros(16, bool))
        policy.judge(candidates, (candidates.labels + 0.1 * rng.random(16)).astype(np.float32))
    coef = policy._assistant.coef_
    assert coef[WORDS + 1] - coef[WORDS] > 1.0


@pytest.mark.parametrize("labels", [np.array([-1, 4095, -1]), np.array([2**40 - 1, 4095, 8191])])
def test_any_whole_number_is_a_label(labels):
    policy = AutoAssist(warmup="paper")
    candidates, _ = block(0, 3)
    candidates.labels = labels
    policy.judge(candidates, np.array([0.1, 0.1, 2.0], np.float32))
    assert np.flatnonzero(policy._assistant.coef_[WORDS:]).tolist() == [4095]


@pytest.mark.parametrize("granularity", ["example", "batch"])
def test_without_a_label_the_words_decide(granularity):
    policy, ref = AutoAssist(warmup="paper", lr=0.1, seed=0), Reference(0.1, 1e-3)
    for i in range(20):
        candidates, losses = block(i, granularity=granularity)
        candidates.labels = None
        policy.screen(candidates)
        policy.judge(candidates, losses)
        candidates.labels = np.zeros(len(candidates), int)
        ref.u[:] = 0.0
        ref.learn(candidates, losses)
    np.testing.assert_allclose(policy._assistant.coef_[:WORDS], ref.w, rtol=1e-9, atol=1e-12)
    assert not policy._assistant.coef_[WORDS:].any()


def test_equal_losses_are_not_above_their_mean():
    policy = begun(seed=0)
    for i in range(200):
        policy.judge(block(i, 7)[0], np.full(7, 0.3, np.float32))
    assert policy.scalars()["confidence"] > 0.99 and policy.loss_threshold == pytest.approx(0.3)


def test_an_empty_example_is_an_example():
    policy = AutoAssist(warmup="paper", seed=0)
    candidates, losses = block(0, 4)
    offsets = np.array([0, 0, 5, 5, 5])
    candidates.bag = candidates.bag._replace(ids=candidates.bag.ids[:5], offsets=offsets)
    assert policy.screen(candidates).shape == (4,)
    policy.judge(candidates, losses)
    assert np.isfinite(policy._assistant.coef_).all()


def test_rows_without_words_are_refused():
    with pytest.raises(
        ValueError,
        match=r"AutoAssist reads the words.*tokenizer=.*\(Random, FixedThreshold, AutoThreshold.* or ",
    ):
        AutoAssist().screen(Candidates(3, labels=np.zeros(3, int)).placed(0, None, None))


def test_a_refused_state_changes_nothing():
    policy = AutoAssist(warmup="paper", seed=0)
    policy.judge(*block(0))
    before = policy.state_dict()
    broken = {**before, "assistant": {**before["assistant"], "version": 9}}
    for state in ({**before, "settings": "AutoAssist(gamma=1.0)"}, broken):
        with pytest.raises(ValueError, match=r"gamma=1.0|version=9"):
            policy.load_state_dict(state)
        np.testing.assert_equal(policy.state_dict(), before)


def test_scalars_before_anything():
    scalars = AutoAssist().scalars()
    assert scalars["confidence"] == 0.0 and scalars["floor"] == 1.0 and np.isnan(scalars["acceptance"])


def test_through_a_loader(tokenizer):
    loader = FilteringDataLoader(
        sentences(3000), tokenizer=tokenizer, batch_size=32, shuffle=True, policy=AutoAssist(lr=1.0), seed=2
    )
    seen, hard = [], []
    for _ in range(3):
        high = []
        for batch in loader:
            losses = losses_of(batch)
            high += (losses > 1.0).tolist()
            assert loader.hook.report(losses) is not None
        seen.append(len(high))
        hard.append(np.mean(high))
    assert seen[0] == 3000 and all(1500 < n < 2500 for n in seen[1:])
    assert hard[0] == pytest.approx(0.3, abs=0.03) and hard[2] > 0.4
    scalars = loader.ledger.scalars()
    assert scalars["acceptance"] == pytest.approx(sum(seen) / 9000) and scalars["confidence"] > 0.8
    assert [stage for stage, _ in loader.ledger.stages] == ["warm-up", "filter"]


def test_a_pass_without_a_report_does_not_count(tokenizer):
    policy = AutoAssist(lr=1.0, seed=0)
    loader = FilteringDataLoader(sentences(640), tokenizer=tokenizer, batch_size=16, policy=policy, seed=0)
    next(iter(loader))
    assert sum(len(batch["labels"]) for batch, _ in train(loader)) == 640  # the first pass keeps everything
    assert policy.stage == "warm-up"
    next(iter(loader))
    assert policy.stage == "filter"
