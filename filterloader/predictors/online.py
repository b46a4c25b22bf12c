"""Online: what every online model shares, however it learns: its rows checked, its answers, its state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from filterloader.predictors import inputs as rows

if TYPE_CHECKING:
    from typing_extensions import Self

VERSION = 1


class Online:
    """A two-class model over ragged words. A class derived from it names its settings, learns, scores and keeps arrays.

    ``_learn`` and ``_score`` return what ``kernels.inputs.find_bad`` finds; ``_arrays`` is what was learnt, by name.
    """

    n_features: int
    _settings: tuple[str, ...] = ("n_features",)
    _counts = True  # whether the number of times a word occurs in a row matters
    _free: tuple[str, ...] = ()  # arrays of any length, which the class brings back itself

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={getattr(self, name)!r}" for name in self._settings[1:])
        return f"{type(self).__name__}({self.n_features}, {settings})"

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn the rows of ``X`` in order.

        Args:
            X: a ``Bag``, a pair ``(ids, offsets)``, a scipy sparse or a dense matrix ``[n, n_features]`` of counts.
            y: 0 or 1, ``[n]``.
            sample_weight: finite, not negative, ``[n]``; it scales what a row counts. None, the default: 1.

        Raises:
            ValueError: for what does not fit; nothing has been learnt then.
        """
        ids, offsets, values = self._rows(X)
        y = rows.vector("y", y, offsets.size - 1)
        weight = rows.NONE if sample_weight is None else rows.vector("sample_weight", sample_weight, offsets.size - 1)
        bad = self._learn(ids, offsets, values, y, weight)
        if bad:
            raise ValueError(rows.explain(bad, self.n_features, ids, offsets, y, weight))
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """log P(1 | x) - log P(0 | x), float64 ``[n]``; 0 before any data."""
        ids, offsets, values = self._rows(X)
        scores = np.empty(offsets.size - 1)
        bad = self._score(ids, offsets, values, scores)
        if bad:
            raise ValueError(rows.explain(bad, self.n_features, ids, offsets))
        return scores

    def predict_proba(self, X: Any) -> np.ndarray:
        """P(0 | x) and P(1 | x), float64 ``[n, 2]``."""
        return rows.probabilities(self.decision_function(X))

    def predict(self, X: Any) -> np.ndarray:
        """The likelier class, int64 ``[n]``; 0 in a tie."""
        return (self.decision_function(X) > 0.0).astype(np.int64)

    def state_dict(self) -> dict[str, Any]:
        """Settings, to check, and copies of all that was learnt: a flat dict of numbers and arrays."""
        settings = {name: getattr(self, name) for name in self._settings}
        learnt = {name: array.copy() for name, array in self._arrays().items()}
        return {"class": type(self).__name__, "version": VERSION, **settings, **learnt}

    def load_state_dict(self, state: dict) -> None:
        """Continue as the instance that gave ``state``; ValueError where its class, version or settings differ."""
        self._bring_back(rows.check_state(type(self).__name__, self.state_dict(), state, free=self._free))

    def _bring_back(self, arrays: dict[str, np.ndarray]) -> None:
        for name, array in self._arrays().items():
            if name not in self._free:
                array[:] = arrays[name]

    def _rows(self, X: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return rows.read(X, type(self).__name__, self.n_features, counts=self._counts)

    def _learn(
        self, ids: np.ndarray, offsets: np.ndarray, values: np.ndarray, y: np.ndarray, weight: np.ndarray
    ) -> int:
        raise NotImplementedError

    def _score(self, ids: np.ndarray, offsets: np.ndarray, values: np.ndarray, scores: np.ndarray) -> int:
        raise NotImplementedError

    def _arrays(self) -> dict[str, np.ndarray]:
        raise NotImplementedError
