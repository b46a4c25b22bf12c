"""Logistic regression: equal to its twin, to scikit-learn and to itself one row at a time; refuses what is wrong."""

import copy
import pickle

import numpy as np
import pytest
import scipy.sparse

from filterloader import LogisticRegression, ThreeStage
from filterloader.data.candidates import Bag
from filterloader.kernels import logistic as kernel
from tests import naive
from tests.predictors.test_naive_bayes import SLOW, WIDTH, bag, batches, csr, row

SETTINGS = [
    {},
    {"lr": 0.3, "l2": 0.0, "fit_intercept": False},
    {"lr": 0.5, "l2": 0.02, "step": "call"},
    {"lr": 0.5, "l2": 1.5},  # a scale that falls below SMALL every 15 steps
]
EVERY = pytest.mark.parametrize("settings", SETTINGS)


def trained(seed=0, **settings):
    model = LogisticRegression(WIDTH, **settings)
    for X, y, weight in batches(seed):
        model.partial_fit(X, y, weight)
    return model


def same(left, right):
    np.testing.assert_array_equal(left.coef_, right.coef_)
    assert left.intercept_ == right.intercept_


# --- kernels against the twin


@EVERY
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("counted", [False, True])
def test_twin(settings, weighted, counted):
    comp = LogisticRegression(WIDTH, **settings)
    ref = naive.Logistic(WIDTH, comp.lr, comp.l2, comp.fit_intercept)
    rng = np.random.default_rng(1)
    for X, y, weight in batches(2):
        values = 3.0 * rng.random(X.ids.size) if counted else None
        x = naive.dense(*X, values)
        comp.partial_fit(scipy.sparse.csr_array(x) if counted else X, y, weight if weighted else None)
        ref.learn(x, y, weight if weighted else np.ones(y.size), 1 if comp.step == "row" else y.size)
        np.testing.assert_allclose(comp.coef_, ref.w, rtol=1e-9, atol=1e-12)
        assert comp.intercept_ == pytest.approx(ref.b, rel=1e-9, abs=1e-12)
        np.testing.assert_allclose(
            comp.decision_function(scipy.sparse.csr_array(x)), x @ ref.w + ref.b, rtol=1e-9, atol=1e-9
        )


def test_groups_of_rows():
    (X, y, weight), state = next(batches(3, size=60)), np.array([0.2, 0.01, 1.0, 1.0, 0.0])
    comp, ref = np.zeros(WIDTH), naive.Logistic(WIDTH, 0.2, 0.01, True)
    assert kernel.learn(comp, state, X.ids, X.offsets, np.empty(0), y.astype(float), weight, 7) == 0
    ref.learn(naive.dense(*X), y, weight, 7)
    np.testing.assert_allclose(comp * state[kernel.SCALE], ref.w, rtol=1e-9, atol=1e-12)
    assert state[kernel.INTERCEPT] == pytest.approx(ref.b)


def test_sigmoid():
    for score in (0.0, 1.5, -1.5, 40.0, -40.0, 800.0, -800.0):
        assert kernel.sigmoid(score) == pytest.approx(naive.probabilities(np.array([score]))[0, 1], rel=1e-12)


def test_shrink():
    stored, state = np.array([1.0, -2.0]), np.zeros(kernel.LAST + 1)
    state[kernel.SCALE] = 1.0
    for factor, held in ((1e-5, 1e-5), (1e-3, 1e-8), (0.01, 1.0)):  # the last one is multiplied in
        kernel.shrink(stored, state, factor)
        assert state[kernel.SCALE] == pytest.approx(held)
    np.testing.assert_allclose(stored, [1e-10, -2e-10])


def test_a_step_touches_the_words_at_hand_only():
    model = LogisticRegression(1_000_000, lr=0.1, l2=0.5, step="call")
    model.partial_fit((np.array([5, 900_000], np.int32), np.array([0, 2])), [1])
    model.partial_fit((np.array([7], np.int32), np.array([0, 1])), [0])
    assert np.flatnonzero(model._stored).tolist() == [5, 7, 900_000]
    np.testing.assert_allclose(model.coef_[[5, 900_000]], 0.1 * 0.5 * (1 - 0.1 * 0.5))


# --- against scikit-learn


