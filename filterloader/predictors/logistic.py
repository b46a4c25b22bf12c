"""Online logistic regression: stochastic gradient descent over ragged words, in microseconds."""

from __future__ import annotations

import numpy as np

from filterloader.data.checks import boolean, choice, real
from filterloader.kernels import logistic as kernel
from filterloader.predictors import inputs as rows

VERSION = 1
STEPS = ("row", "call")
_SETTINGS = ("n_features", "lr", "l2", "fit_intercept", "step")


class LogisticRegression:
    """Logistic regression for classes 0 and 1, learnt online by plain stochastic gradient descent from weights of 0.

    A step over ``n`` rows is ``w <- w - lr/n * (sum of weight * (p - y) * x + l2 * w)``, the intercept likewise but
    without ``l2``. It costs only the words in those rows, however wide the feature space.

    Args:
        n_features (int): width of the feature space, 1 to 2**31 - 1.
        lr (float): length of a step, above 0; .01 by default.
        l2 (float): strength of the pull to 0, at least 0 and ``lr * l2`` below 1; 1e-3 by default.
        fit_intercept (bool): learn one; True by default.
        step (str): ``"row"`` (default) takes a step a row, so that n rows at once are n calls with one; ``"call"``
            takes one step over all the rows of a call, as AutoAssist's assistant does.

    Attributes:
        coef_ (float64 ``[n_features]``): the weights, a copy.
        intercept_ (float): the intercept.

    Raises:
        ValueError: for settings that do not fit.

    Example:
        >>> import numpy as np
        >>> from filterloader import LogisticRegression
        >>> words, offsets = np.array([0, 1, 0, 2], np.int32), np.array([0, 2, 4])  # two rows of two words
        >>> model = LogisticRegression(3, lr=1.0).partial_fit((words, offsets), [1, 0])
        >>> model.predict((words, offsets))
        array([1, 0])

    Source:
        ``sklearn.linear_model.SGDClassifier(loss="log_loss", learning_rate="constant", shuffle=False)`` for
        ``step="row"``; Zhang et al. 2019, arXiv 1905.03381, for ``step="call"``.
    """

    def __init__(
        self,
        n_features: int,
        *,
        lr: float = 0.01,
        l2: float = 1e-3,
        fit_intercept: bool = True,
        step: str = "row",
    ):
        self.n_features = rows.width(n_features)
        self.lr, self.l2 = real("lr", lr, least=1e-10), real("l2", l2, least=0)
        if self.lr * self.l2 >= 1.0:
            raise ValueError(f"lr * l2 is {self.lr * self.l2:g}, one step would overshoot 0; it must be below 1")
        self.fit_intercept, self.step = boolean("fit_intercept", fit_intercept), choice("step", step, STEPS)
        self._stored = np.zeros(self.n_features)
        self._state = np.zeros(kernel.LAST + 1)
        self._state[kernel.LR], self._state[kernel.L2] = self.lr, self.l2
        self._state[kernel.FIT_INTERCEPT], self._state[kernel.SCALE] = self.fit_intercept, 1.0

    def __repr__(self):
        settings = ", ".join(f"{name}={getattr(self, name)!r}" for name in _SETTINGS[1:])
        return f"{type(self).__name__}({self.n_features}, {settings})"

    @property
    def coef_(self):
        return self._state[kernel.SCALE] * self._stored

    @property
    def intercept_(self):
        return float(self._state[kernel.INTERCEPT])

    def partial_fit(self, X, y, sample_weight=None):
        """Learn the rows of ``X`` in order.

        X: a ``Bag``, a pair ``(ids, offsets)``, a scipy sparse or a dense matrix ``[n, n_features]`` of counts. y: 0 or
        1, ``[n]``. sample_weight: finite, not negative, ``[n]``; it scales a row's pull, not ``l2``. Raises ValueError,
        having learnt nothing.
        """
        ids, offsets, values = self._rows(X)
        y = rows.vector("y", y, offsets.size - 1)
        weight = rows.NONE if sample_weight is None else rows.vector("sample_weight", sample_weight, offsets.size - 1)
        group = 1 if self.step == "row" else max(y.size, 1)
        bad = kernel.learn(self._stored, self._state, ids, offsets, values, y, weight, group)
        if bad:
            raise ValueError(rows.explain(bad, self.n_features, ids, offsets, y, weight))
        return self

    def decision_function(self, X):
        """log P(1 | x) - log P(0 | x), float64 ``[n]``; 0 before any data."""
        ids, offsets, values = self._rows(X)
        scores = np.empty(offsets.size - 1)
        bad = kernel.scores(self._stored, self._state, ids, offsets, values, scores)
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
        settings = {
            "class": type(self).__name__,
            "version": VERSION,
            **{name: getattr(self, name) for name in _SETTINGS},
        }
        return settings | {"stored": self._stored.copy(), "scalars": self._state.copy()}

    def load_state_dict(self, state):
        """Continue as the instance that gave ``state``; ValueError where its class, version or settings differ."""
        arrays = rows.check_state(type(self).__name__, self.state_dict(), state)
        self._stored[:], self._state[:] = arrays["stored"], arrays["scalars"]

    def _rows(self, X):
        return rows.read(X, type(self).__name__, self.n_features)
