"""ClassBalanced: keeps a share of the stream with its classes balanced; the second control, and hard to beat on skewed data."""

from __future__ import annotations

import numpy as np

from filterloader.data.candidates import Candidates
from filterloader.data.checks import check_same, paste, real, share, whole
from filterloader.policies.base import everything


class ClassBalanced:
    """Keep a random share of the stream, as evenly over the classes as that share allows.

    Not from a paper: the control beside ``Random`` for any filter on imbalanced classes. What such a filter gains is often
    rebalancing, and this rebalances without looking at a word or a loss.

    keep: share of the stream to keep, in (0, 1]. half_life: after how many examples what was kept of a class counts half when
    classes are compared; None: it counts for ever. seed: of the private random state; None takes the loader's.

    It works on streams: nothing is known of the classes but what was kept of each so far. Every block of candidates may keep
    what brings the whole to ``keep`` of all that was seen. That goes first to the classes with the fewest kept, up to all
    that the block holds of them, until all that are in the block have as many (water filling); within a class each candidate
    of the block has the same chance. So a class rarer than its part is kept whole and what it leaves goes to the others. The
    share kept is ``keep`` in expectation from the first block on, whatever the classes do, and strays from it by one block's
    chance however long the stream. Where class shares drift, a class that was rare so far goes before the others until it has
    caught up; with a ``half_life`` the past weighs less, and nobody waits for long. Passes follow each other as one stream.

    Raises ValueError where rows have no class label, and the loader does with ``granularity="batch"``: a batch has no class.
    """

    gates_forward = True
    gates_backward = False
    needs_words = False
    granularities = ("example",)

    def __init__(self, keep: float, *, half_life: float | None = None, seed: int | None = None):
        self.keep = share("keep", keep, zero=False)
        self.half_life = None if half_life is None else real("half_life", half_life)
        if half_life is not None and half_life <= 0:
            raise ValueError(f"half_life must be above 0 examples, or None to forget nothing, got {half_life!r}")
        self.seed = None if seed is None else whole("seed", seed, low=0)
        self._rng = np.random.default_rng(self.seed)
        self._classes = np.zeros(0, np.int64)  # rising
        self._kept = np.zeros(0)  # of each class, forgetting included
        self._owed = 0.0  # examples that the budget is behind; below 0: ahead

    def __repr__(self) -> str:
        return paste(self, "keep", "half_life", "seed")

    def bind(self, seed: int) -> None:
        if self.seed is None:
            self._rng = np.random.default_rng(seed)

    def screen(self, candidates: Candidates) -> np.ndarray:
        if candidates.labels is None:
            raise ValueError(
                "ClassBalanced needs one integer class label for each example, and these candidates have none; name the label "
                "column with label=, decide on examples (granularity='example'), or choose Random(keep), which reads no label"
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

    def judge(self, candidates: Candidates, losses: np.ndarray) -> np.ndarray:
        return everything(candidates)

    def scalars(self) -> dict[str, float]:
        """For the ledger. classes: how many were seen. balance: fewest kept of a class over most kept of a class (1: even)."""
        most = float(self._kept.max(initial=0))
        return {
            "classes": float(self._classes.size),
            "balance": float(self._kept.min()) / most if most else float("nan"),
        }

    def state_dict(self) -> dict:
        return {
            "settings": paste(self, "keep", "half_life"),
            "rng": self._rng.bit_generator.state,
            "classes": self._classes.copy(),
            "kept": self._kept.copy(),
            "owed": self._owed,
        }

    def load_state_dict(self, state: dict) -> None:
        check_same("settings", state["settings"], paste(self, "keep", "half_life"))
        classes, kept, owed = np.array(state["classes"], np.int64), np.array(state["kept"], float), float(state["owed"])
        self._rng.bit_generator.state = state["rng"]
        self._classes, self._kept, self._owed = classes, kept, owed


def evenly(have: np.ndarray, room: np.ndarray, budget: float) -> np.ndarray:
    """``budget`` poured over classes that ``have`` some already and take at most ``room`` more (both ``[k]``): float64 ``[k]``,
    what each gets when all are filled to one level. It sums to the budget, or to all the room there is."""
    edges = np.concatenate([have, have + room])  # where a class begins to fill, and where it is full
    order = np.argsort(edges, kind="stable")
    rising, filling = edges[order], np.cumsum(np.repeat([1.0, -1.0], have.size)[order])
    poured = np.concatenate([np.zeros(min(have.size, 1)), np.cumsum(filling[:-1] * np.diff(rising))])
    level = np.interp(budget, poured, rising) if have.size else 0.0
    return np.clip(level - have, 0.0, room)
