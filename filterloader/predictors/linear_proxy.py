"""LinearProxy: a cheap bag-of-words classifier that tells which examples a large model will find hard."""

from __future__ import annotations

from typing import Any

import numpy as np

from filterloader.data.candidates import Bag
from filterloader.data.checks import boolean, integer, pasteable_repr, real
from filterloader.kernels import proxy as kernel


class LinearProxy:
    """A softmax over the mean of the words' embeddings, by plain gradient descent, one row a step.

    The rate falls evenly to 0. One core, no GPU. Rates that suit a hundred thousand rows leave a few thousand hardly
    learnt: raise ``lr`` or ``epochs`` there.

    Args:
        n_features (int): number of words.
        dim (int): width of the embeddings; 10 by default.
        lr (float): first learning rate, above 0; .05 by default.
        epochs (int): passes over the rows, each in a random order; 5 by default.
        bigrams (bool): two neighbouring words are a word too, hashed into ``buckets``; True by default.
        buckets (int): 2**18 by default.
        seed (int): of first embeddings and order; 0 by default.

    Attributes:
        classes (int64 ``[C]``): once fitted, the labels in order.
        forgetting (float64 ``[n]``): once fitted, how often each row of ``fit`` went from right to wrong from one epoch
            to the next, as seen just before learning it; infinite where it was never right.

    Example:
        >>> import numpy as np
        >>> from filterloader import LinearProxy
        >>> words, offsets = np.array([0, 1] * 50, np.int32), np.arange(101)  # a hundred rows of one word
        >>> LinearProxy(2, lr=1.0).fit((words, offsets), words).predict((words[:2], offsets[:3]))
        array([0, 1], dtype=int32)

    Source: Joulin et al. 2017, arXiv 1607.01759, §2 (fastText); Toneva et al. 2019, arXiv 1812.05159, for
    ``forgetting``.
    """

    def __init__(
        self,
        n_features: int,
        *,
        dim: int = 10,
        lr: float = 0.05,
        epochs: int = 5,
        bigrams: bool = True,
        buckets: int = 2**18,
        seed: int = 0,
    ):
        self.n_features, self.dim = integer("n_features", n_features), integer("dim", dim)
        self.lr, self.epochs = real("lr", lr, above=0), integer("epochs", epochs)
        self.bigrams, self.buckets = boolean("bigrams", bigrams), integer("buckets", buckets)
        self.seed = integer("seed", seed, least=0)
        self.classes: np.ndarray | None = None
        self.forgetting: np.ndarray | None = None

    def __repr__(self) -> str:
        return pasteable_repr(self, "n_features", "dim", "lr", "epochs", "bigrams", "buckets", "seed")

    def fit(self, X: Bag | tuple[np.ndarray, np.ndarray], y: np.ndarray) -> LinearProxy:
        """Learn from nothing. X: a ``Bag`` or a pair ``(ids, offsets)`` of ``n`` rows. y: whole numbers ``[n]``.

        Raises ValueError for what does not fit.
        """
        ids, offsets = self._rows(X)
        y = np.asarray(y)
        if y.shape != (offsets.size - 1,) or y.dtype.kind not in "iub" or not y.size:
            raise ValueError(
                f"y must be one whole number for each of {offsets.size - 1} rows, got {y.dtype} of shape {y.shape}"
            )
        self.classes, classes = np.unique(y, return_inverse=True)
        rng = np.random.default_rng(self.seed)
        self._words = self._embeddings(self.n_features, rng)
        self._pairs = self._embeddings(self.buckets if self.bigrams else 0, rng)
        self._heads = np.zeros((len(self.classes), self.dim), np.float32)
        self.forgetting, was_right, ever = np.zeros(y.size), np.zeros(y.size, bool), np.zeros(y.size, bool)
        rates = self.lr * (1 - np.arange(self.epochs + 1) / self.epochs)
        for epoch in range(self.epochs):
            order, tables = rng.permutation(y.size), (self._words, self._pairs, self._heads)
            right = kernel.learn(ids, offsets, classes, order, *tables, rates[epoch : epoch + 2])
            self.forgetting += was_right & ~right
            was_right, ever = right, ever | right
        self.forgetting[~ever] = np.inf
        return self

    def transform(self, X: Bag | tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """The mean embedding of each row, float32 ``[n, dim]``."""
        if self.classes is None:
            raise ValueError("this LinearProxy has learnt nothing yet; call fit(X, y) first")
        ids, offsets = self._rows(X)
        out = np.empty((offsets.size - 1, self.dim), np.float32)
        kernel.embed(ids, offsets, self._words, self._pairs, out)
        return out

    def predict_proba(self, X: Bag | tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """The probability of each class, float64 ``[n, C]``."""
        odds = self.transform(X).astype(np.float64) @ self._heads.T
        odds = np.exp(odds - odds.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)

    def predict(self, X: Bag | tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """The likeliest label of each row, ``[n]``."""
        best = self.predict_proba(X).argmax(axis=1)  # raises where nothing has been learnt
        return np.asarray(self.classes)[best]

    def _embeddings(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return (rng.random((n, self.dim), np.float32) * 2 - 1) / np.float32(self.dim)

    def _rows(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        ids, offsets = np.ascontiguousarray(X[0]), np.ascontiguousarray(X[1], np.int64)
        if ids.size and not (ids.dtype.kind in "iu" and ids.min() >= 0 and ids.max() < self.n_features):
            raise ValueError(
                f"ids must be whole numbers from 0 to {self.n_features - 1}, got {ids.min()} to {ids.max()} "
                f"({ids.dtype})"
            )
        if not offsets.size or offsets[0] or offsets[-1] != ids.size or (np.diff(offsets) < 0).any():
            raise ValueError(f"offsets must rise from 0 to the number of ids, {ids.size}, got {offsets!r:.80}")
        return ids.astype(np.int32, copy=False), offsets


def entropy(proba: np.ndarray) -> np.ndarray:
    """``-Σ p log p`` of each row, float64 ``[n]``. proba: ``[n, C]``."""
    return -(proba * np.log(np.maximum(proba, 1e-300))).sum(axis=1)


def least_confidence(proba: np.ndarray) -> np.ndarray:
    """One less the highest probability of each row, float64 ``[n]``. proba: ``[n, C]``."""
    return 1 - proba.max(axis=1)
