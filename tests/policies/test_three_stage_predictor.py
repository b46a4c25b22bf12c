"""Three stages: what the predictor is asked and taught, what audits find out about it, and what is measured of it."""

import copy

import numpy as np
import pytest

from filterloader import MultinomialNB, ThreeStage
from tests.policies.test_three_stage import Remembering, filtering, low_by, run
from tests.zoo import WORDS, block


def called_low(policy, candidates):
    """What a policy in its filter stage would drop if it audited nothing, bool ``[n]``."""
    quiet = copy.deepcopy(policy)
    quiet.audit = 0.0
    return quiet.screen(candidates) == 0


def test_without_an_audit_nothing_called_low_gets_through():
    policy, i = filtering(audit=0.0)
    for k in range(i, i + 20):
        candidates, _ = block(k, 200, hard=np.zeros(200, bool))
        low = called_low(policy, candidates)
        assert low.any() and policy.screen(candidates)[low].sum() == 0
    assert policy.scalars()["audited"] == 0


def test_an_audit_lets_about_its_share_of_the_low_ones_through_and_counts_false_skips():
    policy, i = filtering(audit=0.1)
    lows = let = wrong = 0
    for k in range(i, i + 40):
        candidates, losses = block(k, 200, hard=np.zeros(200, bool))
        low = called_low(policy, candidates)
        keep = np.flatnonzero(policy.screen(candidates))
        losses = np.where(candidates.positions % 4 == 0, 1.5, 0.05).astype(np.float32)[keep]
        judged, wanted = candidates.take(keep), low[keep]
        lows, let = lows + low.sum(), let + wanted.sum()
        wrong += (losses[wanted] > np.float32(policy.loss_threshold)).sum()
        policy.judge(judged, losses)
    scalars = policy.scalars()
    assert scalars["audited"] == let and let / lows == pytest.approx(0.1, abs=0.015)
    assert scalars["false_skip_rate"] == pytest.approx(wrong / let) and 0.15 < scalars["false_skip_rate"] < 0.35


def test_an_audit_of_one_keeps_everything():
    policy, i = filtering(audit=1.0)
    assert all(screened.all() for _, _, screened, *_ in run(policy, start=i, stop=i + 20))


def test_audits_of_a_pass_that_is_over_are_forgotten():
    policy, i = filtering(audit=1.0)
    policy.screen(block(i)[0])
    policy.begin_pass()
    before = policy.scalars()["audited"]
    candidates, losses = block(i)
    policy.judge(candidates, losses)
    assert policy.scalars()["audited"] == before


@pytest.mark.parametrize("cutoff", [0.3, 0.5])
def test_overlap_is_what_both_would_skip_over_what_either_would(cutoff):
    policy, twin = ThreeStage(warmup=64, alt=1e-6, cutoff=cutoff), MultinomialNB(WORDS, calibrate=True)
    both_skip = either = 0
    for candidates, losses, *_, stage, threshold in run(policy, stop=80):
        if stage == "fit":
            by_loss = losses <= np.float32(threshold)
            by_words = low_by(twin, candidates.bag, cutoff)
            both_skip, either = both_skip + (by_loss & by_words).sum(), either + (by_loss | by_words).sum()
            twin.partial_fit(candidates.bag, ~by_loss)
    assert policy.scalars()["overlap"] == pytest.approx(both_skip / either)


def test_nothing_is_measured_before_the_fit_stage():
    scalars = ThreeStage().scalars()
    assert scalars["audited"] == 0
    assert all(np.isnan(scalars[name]) for name in ("predictor_loss", "overlap", "false_skip_rate"))


def test_a_predictor_of_the_users_own_is_asked_and_taught():
    mine = Remembering(0.9)
    policy = ThreeStage(warmup=64, predictor=mine, alt=100.0, window=2, audit=0.0)
    for _, losses, screened, _, stage, threshold in run(policy, stop=12):
        assert screened.all()
        if stage != "warm-up":
            n, y = mine.taught[-1]
            assert n == 16 and y.tolist() == (losses > np.float32(threshold)).tolist()
    assert len(mine.taught) == 8 and policy.stage == "filter"
    mine.proba = 0.1
    assert not policy.screen(block(12)[0]).any()


@pytest.mark.parametrize("cutoff, kept", [(0.0, True), (0.3, True), (0.31, False), (1.0, False)])
def test_the_cutoff_is_the_lowest_probability_that_gets_through(cutoff, kept):
    policy = ThreeStage(warmup=0, predictor=Remembering(0.3), alt=100.0, window=1, audit=0.0, cutoff=cutoff)
    list(run(policy, stop=2))
    assert policy.stage == "filter" and policy.screen(block(2)[0]).all() == kept


@pytest.mark.parametrize("predictor, kind", [(None, "MultinomialNB"), ("bernoulli", "BernoulliNB")])
def test_the_predictor_fits_the_width_of_the_words(predictor, kind):
    policy = ThreeStage(warmup=64, predictor=predictor)
    assert policy.state_dict()["predictor"] is None
    list(run(policy, stop=10))
    state = policy.state_dict()["predictor"]
    assert (state["class"], state["n_features"]) == (kind, WORDS)
    assert state["calibrate"] == (predictor is None)


def test_a_bernoulli_predictor_wants_plain_words():
    assert ThreeStage().features == "auto" and ThreeStage(predictor="bernoulli").features == "tokens"
