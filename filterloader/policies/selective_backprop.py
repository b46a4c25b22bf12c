"""SelectiveBackprop: trains on an example with a chance that grows with the rank of its loss among recent ones."""

from __future__ import annotations

import numpy as np

from filterloader.data.candidates import Candidates
from filterloader.data.checks import check_same, paste, real, whole
from filterloader.policies.base import everything
from filterloader.policies.parts.warmup import Warmup

_SETTINGS = ("beta", "window", "warmup")


class SelectiveBackprop:
    """Keep with probability ``CDF(loss) ** beta`` (Jiang et al. 2019, "Accelerating Deep Learning by Focusing on the Biggest
    Losers", arXiv 1910.00762).

    The CDF is that of the last ``window`` losses, those at hand included. What is kept has weight 1.

    **It needs a** ``score_fn`` **to save time.** With one, the loader scores every example without gradients, and what is kept waits
    until a dense batch of it is there: the paper's queue, at the price of one extra forward pass. Without one, examples
    leave the mean of a batch whose forward and backward pass are run all the same: the same selection, saving nothing (but
    where a whole batch is dropped, as with ``granularity="batch"``).

    beta: the larger, the fewer and the harder. The rank of a loss among losses like it is uniform, so ``1 / (beta + 1)`` is
    kept: a third by default; the authors' script defaults to 3. window: losses remembered; 1024 is the authors' script's.
    warmup: how much is trained on in full first: a share of one pass (float; the authors' script: 1.0), a count of examples
    (int), or None: until the window is full and losses are below what guessing costs. seed: of the private random state; None takes the loader's.

    Left open by the source, and chosen here: a loss that occurs several times takes a place among its equals at random, and
    so does a loss alone between those below and itself, so that the share kept is ``1 / (beta + 1)`` with few losses known, and
    also where losses repeat. (The authors' code counts those strictly below: equal losses would all be dropped.) With a scalar
    report at example granularity all losses of a batch are equal, and little but chance decides.
    """

    gates_forward = False
    needs_words = False

    def __init__(self, *, beta: float = 2.0, window: int = 1024, warmup: float | None = 0.0, seed: int | None = None):
        self.beta, self.window = real("beta", beta), whole("window", window)
        if self.beta < 0:
            raise ValueError(f"beta must be at least 0 (0 keeps everything, 2 a third), got {beta!r}")
        self.seed = None if seed is None else whole("seed", seed, low=0)
        self._rng = np.random.default_rng(self.seed)
        self._warmup = Warmup(warmup)
        self.warmup = self._warmup.length
        self._recent = np.zeros(0, np.float32)  # oldest first
        self._judged = np.zeros(2, np.int64)  # since the warm-up: losses, kept

    def __repr__(self) -> str:
        return paste(self, *_SETTINGS, "seed")

    @property
    def gates_backward(self) -> bool:
        return self._warmup.over

    @property
    def stage(self) -> str:
        return "select" if self._warmup.over else "warm-up"

    def bind(self, seed: int) -> None:
        if self.seed is None:
            self._rng = np.random.default_rng(seed)

    def screen(self, candidates: Candidates) -> np.ndarray:
        return everything(candidates)

    def judge(self, candidates: Candidates, losses: np.ndarray) -> np.ndarray:
        gating = self._warmup.over
        pool = np.append(self._recent, losses)[-max(self.window, losses.size) :]
        self._recent = pool[-self.window :]
        examples = len(candidates) * candidates.merged
        self._warmup.observe(
            examples, candidates.total, self._recent.size == self.window, labels=candidates.labels, losses=losses
        )
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

    def state_dict(self) -> dict:
        return {
            "settings": paste(self, *_SETTINGS),
            "rng": self._rng.bit_generator.state,
            "warmup": self._warmup.state_dict(),
            "recent": self._recent.copy(),
            "judged": self._judged.copy(),
        }

    def load_state_dict(self, state: dict) -> None:
        check_same("settings", state["settings"], paste(self, *_SETTINGS))
        recent, judged = np.array(state["recent"], np.float32), np.array(state["judged"], np.int64)
        self._warmup.load_state_dict(state["warmup"])
        self._rng.bit_generator.state = state["rng"]
        self._recent, self._judged = recent, judged
