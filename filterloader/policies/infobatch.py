"""InfoBatch: drops a share of the examples whose last loss was below the mean, and weighs the others of them up."""

from __future__ import annotations

import warnings
from typing import ClassVar

import numpy as np

from filterloader.data.candidates import Candidates
from filterloader.data.checks import integer, share
from filterloader.policies.base import everything, others
from filterloader.policies.parts.seeded import Seeded
from filterloader.policies.parts.state import array, generator, scalar


class InfoBatch(Seeded):
    """Unbiased dynamic pruning: what was easy when last seen is dropped by chance, or kept with a higher weight.

    The last loss of each example is remembered by its index in the data set (4 bytes each). In each pass, an example
    whose last loss is below the mean of all known ones is dropped with probability ``prune_ratio``; kept, it weighs ``1
    / (1 - prune_ratio)``, so that the expected gradient stays that of everything. Everything is kept in the first pass,
    in the last ``1 - delta`` of the passes, and where an example has no known loss. The mean is that at the beginning
    of the pass; losses are remembered unweighted. Where a sampler takes an example twice in a pass, each time is
    decided for itself.

    Args:
        epochs (int or None): passes of the whole run; must be given. Pass ``p`` (from 1) prunes as long as ``p <= delta
            * epochs``, so two passes prune nothing, and of eight all but the first and the last prune. None prunes to
            the end. A pass counts once it has brought a report.
        prune_ratio (float): r, chance of an easy example to be dropped, in [0, 1); .5 by default.
        delta (float): share of the passes in which pruning is allowed, in [0, 1]; .875 by default.
        seed (int): of the private random state; None, the default, takes the loader's.

    Raises:
        ValueError: on streams without an index.

    Example:
        >>> import torch
        >>> from filterloader import FilteringDataLoader, InfoBatch
        >>> rows = [{"input_ids": [i]} for i in range(100)]
        >>> loader = FilteringDataLoader(rows, batch_size=10, policy=InfoBatch(epochs=None, seed=0))
        >>> batches = [0, 0]
        >>> for epoch in range(2):
        ...     for batch in loader:
        ...         batches[epoch] += 1
        ...         _ = loader.hook.report(batch["input_ids"][:, 0].float())
        >>> batches[0], batches[1] < 10  # about half of the 50 below the mean are dropped
        (10, True)

    Source: Qin et al. 2024, "InfoBatch: Lossless Training Speed Up by Unbiased Dynamic Data Pruning", ICLR, arXiv
    2303.04947.
    """

    gates_backward = False
    needs_words = False
    needs_index = True
    granularities = ("example",)
    stages = ("warm-up", "filter", "anneal")
    example_settings: ClassVar = {"epochs": None, "seed": 1}
    _settings = ("epochs", "prune_ratio", "delta")
    _remembers: ClassVar = {
        "_rng": generator,
        "_losses": array(np.float32),
        "_mean": scalar(float, or_none=True),
        "_passes": scalar(int),
        "_reported": scalar(bool),
    }

    def __init__(self, *, epochs: int | None, prune_ratio: float = 0.5, delta: float = 0.875, seed: int | None = None):
        super().__init__(seed)
        self.epochs = None if epochs is None else integer("epochs", epochs)
        self.prune_ratio, self.delta = share("prune_ratio", prune_ratio), share("delta", delta)
        if self.prune_ratio == 1:
            raise ValueError(
                f"prune_ratio must be below 1, or nothing is left to stand for what is dropped; got {prune_ratio!r}"
            )
        self._losses = np.zeros(0, np.float32)  # by index; NaN: not known
        self._mean: float | None = None  # while a pass prunes
        self._passes = 0  # before this one, of those that brought a report
        self._reported = False  # whether this one has
        if self.epochs is not None and not self._allowed(2):
            warnings.warn(
                f"InfoBatch prunes from the second pass on, up to pass delta * epochs = {self.delta * self.epochs:g}: "
                f"with epochs={epochs} nothing will be skipped; run more epochs, or give epochs=None to prune to the "
                "end",
                stacklevel=2,
            )

    @property
    def stage(self) -> str:
        if self._mean is not None:
            return "filter"
        return "warm-up" if not self._passes or self._allowed(self._passes + 1) else "anneal"

    @property
    def loss_threshold(self) -> float | None:
        """The mean of the losses known when the pass began; None while nothing is pruned."""
        return self._mean

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
                "InfoBatch remembers each example's last loss by its index in the data set, and these candidates "
                "have no index: a stream gives none, nor do workers with in_order=False or whole batches. Give a "
                "map-style data set and granularity='example', or choose a policy that needs no index: "
                f"{others(streams=True)}"
            )
        if ids.min(initial=0) < 0:
            raise ValueError(f"the sampler drew index {ids.min()}; InfoBatch needs indices of at least 0")
        size = int(ids.max(initial=-1)) + 1
        if size > self._losses.size:
            grown = np.full(max(size, candidates.total or 0, self._losses.size * 3 // 2), np.nan, np.float32)
            grown[: self._losses.size] = self._losses
            self._losses = grown
        return ids
