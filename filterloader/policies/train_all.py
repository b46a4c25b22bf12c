"""TrainAll: keeps everything; the baseline of every table."""

from __future__ import annotations

import numpy as np

from filterloader.data.candidates import Candidates
from filterloader.policies.base import everything


class TrainAll:
    """Keep everything: the loader yields what a ``DataLoader`` would have yielded, batch for batch."""

    gates_forward = False
    gates_backward = False
    needs_words = False

    def __repr__(self) -> str:
        return "TrainAll()"

    def screen(self, candidates: Candidates) -> np.ndarray:
        return everything(candidates)

    def judge(self, candidates: Candidates, losses: np.ndarray) -> np.ndarray:
        return everything(candidates)

    def state_dict(self) -> dict:
        return {}

    def load_state_dict(self, state: dict) -> None:
        pass
