"""The contract that every policy keeps, over examples and over whole batches as one candidate."""

import numpy as np
import pytest

import filterloader
from filterloader import (
    POLICIES,
    AutoAssist,
    AutoThreshold,
    BernoulliNB,
    ClassBalanced,
    DynamicEL2N,
    FilteringDataLoader,
    FixedThreshold,
    InfoBatch,
    MultinomialNB,
    Random,
    SelectionViaProxy,
    SelectiveBackprop,
    StaticEL2N,
    ThreeStage,
    TrainAll,
)
from tests.conftest import everywhere
from tests.policies.contract import CHECKS
from tests.zoo import GRANULARITIES, MAKE, OTHERWISE, WORDS, block, steps

every_policy = pytest.mark.parametrize("name", MAKE)
both = pytest.mark.parametrize("granularity", GRANULARITIES)
wherever = pytest.mark.parametrize("name, granularity", everywhere(MAKE))


def test_the_registry_holds_the_public_classes_by_name():
    assert list(POLICIES)[:2] == ["train_all", "random"] and "three_stage" in POLICIES
    for name, kind in POLICIES.items():
        assert getattr(filterloader, kind.__name__) is kind and kind.__name__ in filterloader.__all__
        assert kind.__name__.lower() == name.replace("_", "")
        assert isinstance(MAKE[name](), kind)


@both
@pytest.mark.parametrize("name", [name for name in MAKE if "stage" in name or "script" in name])
def test_the_stream_of_this_suite_reaches_every_stage(name, granularity):
    stages = [stage for *_, stage, _ in steps(MAKE[name](), granularity)]
    assert list(dict.fromkeys(stages)) == ["warm-up", "fit", "filter"]


@pytest.mark.parametrize("check", CHECKS)
@wherever
def test_every_policy_keeps_the_contract(check, name, granularity):
    check(MAKE[name], granularity)


SEEDED = {
    "random": lambda: Random(0.5),
    "three_stage": lambda: ThreeStage(warmup=50, audit=0.3),
    "class_balanced": lambda: ClassBalanced(0.5),
    "autoassist": lambda: AutoAssist(warmup="paper"),
    "infobatch": lambda: InfoBatch(epochs=None),
    "selective_backprop": SelectiveBackprop,
    "selection_via_proxy": lambda: SelectionViaProxy(0.4, epochs=1),
    "dynamic_el2n": lambda: DynamicEL2N(0.4, tau=0),
}


@pytest.mark.parametrize("name, granularity", everywhere(SEEDED))
def test_a_policy_without_a_seed_takes_the_loaders(name, granularity):
    def bound(seed):
        policy = SEEDED[name]()
        policy.bind(seed)
        return steps(policy, granularity, stop=200)

    assert bound(3) == bound(3) != bound(4)


@every_policy
def test_what_needs_examples_is_refused_with_batches(name):
    policy = MAKE[name]()
    if "batch" in policy.granularities:
        FilteringDataLoader([{"input_ids": [1]}], policy=policy, granularity="batch")
        return
    with pytest.raises(
        ValueError, match=f"{type(policy).__name__} .*needs granularity='example'. For batches, choose Random, "
    ):
        FilteringDataLoader([{"input_ids": [1]}], policy=policy, granularity="batch")
    if policy.survey is None:
        with pytest.raises(ValueError, match=f"{type(policy).__name__} .*granularity='example'.* Random"):
            policy.screen(block(0, granularity="batch")[0])


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
        (lambda: ThreeStage(alt=-0.3), r"alt must be a finite number above 0, got -0\.3"),
        (lambda: ThreeStage(cutoff=50), r"cutoff must be a number in \[0, 1\], got 50"),
        (lambda: ThreeStage(audit=None), r"audit must be a number in \[0, 1\], got None"),
        (lambda: AutoAssist(gamma=1.5), r"gamma must be a number in \[0, 1\], got 1.5"),
        (lambda: AutoAssist(warmup=0.2), "warmup=0.2 is not known; choose one of 'text', 'paper'"),
        (lambda: AutoAssist(lr=0), "lr must be a finite number above 0, got 0"),
        (lambda: AutoAssist(lr=10, l2=0.1), r"lr \* l2 must be below 1, .*got lr=10, l2=0.1"),
        (lambda: InfoBatch(epochs=0), "epochs must be a whole number of at least 1, got 0"),
        (lambda: InfoBatch(epochs=8, prune_ratio=1), "prune_ratio must be below 1.*got 1"),
        (lambda: InfoBatch(epochs=8, prune_ratio=-0.5), r"prune_ratio must be a number in \[0, 1\], got -0.5"),
        (lambda: InfoBatch(epochs=8, delta=8), r"delta must be a number in \[0, 1\], got 8"),
        (lambda: SelectiveBackprop(beta=-1), "beta must be a finite number of at least 0, got -1"),
        (lambda: SelectiveBackprop(beta=None), "beta must be a finite number .*got None"),
        (lambda: SelectiveBackprop(window=0), "window must be a whole number of at least 1, got 0"),
        (lambda: SelectiveBackprop(warmup=1.5), r"warmup must be a number in \[0, 1\], got 1.5"),
        (lambda: ClassBalanced(0), r"keep must be a number in \(0, 1\], got 0"),
        (lambda: ClassBalanced(0.5, half_life=0), "half_life must be a finite number above 0, got 0"),
        (lambda: ClassBalanced(0.5, half_life="1"), "half_life must be .*got '1'"),
        (lambda: ClassBalanced(0.5, seed=0.5), "seed must be a whole number of at least 0, got 0.5"),
        (
            lambda: ThreeStage(predictor="multinomial"),
            "predictor='multinomial' is no predictor; give None, 'bernoulli', or an object",
        ),
    ],
)
def test_bad_settings_are_refused_at_construction(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "make, positional",
    [
        *((kind, 0) for kind in (AutoThreshold, ThreeStage, AutoAssist, InfoBatch, SelectiveBackprop)),
        *((kind, 1) for kind in (Random, FixedThreshold, ClassBalanced, SelectionViaProxy, StaticEL2N, DynamicEL2N)),
    ],
)
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
    assert [name for name in POLICIES if MAKE[name]().needs_words] == [
        "three_stage",
        "autoassist",
        "selection_via_proxy",
    ]
    assert ThreeStage(predictor=kind(WORDS)).features == ("tokens" if kind is BernoulliNB else "auto")
