"""The contract that every policy keeps, over examples and over whole batches as one candidate."""

import copy
import pickle
import random

import numpy as np
import pytest
import torch

import filterloader
from filterloader import (
    POLICIES,
    AutoThreshold,
    BernoulliNB,
    FixedThreshold,
    MultinomialNB,
    Random,
    ThreeStage,
    TrainAll,
)
from filterloader.candidates import Bag, Candidates, Ragged
from filterloader.hook import checked
from filterloader.portable import pack, unpack
from tests.conftest import through_a_file

WORDS = 300

MAKE = {
    "train_all": TrainAll,
    "random": lambda: Random(0.4, seed=1),
    "fixed_threshold": lambda: FixedThreshold(0.5),
    "auto_threshold": lambda: AutoThreshold(warmup=50),
    "three_stage": lambda: ThreeStage(warmup=50, audit=0.2, seed=1),
    "three_stage, forward only": lambda: ThreeStage(warmup=50, alt=0.4, backward_gate=False, cutoff=0.2, seed=1),
    "three_stage, bernoulli": lambda: ThreeStage(
        warmup=50, alt=0.6, window=4, predictor="bernoulli", audit=0.1, seed=1
    ),
    "three_stage, own predictor": lambda: ThreeStage(
        warmup=50, predictor=BernoulliNB(WORDS, 0.5, calibrate=True), seed=1
    ),
    "reference_script": lambda: ThreeStage.reference_script(warmup=50, seed=1),
}
OTHERWISE = {  # the same class with another setting, and what the error says of the two
    "random": (lambda: Random(0.3), r"keep=0\.4.*keep=0\.3"),
    "fixed_threshold": (lambda: FixedThreshold(0.7), r"threshold=0\.5.*threshold=0\.7"),
    "auto_threshold": (lambda: AutoThreshold(warmup=60), "length=50.*length=60"),
    "three_stage": (lambda: ThreeStage(warmup=50, audit=0.3), r"audit=0\.2.*audit=0\.3"),
    "three_stage, bernoulli": (
        lambda: ThreeStage(warmup=50, alt=0.6, window=4, audit=0.1),
        "'BernoulliNB'.*MultinomialNB has 'MultinomialNB'",
    ),
    "three_stage, own predictor": (
        lambda: ThreeStage(warmup=50, predictor=BernoulliNB(WORDS, 0.9, calibrate=True)),
        r"alpha=0\.5.*0\.9",
    ),
    "reference_script": (
        lambda: ThreeStage.reference_script(warmup=50, threshold=filterloader.MovingAverageThreshold()),
        "unit='example'.*unit='batch'",
    ),
}
GRANULARITIES = ("example", "batch")


def block(i, n=16, *, granularity="example", total=4000, words=True, hard=None, seed=0):
    """``(candidates, losses)`` number ``i`` of a stream: words of the upper half of the vocabulary mean a high loss.

    Half of the rows have them, or half of the blocks, where a block is one candidate.
    """
    rng = np.random.default_rng([seed, i])
    if hard is None:
        hard = rng.random(n) < 0.5 if granularity == "example" else np.full(n, rng.random() < 0.5)
    lengths = rng.integers(3, 9, n)
    ids = rng.integers(0, WORDS // 2, lengths.sum()).astype(np.int32) + np.repeat(hard, lengths).astype(np.int32) * (
        WORDS // 2
    )
    offsets = np.append(0, lengths.cumsum()).astype(np.int64)
    candidates = Candidates(n, tokens=Ragged(ids, offsets), labels=rng.integers(0, 2, n))
    candidates.placed(i * n, None, total)
    if words:
        candidates.bag = Bag(ids.copy(), offsets, WORDS)
    losses = (np.where(hard, 1.5, 0.05) + rng.uniform(0, 0.2, n)).astype(np.float32)
    if granularity == "batch":
        return candidates.as_one(), losses.mean(keepdims=True)
    return candidates, losses


def steps(policy, granularity, start=0, stop=120):
    """What the policy says of a stretch of the stream, with the loader's part played: only survivors are judged."""
    said = []
    for i in range(start, stop):
        candidates, losses = block(i, granularity=granularity)
        screened = checked(policy.screen(candidates), len(candidates), policy, "screen")
        keep = np.flatnonzero(screened)
        judged = policy.judge(candidates.take(keep), losses[keep]) if keep.size else np.zeros(0, np.float32)
        said.append(
            (
                screened.tolist(),
                judged.tolist(),
                getattr(policy, "stage", None),
                getattr(policy, "loss_threshold", None),
            )
        )
    return said


every_policy = pytest.mark.parametrize("name", MAKE)
both = pytest.mark.parametrize("granularity", GRANULARITIES)


