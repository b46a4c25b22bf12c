"""Three stages: what each does, when the next begins, and that noise never gets to skip a forward pass."""

import copy
import warnings

import numpy as np
import pytest

from filterloader import FilteringDataLoader, MovingAverageThreshold, MultinomialNB, ThreeStage
from filterloader.candidates import Bag, Candidates
from tests.conftest import sentences, train
from tests.test_policies import GRANULARITIES, WORDS, block

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


def unrelated(i, n=8, length=40, words=4000):
    """Long rows of rare words: what an in-sample gate learns by heart."""
    rng = np.random.default_rng([7, i])
    candidates = Candidates(n).placed(i * n, None, None)
    offsets = np.arange(n + 1, dtype=np.int64) * length
    candidates.bag = Bag(rng.integers(0, words, n * length).astype(np.int32), offsets, words)
    return candidates, noise(i, n).astype(np.float32)


class Remembering:
    """A predictor of the user's own: says what it is told to, and writes down what it is taught."""

    def __init__(self, proba=0.9):
        self.proba, self.taught, self.asked = proba, [], 0

    def partial_fit(self, X, y):
        self.taught.append((X.offsets.size - 1, np.array(y)))

    def predict_proba(self, X):
        self.asked += 1
        return np.tile([1 - self.proba, self.proba], (X.offsets.size - 1, 1))


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


def called_low(policy, candidates):
    """What a policy in its filter stage would drop if it audited nothing, bool ``[n]``."""
    quiet = copy.deepcopy(policy)
    quiet.audit = 0.0
    return quiet.screen(candidates) == 0


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
    for *_, stage, _ in run(policy):
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
    assert keep[hard].mean() > 0.95 and keep[~hard].mean() < 0.05


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
        list(run(policy, granularity, stop=reports, total=total, losses_of=noise))  # the first block has no threshold yet
        assert not told
        policy.begin_pass()
        list(run(policy, granularity, start=reports, stop=reports + 1, total=total, losses_of=noise))
        assert len(told) == 1 and f"not earned the filter stage: after {reports} reports its loss is 0.693" in str(told[0].message)
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


def test_an_in_sample_gate_passes_on_noise_and_an_honest_one_does_not():
    passed = {}
    for in_sample in (True, False):
        policy = ThreeStage(warmup=0, predictor="bernoulli", alt=0.3, in_sample=in_sample)
        for i in range(300):
            candidates, losses = unrelated(i)
            policy.judge(candidates, losses)
        passed[in_sample] = policy.stage == "filter"
    assert passed == {True: True, False: False}


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


@pytest.mark.parametrize("predictor", [None, "bernoulli"])
@pytest.mark.parametrize("loss", [0.0, 0.1, 0.7, 3.0])
def test_equal_losses_are_all_kept_and_teach_nothing_worth_filtering_by(loss, predictor):
    policy = ThreeStage(warmup=64, predictor=predictor)
    for *_, screened, judged, stage, _ in run(policy, stop=500, losses_of=lambda i, n: np.full(n, loss)):
        assert screened.all() and judged.all() and stage != "filter"


@both
@pytest.mark.parametrize("ask", ["screen", "judge"])
def test_candidates_without_words_are_refused_with_what_to_do(granularity, ask):
    policy = ThreeStage(warmup=0)
    candidates, losses = block(0, granularity=granularity, words=False)
    with pytest.raises(
        ValueError, match=r"reads the words.*tokenizer= and text=.*input_ids.*\(AutoThreshold, FixedThreshold, Random\)"
    ):
        if ask == "screen":
            policy.screen(candidates)
        for _ in range(2):
            policy.judge(candidates, losses)


def test_a_predictor_of_the_users_own_is_asked_and_taught():
    mine = Remembering(0.9)
    policy = ThreeStage(warmup=64, predictor=mine, alt=100.0, window=2, audit=0.0)
    for candidates, losses, screened, _, stage, threshold in run(policy, stop=12):
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


def forgetful(policy, reports=900, n=64):
    """Easy words are easy until report 400, then as hard as any: the model forgot what it no longer saw. Stages, in order."""
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
        stages = forgetful(ThreeStage(warmup=640, seed=0))
    assert stages[:4] == ["warm-up", "fit", "filter", "warm-up"]
    assert len([w for w in told if "back to the warm-up" in str(w.message)]) == 1


def test_without_audits_the_filter_stage_is_for_good():
    assert forgetful(ThreeStage(warmup=640, audit=0.0, seed=0)) == ["warm-up", "fit", "filter"]


def test_a_predictor_that_stays_right_keeps_the_filter_stage():
    policy = ThreeStage(warmup=640, seed=0)
    for i in range(1500):
        hard = np.random.default_rng([6, i]).random(64) < 0.4
        candidates, losses = block(i, 64, hard=hard, total=None)
        keep = np.flatnonzero(policy.screen(candidates))
        policy.judge(candidates.take(keep), losses[keep])
    assert policy.stage == "filter"
