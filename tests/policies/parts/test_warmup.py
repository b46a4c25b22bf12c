"""How long everything is trained on: a share, a count, or until the loss settles."""

import warnings

import numpy as np
import pytest

from filterloader import AutoThreshold
from filterloader.policies.parts.warmup import Warmup
from tests.zoo import block


def reports_needed(warmup, size, total, settles_at=None, most=1000):
    """How many reports of ``size`` examples the warm-up takes; None where it never ends."""
    for i in range(1, most + 1):
        if warmup.observe(size, total, settles_at is not None and i >= settles_at):
            return i
    return None


@pytest.mark.parametrize(
    "length, total, settles_at, reports",
    [
        (0.1, 1000, None, 7),  # 16 examples a report: 96 are too few, 112 enough
        (1.0, 160, None, 10),
        (0.5, 160, None, 5),
        (100, 1000, None, 7),
        (100, None, None, 7),
        (2, 1000, None, 1),
        (None, 1000, 42, 42),
        (None, None, 42, 42),
        (0.1, None, 42, 42),
        (0.1, 1000, 1, 7),
        (100, 1000, 1, 7),
        (None, 1000, None, None),
        (0.1, None, None, None),
        (100_000, None, None, None),
        (1.0, 100_000, None, None),
    ],
)
def test_length(length, total, settles_at, reports):
    warmup = Warmup(length)
    assert not warmup.over
    assert reports_needed(warmup, 16, total, settles_at) == reports
    assert warmup.over == (reports is not None)


@pytest.mark.parametrize("one", [1, np.int64(1)])
def test_one_example_is_likely_meant_to_be_one_pass_and_says_so(one):
    with pytest.warns(UserWarning, match=r"warmup=1 is one example; .* whole of a pass, write warmup=1\.0") as told:
        policy = AutoThreshold(warmup=one)
    assert len(told) == 1 and told[0].filename == __file__
    assert reports_needed(policy._warmup, 16, 1000) == 1


@pytest.mark.parametrize("length", [1.0, np.float32(1), 2, 0, 0.0, None])
def test_no_other_length_is_wondered_at(recwarn, length):
    Warmup(length)
    assert not recwarn


@pytest.mark.parametrize(
    "length, total, where",
    [(None, 1000, ""), (None, None, ""), (0.1, None, " where the length of the stream is not known")],
)
def test_a_loss_that_never_settles_is_waited_for_1024_reports_and_no_longer(length, total, where):
    warmup = Warmup(length)
    with pytest.warns(UserWarning, match="had not settled") as told:
        assert reports_needed(warmup, 16, total, most=2000) == 1024
        assert not any(warmup.observe(16, total, False) for _ in range(10))
    message = (
        "the warm-up was ended after 1024 reports, although the loss had not settled: "
        f"warmup={length!r} waits for that{where}; "
        "give warmup= a count of examples, or a share and the loader total_examples="
    )
    assert [str(one.message) for one in told] == [message]


def test_a_loss_that_settles_at_the_last_moment_is_nothing_to_warn_of(recwarn):
    assert reports_needed(Warmup(None), 16, None, settles_at=1024, most=2000) == 1024 and not recwarn


@pytest.mark.parametrize("length", [0, 0.0])
def test_none_at_all_is_over_before_it_begins(length):
    warmup = Warmup(length)
    assert warmup.over and not warmup.observe(16, 100, True)


def test_the_end_is_told_once():
    warmup = Warmup(32)
    assert [warmup.observe(16, None, False) for _ in range(4)] == [False, True, False, False]


@pytest.mark.parametrize("length, reports", [(np.int64(100), 7), (np.float32(0.125), 8), (np.float64(0.1), 7)])
def test_numpy_numbers_mean_what_they_say(length, reports):
    warmup = Warmup(length)
    assert reports_needed(warmup, 16, 1000) == reports
    assert eval(repr(warmup)).length == length


def test_a_length_that_becomes_known_counts_from_the_beginning():
    warmup = Warmup(0.1)
    assert not warmup.observe(90, None, False)
    assert warmup.observe(16, 1000, False)


@pytest.mark.parametrize(
    "length, message",
    [
        (1.5, r"warmup must be a number in \[0, 1\], got 1.5"),
        (-0.1, r"warmup must be a number in \[0, 1\], got -0.1"),
        (float("nan"), "warmup .*got nan"),
        (-1, "warmup must be a whole number of at least 0, got -1"),
        (True, "warmup .*got True"),
        ("0.1", "warmup .*got '0.1'"),
    ],
)
def test_bad_lengths(length, message):
    with pytest.raises(ValueError, match=message):
        Warmup(length)


