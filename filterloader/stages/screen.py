"""Screening: asks the policy what to forward and, with a score function, what to train on before batches are made."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
import torch

from filterloader.data.candidates import Candidates
from filterloader.data.scores import losses_of
from filterloader.feedback.ledger import Ledger
from filterloader.feedback.report import LossHook, check_sign, checked


class Screening:
    """Takes a block of candidates, gives back those that may become batches.

    features: makes the bag of words; None where the policy reads none. by_example: decide on examples, else on whole blocks.
    refilling: whether survivors are put together anew, so that some of a block may go. score_fn, collate: see
    ``FilteringDataLoader``.
    """

    def __init__(self, policy, ledger: Ledger, hook: LossHook, *, features: Callable | None, by_example: bool, refilling: bool,
                 score_fn: Callable | None, collate: Callable[[Candidates], Any]):  # fmt: skip
        self.policy, self.ledger, self.hook = policy, ledger, hook
        self.features, self.by_example, self.refilling = features, by_example, refilling
        self.score_fn, self.collate = score_fn, collate
        self._early = getattr(features, "reads", "tokens") == "texts"

    def screen(self, block: Candidates) -> Candidates | None:
        """What the policy lets through: survivors of the block, or the block as one candidate (None if it is screened out)."""
        if self.features is not None:
            start = perf_counter()
            block.bag = self.features(block)
            if self._early:
                block.sizes = np.diff(block.bag.offsets)
            self.ledger.spent("predictor_s", perf_counter() - start)
        asked = block if self.by_example else block.as_one()
        start = perf_counter()
        weights = checked(self.policy.screen(asked), len(asked), self.policy, "screen")
        self.ledger.spent("predictor_s", perf_counter() - start)
        whole = np.count_nonzero(weights) == len(asked)
        if not whole and not self.refilling and self.by_example:
            raise ValueError(
                f"{self.policy!r} has gates_forward=False, yet its screen dropped candidates; set gates_forward = True"
            )
        keep = None if whole else weights > 0
        self.ledger.screened(asked, keep)
        asked.weights = weights
        if not self.refilling:
            return asked if whole else None
        return asked if whole else asked.take(np.flatnonzero(keep))

    @property
    def judging(self) -> bool:
        """Whether survivors are judged before they are put together: with a ``score_fn``, while the backward gate is open."""
        return self.score_fn is not None and getattr(self.policy, "gates_backward", True)

    def judge(self, candidates: Candidates) -> Candidates:
        """What the policy keeps of them, by the losses that the ``score_fn`` gives."""
        start = perf_counter()
        with torch.no_grad():
            losses = losses_of(self.score_fn(self.collate(candidates)), candidates)
        self.ledger.spent("score_s", perf_counter() - start)
        self.ledger.count(scored=len(candidates))
        check_sign(losses)
        n = len(candidates)
        known = np.flatnonzero(np.isfinite(losses))
        if known.size < n:
            self.hook.note_nonfinite(n - known.size)
            candidates, losses = candidates.take(known), losses[known]
        start = perf_counter()
        if known.size:
            weights = checked(
                self.policy.judge(candidates, np.maximum(losses, 0)), len(candidates), self.policy, "judge"
            )
            candidates.weights, candidates.judged = candidates.weights * weights, np.ones(len(candidates), bool)
        self.ledger.spent("predictor_s", perf_counter() - start)
        kept = np.flatnonzero(candidates.weights)
        self.ledger.count(scored_out=n - kept.size)
        return candidates.take(kept)
