"""SelectiveBackprop: trains on an example with a chance that grows with the rank of its loss among recent ones."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from filterloader.data.candidates import Candidates
from filterloader.data.checks import integer, real
from filterloader.policies.base import everything
from filterloader.policies.parts.seeded import Seeded
from filterloader.policies.parts.state import PART, array, generator
from filterloader.policies.parts.warmup import Warmup


class SelectiveBackprop(Seeded):
    """Train with probability ``CDF(loss) ** beta``, by the rank of a loss among recent ones.

    The CDF is that of the last ``window`` losses, those at hand included. What is kept has weight 1.

    **It needs a** ``score_fn`` **to save time.** With one, the loader scores every example without gradients, and what
    is kept waits until a dense batch of it is there: the paper's queue, at the price of one extra forward pass. Without
    one, examples leave the mean of a batch whose forward and backward pass are run all the same (but where a whole
    batch is dropped). With a scalar report at example granularity all losses of a batch are equal, and little but
    chance decides.

    Left open by the source, and chosen here: a loss takes its place among equal ones at random, and so does a loss
    alone between those below and itself. So the share kept is ``1 / (beta + 1)`` even with few losses known, or where
    losses repeat. (The authors' code counts those strictly below: equal losses would all be dropped.)

    Args:
        beta (float): at least 0; the larger, the fewer and the harder: ``1 / (beta + 1)`` is kept, a third by the
            default of 2. The authors' script defaults to 3.
        window (int): losses remembered; 1024 by default, as in the authors' script.
        warmup (float, int or None): what is trained on in full first: a share of one pass (float; 0.0 by default, the
            authors' script 1.0), a count of examples (int), or None: until the window is full and losses are below what
            guessing costs.
        seed (int): of the private random state; None, the default, takes the loader's.

    Example:
        >>> import torch
        >>> from filterloader import FilteringDataLoader, SelectiveBackprop
        >>> loader = FilteringDataLoader([{"input_ids": [1]}] * 300, batch_size=1, policy=SelectiveBackprop(seed=0))
        >>> kept = [loader.hook.report(torch.rand(1)) is not None for batch in loader]
        >>> 70 < sum(kept) < 130
        True

    Source: Jiang et al. 2019, "Accelerating Deep Learning by Focusing on the Biggest Losers", arXiv 1910.00762, §3.2.
    """

    gates_forward = False
    needs_words = False
    stages = ("warm-up", "select")
    example_settings: ClassVar = {"window": 100, "seed": 1}
    _settings = ("beta", "window", "warmup")
    _remembers: ClassVar = {
        "_rng": generator,
        "_warmup": PART,
        "_recent": array(np.float32),
        "_judged": array(np.int64, 2),
    }

    def __init__(
        self, *, beta: float = 2.0, window: int = 1024, warmup: float | int | None = 0.0, seed: int | None = None
    ):
        super().__init__(seed)
        self.beta, self.window = real("beta", beta, least=0), integer("window", window)
        self._warmup = Warmup(warmup)
        self.warmup = self._warmup.length
        self._recent = np.zeros(0, np.float32)  # oldest first
        self._judged = np.zeros(2, np.int64)  # since the warm-up: losses, kept

    @property
    def gates_backward(self) -> bool:
        return self._warmup.over

    @property
    def stage(self) -> str:
        return "select" if self._warmup.over else "warm-up"

    def judge(self, candidates: Candidates, losses: np.ndarray) -> np.ndarray:
        gating = self._warmup.over
        pool = np.append(self._recent, losses)[-max(self.window, losses.size) :]
        self._recent = pool[-self.window :]
        self._warmup.report(candidates, losses, self._recent.size == self.window)
        if not gating:
            return everything(candidates)
        ranked = np.sort(pool)
        below, up_to = np.searchsorted(ranked, losses), np.searchsorted(ranked, losses, side="right")
        place, coin = self._rng.random((2, losses.size))
        keep = coin < ((below + place * (up_to - below)) / pool.size) ** self.beta
        self._judged += losses.size, keep.sum()
        return keep.astype(np.float32)

    def scalars(self) -> dict[str, float]:
        """For the ledger. selectivity: share kept of what was judged since the warm-up. median_loss: of the window."""
        judged, kept = self._judged.tolist()
        return {
            "selectivity": kept / judged if judged else float("nan"),
            "median_loss": float(np.median(self._recent)) if self._recent.size else float("nan"),
        }
