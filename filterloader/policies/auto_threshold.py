"""AutoThreshold: skips the backward pass below the moving average of recent losses."""

from __future__ import annotations

import numpy as np

from filterloader.data.candidates import Candidates
from filterloader.data.checks import paste
from filterloader.policies.base import everything
from filterloader.policies.parts.threshold import MovingAverageThreshold, moving
from filterloader.policies.parts.warmup import Warmup


class AutoThreshold:
    """Train on what has a loss of at least the moving average ("automatic threshold only", paper §3.2).

    warmup: how much is trained on in full first: a share of one pass (float), a count of examples (int), or None: until the
    loss has settled below what guessing costs, 1024 reports at most. threshold: a ``MovingAverageThreshold``; None is that of the paper. On what the
    backward gate saves at example granularity, see ``FixedThreshold``.
    """

    gates_forward = False
    needs_words = False

    def __init__(self, *, warmup: float | int | None = 0.1, threshold: MovingAverageThreshold | None = None):
        self.threshold = moving(threshold)
        self._warmup = Warmup(warmup)
        self.warmup = self._warmup.length

    def __repr__(self) -> str:
        return paste(self, "warmup", "threshold")

    @property
    def gates_backward(self) -> bool:
        return self._warmup.over

    @property
    def stage(self) -> str:
        return "threshold" if self._warmup.over else "warm-up"

    @property
    def loss_threshold(self) -> float | None:
        return self.threshold.value

    def screen(self, candidates: Candidates) -> np.ndarray:
        return everything(candidates)

    def judge(self, candidates: Candidates, losses: np.ndarray) -> np.ndarray:
        gating = self._warmup.over
        threshold = self.threshold.observe(losses)
        examples = len(candidates) * candidates.merged
        self._warmup.observe(
            examples, candidates.total, self.threshold.settled, labels=candidates.labels, losses=losses
        )
        if self._warmup.over:
            self.threshold.end_warmup()
        if not gating or threshold is None:
            return everything(candidates)
        return (losses >= threshold).astype(np.float32)

    def state_dict(self) -> dict:
        return {"warmup": self._warmup.state_dict(), "threshold": self.threshold.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        self._warmup.load_state_dict(state["warmup"])
        self.threshold.load_state_dict(state["threshold"])
