"""Screen: asks the policy what is worth a forward pass; what it drops goes no further."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np

from filterloader.data.candidates import Candidates, Decided
from filterloader.feedback.ledger import Ledger
from filterloader.feedback.report import checked
from filterloader.stages.stage import Stage


class Screen(Stage):
    """From blocks of candidates to what is left of them once the policy has decided.

    Args:
        source: gives blocks of candidates.
        policy: whose ``screen`` is asked.
        ledger: counts what was seen and dropped.
        features: makes the bag of words; None where the policy reads none.
        by_example: decide on each example, else on each block as one candidate.
        refilling: whether a refill follows, so that a part of a block may be dropped.
    """

    def __init__(
        self, source: Any, policy: Any, ledger: Ledger, *, features: Callable | None, by_example: bool, refilling: bool
    ):
        super().__init__(source)
        self.policy, self.ledger = policy, ledger
        self.features, self.by_example, self.refilling = features, by_example, refilling
        self._reads_texts = getattr(features, "reads", "tokens") == "texts"

    def work(self, taken: Candidates) -> None:
        decided = self.decide(taken)
        self.item, self.taken = decided, None

    def decide(self, block: Candidates) -> Decided | None:
        """What the policy lets through; None where nothing is left."""
        start = perf_counter()
        if self.features is not None:
            block.bag = self.features(block)
            if self._reads_texts:
                block.sizes = np.diff(block.bag.offsets)
        asked = block if self.by_example else block.as_one()
        weights = checked(self.policy.screen(asked), len(asked), self.policy, "screen")
        self.ledger.spent("predictor_s", perf_counter() - start)
        kept = np.count_nonzero(weights)
        if kept < len(asked) and self.by_example and not self.refilling:
            raise ValueError(
                f"{self.policy!r} has gates_forward=False, yet its screen dropped candidates; set gates_forward = True"
            )
        keep = None if kept == len(asked) else weights > 0
        self.ledger.screened(asked, keep)
        asked.weights = weights
        if keep is None:
            return Decided(asked, block, len(block))
        return Decided.of(asked.take(np.flatnonzero(keep)), len(block)) if kept else None
