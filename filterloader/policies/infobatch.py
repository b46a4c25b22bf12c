"""InfoBatch: drops a share of the examples whose last loss was below the mean, and weighs the others of them up."""

from __future__ import annotations

import warnings

import numpy as np

from filterloader.data.candidates import Candidates
from filterloader.data.checks import check_same, paste, share, whole
from filterloader.policies.base import everything

_SETTINGS = ("epochs", "prune_ratio", "delta")


class InfoBatch:
    """Unbiased dynamic pruning (Qin et al. 2024, "InfoBatch: Lossless Training Speed Up by Unbiased Dynamic Data Pruning",
    ICLR; arXiv 2303.04947).

    Remembers the last loss of each example by its index in the data set. In each pass, an example whose last loss is below
    the mean of all known ones is dropped with probability ``prune_ratio``; kept, it weighs ``1 / (1 - prune_ratio)``, so that
    the expected gradient stays that of everything. Everything is kept in the first pass, in the last ``1 - delta`` of the passes,
    and where an example has no known loss. The mean is that at the beginning of the pass; losses are remembered unweighted.

    epochs: passes of the whole run, which the last ones are counted from: pass ``p`` (from 1) prunes as long as ``p <= delta *
    epochs``, so two passes prune nothing, and of eight all but the first and the last prune. It must be given; None prunes to
    the end. A pass counts once it has brought a report. prune_ratio: r, in [0, 1). delta: share of the passes in which pruning is
    allowed. seed: of the private random state; None takes the loader's.

    It costs 4 bytes an example of the data set. Where a sampler draws an example twice in a pass, each draw is decided for
    itself, by the loss known then.

    Raises ValueError on streams without an index: choose ThreeStage, AutoThreshold or Random there.
    """

    gates_forward = True
    gates_backward = False
    needs_words = False
    needs_index = True
    granularities = ("example",)

    def __init__(self, *, epochs: int | None, prune_ratio: float = 0.5, delta: float = 0.875, seed: int | None = None):
        self.epochs = None if epochs is None else whole("epochs", epochs)
        self.prune_ratio, self.delta = share("prune_ratio", prune_ratio), share("delta", delta)
        if self.prune_ratio == 1:
            raise ValueError(
                f"prune_ratio must be below 1, or nothing is left to stand for what is dropped; got {prune_ratio!r}"
            )
        self.seed = None if seed is None else whole("seed", seed, low=0)
        self._rng = np.random.default_rng(self.seed)
        self._losses = np.zeros(0, np.float32)  # by index; NaN: not known
        self._mean: float | None = None  # while a pass prunes
        self._passes = 0  # before this one, of those that brought a report
        self._reported = False  # whether this one has
        if not self._allowed(2):
            warnings.warn(
                f"InfoBatch prunes from the second pass on, up to pass delta * epochs = {self.delta * self.epochs:g}: with epochs={epochs} "
                "nothing will be skipped; run more epochs, or give epochs=None to prune to the end",
                stacklevel=2,
            )

    def __repr__(self) -> str:
        return paste(self, *_SETTINGS, "seed")

    @property
    def stage(self) -> str:
        return (
            "filter"
            if self._mean is not None
            else "warm-up"
            if not self._passes or self._allowed(self._passes + 1)
            else "anneal"
        )

    @property
    def loss_threshold(self) -> float | None:
        """The mean of the losses known when the pass began; None while nothing is pruned."""
        return self._mean

    def bind(self, seed: int) -> None:
        if self.seed is None:
            self._rng = np.random.default_rng(seed)

    def begin_pass(self) -> None:
        self._passes += self._reported
        self._reported = False
        known = self._losses[np.isfinite(self._losses)]
        self._mean = float(known.mean(dtype=np.float64)) if known.size and self._allowed(self._passes + 1) else None

    def _allowed(self, number: int) -> bool:
        """Whether pass ``number``, from 1, comes before the annealing."""
        return self.epochs is None or number <= self.delta * self.epochs + 1e-9

    def screen(self, candidates: Candidates) -> np.ndarray:
        ids, weights = self._indices(candidates), everything(candidates)
        if self._mean is None:
            return weights
        easy = self._losses[ids] < self._mean
        weights[easy] = 1 / (1 - self.prune_ratio)
        weights[easy & (self._rng.random(ids.size) < self.prune_ratio)] = 0
        return weights

    def judge(self, candidates: Candidates, losses: np.ndarray) -> np.ndarray:
        ids = self._indices(candidates)  # before the array is named: it may grow
        self._losses[ids] = losses
        self._reported = True
        return everything(candidates)

    def _indices(self, candidates: Candidates) -> np.ndarray:
        """Index of each candidate, int64 ``[n]``, with room for its loss."""
        ids = candidates.example_ids
        if not candidates.indexed:
            raise ValueError(
                "InfoBatch remembers each example's last loss by its index in the data set, and these candidates have no index: a "
                "stream gives none, nor do workers with in_order=False or whole batches. Give a map-style data set and "
                "granularity='example', or choose a policy that needs no index: ThreeStage, AutoThreshold or Random"
            )
        if ids.min(initial=0) < 0:
            raise ValueError(f"the sampler drew index {ids.min()}; InfoBatch needs indices of at least 0")
        size = int(ids.max(initial=-1)) + 1
        if size > self._losses.size:
            grown = np.full(max(size, candidates.total or 0, self._losses.size * 3 // 2), np.nan, np.float32)
            grown[: self._losses.size] = self._losses
            self._losses = grown
        return ids

    def state_dict(self) -> dict:
        return {
            "settings": paste(self, *_SETTINGS),
            "rng": self._rng.bit_generator.state,
            "losses": self._losses.copy(),
            "mean": self._mean,
            "passes": self._passes,
            "reported": self._reported,
        }

    def load_state_dict(self, state: dict) -> None:
        check_same("settings", state["settings"], paste(self, *_SETTINGS))
        losses, passes, reported = np.array(state["losses"], np.float32), int(state["passes"]), bool(state["reported"])
        mean = None if state["mean"] is None else float(state["mean"])
        self._rng.bit_generator.state = state["rng"]
        self._losses, self._mean, self._passes, self._reported = losses, mean, passes, reported
