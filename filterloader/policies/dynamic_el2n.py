"""DynamicEL2N: every few passes scores the whole data set again and trains on what is hardest now."""

from __future__ import annotations

import numpy as np

from filterloader.data.candidates import Candidates
from filterloader.data.checks import check_same, paste, real, share, whole
from filterloader.policies.base import everything
from filterloader.policies.parts import selection
from filterloader.policies.parts.el2n import JOINT_RETURNS, RETURNS, check_joint, scores_of

SCORES = ("el2n", "loss", "random")
_SETTINGS = ("keep", "tau", "period", "score", "offset", "smoothing", "deviations", "joint")


class DynamicEL2N:
    """Keep the share of the data set that the model as it is now finds hardest (Attendu and Corbeil 2023).

    The first ``tau`` passes train on everything. Then, before a pass, the model scores the whole data set; the share with the
    highest scores is trained on for ``period`` passes, and so on. The loader needs a ``score_fn`` that returns logits
    ``[batch, classes]`` (or scores ``[batch]``), and a data set with examples by index. Scoring costs a forward pass an example:
    ``survey_s`` and ``surveyed`` in the ledger. A pass that is broken off does not count as one.

    keep: share of the data set, in (0, 1]. tau: passes on everything first; with 0 the first ``period`` passes take a random
    share. period: T, passes between two scorings. score: ``"el2n"``; ``"loss"``, for which ``score_fn`` returns losses
    ``[batch]``, or logits, whose cross entropy is taken; ``"random"``, a fresh random share each time, without any ``score_fn``.
    offset: share of the data set, the very hardest, that is left out. smoothing: weight of the newest scoring in an
    exponentially weighted mean over all scorings (α, .8 in the source), None to take the newest alone. deviations: how many
    exponentially weighted standard deviations over the scorings are added to that mean, from the second scoring on (c, in the
    source 1 for joint intents and slots, 0 for GLUE). With d the newest score less the mean before it, the mean gains α·d, and
    the variance v becomes (1 - α)·(v + α·d²).

    joint: for intents with slots, how their EL2N become one (``el2n.joint_el2n``): ``"norm"`` (the source's choice), ``"sum"``
    or ``"mean"``. ``score_fn`` then returns ``(intent logits [batch, classes], slot logits [batch, tokens, slots], slot labels
    [batch, tokens])``, the slot labels from whatever column of the batch holds them, with -100 on everything but the first
    subword of each word (the loader pads columns named ``…_labels`` with -100). Intent labels are the loader's ``label``
    column, or a fourth tensor ``[batch]``. seed: of random shares and ties; None takes the loader's.
    """

    gates_forward = True
    gates_backward = False
    needs_words = False
    needs_index = True
    granularities = ("example",)

    def __init__(
        self,
        keep: float,
        *,
        tau: int = 1,
        period: int = 1,
        score: str = "el2n",
        offset: float = 0.0,
        smoothing: float | None = None,
        deviations: float = 0.0,
        joint: str | None = None,
        seed: int | None = None,
    ):
        if score not in SCORES:
            raise ValueError(f"score={score!r} is not known; choose one of {', '.join(map(repr, SCORES))}")
        self.keep = share("keep", keep, zero=False)
        self.tau, self.period, self.score = whole("tau", tau, low=0), whole("period", period), score
        self.offset = selection.check_offset(self.keep, offset)
        self.smoothing = None if smoothing is None else share("smoothing", smoothing, zero=False)
        self.deviations = real("deviations", deviations)
        if self.deviations < 0:
            raise ValueError(f"deviations must be at least 0, got {deviations!r}")
        if self.deviations and self.smoothing is None:
            raise ValueError(
                f"deviations={deviations!r} are over the scorings that smoothing= remembers; set smoothing too, e.g. 0.8"
            )
        self.joint = check_joint(joint)
        if joint is not None and score != "el2n":
            raise ValueError(
                f"joint={joint!r} joins EL2N, and score={score!r} is another; for losses, leave joint= out and return losses [batch]"
            )
        self.seed = None if seed is None else whole("seed", seed, low=0)
        self._rng = np.random.default_rng(self.seed)
        self._selection = selection.Selection("DynamicEL2N")
        self._passes = 0
        self._chosen_at: int | None = None  # passes that were over at the last choice
        self._mean: np.ndarray | None = None
        self._variance: np.ndarray | None = None

    def __repr__(self) -> str:
        return paste(self, *_SETTINGS, "seed")

    @property
    def survey_scores(self) -> bool:
        return self.score != "random"

    @property
    def survey_returns(self) -> str:
        if self.score == "loss":
            return "losses [batch] or logits [batch, classes]"
        return RETURNS if self.joint is None else JOINT_RETURNS

    @property
    def surveys(self) -> bool:
        return self._passes >= (self.tau if self._chosen_at is None else self._chosen_at + self.period)

    @property
    def stage(self) -> str:
        return "warm-up" if self._chosen_at is None else "filter"

    def bind(self, seed: int) -> None:
        if self.seed is None:
            self._rng = np.random.default_rng(seed)

    def end_pass(self) -> None:
        self._passes += 1

    def survey(self, blocks) -> None:
        if self.score == "random" or (self.tau == 0 and self._chosen_at is None):
            chosen = selection.random_share(blocks.examples, self.keep, self._rng)
        else:
            score, joint = self.score, self.joint
            fresh = selection.gather(
                blocks, lambda scores, candidates: scores_of(scores, candidates, score=score, joint=joint)
            )
            chosen = selection.top_share(self._smoothed(fresh), self.keep, self._rng, self.offset)
        self._selection.choose(chosen, blocks)
        self._chosen_at = self._passes

    def _smoothed(self, fresh: np.ndarray) -> np.ndarray:
        if self.smoothing is None:
            return fresh
        before = fresh if self._mean is None else self._mean
        mean = selection.blend(self._mean, fresh, self.smoothing, "DynamicEL2N")
        if self.deviations:
            gap = np.nan_to_num(fresh - before)
            variance = np.zeros_like(fresh) if self._variance is None else self._variance
            self._variance = ((1 - self.smoothing) * (variance + self.smoothing * gap**2)).astype(np.float32)
        self._mean = mean
        return mean if self._variance is None else mean + np.float32(self.deviations) * np.sqrt(self._variance)

    def screen(self, candidates: Candidates) -> np.ndarray:
        return self._selection.weights(candidates)

    def judge(self, candidates: Candidates, losses: np.ndarray) -> np.ndarray:
        return everything(candidates)

    def state_dict(self) -> dict:
        kept = {"mean": self._mean, "variance": self._variance}
        return {
            "settings": paste(self, *_SETTINGS),
            "rng": self._rng.bit_generator.state,
            "selection": self._selection.state_dict(),
            "passes": self._passes,
            "chosen_at": self._chosen_at,
            **{name: None if array is None else array.copy() for name, array in kept.items()},
        }

    def load_state_dict(self, state: dict) -> None:
        check_same("settings", state["settings"], paste(self, *_SETTINGS))
        self._rng.bit_generator.state = state["rng"]
        self._selection.load_state_dict(state["selection"])
        self._passes, self._chosen_at = int(state["passes"]), state["chosen_at"]
        self._mean, self._variance = (
            None if state[name] is None else np.array(state[name], np.float32) for name in ("mean", "variance")
        )
