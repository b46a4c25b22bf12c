"""FixedThreshold: skips the backward pass below one hand-picked loss."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from filterloader.data.candidates import Candidates
from filterloader.data.checks import real
from filterloader.policies.base import Policy
from filterloader.policies.parts.state import Stateful


class FixedThreshold(Stateful, Policy):
    """Train on what has a loss of at least ``threshold``.

    At example granularity single examples leave the mean that ``report`` returns, but the batch is still run: only a
    batch with none left saves its backward pass. Give the loader a ``score_fn`` to have the kept ones refilled into
    dense batches.

    Args:
        threshold (float): a loss, in the unit of what is reported (nats for cross entropy).

    Example:
        >>> import torch
        >>> from filterloader import FilteringDataLoader, FixedThreshold
        >>> loader = FilteringDataLoader([{"input_ids": [1]}] * 4, batch_size=2, policy=FixedThreshold(0.5))
        >>> [loader.hook.report(torch.tensor([0.3, loss])) for _, loss in zip(loader, (0.7, 0.1))]
        [tensor(0.7000), None]

    Source: Ouyang et al. 2022, arXiv 2207.14386, Table 3 (swept over 0.1, 0.3, 0.5 and 0.7).
    """

    gates_forward = False
    needs_words = False
    example_settings: ClassVar = {"threshold": 0.5}
    _settings = ("threshold",)

    def __init__(self, threshold: float):
        self.threshold = real("threshold", threshold)

    @property
    def loss_threshold(self) -> float:
        return self.threshold

    def judge(self, candidates: Candidates, losses: np.ndarray) -> np.ndarray:
        return (losses >= self.threshold).astype(np.float32)
