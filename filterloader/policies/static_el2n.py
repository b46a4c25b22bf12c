"""StaticEL2N: trains on everything first, then only on what an early checkpoint found hardest."""

from __future__ import annotations

import numpy as np

from filterloader.data.candidates import Candidates
from filterloader.data.checks import check_same, paste, share, whole
from filterloader.policies.base import everything
from filterloader.policies.parts import selection
from filterloader.policies.parts.el2n import JOINT_RETURNS, RETURNS, check_joint, scores_of

_SETTINGS = ("keep", "after", "average", "joint")


class StaticEL2N:
    """Keep the share of the data set with the largest EL2N, scored once, early (Paul et al. 2021).

    Everything is trained on for the first ``after`` passes; then the model scores the whole data set, and for the rest of
    the run only the highest share is trained on. The loader needs a ``score_fn`` that returns logits ``[batch, classes]`` (or
    scores ``[batch]``), and a data set with examples by index. A pass that is broken off does not count as one.

    keep: share of the data set, in (0, 1]. after: passes before the first scoring; 0 scores the model as it is given. average:
    scorings to take the mean of, one before each pass, all on everything until the last (the source averages over separate
    runs instead). joint: as for ``DynamicEL2N``. seed: for ties; None takes the loader's.
    """

    gates_forward = True
    gates_backward = False
    needs_words = False
    needs_index = True
    granularities = ("example",)

    def __init__(
        self, keep: float, *, after: int = 1, average: int = 1, joint: str | None = None, seed: int | None = None
    ):
        self.keep = share("keep", keep, zero=False)
        self.after, self.average = whole("after", after, low=0), whole("average", average)
        self.joint = check_joint(joint)
        self.seed = None if seed is None else whole("seed", seed, low=0)
        self._rng = np.random.default_rng(self.seed)
        self._selection = selection.Selection("StaticEL2N")
        self._passes = self._scorings = 0
        self._mean: np.ndarray | None = None

    def __repr__(self) -> str:
        return paste(self, *_SETTINGS, "seed")

    @property
    def survey_returns(self) -> str:
        return RETURNS if self.joint is None else JOINT_RETURNS

    @property
    def surveys(self) -> bool:
        return self._scorings < self.average and self._passes >= self.after + self._scorings

    @property
    def stage(self) -> str:
        return "warm-up" if self._selection.chosen is None else "filter"

    def bind(self, seed: int) -> None:
        if self.seed is None:
            self._rng = np.random.default_rng(seed)

    def end_pass(self) -> None:
        self._passes += 1

    def survey(self, blocks) -> None:
        fresh = selection.gather(blocks, lambda scores, candidates: scores_of(scores, candidates, joint=self.joint))
        self._mean = selection.blend(self._mean, fresh, 1 / (self._scorings + 1), "StaticEL2N")
        self._scorings += 1
        if self._scorings == self.average:
            self._selection.choose(selection.top_share(self._mean, self.keep, self._rng), blocks)
            self._mean = None

    def screen(self, candidates: Candidates) -> np.ndarray:
        return self._selection.weights(candidates)

    def judge(self, candidates: Candidates, losses: np.ndarray) -> np.ndarray:
        return everything(candidates)

    def state_dict(self) -> dict:
        return {
            "settings": paste(self, *_SETTINGS),
            "rng": self._rng.bit_generator.state,
            "selection": self._selection.state_dict(),
            "passes": self._passes,
            "scorings": self._scorings,
            "mean": None if self._mean is None else self._mean.copy(),
        }

    def load_state_dict(self, state: dict) -> None:
        check_same("settings", state["settings"], paste(self, *_SETTINGS))
        self._rng.bit_generator.state = state["rng"]
        self._selection.load_state_dict(state["selection"])
        self._passes, self._scorings = int(state["passes"]), int(state["scorings"])
        self._mean = None if state["mean"] is None else np.array(state["mean"], np.float32)
