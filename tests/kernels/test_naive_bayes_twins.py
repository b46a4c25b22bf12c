"""Naive Bayes: the kernels equal to their readable twins, and both models equal to scikit-learn's."""

import itertools
import warnings

import numpy as np
import pytest
import scipy.sparse

from filterloader.data.candidates import Bag
from filterloader.kernels import naive_bayes as kernel
from filterloader.predictors.naive_bayes import BernoulliNB, MultinomialNB
from tests import naive
from tests.predictors.test_naive_bayes import BOTH, SLOW, WIDTH, bag, batches, csr, trained


def twin(Model, seed=0, **settings):
    """The twin after the same."""
    ref = naive.NaiveBayes(Model is BernoulliNB, WIDTH, **settings)
    for X, y, weight in batches(seed):
        for x, label, w in zip(naive.dense(X.ids, X.offsets, WIDTH), y, weight, strict=True):
            ref.learn(x, label, w)
    return ref


# --- kernels against twins


@pytest.mark.parametrize("low, high", [(1.0, 1.0), (1.0, 1e9), (1e-10, 1e5), (1e-20, 1e20), (50.0, 1e4)])
def test_span(low, high):
    many = kernel.span(low, high)
    assert many >= 7
    for up, down in itertools.product((low, high), repeat=2):
        assert 0.0 < up**many / down**many < np.inf


@pytest.mark.parametrize("fit_prior", [True, False])
@pytest.mark.parametrize("rows", [(0.0, 0.0), (3.0, 0.0), (0.0, 3.0), (2.0, 2.0), (2.0, 7.5)])
def test_log_prior(rows, fit_prior):
    state = np.zeros(kernel.LAST + 1)
    state[kernel.FIT_PRIOR], state[kernel.COUNT : kernel.COUNT + 2] = fit_prior, rows
    ref = naive.log_prior(rows, fit_prior)
    comp = kernel.log_prior(state)
    assert comp == pytest.approx(ref, abs=1e-12)


@BOTH
@pytest.mark.parametrize("half_life", [None, 40])
def test_counts_and_rows(Model, half_life):
    model, ref = trained(Model, alpha=0.3, half_life=half_life), twin(Model, alpha=0.3, half_life=half_life)
    np.testing.assert_allclose(model._table[:, :2], ref.words.T, rtol=1e-12)
    state = model._state
    np.testing.assert_allclose(state[kernel.COUNT : kernel.COUNT + 2], ref.rows, rtol=1e-12)
    X = bag(np.random.default_rng(1), 20)
    values = np.random.default_rng(2).random(X.ids.size) * 3.0
    counted = naive.dense(X.ids, X.offsets, WIDTH, values)
    for i, x in enumerate(naive.dense(X.ids, X.offsets, WIDTH)):
        start, stop = X.offsets[i], X.offsets[i + 1]
        if Model is BernoulliNB:
            expected = naive.bernoulli_row(ref.words, ref.rows, 0.3, x)
            rows, full = kernel.bernoulli_row, kernel.bernoulli_span(state)
        else:
            expected = naive.multinomial_row(ref.words, 0.3, x)
            rows, full = kernel.multinomial_row, kernel.multinomial_span(state)
            comp = kernel.counted_row(model._table, state, X.ids, values, start, stop)
            np.testing.assert_allclose(comp, naive.multinomial_row(ref.words, 0.3, counted[i]), atol=1e-10)
        for many in (1, 3, full):
            comp = rows(model._table, state, X.ids, start, stop, many)
            np.testing.assert_allclose(comp, expected, atol=1e-10)
    if Model is MultinomialNB:
        np.testing.assert_allclose(
            kernel.length_odds(model._table, state), naive.length_odds(ref.words, 0.3), atol=1e-12
        )


