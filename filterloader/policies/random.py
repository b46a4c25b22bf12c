"""Random: keeps each candidate with one fixed chance; the control that every table needs."""

from __future__ import annotations

import numpy as np

from filterloader.data.candidates import Candidates
from filterloader.data.checks import check_same, paste, share, whole
from filterloader.policies.base import everything


class Random:
    """Keep a random share of the stream (paper, Table 5: "random, same share skipped").

    keep: chance of each candidate, in (0, 1]. seed: of the private random state; None takes the loader's.
    """

    gates_forward = True
    gates_backward = False
    needs_words = False

    def __init__(self, keep: float, *, seed: int | None = None):
        self.keep = share("keep", keep, zero=False)
        self.seed = None if seed is None else whole("seed", seed, low=0)
        self._rng = np.random.default_rng(self.seed)

    def __repr__(self) -> str:
        return paste(self, "keep", "seed")

    def bind(self, seed: int) -> None:
        if self.seed is None:
            self._rng = np.random.default_rng(seed)

    def screen(self, candidates: Candidates) -> np.ndarray:
        return (self._rng.random(len(candidates)) < self.keep).astype(np.float32)

    def judge(self, candidates: Candidates, losses: np.ndarray) -> np.ndarray:
        return everything(candidates)

    def state_dict(self) -> dict:
        return {"keep": self.keep, "rng": self._rng.bit_generator.state}

    def load_state_dict(self, state: dict) -> None:
        check_same("keep", state["keep"], self.keep)
        self._rng.bit_generator.state = state["rng"]
