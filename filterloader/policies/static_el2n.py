"""StaticEL2N: trains on everything first, then only on what an early checkpoint found hardest."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from filterloader.data.candidates import Candidates
from filterloader.data.checks import integer, share
from filterloader.policies.parts import selection
from filterloader.policies.parts.el2n import check_joint, returns, scores_of
from filterloader.policies.parts.seeded import Seeded
from filterloader.policies.parts.state import PART, array, generator, scalar


class StaticEL2N(Seeded):
    """Keep the share of the data set with the largest EL2N (error norm), scored once, early.

    Everything is trained on for the first ``after`` passes; then the model scores the whole data set, and for the rest
    of the run only the highest share is trained on. The loader needs a ``score_fn`` that returns logits ``[batch,
    classes]`` (or scores ``[batch]``), and a data set with examples by index. A pass that is broken off does not count
    as one.

    Args:
        keep (float): share of the data set, in (0, 1].
        after (int): passes before the first scoring; 1 by default, 0 scores the model as it is given.
        average (int): scorings to take the mean of, one before each pass, all on everything until the last; 1 by
            default. (The source averages over separate runs instead.)
        joint (str): for intents with slots, as for ``DynamicEL2N``; None, the default, for single labels.
        seed (int): for ties; None, the default, takes the loader's.

    Example:
        >>> import torch
        >>> from filterloader import FilteringDataLoader, StaticEL2N
        >>> rows = [{"input_ids": [i], "label": 0} for i in range(20)]
        >>> def logits(batch):  # stands for model(**batch).logits: less and less sure
        ...     return torch.stack([20 - batch["input_ids"][:, 0].float(), torch.zeros(len(batch["labels"]))], dim=1)
        >>> policy = StaticEL2N(0.25, after=0, seed=0)
        >>> loader = FilteringDataLoader(rows, batch_size=5, policy=policy, score_fn=logits)
        >>> [sorted(batch["input_ids"][:, 0].tolist()) for batch in loader]
        [[15, 16, 17, 18, 19]]

    Source: Paul et al. 2021, "Deep Learning on a Data Diet", NeurIPS 34, arXiv 2107.07075, §2.
    """

    gates_backward = False
    needs_words = False
    needs_index = True
    granularities = ("example",)
    stages = ("warm-up", "filter")
    example_settings: ClassVar = {"keep": 0.4, "average": 2, "seed": 1}
    _settings = ("keep", "after", "average", "joint")
    _remembers: ClassVar = {
        "_rng": generator,
        "_selection": PART,
        "_passes": scalar(int),
        "_scorings": scalar(int),
        "_mean": array(np.float32, or_none=True),
    }

    def __init__(
        self, keep: float, *, after: int = 1, average: int = 1, joint: str | None = None, seed: int | None = None
    ):
        super().__init__(seed)
        self.keep = share("keep", keep, zero=False)
        self.after, self.average = integer("after", after, least=0), integer("average", average)
        self.joint = check_joint(joint)
        self._selection = selection.Selection("StaticEL2N")
        self._passes = self._scorings = 0
        self._mean: np.ndarray | None = None

    @property
    def survey_returns(self) -> str:
        return returns("el2n", self.joint)

    @property
    def surveys(self) -> bool:
        return self._scorings < self.average and self._passes >= self.after + self._scorings

    @property
    def stage(self) -> str:
        return "warm-up" if self._selection.chosen is None else "filter"

    def end_pass(self) -> None:
        self._passes += 1

    def survey(self, blocks: Any) -> None:
        fresh = selection.gather(blocks, lambda scores, candidates: scores_of(scores, candidates, joint=self.joint))
        self._mean = selection.blend(self._mean, fresh, 1 / (self._scorings + 1), "StaticEL2N")
        self._scorings += 1
        if self._scorings == self.average:
            self._selection.choose(selection.top_share(self._mean, self.keep, self._rng), blocks)
            self._mean = None

    def screen(self, candidates: Candidates) -> np.ndarray:
        return self._selection.weights(candidates)