@pytest.mark.parametrize("lr, l2", [(0.01, 1e-3), (0.5, 0.0), (0.2, 0.3)])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
def test_equals_sklearn(lr, l2, fit_intercept, weighted):
    kind = pytest.importorskip("sklearn.linear_model").SGDClassifier
    ref = kind(loss="log_loss", learning_rate="constant", eta0=lr, alpha=l2, fit_intercept=fit_intercept, shuffle=False)
    comp = LogisticRegression(WIDTH, lr=lr, l2=l2, fit_intercept=fit_intercept)
    for X, y, weight in batches(4, count=8):
        weight = weight + 1e-3 if weighted else None
        comp.partial_fit(X, y, weight)
        ref.partial_fit(
            csr(X).toarray(), y, classes=[0, 1], sample_weight=weight
        )  # dense: sparse slows its intercept down
    X = bag(np.random.default_rng(5), 20)
    np.testing.assert_allclose(comp.coef_, ref.coef_[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(comp.decision_function(X), ref.decision_function(csr(X).toarray()), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(comp.predict_proba(X), ref.predict_proba(csr(X).toarray()), rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(comp.predict(X), ref.predict(csr(X).toarray()))


# --- against itself


@pytest.mark.parametrize("settings", [SETTINGS[0], SETTINGS[1], SETTINGS[3]])
def test_rows_at_once_equal_rows_alone(settings):
    together, alone = LogisticRegression(WIDTH, **settings), LogisticRegression(WIDTH, **settings)
    for X, y, weight in batches(6, count=5):
        together.partial_fit(X, y, weight)
        for i in range(y.size):
            alone.partial_fit(row(X, i), y[i : i + 1], weight[i : i + 1])
        same(together, alone)
        comp = [alone.decision_function(row(X, i))[0] for i in range(y.size)]
        np.testing.assert_array_equal(together.decision_function(X), comp)


def test_a_step_a_call_takes_the_mean_pull():
    X, y, _ = next(batches(7, size=40))
    together = LogisticRegression(WIDTH, lr=0.1, l2=0.0, step="call").partial_fit(X, y)
    apart = [LogisticRegression(WIDTH, lr=0.1, l2=0.0).partial_fit(row(X, i), y[i : i + 1]) for i in range(y.size)]
    np.testing.assert_allclose(together.coef_, np.mean([one.coef_ for one in apart], axis=0), atol=1e-12)


def test_inputs_are_the_same():
    X, y, _ = next(batches(8))
    ref = LogisticRegression(WIDTH, lr=0.1).partial_fit(X, y).decision_function(X)
    kinds = [
        (X.ids, X.offsets),
        (X.ids.astype(np.int64), X.offsets.astype(np.uint64)),
        csr(X),
        csr(X).toarray().astype(np.int8),
    ]
    for kind in kinds:
        for labels in (y, y.astype(bool), y.tolist()):
            comp = LogisticRegression(WIDTH, lr=0.1).partial_fit(kind, labels).decision_function(kind)
            np.testing.assert_allclose(comp, ref, rtol=1e-12, atol=1e-12)


@EVERY
def test_before_any_data(settings):
    model, X = LogisticRegression(WIDTH, **settings), bag(np.random.default_rng(9), 5)
    assert (model.decision_function(X) == 0.0).all() and (model.predict_proba(X) == 0.5).all()
    assert model.predict(X).tolist() == [0] * 5 and model.predict(X).dtype == np.int64
    empty = Bag(np.empty(0, np.int32), np.zeros(1, np.int64), WIDTH)
    assert model.partial_fit(empty, []) is model
    assert model.decision_function(empty).shape == (0,) and model.predict_proba(empty).shape == (0, 2)
    model.partial_fit(X, np.ones(5), np.zeros(5))
    assert (model.coef_ == 0.0).all()


@EVERY
@pytest.mark.parametrize("how", ["state", "pickle", "deepcopy"])
def test_continues(settings, how):
    model = trained(**settings)
    if how == "state":
        other = LogisticRegression(WIDTH, **settings)
        other.load_state_dict(model.state_dict())
    else:
        other = copy.deepcopy(model) if how == "deepcopy" else pickle.loads(pickle.dumps(model))
    for X, y, weight in batches(10, count=4):
        np.testing.assert_array_equal(model.decision_function(X), other.decision_function(X))
        model.partial_fit(X, y, weight)
        other.partial_fit(X, y, weight)
    same(model, other)


def test_state_and_coefficients_are_copies():
    model = trained()
    state, coef = model.state_dict(), model.coef_
    kept = copy.deepcopy((state, coef))
    model.partial_fit(*next(batches(11))[:2])
    np.testing.assert_equal((state, coef), kept)
    model.coef_[:] = 7.0
    assert not (model.coef_ == 7.0).any()


def test_repr_can_be_pasted():
    model = LogisticRegression(WIDTH, lr=0.5, l2=0, fit_intercept=False, step="call")
    assert repr(eval(repr(model))) == repr(model)
    assert "lr=0.5, l2=0.0, fit_intercept=False, step='call'" in repr(model)


@pytest.mark.parametrize("step, lr", [("row", 0.02), ("call", 0.1)])
def test_it_learns_what_the_words_tell_and_no_more(step, lr):
    rng = np.random.default_rng(12)
    n = 1500 if SLOW else 6000
    X, y, noise = bag(rng, n, 2000), rng.integers(0, 2, n), rng.integers(0, 2, n)
    ids, owner = X.ids.copy(), np.repeat(np.arange(n), np.diff(X.offsets))
    told = rng.random(ids.size) < 0.3
    ids[told] = 1500 + 2 * rng.integers(0, 50, told.sum()) + y[owner[told]]
    for labels, low, high in ((y, 0.0, 0.62), (noise, 0.68, 0.8)):
        model, losses = LogisticRegression(2000, lr=lr, step=step), []
        for at in range(0, n, 30):
            part = Bag(ids[X.offsets[at] : X.offsets[at + 30]], X.offsets[at : at + 31] - X.offsets[at], 2000)
            losses.append(-np.log(model.predict_proba(part)[np.arange(30), labels[at : at + 30]]))
            model.partial_fit(part, labels[at : at + 30])
        assert low < np.mean(losses[n // 90 :]) < high


def test_it_may_be_the_predictor_of_three_stages():
    from tests.zoo import WORDS, steps

    policy = ThreeStage(warmup=50, predictor=LogisticRegression(WORDS, lr=0.2), seed=1)
    assert list(dict.fromkeys(stage for *_, stage, _ in steps(policy, "example"))) == ["warm-up", "fit", "filter"]


# --- what is refused


@pytest.mark.parametrize(
    "settings, error, match",
    [
        ({"n_features": 0}, ValueError, "n_features must be a whole number from 1 to 2147483647, got 0"),
        ({"n_features": True}, ValueError, "n_features must be a whole number .*got True"),
        ({"n_features": 5, "lr": 0.0}, ValueError, "lr must be a finite number of at least 1e-10, got 0.0"),
        ({"n_features": 5, "lr": "fast"}, ValueError, "lr must be .*got 'fast'"),
        ({"n_features": 5, "lr": float("inf")}, ValueError, "lr must be .*got inf"),
        ({"n_features": 5, "l2": -1}, ValueError, "l2 must be a finite number of at least 0, got -1"),
        ({"n_features": 5, "lr": 2.0, "l2": 0.5}, ValueError, r"lr \* l2 is 1, .* must be below 1"),
        ({"n_features": 5, "fit_intercept": 1}, ValueError, "fit_intercept must be True or False, got 1"),
        ({"n_features": 5, "step": "epoch"}, ValueError, "step='epoch' is not known; choose one of 'row', 'call'"),
    ],
)
def test_bad_settings(settings, error, match):
    with pytest.raises(error, match=match):
        LogisticRegression(**settings)


def test_settings_are_keyword_only():
    with pytest.raises(TypeError, match="positional argument"):
        LogisticRegression(5, 0.1)


IDS, OFFSETS = np.array([0, 4, 2], np.int32), np.array([0, 2, 3])


@pytest.mark.parametrize(
    "X, y, weight, match",
    [
        ((np.array([0, 5, 2], np.int32), OFFSETS), [0, 1], None, r"ids\[1\] is 5; allowed is 0 to 4"),
        ((IDS, np.array([0, 2, 4])), [0, 1], None, r"offsets\[2\] is 4; it must be the number of ids, 3"),
        (Bag(IDS, OFFSETS, 9), [0, 1], None, "X has n_features=9, this LogisticRegression 5"),
        (np.zeros((2, 6)), [0, 1], None, r"X has shape \(2, 6\); give \[n, 5\]"),
        (np.eye(2, 5) * np.nan, [0, 1], None, "X holds nan"),
        ((IDS, OFFSETS), [0, 2], None, r"y\[1\] is 2; allowed is 0 or 1"),
        ((IDS, OFFSETS), [0], None, r"y has shape \(1,\); X has 2 rows"),
        ((IDS, OFFSETS), [0, 1], [1.0, -0.5], r"sample_weight\[1\] is -0.5; allowed"),
    ],
)
def test_bad_input(X, y, weight, match):
    model = LogisticRegression(5, lr=0.1).partial_fit((IDS, OFFSETS), [0, 1])
    before = copy.deepcopy(model)
    with pytest.raises(ValueError, match=match):
        model.partial_fit(X, y, weight)
    same(model, before)
    if match.startswith(("ids", "offsets", "X")):
        with pytest.raises(ValueError, match=match):
            model.predict_proba(X)


@pytest.mark.parametrize(
    "change, match",
    [
        ({"lr": 0.5}, "lr=0.5, this LogisticRegression has 0.01"),
        ({"class": "BernoulliNB"}, "class='BernoulliNB'"),
        ({"version": 7}, "version=7"),
        ({"stored": np.zeros(3)}, r"stored='shape \(3,\)', this LogisticRegression has 'shape \(5,\)'"),
        ({"l2": None}, "state lacks 'l2'"),
    ],
)
def test_bad_state(change, match):
    model = LogisticRegression(5).partial_fit((IDS, OFFSETS), [0, 1])
    before = copy.deepcopy(model)
    state = {name: value for name, value in (model.state_dict() | change).items() if value is not None}
    with pytest.raises(ValueError, match=match):
        model.load_state_dict(state)
    same(model, before)