def test_the_registry_holds_the_public_classes_by_name():
    assert list(POLICIES) == ["train_all", "random", "fixed_threshold", "auto_threshold", "three_stage"]
    for name, kind in POLICIES.items():
        assert getattr(filterloader, kind.__name__) is kind and kind.__name__ in filterloader.__all__
        assert kind.__name__.lower() == name.replace("_", "")
        assert isinstance(MAKE[name](), kind)


@both
@pytest.mark.parametrize("name", [name for name in MAKE if "stage" in name or "script" in name])
def test_the_stream_of_this_suite_reaches_every_stage(name, granularity):
    stages = [stage for *_, stage, _ in steps(MAKE[name](), granularity)]
    assert list(dict.fromkeys(stages)) == ["warm-up", "fit", "filter"]


@both
@every_policy
def test_answers_are_one_finite_weight_a_candidate(name, granularity):
    policy = MAKE[name]()
    for i in range(120):
        candidates, losses = block(i, granularity=granularity)
        for weights in (policy.screen(candidates), policy.judge(candidates, losses)):
            assert (
                isinstance(weights, np.ndarray) and weights.dtype == np.float32 and weights.shape == (len(candidates),)
            )
            assert np.isfinite(weights).all() and (weights >= 0).all()


@both
@every_policy
def test_inputs_stay_untouched(name, granularity):
    policy = MAKE[name]()
    for i in range(120):
        candidates, losses = block(i, granularity=granularity)
        before = copy.deepcopy((candidates.state_dict(), losses))
        losses.flags.writeable = False
        policy.screen(candidates)
        policy.judge(candidates, losses)
        np.testing.assert_equal((candidates.state_dict(), losses), before)


@both
@every_policy
def test_answers_are_not_views_of_what_a_policy_keeps(name, granularity):
    ref, comp = MAKE[name](), MAKE[name]()
    for i in range(120):
        candidates, losses = block(i, granularity=granularity)
        for a, b in (
            (ref.screen(candidates), comp.screen(candidates)),
            (ref.judge(candidates, losses), comp.judge(candidates, losses)),
        ):
            assert a.tolist() == b.tolist()
            b[:] = -1
        losses[:] = 1e9


@both
@every_policy
def test_seeded_runs_repeat(name, granularity):
    assert steps(MAKE[name](), granularity) == steps(MAKE[name](), granularity)


@both
@pytest.mark.parametrize("make", [lambda: Random(0.5), lambda: ThreeStage(warmup=50, audit=0.3)])
def test_a_policy_without_a_seed_takes_the_loaders(make, granularity):
    def bound(seed):
        policy = make()
        policy.bind(seed)
        return steps(policy, granularity, stop=200)

    assert bound(3) == bound(3) != bound(4)


@both
@every_policy
@pytest.mark.parametrize("stop", [0, 1, 3, 40, 80])
def test_a_state_in_mid_run_goes_on_identically(name, granularity, stop):
    ref, comp = MAKE[name](), MAKE[name]()
    steps(ref, granularity, 0, stop)
    comp.load_state_dict(unpack(through_a_file(pack(ref.state_dict()))))
    assert steps(comp, granularity, stop) == steps(ref, granularity, stop)


@both
@every_policy
def test_a_state_is_a_snapshot(name, granularity):
    policy = MAKE[name]()
    steps(policy, granularity, 0, 60)
    state = policy.state_dict()
    ref = copy.deepcopy(state)
    steps(policy, granularity, 60)
    np.testing.assert_equal(state, ref)


@both
@every_policy
@pytest.mark.parametrize("stop", [0, 60])
def test_a_used_policy_can_go_back(name, granularity, stop):
    policy = MAKE[name]()
    steps(policy, granularity, 0, stop)
    state = unpack(through_a_file(pack(policy.state_dict())))
    ref = steps(policy, granularity, stop)
    policy.load_state_dict(state)
    assert steps(policy, granularity, stop) == ref


@every_policy
def test_a_state_survives_its_own_round_trip(name):
    ref, comp = MAKE[name](), MAKE[name]()
    steps(ref, "example", 0, 60)
    state = ref.state_dict()
    comp.load_state_dict(unpack(through_a_file(pack(state))))
    np.testing.assert_equal(comp.state_dict(), state)


@both
@every_policy
def test_a_pickle_goes_on_identically(name, granularity):
    policy = MAKE[name]()
    steps(policy, granularity, 0, 60)
    other = pickle.loads(pickle.dumps(policy))
    assert repr(other) == repr(policy)
    assert steps(other, granularity, 60) == steps(policy, granularity, 60)


@both
@every_policy
def test_global_random_states_stay_untouched(name, granularity):
    before = np.random.get_state(), torch.get_rng_state().tolist(), random.getstate()
    policy = MAKE[name]()
    steps(policy, granularity)
    pickle.loads(pickle.dumps(policy)).load_state_dict(policy.state_dict())
    np.testing.assert_equal((np.random.get_state(), torch.get_rng_state().tolist(), random.getstate()), before)


