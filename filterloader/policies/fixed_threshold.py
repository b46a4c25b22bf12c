"""FixedThreshold: skips the backward pass below one hand-picked loss."""

from __future__ import annotations

import numpy as np

from filterloader.data.candidates import Candidates
from filterloader.data.checks import check_same, paste, real
from filterloader.policies.base import everything


class FixedThreshold:
    """Train on what has a loss of at least ``threshold`` (paper, Table 3: swept over 0.1, 0.3, 0.5, 0.7; nats).

    At example granularity single examples leave the mean that ``report`` returns, but the batch is still run: only a batch
    with none left saves its backward pass. Give the loader a ``score_fn`` to have the kept ones refilled into dense batches.
    """

    gates_forward = False
    gates_backward = True
    needs_words = False

    def __init__(self, threshold: float):
        self.threshold = real("threshold", threshold)

    def __repr__(self) -> str:
        return paste(self, "threshold")

    @property
    def loss_threshold(self) -> float:
        return self.threshold

    def screen(self, candidates: Candidates) -> np.ndarray:
        return everything(candidates)

    def judge(self, candidates: Candidates, losses: np.ndarray) -> np.ndarray:
        return (losses >= self.threshold).astype(np.float32)

    def state_dict(self) -> dict:
        return {"threshold": self.threshold}

    def load_state_dict(self, state: dict) -> None:
        check_same("threshold", state["threshold"], self.threshold)