@pytest.mark.parametrize("length", [0.3, 300, None])
def test_a_state_goes_on_as_if_never_saved(length):
    ref, comp = Warmup(length), Warmup(length)
    for _ in range(10):
        ref.observe(16, 1000, False)
    comp.load_state_dict(ref.state_dict())
    for i in range(20):
        assert ref.observe(16, 1000, i > 12) == comp.observe(16, 1000, i > 12)
        assert ref.over == comp.over


def test_the_wait_for_a_loss_to_settle_is_part_of_the_state():
    ref, comp = Warmup(None), Warmup(None)
    assert reports_needed(ref, 16, None, most=1000) is None
    comp.load_state_dict(ref.state_dict())
    with pytest.warns(UserWarning, match="ended after 1024 reports"):
        assert reports_needed(comp, 16, None) == 24


def test_a_state_of_another_length_is_refused_with_both_values():
    with pytest.raises(ValueError, match=r"length=0\.2.*length=0\.1"):
        Warmup(0.1).load_state_dict(Warmup(0.2).state_dict())


def told(losses, labels=None, granularity="example", warmup=320):
    """What a policy says as its warm-up ends, when every report has these losses."""
    policy, said = AutoThreshold(warmup=warmup), []
    rng = np.random.default_rng(0)
    for i in range(40):
        candidates, _ = block(i, granularity=granularity)
        if granularity == "example":
            candidates.labels = rng.integers(0, 2, 16) if labels is None else np.full(16, labels)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            policy.judge(candidates, np.full(len(candidates), losses, np.float32))
        said += [str(one.message) for one in caught]
    return said


def test_a_warm_up_that_ends_before_anything_is_learnt_is_told_once():
    (said,) = told(0.69)
    assert (
        "after 320 examples" in said
        and "loss is 0.690" in said
        and "costs 0.69" in said
        and "longer warmup= than 320, or None" in said
    )


def test_it_is_not_told_where_something_is_learnt_or_cannot_be_known():
    assert told(0.5) == [] == told(9.0, labels=-100) == told(9.0, labels=1) == told(9.0, granularity="batch")
    assert told(0.69, warmup=32) == []  # from two reports nothing can be told


def test_a_loss_of_more_than_the_label_that_has_fallen_is_no_guessing():
    warmup, labels = Warmup(640), np.arange(16) % 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for i in range(40):
            warmup.observe(16, None, False, labels=labels, losses=np.full(16, 3 - i / 30, np.float32))
    assert warmup.over


def test_what_was_learnt_by_then_is_part_of_the_state():
    policy = Warmup(320)
    for _ in range(19):
        policy.observe(16, None, False, labels=np.arange(16) % 2, losses=np.full(16, 0.7, np.float32))
    again = Warmup(320)
    again.load_state_dict(policy.state_dict())
    with pytest.warns(UserWarning, match="knows nothing yet"):
        assert again.observe(16, None, False, labels=np.arange(16) % 2, losses=np.full(16, 0.7, np.float32))


@pytest.mark.parametrize("length, total", [(None, 4000), (0.1, None)])
def test_a_loss_that_settles_at_guessing_is_waited_for(length, total):
    warmup, labels = Warmup(length), np.arange(16) % 2
    for i in range(300):
        assert not warmup.observe(16, total, i > 64, labels=labels, losses=np.full(16, 0.69, np.float32))
    for _ in range(8):
        last = warmup.observe(16, total, True, labels=labels, losses=np.full(16, 0.4, np.float32))
    assert last or warmup.over
    never = Warmup(length)
    with pytest.warns(UserWarning, match="1024 reports, although the loss had not settled below guessing"):
        for i in range(1024):
            never.observe(16, total, i > 64, labels=labels, losses=np.full(16, 0.69, np.float32))
    assert never.over


def test_a_noisy_loss_far_above_guessing_is_waited_for():
    for seed in range(3):
        rng, warmup, policy = np.random.default_rng(seed), Warmup(None), AutoThreshold(warmup=None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for i in range(1024):
                labels = rng.integers(0, 2, 16)
                losses = np.log1p(np.exp(rng.normal(0, 1.4, 16))).astype(
                    np.float32
                )  # a model that guesses at random, surely
                policy.threshold.observe(losses)
                warmup.observe(16, None, policy.threshold.settled, labels=labels, losses=losses)
                assert not warmup.over or i == 1023