@every_policy
def test_the_repr_can_be_pasted_back(name):
    policy = MAKE[name]()
    again = eval(repr(policy), {public: getattr(filterloader, public) for public in filterloader.__all__})
    assert type(again) is type(policy) and repr(again) == repr(policy)
    again.load_state_dict(policy.state_dict())
    assert steps(again, "example") == steps(policy, "example")


@pytest.mark.parametrize("name", OTHERWISE)
def test_a_state_of_another_setting_is_refused_with_both_values(name):
    policy = MAKE[name]()
    steps(policy, "example", 0, 10)
    make, message = OTHERWISE[name]
    with pytest.raises(ValueError, match=message):
        make().load_state_dict(policy.state_dict())


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Random(0.0), r"keep must be a number in \(0, 1\], got 0.0"),
        (lambda: Random(1.1), r"keep must be a number in \(0, 1\], got 1.1"),
        (lambda: Random(0.5, seed=-1), "seed must be a whole number of at least 0, got -1"),
        (lambda: FixedThreshold("0.3"), "threshold must be a finite number, got '0.3'"),
        (lambda: FixedThreshold(float("nan")), "threshold must be a finite number, got nan"),
        (lambda: AutoThreshold(warmup=2.0), r"warmup must be a number in \[0, 1\], got 2.0"),
        (lambda: ThreeStage(warmup=-1), "warmup must be a whole number of at least 0, got -1"),
        (lambda: ThreeStage(window=0), "window must be a whole number of at least 1, got 0"),
        (lambda: ThreeStage(alt=-0.3), r"alt must be above 0.*alt=-0\.3"),
        (lambda: ThreeStage(cutoff=50), r"cutoff must be a number in \[0, 1\], got 50"),
        (lambda: ThreeStage(audit=None), r"audit must be a number in \[0, 1\], got None"),
        (lambda: ThreeStage(predictor="multinomial"), "predictor must be None, 'bernoulli' or .*got 'multinomial'"),
    ],
)
def test_bad_settings_are_refused_at_construction(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("make, positional", [(AutoThreshold, 0), (ThreeStage, 0), (Random, 1), (FixedThreshold, 1)])
def test_settings_but_the_one_that_must_be_given_are_keyword_only(make, positional):
    with pytest.raises(TypeError, match="positional argument"):
        make(*[0.5] * (positional + 1))


@both
def test_train_all_keeps_everything(granularity):
    assert all(min(screened + judged) == 1 for screened, judged, *_ in steps(TrainAll(), granularity))


def test_random_keeps_its_share_whatever_the_words():
    policy = Random(0.3, seed=0)
    kept = np.concatenate([policy.screen(block(i, 100, words=False)[0]) for i in range(200)])
    assert kept.mean() == pytest.approx(0.3, abs=0.01)
    assert policy.judge(*block(0, words=False)).all()


def test_random_that_keeps_all_keeps_all():
    assert Random(1.0).screen(block(0, 1000, words=False)[0]).all()


@both
def test_fixed_threshold_trains_on_losses_at_least_as_high(granularity):
    policy = FixedThreshold(0.5)
    for i in range(20):
        candidates, losses = block(i, granularity=granularity, words=False)
        assert policy.screen(candidates).all()
        assert policy.judge(candidates, losses).tolist() == (losses >= 0.5).tolist()
    candidates, _ = block(0, 3, words=False)
    assert policy.judge(candidates, np.array([0.4999, 0.5, 0.5001], np.float32)).tolist() == [0, 1, 1]


@both
def test_auto_threshold_trains_on_what_is_above_the_mean_of_the_last_eight_reports(granularity):
    policy, means = AutoThreshold(warmup=100), []
    for i in range(60):
        candidates, losses = block(i, granularity=granularity, words=False)
        assert policy.gates_backward == (i * 16 >= 100)
        assert policy.stage == ("threshold" if policy.gates_backward else "warm-up")
        gating = policy.gates_backward
        assert policy.screen(candidates).all()
        ref = (losses >= np.float32(np.mean(means[-8:]))) if gating else np.ones(len(losses))
        assert policy.judge(candidates, losses).tolist() == ref.tolist()
        means.append(losses.mean(dtype=np.float64))
    assert policy.loss_threshold == pytest.approx(np.mean(means[-8:]))


def test_auto_threshold_without_a_warm_up_keeps_the_first_report_for_lack_of_a_threshold():
    policy = AutoThreshold(warmup=0)
    assert policy.judge(*block(0)).all()
    assert not policy.judge(*block(1)).all()


@pytest.mark.parametrize("kind", [MultinomialNB, BernoulliNB])
def test_words_are_asked_for_only_where_they_are_read(kind):
    assert [MAKE[name]().needs_words for name in POLICIES] == [False, False, False, False, True]
    assert ThreeStage(predictor=kind(WORDS)).features == ("tokens" if kind is BernoulliNB else "auto")
