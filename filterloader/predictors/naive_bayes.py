"""Online naive Bayes: scikit-learn's two-class Bernoulli and multinomial models over ragged words, in microseconds."""

from __future__ import annotations

import numpy as np

from filterloader.kernels import naive_bayes as kernel
from filterloader.predictors import inputs as rows

VERSION = 1


class _NaiveBayes:
    """What the two models share: settings, validation, state."""

    _counts = True  # whether the number of times a word occurs in a row matters
    _columns = 2  # of the table

    def __init__(self, n_features, alpha=1.0, *, fit_prior=True, half_life=None, calibrate=False):
        self.n_features = rows.integer("n_features", n_features)
        self.alpha = rows.real("alpha", alpha, 1e-10)
        self.fit_prior = rows.flag("fit_prior", fit_prior)
        self.half_life = None if half_life is None else rows.real("half_life", half_life, 1e-10)
        self.calibrate = rows.flag("calibrate", calibrate)
        self._table = _aligned(self.n_features, self._columns)
        self._state = np.zeros(kernel.LAST + 1)
        self._state[kernel.ALPHA] = self.alpha
        self._state[kernel.FIT_PRIOR] = self.fit_prior
        self._state[kernel.PERIOD] = 0 if self.half_life is None else max(1, round(self.half_life / 4))
        self._state[kernel.CALIBRATE] = self.calibrate

    def __repr__(self):
        settings = ", ".join(f"{name}={value!r}" for name, value in self._settings().items() if name != "n_features")
        return f"{type(self).__name__}({self.n_features}, {settings})"

    def partial_fit(self, X, y, sample_weight=None):
        """Learn the rows of ``X`` in order; n rows at once are the same as n calls with one.

        X: a ``Bag``, a pair ``(ids, offsets)``, a scipy sparse or a dense matrix ``[n, n_features]`` of counts.
        y: 0 or 1, ``[n]``. sample_weight: finite, not negative, ``[n]``. Raises ValueError, having learnt nothing.
        """
        ids, offsets, values = self._rows(X)
        y = rows.vector("y", y, offsets.size - 1)
        weight = rows.NONE if sample_weight is None else rows.vector("sample_weight", sample_weight, offsets.size - 1)
        bad = self._learn(ids, offsets, values, y, weight)
        if bad:
            raise ValueError(rows.explain(bad, self.n_features, ids, offsets, y, weight))
        return self

    def decision_function(self, X):
        """log P(1 | x) - log P(0 | x), float64 ``[n]``: 0 before any data; calibrated where ``calibrate`` is set.

        Uncalibrated with ``fit_prior``, it is infinite while only one class has been seen.
        """
        ids, offsets, values = self._rows(X)
        scores = np.empty(offsets.size - 1)
        bad = self._score(ids, offsets, values, scores)
        if bad:
            raise ValueError(rows.explain(bad, self.n_features, ids, offsets))
        return scores

    def predict_proba(self, X):
        """P(0 | x) and P(1 | x), float64 ``[n, 2]``."""
        return rows.probabilities(self.decision_function(X))

    def predict(self, X):
        """The likelier class, int64 ``[n]``; 0 in a tie."""
        return (self.decision_function(X) > 0.0).astype(np.int64)

    def state_dict(self):
        """Settings, to check, and copies of all that was learnt: a flat dict of numbers and arrays."""
        return {"class": type(self).__name__, "version": VERSION, **self._settings()} | {
            "counts": self._table[:, :2].copy(),
            "scalars": self._state.copy(),
        }

    def load_state_dict(self, state):
        """Continue as the instance that gave ``state``; ValueError where its class, version or settings differ."""
        rows.check_state(type(self).__name__, self.state_dict(), state, free=("frequent",))
        self._table[:, :2] = state["counts"]
        self._table[:, 2:] = 0.0
        self._state[:] = state["scalars"]

    def __getstate__(self):
        return self.state_dict()

    def __setstate__(self, state):
        self.__init__(**{name: state[name] for name in ("n_features", "alpha", "fit_prior", "half_life", "calibrate")})
        self.load_state_dict(state)

    def _settings(self):
        names = ("n_features", "alpha", "fit_prior", "half_life", "calibrate")
        return {name: getattr(self, name) for name in names}

    def _rows(self, X):
        return rows.read(X, type(self).__name__, self.n_features, counts=self._counts)


class BernoulliNB(_NaiveBayes):
    """Naive Bayes on which words are present: ``sklearn.naive_bayes.BernoulliNB(binarize=0.0)`` for classes 0 and 1.

    n_features: width of the feature space. alpha: additive smoothing. fit_prior: learn P(y), else both are 1/2.
    half_life: every ``half_life / 4`` examples (rounded, at least 1) all counts shrink by ``2**-0.25``; None: never.
    calibrate: pass scores through a logistic learnt on the scores of rows not yet learnt (Platt 1999, online), so that
    probabilities mean what they say; it forgets over about 1000 examples.
    """

    _counts = False
    _columns = 4

    def __init__(self, n_features, alpha=1.0, *, fit_prior=True, half_life=None, calibrate=False):
        super().__init__(n_features, alpha, fit_prior=fit_prior, half_life=half_life, calibrate=calibrate)
        self._frequent = np.zeros((2, self.n_features + 1), np.int32)

    def _learn(self, ids, offsets, values, y, weight):
        return kernel.bernoulli_learn(self._table, self._state, self._frequent, ids, offsets, y, weight)

    def _score(self, ids, offsets, values, scores):
        return kernel.bernoulli_scores(self._table, self._state, self._frequent, ids, offsets, scores)

    def state_dict(self):
        """Settings, to check, and copies of all that was learnt: a flat dict of numbers and arrays."""
        lengths = self._state[kernel.LENGTH : kernel.LENGTH + 2].astype(int)
        return super().state_dict() | {"frequent": np.concatenate([f[:n] for f, n in zip(self._frequent, lengths)])}

    def load_state_dict(self, state):
        """Continue as the instance that gave ``state``; ValueError where its class, version or settings differ."""
        super().load_state_dict(state)
        first, second = self._state[kernel.LENGTH : kernel.LENGTH + 2].astype(int)
        self._frequent[0, :first] = state["frequent"][:first]
        self._frequent[1, :second] = state["frequent"][first : first + second]


class MultinomialNB(_NaiveBayes):
    """Naive Bayes on how often words occur: ``sklearn.naive_bayes.MultinomialNB`` for classes 0 and 1.

    The settings are those of ``BernoulliNB``.
    """

    def _learn(self, ids, offsets, values, y, weight):
        return kernel.multinomial_learn(self._table, self._state, ids, offsets, values, y, weight)

    def _score(self, ids, offsets, values, scores):
        return kernel.multinomial_scores(self._table, self._state, ids, offsets, values, scores)


def _aligned(n, columns):
    """Zeros float64 ``[n, columns]`` that begin a cache line, so that no row straddles two."""
    block = np.zeros(n * columns + 8)
    skip = -block.ctypes.data % 64 // 8
    return block[skip : skip + n * columns].reshape(n, columns)