def assert_sorted(model):
    """Frequent words are listed once, the others are in the power sums, and both give the sum over the vocabulary."""
    for c in range(2):
        counts, state = model._table[:, c], model._state
        cut, length = state[kernel.CUT + c], int(state[kernel.LENGTH + c])
        assert cut <= kernel.RARE * (state[kernel.COUNT + c] + model.alpha) * (1.0 + 1e-12)
        assert sorted(model._frequent[c, :length]) == np.flatnonzero(counts > cut).tolist()
        ref = naive.power_sums(np.where(counts > cut, 0.0, counts), kernel.DEGREE)
        comp = state[kernel.POWERS + c * kernel.DEGREE :][: kernel.DEGREE]
        np.testing.assert_allclose(comp, ref, rtol=1e-9, atol=1e-9)
        ref = naive.absence(counts, state[kernel.COUNT + c], model.alpha)
        comp = kernel.absence(model._table, state, model._frequent, c)
        np.testing.assert_allclose(comp, ref, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("half_life", [None, 100])
def test_rare_and_frequent(half_life):
    model = BernoulliNB(WIDTH, half_life=half_life)
    for X, y, _ in batches(3, count=6 if SLOW else 40):
        model.partial_fit(X, y)
        assert_sorted(model)
    kernel.resift(model._table, model._state, model._frequent)
    assert_sorted(model)
    kernel.move(model._state, 0, 0.0, 2.0)
    kernel.move(model._state, 0, 2.0, 0.0)
    for c in range(2):
        kernel.sift(model._table, model._state, model._frequent, c)
    assert_sorted(model)


def test_series_bound():
    ratio = np.linspace(1e-9, kernel.RARE, 10_001)
    comp = np.polynomial.Polynomial(kernel.SERIES)(ratio)
    assert np.abs(comp - np.log1p(-ratio) / ratio).max() < 5e-13


def test_forget():
    table, state = np.arange(12.0).reshape(4, 3), np.arange(float(kernel.LAST + 1))
    ref = table * [2.0**-0.25, 2.0**-0.25, 1.0]
    kernel.forget(table, state)
    np.testing.assert_allclose(table, ref)
    np.testing.assert_allclose(state[kernel.COUNT : kernel.COUNT + 4], 2.0**-0.25 * np.arange(6.0, 10.0))
    assert state[kernel.SEEN] == kernel.SEEN and state[kernel.CUT] == kernel.CUT


@BOTH
@pytest.mark.parametrize("fit_prior", [True, False])
@pytest.mark.parametrize("half_life", [None, 30])
@pytest.mark.parametrize("calibrate", [False, True])
def test_twin(Model, fit_prior, half_life, calibrate):
    settings = {"fit_prior": fit_prior, "half_life": half_life, "calibrate": calibrate}
    model, ref_model = trained(Model, **settings), twin(Model, **settings)
    X = bag(np.random.default_rng(5), 20)
    ref = [ref_model.score(x) for x in naive.dense(X.ids, X.offsets, WIDTH)]
    comp = model.decision_function(X)
    np.testing.assert_allclose(comp, ref, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(model.predict_proba(X), naive.probabilities(comp), rtol=1e-12)
    assert model.predict(X).dtype == np.int64 and (model.predict(X) == (comp > 0)).all()


# --- against scikit-learn


def sklearn_model(Model, **settings):
    module = pytest.importorskip("sklearn.naive_bayes")
    return getattr(module, Model.__name__)(**settings)


def assert_equal_sklearn(model, ref_model, X, atol=1e-8):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        comp, proba = model.decision_function(X), model.predict_proba(X)
    ref = np.diff(ref_model.predict_joint_log_proba(csr(X)), axis=1)[:, 0]
    np.testing.assert_allclose(comp, ref, rtol=1e-9, atol=atol)
    np.testing.assert_allclose(proba, ref_model.predict_proba(csr(X)), rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(model.predict(X)[abs(ref) > 1e-6], ref_model.predict(csr(X))[abs(ref) > 1e-6])


@BOTH
@pytest.mark.parametrize("alpha", [1e-3, 0.5, 1.0, 20.0])
@pytest.mark.parametrize("fit_prior", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("seed", range(1 if SLOW else 6))
def test_equals_sklearn(Model, alpha, fit_prior, weighted, seed):
    model, ref_model = Model(WIDTH, alpha, fit_prior=fit_prior), sklearn_model(Model, alpha=alpha, fit_prior=fit_prior)
    rng = np.random.default_rng(seed)
    for X, y, weight in batches(seed, count=4 if SLOW else 15):
        weight = weight + 1e-3 if weighted else None
        if rng.random() < 0.3:
            y = np.full_like(y, y[0])
        model.partial_fit(X, y, weight)
        ref_model.partial_fit(csr(X), y, classes=[0, 1], sample_weight=weight)
        assert_equal_sklearn(model, ref_model, bag(rng, 10))


@BOTH
@pytest.mark.parametrize("only", [0, 1])
@pytest.mark.parametrize("fit_prior", [True, False])
def test_single_class(Model, only, fit_prior):
    model, ref_model = Model(WIDTH, fit_prior=fit_prior), sklearn_model(Model, fit_prior=fit_prior)
    for X, y, _ in batches(7, count=5):
        model.partial_fit(X, np.full_like(y, only))
        ref_model.partial_fit(csr(X), np.full_like(y, only), classes=[0, 1])
        assert_equal_sklearn(model, ref_model, X)
    if fit_prior:
        assert (model.predict_proba(X) == np.eye(2)[only]).all()


@BOTH
def test_long_documents(Model):
    rng = np.random.default_rng(8)
    model, ref_model = Model(1000), sklearn_model(Model)
    for _ in range(2 if SLOW else 20):
        n = 4 if SLOW else 20
        X = Bag(rng.integers(0, 900, n * 450).astype(np.int32), np.arange(n + 1) * 450, 1000)
        y = rng.integers(0, 2, n)
        model.partial_fit(X, y)
        ref_model.partial_fit(csr(X), y, classes=[0, 1])
        assert_equal_sklearn(model, ref_model, X)


@BOTH
def test_many_examples(Model):
    rng = np.random.default_rng(9)
    width, model, ref_model = 5000, Model(5000), sklearn_model(Model)
    for _ in range(2 if SLOW else 25):
        X = bag(rng, 400 if SLOW else 1000, width)
        y = (rng.random(X.offsets.size - 1) < 0.2).astype(int)
        model.partial_fit(X, y)
        ref_model.partial_fit(csr(X), y, classes=[0, 1])
    assert_equal_sklearn(model, ref_model, X)


@BOTH
def test_values_are_counts(Model):
    rng = np.random.default_rng(10)
    model, ref_model = Model(50, 0.1), sklearn_model(Model, alpha=0.1)
    for _ in range(5):
        X = rng.poisson(0.4, (20, 50)) * rng.choice([0.5, 1.0, 3.0], (20, 50))
        y, weight = rng.integers(0, 2, 20), rng.random(20)
        model.partial_fit(scipy.sparse.coo_array(X), y, weight)
        ref_model.partial_fit(X, y, classes=[0, 1], sample_weight=weight)
    ref = np.diff(ref_model.predict_joint_log_proba(X), axis=1)[:, 0]
    for comp in map(model.decision_function, (X, scipy.sparse.csc_matrix(X), scipy.sparse.csr_array(X), X.tolist())):
        np.testing.assert_allclose(comp, ref, atol=1e-9)
