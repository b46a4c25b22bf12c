"""Online naive Bayes: scikit-learn's two-class Bernoulli and multinomial models over ragged words, in microseconds."""

from __future__ import annotations

import numpy as np

from filterloader.data.checks import boolean, real
from filterloader.kernels import naive_bayes as kernel
from filterloader.predictors import inputs as rows

VERSION = 1
_SETTINGS = ("n_features", "alpha", "fit_prior", "half_life", "calibrate")


class _NaiveBayes:
    """What the two models share: settings, validation, state."""

    _counts = True  # whether the number of times a word occurs in a row matters
    _columns = 2  # of the table

    def __init__(self, n_features, alpha=1.0, *, fit_prior=True, half_life=None, calibrate=False):
        self.n_features = rows.width(n_features)
        self.alpha = real("alpha", alpha, least=1e-10)
        self.fit_prior, self.calibrate = boolean("fit_prior", fit_prior), boolean("calibrate", calibrate)
        self.half_life = None if half_life is None else real("half_life", half_life, least=1e-10)
        self._table = _aligned(self.n_features, self._columns)
        self._state = np.zeros(kernel.LAST + 1)
        self._state[kernel.ALPHA] = self.alpha
        self._state[kernel.FIT_PRIOR] = self.fit_prior
        self._state[kernel.PERIOD] = 0 if self.half_life is None else max(1, round(self.half_life / 4))
        self._state[kernel.CALIBRATE] = self.calibrate

    def __repr__(self):
        settings = ", ".join(f"{name}={getattr(self, name)!r}" for name in _SETTINGS[1:])
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
        settings = {name: getattr(self, name) for name in _SETTINGS}
        learnt = {"counts": self._table[:, :2].copy(), "scalars": self._state.copy()}
        return {"class": type(self).__name__, "version": VERSION, **settings, **learnt}

    def load_state_dict(self, state):
        """Continue as the instance that gave ``state``; ValueError where its class, version or settings differ."""
        self._bring_back(rows.check_state(type(self).__name__, self.state_dict(), state, free=("frequent",)))

    def _bring_back(self, arrays):
        self._table[:, :2], self._table[:, 2:] = arrays["counts"], 0.0
        self._state[:] = arrays["scalars"]

    def __getstate__(self):
        return self.state_dict()

    def __setstate__(self, state):
        self.__init__(**{name: state[name] for name in _SETTINGS})
        self.load_state_dict(state)

    def _rows(self, X):
        return rows.read(X, type(self).__name__, self.n_features, counts=self._counts)


class BernoulliNB(_NaiveBayes):
    """Naive Bayes on which words are present, for classes 0 and 1, learnt online.

    Args:
        n_features (int): width of the feature space, 1 to 2**31 - 1.
        alpha (float): additive smoothing, above 0; 1.0 by default.
        fit_prior (bool): learn P(y), else both are 1/2; True by default.
        half_life (float): every ``half_life / 4`` examples (rounded, at least 1) all counts shrink by ``2**-0.25``;
            None, the default: never.
        calibrate (bool): pass scores through a logistic learnt on the scores of rows not yet learnt, so that
            probabilities mean what they say; it forgets over about 1000 examples. False by default.

    Raises:
        ValueError: for settings that do not fit.

    Example:
        >>> import numpy as np
        >>> from filterloader import BernoulliNB
        >>> words, offsets = np.array([0, 1, 0, 2], np.int32), np.array([0, 2, 4])  # two rows of two words
        >>> model = BernoulliNB(3).partial_fit((words, offsets), [1, 0])
        >>> model.predict_proba((words, offsets)).round(2)
        array([[0.2, 0.8],
               [0.8, 0.2]])

    Source:
        ``sklearn.naive_bayes.BernoulliNB(binarize=0.0)``, which it equals; Platt 1999 for ``calibrate``, here online.
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
        return super().state_dict() | {
            "frequent": np.concatenate([f[:n] for f, n in zip(self._frequent, lengths, strict=True)])
        }

    def _bring_back(self, arrays):
        first, second = arrays["scalars"][kernel.LENGTH : kernel.LENGTH + 2].astype(int)
        frequent = arrays["frequent"]
        if not (
            0 <= first <= self.n_features and 0 <= second <= self.n_features and frequent.shape == (first + second,)
        ):
            raise ValueError(
                f"state has {frequent.size} frequent words, and counts of {first} and {second}; it is damaged"
            )
        super()._bring_back(arrays)
        self._frequent[0, :first], self._frequent[1, :second] = frequent[:first], frequent[first:]


class MultinomialNB(_NaiveBayes):
    """Naive Bayes on how often words occur, for classes 0 and 1, learnt online.

    Args:
        n_features, alpha, fit_prior, half_life, calibrate: as for ``BernoulliNB``.

    Example:
        >>> import numpy as np
        >>> from filterloader import MultinomialNB
        >>> words, offsets = np.array([0, 0, 1, 2], np.int32), np.array([0, 3, 4])  # a row of three words, a row of one
        >>> model = MultinomialNB(3).partial_fit((words, offsets), [1, 0])
        >>> model.predict((words, offsets))
        array([1, 0])

    Source:
        ``sklearn.naive_bayes.MultinomialNB``, which it equals; Platt 1999 for ``calibrate``, here online.
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
