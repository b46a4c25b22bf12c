"""Three stages: when the filter stage is earned, when it is said not to be, and what leads back to the warm-up."""

import warnings

import numpy as np
import pytest

from filterloader import MultinomialNB, ThreeStage
from filterloader.data.candidates import Bag, Candidates
from tests.policies.test_three_stage import Remembering, both, noise, run
from tests.zoo import WORDS, block


@both
def test_losses_that_do_not_follow_the_words_never_reach_the_filter_stage_and_warn_once(granularity):
    policy = ThreeStage(warmup=64, seed=0)
    for *_, screened, _, stage, _ in run(policy, granularity, stop=1000, total=100_000, losses_of=noise):
        assert screened.all() and stage != "filter"
    with pytest.warns(
        UserWarning, match=r"after 996 reports its loss is 0\.\d+ nats.* asks for a gain of 2.0% over guessing"
    ) as told:
        policy.end_pass()
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        policy.begin_pass()
        policy.end_pass()
        other = ThreeStage(warmup=64)
        other.load_state_dict(policy.state_dict())
        other.end_pass()


@both
@pytest.mark.parametrize("total, reports", [(None, 1000), (1600, 500), (51_200, 800), (10**7, 4000)])
def test_a_pass_that_never_ends_is_told_once_too(granularity, total, reports):
    """A loop may break off every pass, or a stream have no end: then nobody calls end_pass."""
    policy = ThreeStage(warmup=0, predictor=Remembering(0.5), seed=0)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        list(
            run(policy, granularity, stop=reports, total=total, losses_of=noise)
        )  # the first block has no threshold yet
        assert not told
        policy.begin_pass()
        list(run(policy, granularity, start=reports, stop=reports + 1, total=total, losses_of=noise))
        assert len(told) == 1 and f"not earned the filter stage: after {reports} reports its loss is 0.693" in str(
            told[0].message
        )
        list(run(policy, granularity, start=reports + 1, stop=2 * reports, total=total, losses_of=noise))
        policy.end_pass()
    assert len(told) == 1


