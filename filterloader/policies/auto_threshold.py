"""AutoThreshold: skips the backward pass below the moving average of recent losses."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from filterloader.data.candidates import Candidates
from filterloader.policies.base import Policy, everything
from filterloader.policies.parts.state import PART, Stateful
from filterloader.policies.parts.threshold import MovingAverageThreshold, moving
from filterloader.policies.parts.warmup import Warmup


class AutoThreshold(Stateful, Policy):
    """Train on what has a loss of at least the moving average of recent losses.

    What the backward gate saves at example granularity is told by ``FixedThreshold``.

    Args:
        warmup (float, int or None): what is trained on in full first: a share of one pass (float; 0.1 by default), a
            count of examples (int), or None: until the loss has settled below what guessing costs, 1024 reports at
            most.
        threshold (MovingAverageThreshold): None, the default, is the paper's: the mean of the last 8 batches.

    Example:
        >>> import torch
        >>> from filterloader import AutoThreshold, FilteringDataLoader
        >>> loader = FilteringDataLoader([{"input_ids": [1]}] * 6, batch_size=2, policy=AutoThreshold(warmup=4))
        >>> [loader.hook.report(torch.tensor(loss)) for _, loss in zip(loader, (1.0, 0.8, 0.5))]
        [tensor(1.), tensor(0.8000), None]

    Source: Ouyang et al. 2022, arXiv 2207.14386, §3.2 ("automatic threshold only").
    """

    gates_forward = False
    needs_words = False
    stages = ("warm-up", "threshold")
    example_settings: ClassVar = {"warmup": 50}
    _settings = ("warmup", "threshold")
    _remembers: ClassVar = {"_warmup": PART, "threshold": PART}

    def __init__(self, *, warmup: float | int | None = 0.1, threshold: MovingAverageThreshold | None = None):
        self.threshold = moving(threshold)
        self._warmup = Warmup(warmup)
        self.warmup = self._warmup.length

    @property
    def gates_backward(self) -> bool:
        return self._warmup.over

    @property
    def stage(self) -> str:
        return "threshold" if self._warmup.over else "warm-up"

    @property
    def loss_threshold(self) -> float | None:
        return self.threshold.value

    def judge(self, candidates: Candidates, losses: np.ndarray) -> np.ndarray:
        gating = self._warmup.over
        threshold = self.threshold.observe(losses)
        self._warmup.report(candidates, losses, self.threshold.settled)
        if self._warmup.over:
            self.threshold.end_warmup()
        if not gating or threshold is None:
            return everything(candidates)
        return (losses >= threshold).astype(np.float32)
