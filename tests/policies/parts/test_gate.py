"""The gate to the filter stage: it opens for a predictor that knows something, and for no other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filterloader import BernoulliNB, MultinomialNB
from filterloader.data.candidates import Bag
from filterloader.policies.parts.gate import Gate

SEEDS = range(20)


def nats(proba, y):
    return -np.log(np.where(y, proba, 1 - proba))


def opened(gate, predictor, labels, reports=2000, size=32, seed=0):
    """The report at which the gate opens; None where it stays shut. predictor, labels: rng, n, y or report -> array."""
    rng = np.random.default_rng(seed)
    for report in range(reports):
        y = labels(rng, size, report)
        gate.observe(predictor(rng, size, y), y)
        if gate.open:
            return report
    return None


def coin(rate):
    return lambda rng, n, report: rng.random(n) < rate


def naive_bayes(words=500, length=8, kind=MultinomialNB, calibrate=True):
    """A learning predictor over words that say nothing."""
    model = kind(words, calibrate=calibrate)

    def predict(rng, n, y):
        X = Bag(rng.integers(0, words, n * length).astype(np.int32), np.arange(n + 1, dtype=np.int64) * length, words)
        proba = model.predict_proba(X)[:, 1]
        model.partial_fit(X, y)
        return proba

    return predict


def test_absolute_is_the_mean_loss_of_the_last_reports():
    gate = Gate(4, alt=0.3)
    rng = np.random.default_rng(0)
    means = []
    for report in range(60):
        y = rng.random(16) < 0.4
        sure = 0.5 + 0.45 * min(report / 40, 1)
        proba = np.where(y, sure, 1 - sure)
        gate.observe(proba, y)
        means.append(nats(proba, y).mean())
        ref = np.mean(means[-4:])
        assert gate.loss == pytest.approx(ref)
        assert gate.open == (len(means) >= 4 and ref <= 0.3)
    assert gate.open


@pytest.mark.parametrize("window", [1, 4, 16])
@pytest.mark.parametrize("alt", [None, 0.5])
def test_it_may_not_open_before_the_window_is_full(window, alt):
    def knows(rng, n, y):
        return np.where(y, 0.95, 0.05)

    assert opened(Gate(window, alt=alt), knows, coin(0.5)) == window - 1


def test_there_is_no_loss_and_no_gain_before_the_first_report():
    gate = Gate()
    assert gate.loss is None and gate.gain is None and not gate.open


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.5])
def test_a_random_predictor_never_passes(rate):
    def noise(rng, n, y):
        return rng.uniform(0.05, 0.95, n)

    assert [opened(Gate(), noise, coin(rate), seed=seed) for seed in SEEDS] == [None] * len(SEEDS)


@pytest.mark.parametrize("rate", [0.1, 0.4])
def test_a_predictor_that_learns_from_noise_never_passes(rate):
    found = [opened(Gate(), naive_bayes(), coin(rate), seed=seed) for seed in SEEDS]
    assert found == [None] * len(SEEDS)


@pytest.mark.parametrize("size", [1, 32])
@pytest.mark.parametrize("rate", [0.02, 0.05, 0.1, 0.3, 0.5])
def test_a_constant_guess_of_the_label_rate_never_passes(rate, size):
    """However early it knows the rate: knowing it is what the gate compares with."""

    def constant(rng, n, y):
        return np.full(n, rate)

    found = [opened(Gate(), constant, coin(rate), size=size, seed=seed) for seed in SEEDS]
    assert found == [None] * len(SEEDS)


@pytest.mark.parametrize("drift", ["jump", "slide", "wave"])
def test_a_label_rate_that_moves_is_no_merit_of_the_words(drift):
    rate = {
        "jump": lambda report: 0.6 if report < 200 else 0.1,
        "slide": lambda report: max(0.1, 0.6 - report / 800),
        "wave": lambda report: 0.3 + 0.25 * np.sin(report / 30),
    }[drift]
    found = [
        opened(Gate(), naive_bayes(), lambda rng, n, report: rng.random(n) < rate(report), reports=600, seed=seed)
        for seed in range(5)
    ]
    assert found == [None] * 5


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    kind=st.sampled_from([BernoulliNB, MultinomialNB]),
    calibrate=st.booleans(),
    size=st.sampled_from([1, 4, 32]),
    start=st.sampled_from([0.0, 0.001, 0.01, 0.05, 0.5, 0.95, 0.99, 1.0]),
    end=st.sampled_from([0.0, 0.001, 0.01, 0.05, 0.5, 0.95, 0.99, 1.0]),
    reports=st.sampled_from([0, 50, 400]),
    seed=st.integers(0, 2**16),
)
def test_words_that_say_nothing_never_pass_however_the_labels_run(kind, calibrate, size, start, end, reports, seed):
    """Constant labels, nearly constant ones, and rates that slide from one to another over some reports."""

    def labels(rng, n, report):
        return rng.random(n) < start + (end - start) * min(report / max(reports, 1), 1)

    assert (
        opened(Gate(), naive_bayes(kind=kind, calibrate=calibrate), labels, reports=700, size=size, seed=seed) is None
    )


@pytest.mark.parametrize("alt", [None, 0.3])
@pytest.mark.parametrize("label", [False, True])
@pytest.mark.parametrize("kind", [BernoulliNB, MultinomialNB])
def test_a_constant_label_is_no_merit_of_the_words(alt, label, kind):
    for calibrate in (False, True):
        assert (
            opened(Gate(alt=alt), naive_bayes(kind=kind, calibrate=calibrate), coin(float(label)), reports=600) is None
        )


def test_a_label_that_has_become_constant_shuts_the_gate_again():
    def sees(rng, n, y):
        return np.where(y, 0.9, 0.1)

    gate, rng, was_open = Gate(), np.random.default_rng(0), []
    for report in range(1000):
        y = (rng.random(32) < 0.3) & (report < 100)
        gate.observe(sees(rng, 32, y), y)
        was_open.append(gate.open)
    assert was_open[50:100] == [True] * 50 and not was_open[-1]


@pytest.mark.parametrize("size", [8, 32])
@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5])
def test_an_informative_predictor_passes(rate, size):
    def sees(rng, n, y):  # a mark on 80 % of the high losses and 10 % of the low ones
        mark = rng.random(n) < np.where(y, 0.8, 0.1)
        high, low = rate * np.where(mark, 0.8, 0.2), (1 - rate) * np.where(mark, 0.1, 0.9)
        return high / (high + low)

    found = [opened(Gate(), sees, coin(rate), reports=200, size=size, seed=seed) for seed in SEEDS]
    assert None not in found


def test_a_margin_asks_for_more():
    def sees(rng, n, y):
        return np.where(y, 0.6, 0.4)

    assert opened(Gate(margin=0.2), sees, coin(0.5)) is not None  # it saves 26 % of a fair coin's loss
    assert opened(Gate(margin=0.3), sees, coin(0.5)) is None


def test_gain_is_the_share_of_the_guess_saved():
    gate = Gate()
    for _ in range(300):
        gate.observe(np.array([0.75, 0.25]), np.array([True, False]))
    assert gate.gain == pytest.approx(1 - np.log(0.75) / np.log(0.5), abs=1e-3)


def test_a_sure_and_wrong_predictor_costs_much_but_not_infinitely():
    gate = Gate(1, alt=0.5)
    gate.observe(np.array([0.0, 1.0]), np.array([True, False]))
    assert np.isfinite(gate.loss) and gate.loss > 20 and not gate.open


def test_an_absolute_gate_may_shut_again():
    gate = Gate(1, alt=0.5)
    y = np.array([True, False])
    for proba, is_open in ((0.9, True), (0.5, False), (0.9, True)):
        gate.observe(np.where(y, proba, 1 - proba), y)
        assert gate.open == is_open


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"window": 0}, "window .*got 0"),
        ({"alt": 0.0}, "alt must be a finite number above 0, got 0.0"),
        ({"alt": float("inf")}, "alt must be a finite number above 0, got inf"),
        ({"margin": -0.1}, "margin must be a finite number of at least 0, got -0.1"),
        ({"margin": "2%"}, "margin must be a finite number .*got '2%'"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        Gate(**settings)


@pytest.mark.parametrize("alt", [None, 0.6])
def test_a_state_goes_on_as_if_never_saved(alt):
    rng = np.random.default_rng(0)
    ref, comp = Gate(alt=alt), Gate(alt=alt)
    for report in range(60):
        y = rng.random(8) < 0.5
        proba = np.where(y, 0.55, 0.45) + rng.uniform(-0.4, 0.4, 8)
        ref.observe(proba, y)
        if report >= 5:
            comp.observe(proba, y)
        if report == 4:
            comp.load_state_dict(ref.state_dict())
        if report >= 4:
            assert (ref.open, ref.loss, ref.gain, ref.reports) == (comp.open, comp.loss, comp.gain, comp.reports)


def test_a_state_of_another_gate_is_refused_with_both_values():
    with pytest.raises(ValueError, match=r"alt=0\.3.*alt=None"):
        Gate().load_state_dict(Gate(alt=0.3).state_dict())
