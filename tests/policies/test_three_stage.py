"""Three stages: what each does, how long the warm-up is, and what the authors' script does otherwise."""

import warnings

import numpy as np
import pytest

from filterloader import FilteringDataLoader, MovingAverageThreshold, MultinomialNB, ThreeStage
from tests.conftest import sentences, train
from tests.zoo import GRANULARITIES, WORDS, block

both = pytest.mark.parametrize("granularity", GRANULARITIES)


def run(policy, granularity="example", start=0, stop=150, losses_of=None, **kw):
    """``(candidates, losses, screened, judged, stage before, threshold before)`` of each block of a stretch."""
    for i in range(start, stop):
        candidates, losses = block(i, granularity=granularity, **kw)
        if losses_of is not None:
            losses = losses_of(i, len(candidates)).astype(np.float32)
        stage, threshold = policy.stage, policy.loss_threshold
        screened = policy.screen(candidates)
        keep = np.flatnonzero(screened)
        judged = policy.judge(candidates.take(keep), losses[keep]) if keep.size else np.zeros(0, np.float32)
        yield candidates, losses, screened, judged, stage, threshold


def filtering(**settings):
    """A policy in its filter stage, and the number of the next block."""
    policy = ThreeStage(**{"warmup": 64, "seed": 0, **settings})
    for i in range(200):
        list(run(policy, start=i, stop=i + 1))
        if policy.stage == "filter":
            return policy, i + 1
    raise AssertionError("never reached the filter stage")


def noise(i, n):
    """Losses that have nothing to do with the words, in two lumps so that a label is as good as a coin."""
    return np.random.default_rng([9, i]).choice([0.1, 1.5], n)


class Remembering:
    """A predictor of the user's own: says what it is told to, and writes down what it is taught."""

    def __init__(self, proba=0.9):
        self.proba, self.taught, self.asked = proba, [], 0

    def partial_fit(self, X, y):
        self.taught.append((X.offsets.size - 1, np.array(y)))

    def predict_proba(self, X):
        self.asked += 1
        return np.tile([1 - self.proba, self.proba], (X.offsets.size - 1, 1))

    def decision_function(self, X):
        return np.full(X.offsets.size - 1, np.log(self.proba / (1 - self.proba)))

    def state_dict(self):
        return {"proba": self.proba}

    def load_state_dict(self, state):
        self.proba = state["proba"]


@both
def test_the_stages_follow_each_other_and_none_comes_back(granularity):
    policy = ThreeStage(warmup=64)
    stages = [stage for *_, stage, _ in run(policy, granularity)]
    assert stages[:4] == ["warm-up"] * 4 and stages[4] == "fit"
    assert list(dict.fromkeys(stages)) == ["warm-up", "fit", "filter"]
    assert stages == sorted(stages, key=["warm-up", "fit", "filter"].index)


def low_by(twin, bag, cutoff):
    """What a predictor calls low-loss, bool ``[n]``."""
    return twin.predict_proba(bag)[:, 1] < cutoff


@both
@pytest.mark.parametrize("cutoff", [0.3, 0.5])
def test_what_each_stage_keeps(granularity, cutoff):
    policy = ThreeStage(warmup=64, audit=0.0, cutoff=cutoff)
    twin, means, seen = MultinomialNB(WORDS, calibrate=True), [], set()
    for candidates, losses, screened, judged, stage, threshold in run(policy, granularity):
        seen.add(stage)
        assert threshold == (pytest.approx(np.mean(means[-8:])) if means else None)
        low = low_by(twin, candidates.bag, cutoff)
        assert screened.tolist() == (~low if stage == "filter" else np.ones(len(losses))).tolist()
        keep = np.flatnonzero(screened)
        if not keep.size:
            continue
        if stage == "warm-up":
            assert judged.all()
        else:
            assert judged.tolist() == (losses[keep] >= np.float32(threshold)).tolist()
            twin.partial_fit(candidates.bag.take(keep), losses[keep] > np.float32(threshold))
        means.append(losses[keep].mean(dtype=np.float64))
    assert seen == {"warm-up", "fit", "filter"}


def test_the_backward_gate_opens_with_the_fit_stage():
    policy = ThreeStage(warmup=64)
    for _ in run(policy):
        assert policy.gates_backward or policy.stage == "warm-up"
    assert ThreeStage(warmup=64).gates_backward is False


def test_without_a_backward_gate_everything_forwarded_is_trained_on():
    policy = ThreeStage(warmup=64, backward_gate=False)
    for *_, judged, _, _ in run(policy):
        assert judged.all() and policy.gates_backward is False
    assert policy.stage == "filter"


