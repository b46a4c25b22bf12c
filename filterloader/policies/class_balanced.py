"""ClassBalanced: keeps a share of the stream with its classes balanced; the control on skewed data."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from filterloader.data.candidates import Candidates
from filterloader.data.checks import real, share
from filterloader.policies.parts.budget import evenly
from filterloader.policies.parts.seeded import Seeded
from filterloader.policies.parts.state import array, generator, scalar


class ClassBalanced(Seeded):
    """Keep a random share of the stream, as evenly over the classes as that share allows.

    The control beside ``Random`` for any filter on imbalanced classes: what such a filter gains is often rebalancing,
    and this rebalances without looking at a word or a loss. It works on streams: of each block it keeps what brings the
    whole to ``keep`` of all that was seen, the classes with the fewest kept so far first, at random within a class. So
    a class rarer than its part is kept whole and what it leaves goes to the others; the share kept strays from ``keep``
    by one block's chance at most. Passes follow each other as one stream. It needs a class label in each row, and
    examples, not batches.

    Args:
        keep (float): share of the stream to keep, in (0, 1].
        half_life (float): after how many examples what was kept of a class counts half when classes are compared, above
            0: where class shares drift, a class that was rare need not wait long. None, the default: it counts for
            ever.
        seed (int): of the private random state; None, the default, takes the loader's.

    Raises:
        ValueError: where rows have no class label.

    Example:
        >>> from collections import Counter
        >>> from filterloader import ClassBalanced, FilteringDataLoader
        >>> rows = [{"input_ids": [1], "label": int(i % 10 == 0)} for i in range(1000)]
        >>> loader = FilteringDataLoader(rows, batch_size=10, policy=ClassBalanced(0.2, seed=0))
        >>> kept = Counter(label for batch in loader for label in batch["labels"].tolist())
        >>> abs(kept[0] - kept[1]) < 10
        True
    """

    gates_backward = False
    needs_words = False
    needs_labels = True
    granularities = ("example",)
    example_settings: ClassVar = {"keep": 0.4, "seed": 1}
    _settings = ("keep", "half_life")
    _remembers: ClassVar = {
        "_rng": generator,
        "_classes": array(np.int64),
        "_kept": array(float),
        "_owed": scalar(float),
    }

    def __init__(self, keep: float, *, half_life: float | None = None, seed: int | None = None):
        super().__init__(seed)
        self.keep = share("keep", keep, zero=False)
        self.half_life = None if half_life is None else real("half_life", half_life, above=0)
        self._classes = np.zeros(0, np.int64)  # rising
        self._kept = np.zeros(0)  # of each class, forgetting included
        self._owed = 0.0  # examples that the budget is behind; below 0: ahead

    def screen(self, candidates: Candidates) -> np.ndarray:
        if candidates.labels is None:
            raise ValueError(
                "ClassBalanced needs one integer class label for each example, and these candidates have none; name "
                "the label column with label=, decide on examples (granularity='example'), or choose Random(keep), "
                "which reads no label"
            )
        n = len(candidates)
        classes, which, here = np.unique(candidates.labels, return_inverse=True, return_counts=True)
        at = self._places(classes)
        self._owed += self.keep * n
        chance = evenly(self._kept[at], here, min(max(self._owed, 0.0), n)) / here
        keep = self._rng.random(n) < chance[which]
        if self.half_life is not None:
            self._kept *= 0.5 ** (n / self.half_life)
        self._kept[at] += np.bincount(which[keep], minlength=classes.size)
        self._owed -= float(keep.sum())
        return keep.astype(np.float32)

    def _places(self, classes: np.ndarray) -> np.ndarray:
        """Where each class is counted, int64 ``[k]``; new ones get a place."""
        known = np.union1d(self._classes, classes)
        if known.size > self._classes.size:
            kept = np.zeros(known.size)
            kept[np.searchsorted(known, self._classes)] = self._kept
            self._classes, self._kept = known, kept
        return np.searchsorted(self._classes, classes)

    def scalars(self) -> dict[str, float]:
        """For the ledger. classes: how many were seen. balance: fewest kept of a class over most (1: even)."""
        most = float(self._kept.max(initial=0))
        return {
            "classes": float(self._classes.size),
            "balance": float(self._kept.min()) / most if most else float("nan"),
        }
