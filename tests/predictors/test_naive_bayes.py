"""Naive Bayes: equal to itself one row at a time, saved and taken up again; calibrated; refuses what is wrong."""

import copy
import itertools
import pickle
import warnings

import numba
import numpy as np
import pytest
import scipy.sparse

from filterloader.data.candidates import Bag
from filterloader.kernels import naive_bayes as kernel
from filterloader.predictors.naive_bayes import BernoulliNB, MultinomialNB

SLOW = bool(numba.config.DISABLE_JIT)
BOTH = pytest.mark.parametrize("Model", [BernoulliNB, MultinomialNB])
WIDTH = 300


def bag(rng, n, width=WIDTH, length=15):
    """Zipf words with repeats; every fifth row or so is empty."""
    lengths = rng.integers(0, 2 * length, n) * (rng.random(n) > 0.2)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = np.minimum(rng.zipf(1.3, offsets[-1]) - 1, width - 1)
    return Bag(ids.astype(np.int32), offsets.astype(np.int64), width)


def batches(seed, count=12, size=30, **kwargs):
    """Bags with labels that depend a little on the words, and weights with zeros among them."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        X = bag(rng, int(rng.integers(1, size)), **kwargs)
        n = X.offsets.size - 1
        yield X, rng.integers(0, 2, n), rng.exponential(2.0, n) * (rng.random(n) > 0.1)


def row(X, i):
    """Row i of a bag, as a bag."""
    return Bag(X.ids[X.offsets[i] : X.offsets[i + 1]], X.offsets[i : i + 2] - X.offsets[i], X.n_features)


def csr(X):
    """A bag as a sparse matrix of counts."""
    out = scipy.sparse.csr_array(
        (np.ones(X.ids.size), X.ids.copy(), X.offsets.copy()), (X.offsets.size - 1, X.n_features)
    )
    out.sum_duplicates()
    return out


def trained(Model, seed=0, **settings):
    """A model after a dozen small batches with weights."""
    model = Model(WIDTH, **settings)
    for X, y, weight in batches(seed):
        model.partial_fit(X, y, weight)
    return model


def learnt(model):
    """Everything a model has learnt, as one vector; the stamp, which only counts, left out."""
    state = model.state_dict()
    state["scalars"][kernel.STAMP] = 0.0
    return np.concatenate([np.ravel(value) for value in state.values() if isinstance(value, np.ndarray)])


# --- against itself


@BOTH
def test_inputs_are_the_same(Model):
    X, y, _ = next(batches(11))
    explicit_zero = csr(X) + 0.0 * csr(Bag(X.ids[::-1].copy(), X.offsets, WIDTH))
    spread = np.repeat(X.ids, 2)[::2]
    kinds = [
        X,
        (X.ids, X.offsets),
        (X.ids.astype(np.int64), X.offsets.astype(np.int32)),
        (spread, X.offsets.astype(np.uint64)),
        csr(X),
        explicit_zero,
        csr(X).toarray(),
        csr(X).toarray().astype(np.int8),
    ]
    ref = Model(WIDTH).partial_fit(X, y).decision_function(X)
    for kind, labels in itertools.product(kinds, (y, y.astype(bool), y.astype(np.float32), y.tolist())):
        comp = Model(WIDTH).partial_fit(kind, labels).decision_function(kind)
        np.testing.assert_allclose(comp, ref, rtol=1e-12, atol=1e-12)


@BOTH
def test_sparse_input_is_not_touched(Model):
    X = scipy.sparse.csr_array((np.array([1.0, 2.0, 0.0]), np.array([3, 3, 1]), np.array([0, 2, 3])), (2, WIDTH))
    Model(WIDTH).partial_fit(X, [0, 1])
    assert X.nnz == 3 and X.data.tolist() == [1.0, 2.0, 0.0]


@BOTH
@pytest.mark.parametrize("fit_prior", [True, False])
@pytest.mark.parametrize("half_life", [None, 1, 37.5])
@pytest.mark.parametrize("calibrate", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_rows_at_once_equal_rows_alone(Model, fit_prior, half_life, calibrate, weighted):
    settings = {"fit_prior": fit_prior, "half_life": half_life, "calibrate": calibrate}
    together, alone = Model(WIDTH, **settings), Model(WIDTH, **settings)
    for X, y, weight in batches(12, count=5):
        weight = weight if weighted else np.ones(y.size)
        together.partial_fit(X, y, weight if weighted else None)
        for i in range(y.size):
            alone.partial_fit(row(X, i), y[i : i + 1], weight[i : i + 1])
        np.testing.assert_array_equal(learnt(together), learnt(alone))
        comp = [alone.decision_function(row(X, i))[0] for i in range(y.size)]
        np.testing.assert_allclose(together.decision_function(X), comp, rtol=1e-12, atol=1e-12)


@BOTH
@pytest.mark.parametrize("calibrate", [False, True])
def test_before_any_data(Model, calibrate):
    X = bag(np.random.default_rng(13), 5)
    model = Model(WIDTH, calibrate=calibrate)
    assert (model.decision_function(X) == 0.0).all() and (model.predict_proba(X) == 0.5).all()
    empty = Bag(np.empty(0, np.int32), np.zeros(1, np.int64), WIDTH)
    assert model.partial_fit(empty, []) is model
    assert model.decision_function(empty).shape == (0,) and model.predict_proba(empty).shape == (0, 2)
    model.partial_fit(X, np.ones(5), np.zeros(5))
    assert (model.decision_function(X) == 0.0).all()


@BOTH
def test_half_life(Model):
    model = Model(10, half_life=8)
    one = Bag(np.array([3], np.int32), np.array([0, 1]), 10)
    none = Bag(np.empty(0, np.int32), np.zeros(9, np.int64), 10)
    model.partial_fit(one, [1]).partial_fit(none, np.zeros(8))
    assert model.state_dict()["counts"][3] == pytest.approx([0.0, 0.5])


SETTINGS = [{}, {"alpha": 0.25, "fit_prior": False, "half_life": 20.0, "calibrate": True}]


@BOTH
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("how", ["state", "pickle", "deepcopy"])
def test_continues(Model, settings, how):
    model = trained(Model, **settings)
    if how == "state":
        other = Model(WIDTH, **settings)
        other.load_state_dict(model.state_dict())
    else:
        other = copy.deepcopy(model) if how == "deepcopy" else pickle.loads(pickle.dumps(model))
    for X, y, weight in batches(14, count=4):
        np.testing.assert_array_equal(model.decision_function(X), other.decision_function(X))
        model.partial_fit(X, y, weight)
        other.partial_fit(X, y, weight)
    np.testing.assert_array_equal(learnt(model), learnt(other))


@BOTH
def test_state_is_a_copy(Model):
    model = trained(Model)
    state = model.state_dict()
    kept = copy.deepcopy(state)
    X, y, _ = next(batches(15))
    model.partial_fit(X, y)
    other = Model(WIDTH)
    other.load_state_dict(state)
    other.partial_fit(X, y)
    for name, value in kept.items():
        np.testing.assert_array_equal(state[name], value)


@BOTH
def test_repr_can_be_pasted(Model):
    model = Model(WIDTH, alpha=0.5, fit_prior=False, half_life=100, calibrate=True)
    assert repr(eval(repr(model))) == repr(model)
    assert "alpha=0.5" in repr(model) and "half_life=100.0" in repr(model)


# --- calibration


def log_loss(model, X, y, size=32):
    """Prequential losses: every batch is predicted, then learnt."""
    losses = []
    for i in range(0, y.size, size):
        stop = min(i + size, y.size)
        offsets = X.offsets[i : stop + 1] - X.offsets[i]
        part = Bag(X.ids[X.offsets[i] : X.offsets[stop]], offsets, X.n_features)
        losses.append(-np.log(np.maximum(model.predict_proba(part)[np.arange(stop - i), y[i:stop]], 1e-300)))
        model.partial_fit(part, y[i:stop])
    return np.concatenate(losses)


N = 6000 if SLOW else 12_000


@BOTH
def test_calibration_on_noise(Model):
    rng = np.random.default_rng(16)
    X, y = bag(rng, N, 2000), (rng.random(N) < 0.27).astype(int)
    rate = y[N // 3 :].mean()
    entropy = -rate * np.log(rate) - (1.0 - rate) * np.log(1.0 - rate)
    calibrated = log_loss(Model(2000, calibrate=True), X, y)[N // 3 :].mean()
    assert calibrated < (1.04 if SLOW else 1.02) * entropy
    assert log_loss(Model(2000), X, y)[N // 3 :].mean() > 1.08 * entropy


@BOTH
def test_calibration_on_signal(Model):
    rng = np.random.default_rng(17)
    X, y = bag(rng, N, 2000), rng.integers(0, 2, N)
    ids = X.ids.copy()
    rows = np.repeat(np.arange(N), np.diff(X.offsets))
    told = (rng.random(ids.size) < 0.15) & (ids > 3)
    ids[told] = 1500 + 2 * rng.integers(0, 200, told.sum()) + y[rows[told]]
    losses = log_loss(Model(2000, calibrate=True), Bag(ids, X.offsets, 2000), y)[N // 3 :]
    assert losses.mean() < 0.75 * np.log(2.0)


@BOTH
def test_calibration_survives_one_class(Model):
    X, y, _ = next(batches(18, size=40))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = Model(WIDTH, calibrate=True).partial_fit(X, np.ones_like(y))
        proba = model.predict_proba(X)
    assert np.isfinite(model.decision_function(X)).all() and (proba[:, 1] > 0.5).all()


# --- what is refused


@BOTH
@pytest.mark.parametrize(
    "settings, error, match",
    [
        ({"n_features": 0}, ValueError, "n_features must be a whole number from 1 to 2147483647, got 0"),
        ({"n_features": 3.5}, ValueError, "n_features must be a whole number .*got 3.5"),
        ({"n_features": 5, "alpha": 0.0}, ValueError, "alpha must be a finite number of at least 1e-10, got 0.0"),
        ({"n_features": 5, "alpha": float("nan")}, ValueError, "alpha must be .*got nan"),
        ({"n_features": 5, "alpha": "1"}, ValueError, "alpha must be .*got '1'"),
        ({"n_features": 5, "half_life": -2}, ValueError, "half_life must be .*got -2"),
        ({"n_features": 5, "fit_prior": "no"}, ValueError, "fit_prior must be True or False, got 'no'"),
        ({"n_features": 5, "calibrate": 1}, ValueError, "calibrate must be True or False, got 1"),
    ],
)
def test_bad_settings(Model, settings, error, match):
    with pytest.raises(error, match=match):
        Model(**settings)


IDS, OFFSETS = np.array([0, 4, 2], np.int32), np.array([0, 2, 3])


@BOTH
@pytest.mark.parametrize(
    "X, y, weight, match",
    [
        ((np.array([0, 5, 2], np.int32), OFFSETS), [0, 1], None, r"ids\[1\] is 5; allowed is 0 to 4"),
        ((np.array([0, 4, -3]), OFFSETS), [0, 1], None, r"ids\[2\] is -3; allowed"),
        ((np.array([0, 2**32 + 1, 3]), OFFSETS), [0, 1], None, r"ids\[1\] is 4294967297; allowed"),
        ((IDS.astype(float), OFFSETS), [0, 1], None, r"ids is float64 of shape \(3,\)"),
        ((IDS[None], OFFSETS), [0, 1], None, r"ids is int32 of shape \(1, 3\)"),
        ((IDS, np.array([1, 2, 3])), [0, 1], None, r"offsets\[0\] is 1; it must be 0"),
        ((IDS, np.array([0, 2, 4])), [0, 1], None, r"offsets\[2\] is 4; it must be the number of ids, 3"),
        ((IDS, np.array([0, 5, 3])), [0, 1], None, r"offsets\[2\] is 3; it must not be below"),
        ((IDS, np.empty(0, int)), [], None, "offsets is empty"),
        ((IDS, OFFSETS, 5, 5), [0, 1], None, "X is a tuple of 4"),
        (Bag(IDS, OFFSETS, 9), [0, 1], None, "X has n_features=9, this .*NB 5"),
        (np.zeros((2, 6)), [0, 1], None, r"X has shape \(2, 6\); give \[n, 5\]"),
        (np.zeros(5), [0, 1], None, r"X has shape \(5,\)"),
        (np.full((2, 5), "a"), [0, 1], None, "X has dtype <U1"),
        (np.eye(2, 5) * -2.0, [0, 1], None, "X holds -2.0"),
        (np.eye(2, 5) * np.nan, [0, 1], None, "X holds nan"),
        (np.where(np.eye(2, 5), np.inf, 0.0), [0, 1], None, "X holds inf"),
        ((IDS, OFFSETS), [0, 2], None, r"y\[1\] is 2; allowed is 0 or 1"),
        ((IDS, OFFSETS), [0.5, 1], None, r"y\[0\] is 0.5"),
        ((IDS, OFFSETS), [0], None, r"y has shape \(1,\); X has 2 rows"),
        ((IDS, OFFSETS), ["a", "b"], None, "y has dtype <U1, first .*'a'"),
        ((IDS, OFFSETS), [0, 1], [1.0, -0.5], r"sample_weight\[1\] is -0.5; allowed"),
        ((IDS, OFFSETS), [0, 1], [np.nan, 1.0], r"sample_weight\[0\] is nan"),
        ((IDS, OFFSETS), [0, 1], [1.0], r"sample_weight has shape \(1,\)"),
    ],
)
def test_bad_input(Model, X, y, weight, match):
    model = Model(5).partial_fit((IDS, OFFSETS), [0, 1])
    before = learnt(model)
    with pytest.raises(ValueError, match=match):
        model.partial_fit(X, y, weight)
    np.testing.assert_array_equal(learnt(model), before)
    if match.startswith(("ids", "offsets", "X")):
        with pytest.raises(ValueError, match=match):
            model.predict_proba(X)


@pytest.mark.parametrize(
    "other, match",
    [
        (MultinomialNB(5), "class='MultinomialNB', this BernoulliNB has 'BernoulliNB'"),
        (BernoulliNB(6), "n_features=6, this BernoulliNB has 5"),
        (BernoulliNB(5, 0.5), "alpha=0.5, this BernoulliNB has 1.0"),
        (BernoulliNB(5, fit_prior=False), "fit_prior=False, this BernoulliNB has True"),
        (BernoulliNB(5, half_life=8), "half_life=8.0, this BernoulliNB has None"),
        (BernoulliNB(5, calibrate=True), "calibrate=True, this BernoulliNB has False"),
    ],
)
def test_bad_state(other, match):
    with pytest.raises(ValueError, match=match):
        BernoulliNB(5).load_state_dict(other.state_dict())


def test_bad_state_parts():
    model = BernoulliNB(5)
    with pytest.raises(ValueError, match="version=7, this BernoulliNB has 1"):
        model.load_state_dict(model.state_dict() | {"version": 7})
    with pytest.raises(ValueError, match="state lacks 'alpha'"):
        model.load_state_dict({k: v for k, v in model.state_dict().items() if k not in ("alpha", "counts")})
    with pytest.raises(ValueError, match=r"counts='shape \(2, 2\)', this BernoulliNB has 'shape \(5, 2\)'"):
        model.load_state_dict(model.state_dict() | {"counts": np.zeros((2, 2))})
