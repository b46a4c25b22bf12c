"""Online naive Bayes: scikit-learn's two-class Bernoulli and multinomial models over ragged words, in microseconds."""

from __future__ import annotations

from typing import Any

import numpy as np

from filterloader.data.checks import boolean, real
from filterloader.kernels import naive_bayes as kernel
from filterloader.predictors.inputs import width
from filterloader.predictors.online import Online


class _NaiveBayes(Online):
    """What the two models share: settings, and a table of counts."""

    _settings = ("n_features", "alpha", "fit_prior", "half_life", "calibrate")
    _columns, _lists = 2, 0  # of the table; of frequent words

    def __init__(
        self,
        n_features: int,
        alpha: float = 1.0,
        *,
        fit_prior: bool = True,
        half_life: float | None = None,
        calibrate: bool = False,
    ):
        self.n_features = width(n_features)
        self.alpha = real("alpha", alpha, least=1e-10)
        self.fit_prior, self.calibrate = boolean("fit_prior", fit_prior), boolean("calibrate", calibrate)
        self.half_life = None if half_life is None else real("half_life", half_life, least=1e-10)
        self._table = _aligned(self.n_features, self._columns)
        self._frequent = np.zeros((self._lists, self.n_features + 1), np.int32)
        self._state = np.zeros(kernel.LAST + 1)
        self._state[kernel.ALPHA] = self.alpha
        self._state[kernel.FIT_PRIOR] = self.fit_prior
        self._state[kernel.PERIOD] = 0 if self.half_life is None else max(1, round(self.half_life / 4))
        self._state[kernel.CALIBRATE] = self.calibrate

    def _arrays(self) -> dict[str, np.ndarray]:
        return {"counts": self._table[:, :2], "scalars": self._state}

    def _bring_back(self, arrays: dict[str, np.ndarray]) -> None:
        super()._bring_back(arrays)
        self._table[:, 2:] = 0.0

    def __getstate__(self) -> dict[str, Any]:
        return self.state_dict()

    def __setstate__(self, state: dict[str, Any]) -> None:
        type(self).__init__(self, **{name: state[name] for name in self._settings})
        self.load_state_dict(state)


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

    Source: ``sklearn.naive_bayes.BernoulliNB(binarize=0.0)``, which it equals; Platt 1999 for ``calibrate``, here
    online.
    """

    _counts = False
    _columns, _lists = 4, 2
    _free = ("frequent",)

    def _learn(
        self, ids: np.ndarray, offsets: np.ndarray, values: np.ndarray, y: np.ndarray, weight: np.ndarray
    ) -> int:
        return kernel.bernoulli_learn(self._table, self._state, self._frequent, ids, offsets, y, weight)

    def _score(self, ids: np.ndarray, offsets: np.ndarray, values: np.ndarray, scores: np.ndarray) -> int:
        return kernel.bernoulli_scores(self._table, self._state, self._frequent, ids, offsets, scores)

    def _arrays(self) -> dict[str, np.ndarray]:
        lengths = self._state[kernel.LENGTH : kernel.LENGTH + 2].astype(int)
        frequent = np.concatenate([f[:n] for f, n in zip(self._frequent, lengths, strict=True)])
        return {**super()._arrays(), "frequent": frequent}

    def _bring_back(self, arrays: dict[str, np.ndarray]) -> None:
        first, second = arrays["scalars"][kernel.LENGTH : kernel.LENGTH + 2].astype(int)
        frequent, most = arrays["frequent"], self.n_features
        fits = 0 <= first <= most and 0 <= second <= most and frequent.shape == (first + second,)
        if not fits or frequent.min(initial=0) < 0 or frequent.max(initial=0) >= most:
            raise ValueError(
                f"the state's {frequent.size} frequent words do not fit its counts of {first} and {second}"
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

    Source: ``sklearn.naive_bayes.MultinomialNB``, which it equals; Platt 1999 for ``calibrate``, here online.
    """

    def _learn(
        self, ids: np.ndarray, offsets: np.ndarray, values: np.ndarray, y: np.ndarray, weight: np.ndarray
    ) -> int:
        return kernel.multinomial_learn(self._table, self._state, ids, offsets, values, y, weight)

    def _score(self, ids: np.ndarray, offsets: np.ndarray, values: np.ndarray, scores: np.ndarray) -> int:
        return kernel.multinomial_scores(self._table, self._state, ids, offsets, values, scores)


def _aligned(n: int, columns: int) -> np.ndarray:
    """Zeros float64 ``[n, columns]`` that begin a cache line, so that no row straddles two."""
    block = np.zeros(n * columns + 8)
    skip = -block.ctypes.data % 64 // 8
    return block[skip : skip + n * columns].reshape(n, columns)
