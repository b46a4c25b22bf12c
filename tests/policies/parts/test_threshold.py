"""The loss threshold against the paper's equation 2, the authors' script and plain means."""

import numpy as np
import pytest

from filterloader import AutoThreshold, MovingAverageThreshold, ThreeStage


def reports(n=40, size=16, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.gamma(2.0, 0.5, size).astype(np.float32) for _ in range(n)]


def fed(means):
    """A threshold after one report of one loss for each mean."""
    threshold = MovingAverageThreshold()
    for mean in means:
        threshold.observe(np.array([mean], np.float32))
    return threshold


@pytest.mark.parametrize("window", [1, 3, 8])
def test_equation_2_is_the_mean_of_the_last_k_batch_means_without_the_current_one(window):
    threshold = MovingAverageThreshold(window)
    means = []
    for losses in reports():
        ref = np.mean(means[-window:]) if means else None
        comp = threshold.observe(losses)
        assert comp == (None if ref is None else pytest.approx(ref, rel=1e-12))
        means.append(losses.mean(dtype=np.float64))
    assert threshold.value == pytest.approx(np.mean(means[-window:]), rel=1e-12)


def test_the_default_is_the_papers():
    assert repr(MovingAverageThreshold()) == (
        "MovingAverageThreshold(window=8, unit='batch', include_current=False, frozen=False)"
    )


def test_there_is_no_threshold_before_the_first_report():
    threshold = MovingAverageThreshold()
    assert threshold.value is None
    assert threshold.observe(np.ones(4, np.float32)) is None
    assert threshold.value == 1.0


def test_a_batch_mean_counts_once_however_many_examples_it_has():
    threshold = MovingAverageThreshold()
    threshold.observe(np.full(100, 1.0, np.float32))
    threshold.observe(np.array([4.0], np.float32))
    assert threshold.value == 2.5


def test_it_goes_on_sliding_after_the_warm_up():
    threshold = MovingAverageThreshold(2)
    for loss in (8.0, 8.0):
        threshold.observe(np.array([loss]))
    threshold.end_warmup()
    for loss in (2.0, 2.0):
        threshold.observe(np.array([loss]))
    assert threshold.value == 2.0


def test_the_script_averages_the_last_128_example_losses_with_the_current_batch_and_freezes():
    threshold = MovingAverageThreshold(128, unit="example", include_current=True, frozen=True)
    every = np.zeros(0)
    for losses in reports(30, 8):
        every = np.append(every, losses)
        assert threshold.observe(losses) == pytest.approx(every[-128:].mean(), rel=1e-12)
    stands = threshold.value
    threshold.end_warmup()
    for losses in reports(30, 8, seed=1):
        assert threshold.observe(losses) == stands
    assert threshold.value == stands


def test_a_batch_longer_than_the_window_counts_its_last_losses():
    threshold = MovingAverageThreshold(3, unit="example")
    threshold.observe(np.array([9.0, 9.0, 1.0, 2.0, 3.0]))
    assert threshold.value == 2.0


def test_current_losses_may_count_in_batch_means_too():
    threshold = MovingAverageThreshold(2, include_current=True)
    assert [threshold.observe(np.array([loss])) for loss in (1.0, 3.0, 5.0)] == [1.0, 2.0, 4.0]


@pytest.mark.parametrize("window", [3, 7, 8])
def test_a_constant_loss_is_its_own_threshold(window):
    threshold = MovingAverageThreshold(window)
    losses = np.full(33, 0.1, np.float32)
    for _ in range(20):
        value = threshold.observe(losses)
    assert (losses >= value).all() and not (losses > value).any()


@pytest.mark.parametrize("policy", [AutoThreshold, ThreeStage])
def test_a_policy_takes_a_threshold_that_moves_and_no_number(policy):
    assert policy(threshold=MovingAverageThreshold(4)).threshold.window == 4
    with pytest.raises(ValueError, match=r"threshold must be a MovingAverageThreshold, got 0.3; FixedThreshold"):
        policy(threshold=0.3)


def test_losses_are_only_read():
    losses = np.array([1.0, 2.0], np.float32)
    losses.flags.writeable = False
    threshold = MovingAverageThreshold(2, unit="example")
    threshold.observe(losses)
    assert threshold.state_dict()["recent"].tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    "means, settled",
    [
        ([1.0] * 63, False),
        ([1.0] * 64, True),
        ([1.0] * 32 + [0.96] * 32, True),
        ([1.0] * 32 + [0.94] * 32, False),
        ([1.0] * 32 + [2.0] * 32, True),
        (list(np.geomspace(4, 1, 100)), False),
        (list(np.geomspace(4, 1, 100)) + [1.0] * 64, True),
    ],
)
def test_settled_compares_the_last_32_reports_with_the_32_before(means, settled):
    assert fed(means).settled is settled


def test_a_frozen_threshold_still_sees_whether_the_loss_settles():
    threshold = MovingAverageThreshold(4, frozen=True)
    for loss in np.geomspace(4, 1, 64):
        threshold.observe(np.array([loss]))
    threshold.end_warmup()
    assert not threshold.settled
    for _ in range(64):
        threshold.observe(np.ones(1))
    assert threshold.settled


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"window": 0}, "window must be a whole number of at least 1, got 0"),
        ({"window": 2.5}, "window .*got 2.5"),
        ({"window": True}, "window .*got True"),
        ({"unit": "token"}, "unit='token' is not known; choose one of 'batch', 'example'"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        MovingAverageThreshold(**settings)


@pytest.mark.parametrize("settings", [{}, {"window": 128, "unit": "example", "include_current": True, "frozen": True}])
@pytest.mark.parametrize("warm", [3, 100])
def test_a_state_goes_on_as_if_never_saved(settings, warm):
    ref, comp = MovingAverageThreshold(**settings), MovingAverageThreshold(**settings)
    for i, losses in enumerate(reports(80)):
        if i == warm:
            ref.end_warmup()
        ref.observe(losses)
    state = ref.state_dict()
    comp.load_state_dict(state)
    for losses in reports(80, seed=1):
        assert ref.observe(losses) == comp.observe(losses)
        assert ref.settled == comp.settled


def test_a_state_is_a_copy():
    threshold = fed([1.0, 2.0])
    state = threshold.state_dict()
    threshold.observe(np.full(4, 100.0))
    other = MovingAverageThreshold()
    other.load_state_dict(state)
    state["recent"][:] = -1
    assert other.value == 1.5


def test_a_state_of_another_window_is_refused_with_both_values():
    with pytest.raises(ValueError, match=r"window=4.*window=8"):
        MovingAverageThreshold(8).load_state_dict(MovingAverageThreshold(4).state_dict())