def test_whether_it_was_told_in_mid_pass_is_part_of_the_state():
    told, untold = ThreeStage(warmup=0), ThreeStage(warmup=0)
    list(run(told, stop=500, total=1600, losses_of=noise))
    untold.load_state_dict(told.state_dict())
    with pytest.warns(UserWarning, match="after 500 reports"):
        list(run(untold, start=500, stop=501, total=1600, losses_of=noise))
    told.load_state_dict(untold.state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(run(told, start=501, stop=520, total=1600, losses_of=noise))
        told.end_pass()


def test_a_pass_too_short_to_tell_does_not_warn():
    policy = ThreeStage(warmup=64)
    list(run(policy, stop=8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        policy.end_pass()


def test_an_absolute_gate_names_its_limit_in_the_warning():
    policy = ThreeStage(warmup=64, alt=0.01)
    list(run(policy, stop=60))
    assert policy.stage == "fit"
    with pytest.warns(UserWarning, match="asks for a loss of 0.01"):
        policy.end_pass()


def test_an_absolute_gate_opens_when_the_mean_loss_of_the_window_is_low_enough():
    policy, asked = ThreeStage(warmup=64, window=4, alt=0.25), MultinomialNB(WORDS, calibrate=True)
    losses_of_predictor = []
    for candidates, losses, *_, stage, threshold in run(policy):
        if stage == "filter":
            break
        if stage == "fit":
            y = losses > np.float32(threshold)
            proba = asked.predict_proba(candidates.bag)[:, 1]
            losses_of_predictor.append(-np.log(np.where(y, proba, 1 - proba)).mean())
            asked.partial_fit(candidates.bag, y)
            recent = np.mean(losses_of_predictor[-4:])
            assert policy.scalars()["predictor_loss"] == pytest.approx(recent)
            assert (policy.stage == "filter") == (len(losses_of_predictor) >= 4 and recent <= 0.25)
    assert stage == "filter"


def unrelated(i, n=8, length=40, words=4000):
    """Long rows of rare words: what an in-sample gate learns by heart."""
    rng = np.random.default_rng([7, i])
    candidates = Candidates(n).placed(i * n, None, None)
    offsets = np.arange(n + 1, dtype=np.int64) * length
    candidates.bag = Bag(rng.integers(0, words, n * length).astype(np.int32), offsets, words)
    return candidates, noise(i, n).astype(np.float32)


def test_an_in_sample_gate_passes_on_noise_and_an_honest_one_does_not():
    passed = {}
    for in_sample in (True, False):
        policy = ThreeStage(warmup=0, predictor="bernoulli", alt=0.3, in_sample=in_sample)
        for i in range(300):
            candidates, losses = unrelated(i)
            policy.judge(candidates, losses)
        passed[in_sample] = policy.stage == "filter"
    assert passed == {True: True, False: False}


@pytest.mark.parametrize("predictor", [None, "bernoulli"])
@pytest.mark.parametrize("loss", [0.0, 0.1, 0.7, 3.0])
def test_equal_losses_are_all_kept_and_teach_nothing_worth_filtering_by(loss, predictor):
    policy = ThreeStage(warmup=64, predictor=predictor)
    for *_, screened, judged, stage, _ in run(policy, stop=500, losses_of=lambda i, n: np.full(n, loss)):
        assert screened.all() and judged.all() and stage != "filter"


def forgetful(policy, reports=900, n=64):
    """Easy words are easy until report 400, then as hard as any: the model forgot what it no longer saw. Stages."""
    stages = []
    for i in range(reports):
        rng = np.random.default_rng([5, i])
        hard = rng.random(n) < 0.4
        candidates, _ = block(i, n, hard=hard, total=None)
        losses = np.where(hard | (i > 400), 2.0, 0.05).astype(np.float32) + rng.random(n).astype(np.float32) * 0.1
        keep = np.flatnonzero(policy.screen(candidates))
        if keep.size:
            policy.judge(candidates.take(keep), losses[keep])
        if not stages or stages[-1] != policy.stage:
            stages.append(policy.stage)
    return stages


def test_skips_that_have_become_as_hard_as_everything_lead_back_to_the_warm_up():
    with pytest.warns(UserWarning, match="back to the warm-up: .* audited skips.*lower cutoff=") as told:
        stages = forgetful(ThreeStage(warmup=640, cutoff=0.5, seed=0))
    assert stages[:4] == ["warm-up", "fit", "filter", "warm-up"]
    assert len([w for w in told if "back to the warm-up" in str(w.message)]) == 1


def test_without_audits_the_filter_stage_is_for_good():
    assert forgetful(ThreeStage(warmup=640, cutoff=0.5, audit=0.0, seed=0)) == ["warm-up", "fit", "filter"]


def test_a_predictor_that_stays_right_keeps_the_filter_stage():
    policy = ThreeStage(warmup=640, seed=0)
    for i in range(1500):
        hard = np.random.default_rng([6, i]).random(64) < 0.4
        candidates, losses = block(i, 64, hard=hard, total=None)
        keep = np.flatnonzero(policy.screen(candidates))
        policy.judge(candidates.take(keep), losses[keep])
    assert policy.stage == "filter"


@pytest.mark.parametrize("warmup, total", [(0.1, None), (None, 4000)])
def test_a_second_warm_up_waits_for_the_loss_to_settle_too(warmup, total):
    policy, stages = ThreeStage(warmup=warmup, cutoff=0.5, seed=0), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i in range(900):
            hard = np.random.default_rng([5, i]).random(64) < 0.4
            candidates, _ = block(i, 64, hard=hard, total=total)
            candidates.labels = None  # these losses know of no label
            jitter = np.random.default_rng([6, i]).random(64) * 0.1
            losses = (np.where(hard | (i > 400), 2.0, 0.05) + jitter).astype(np.float32)
            keep = np.flatnonzero(policy.screen(candidates))
            if keep.size:
                policy.judge(candidates.take(keep), losses[keep])
            stages.append(policy.stage)
    again = stages.index("warm-up", stages.index("filter"))
    assert stages[again : again + 63] == ["warm-up"] * 63