@pytest.mark.parametrize(
    "warmup, total, blocks", [(0.1, 1600, 10), (160, None, 10), (0, 1600, 0), (0.0, None, 0), (1.0, 800, 50)]
)
def test_warm_up_is_a_share_or_a_count_of_examples(warmup, total, blocks):
    for granularity in GRANULARITIES:
        stages = [stage for *_, stage, _ in run(ThreeStage(warmup=warmup), granularity, total=total)]
        assert stages.count("warm-up") == blocks


@pytest.mark.parametrize("warmup", [None, 0.1])
def test_warm_up_of_a_stream_of_unknown_length_waits_for_the_loss_to_settle(warmup):
    def falling(i, n):
        return np.full(n, 3 * 0.98 ** min(i, 150))

    policy = ThreeStage(warmup=warmup)
    stages = [stage for *_, stage, _ in run(policy, stop=260, total=None, losses_of=falling)]
    assert 150 < stages.count("warm-up") <= 150 + 64


def test_without_a_warm_up_the_first_report_is_kept_for_lack_of_a_threshold():
    policy = ThreeStage(warmup=0)
    *_, judged, stage, threshold = next(run(policy))
    assert judged.all() and stage == "fit" and threshold is None


def test_later_passes_stay_in_the_filter_stage():
    policy, i = filtering()
    for _ in range(3):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            policy.end_pass()
        policy.begin_pass()
        assert {stage for *_, stage, _ in run(policy, start=i, stop=i + 30)} == {"filter"}


def test_it_filters_by_the_words():
    policy, i = filtering(audit=0.0)
    hard = np.arange(1000) < 300
    candidates, _ = block(i, 1000, hard=hard)
    keep = policy.screen(candidates) > 0
    assert keep[hard].mean() > 0.95 and keep[~hard].mean() < 0.1


@both
@pytest.mark.parametrize("ask", ["screen", "judge"])
def test_candidates_without_words_are_refused_with_what_to_do(granularity, ask):
    policy = ThreeStage(warmup=0)
    candidates, losses = block(0, granularity=granularity, words=False)
    with pytest.raises(
        ValueError,
        match=r"reads the words.*tokenizer= and text=.*input_ids.*\(Random, FixedThreshold, AutoThreshold.* or ",
    ):
        if ask == "screen":
            policy.screen(candidates)
        for _ in range(2):
            policy.judge(candidates, losses)


def test_the_reference_script_differs_where_the_authors_do():
    script = ThreeStage.reference_script(warmup=40)
    assert repr(script.threshold) == repr(
        MovingAverageThreshold(128, unit="example", include_current=True, frozen=True)
    )
    assert (script.alt, script.window, script.audit, script.in_sample, script.predictor) == (
        0.3,
        8,
        0.0,
        True,
        "bernoulli",
    )
    every, stands = [], None
    for _, losses, _, judged, stage, _ in run(script, stop=30, n=8):
        every.extend(losses)
        if stage == "warm-up":
            stands = np.mean(every[-128:], dtype=np.float64)
            assert judged.all()
        else:
            assert script.loss_threshold == pytest.approx(stands, rel=1e-6)
        if stage == "fit":
            assert judged.tolist() == (losses >= np.float32(stands)).tolist()


def test_the_reference_script_takes_other_settings():
    assert ThreeStage.reference_script(alt=0.1, audit=0.5, seed=3).state_dict()["settings"].count("alt=0.1") == 1


@both
def test_in_a_loader_each_stage_shows_in_what_is_skipped(tokenizer, granularity):
    rows = sentences(3000)
    if granularity == "batch":  # whole batches of hard or of easy rows
        coin = np.random.default_rng(0)
        pools = [[row for row in rows if ("hard" in row["text"]) == hard] for hard in (False, True)]
        rows = [pools[k].pop() for k in coin.integers(0, 2, 200) for _ in range(8) if len(pools[k]) >= 8]
    policy = ThreeStage(warmup=320, seed=0, audit=0.0)
    loader = FilteringDataLoader(
        rows, tokenizer=tokenizer, batch_size=8, policy=policy, granularity=granularity, seed=0
    )
    train(loader)
    scalars, begun = loader.ledger.scalars(), dict(loader.ledger.stages)
    assert list(begun) == ["warm-up", "fit", "filter"]
    assert begun["filter"] < len(rows) and scalars["screened_out"] > 0
    assert scalars["seen"] == scalars["screened_out"] + scalars["forwarded"]
    assert scalars["backwarded"] < scalars["forwarded"]
