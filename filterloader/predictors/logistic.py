"""Online logistic regression: stochastic gradient descent over ragged words, in microseconds."""

from __future__ import annotations

import numpy as np

from filterloader.data.checks import boolean, choice, real
from filterloader.kernels import logistic as kernel
from filterloader.predictors.inputs import width
from filterloader.predictors.online import Online

STEPS = ("row", "call")


class LogisticRegression(Online):
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

    Source: ``sklearn.linear_model.SGDClassifier(loss="log_loss", learning_rate="constant", shuffle=False)`` for
    ``step="row"``; Zhang et al. 2019, arXiv 1905.03381, for ``step="call"``.
    """

    _settings = ("n_features", "lr", "l2", "fit_intercept", "step")

    def __init__(
        self, n_features: int, *, lr: float = 0.01, l2: float = 1e-3, fit_intercept: bool = True, step: str = "row"
    ):
        self.n_features = width(n_features)
        self.lr, self.l2 = real("lr", lr, least=1e-10), real("l2", l2, least=0)
        if self.lr * self.l2 >= 1.0:
            raise ValueError(f"lr * l2 is {self.lr * self.l2:g}, one step would overshoot 0; it must be below 1")
        self.fit_intercept, self.step = boolean("fit_intercept", fit_intercept), choice("step", step, STEPS)
        self._stored = np.zeros(self.n_features)
        self._state = np.zeros(kernel.LAST + 1)
        self._state[kernel.LR], self._state[kernel.L2] = self.lr, self.l2
        self._state[kernel.FIT_INTERCEPT], self._state[kernel.SCALE] = self.fit_intercept, 1.0

    @property
    def coef_(self) -> np.ndarray:
        return self._state[kernel.SCALE] * self._stored

    @property
    def intercept_(self) -> float:
        return float(self._state[kernel.INTERCEPT])

    def _learn(
        self, ids: np.ndarray, offsets: np.ndarray, values: np.ndarray, y: np.ndarray, weight: np.ndarray
    ) -> int:
        group = 1 if self.step == "row" else max(y.size, 1)
        return kernel.learn(self._stored, self._state, ids, offsets, values, y, weight, group)

    def _score(self, ids: np.ndarray, offsets: np.ndarray, values: np.ndarray, scores: np.ndarray) -> int:
        return kernel.scores(self._stored, self._state, ids, offsets, values, scores)

    def _arrays(self) -> dict[str, np.ndarray]:
        return {"stored": self._stored, "scalars": self._state}
