"""DynamicEL2N: every few passes scores the whole data set again and trains on what is hardest now."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from filterloader.data.candidates import Candidates
from filterloader.data.checks import choice, integer, real, share
from filterloader.policies.parts import selection
from filterloader.policies.parts.el2n import check_joint, returns, scores_of
from filterloader.policies.parts.seeded import Seeded
from filterloader.policies.parts.state import PART, array, generator, scalar

SCORES = ("el2n", "loss", "random")


class DynamicEL2N(Seeded):
    """Keep the share of the data set that the model as it is now finds hardest.

    The first ``tau`` passes train on everything. Then, before a pass, the model scores the whole data set; the share
    with the highest scores is trained on for ``period`` passes, and so on. The loader needs a ``score_fn`` that returns
    logits ``[batch, classes]`` (or scores ``[batch]``), and a data set with examples by index. Scoring costs a forward
    pass an example: ``survey_s`` and ``surveyed`` in the ledger. A pass that is broken off does not count as one.

    Args:
        keep (float): share of the data set, in (0, 1].
        tau (int): passes on everything first; 1 by default. With 0 the first ``period`` passes take a random share.
        period (int): T, passes between two scorings; 1 by default.
        score (str): ``"el2n"`` (default); ``"loss"``, for which ``score_fn`` returns losses ``[batch]``, or logits,
            whose cross entropy is taken; ``"random"``, a new random share each time, without any ``score_fn``.
        offset (float): share of the data set, the very hardest, that is left out; 0.0 by default.
        smoothing (float): alpha, weight of the newest scoring in an exponentially weighted mean over all scorings, in
            (0, 1] (.8 in the source); None, the default, takes the newest alone.
        deviations (float): c, how many exponentially weighted standard deviations over the scorings are added to that
            mean, from the second scoring on; 0.0 by default (1 in the source for joint intents and slots, 0 for GLUE).
            With d the newest score less the mean before it, the mean gains alpha * d, and the variance v becomes ``(1 -
            alpha) * (v + alpha * d**2)``.
        joint (str): for intents with slots, how their EL2N become one (``el2n.joint_el2n``): ``"norm"`` (the source's
            choice), ``"sum"`` or ``"mean"``. ``score_fn`` then returns ``(intent logits [batch, classes], slot logits
            [batch, tokens, slots], slot labels [batch, tokens])``, with -100 on everything but the first subword of
            each word (the loader pads columns named ``…_labels`` with -100). Intent labels are the loader's ``label``
            column, or a fourth tensor ``[batch]``. None, the default: one label a row.
        seed (int): of random shares and ties; None, the default, takes the loader's.

    Example:
        >>> import torch
        >>> from filterloader import DynamicEL2N, FilteringDataLoader
        >>> rows = [{"input_ids": [i]} for i in range(20)]
        >>> policy = DynamicEL2N(0.25, score="loss", seed=0)
        >>> def losses(batch):  # stands for the model's
        ...     return batch["input_ids"][:, 0].float()
        >>> loader = FilteringDataLoader(rows, batch_size=5, policy=policy, score_fn=losses)
        >>> [len(list(loader)) for epoch in range(2)]  # everything, then a quarter
        [4, 1]

    Source: Attendu and Corbeil 2023, "NLU on Data Diets: Dynamic Data Subset Selection for NLP Classification Tasks",
    arXiv 2306.03208.
    """

    gates_backward = False
    needs_words = False
    needs_index = True
    granularities = ("example",)
    stages = ("warm-up", "filter")
    example_settings: ClassVar = {"keep": 0.4, "tau": 0, "offset": 0.1, "smoothing": 0.8, "deviations": 1.0, "seed": 1}
    _settings = ("keep", "tau", "period", "score", "offset", "smoothing", "deviations", "joint")
    _remembers: ClassVar = {
        "_rng": generator,
        "_selection": PART,
        "_passes": scalar(int),
        "_chosen_at": scalar(int, or_none=True),
        "_mean": array(np.float32, or_none=True),
        "_variance": array(np.float32, or_none=True),
    }

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
        super().__init__(seed)
        self.keep, self.score = share("keep", keep, zero=False), choice("score", score, SCORES)
        self.tau, self.period = integer("tau", tau, least=0), integer("period", period)
        self.offset = selection.check_offset(self.keep, offset)
        self.smoothing = None if smoothing is None else share("smoothing", smoothing, zero=False)
        self.deviations = real("deviations", deviations, least=0)
        if self.deviations and self.smoothing is None:
            raise ValueError(
                f"deviations={deviations!r} are over the scorings that smoothing= remembers; set smoothing too, e.g. "
                "0.8"
            )
        self.joint = check_joint(joint)
        if joint is not None and score != "el2n":
            raise ValueError(
                f"joint={joint!r} joins EL2N, and score={score!r} is another; for losses, leave joint= out and return "
                "losses [batch]"
            )
        self._selection = selection.Selection("DynamicEL2N")
        self._passes = 0
        self._chosen_at: int | None = None  # passes that were over at the last choice
        self._mean: np.ndarray | None = None
        self._variance: np.ndarray | None = None

    @property
    def survey_scores(self) -> bool:
        return self.score != "random"

    @property
    def survey_returns(self) -> str:
        return returns(self.score, self.joint)

    @property
    def surveys(self) -> bool:
        return self._passes >= (self.tau if self._chosen_at is None else self._chosen_at + self.period)

    @property
    def stage(self) -> str:
        return "warm-up" if self._chosen_at is None else "filter"

    def end_pass(self) -> None:
        self._passes += 1

    def survey(self, blocks: Any) -> None:
        if self.score == "random" or (self.tau == 0 and self._chosen_at is None):
            chosen = selection.random_share(blocks.examples, self.keep, self._rng)
        else:
            fresh = selection.gather(
                blocks,
                lambda scores, candidates: scores_of(scores, candidates, score=self.score, joint=self.joint),
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
