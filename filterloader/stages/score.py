"""Score: runs the model without gradients on what was let through, and asks the policy what to train on."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
import torch

from filterloader.data.candidates import Candidates, Decided
from filterloader.data.scores import losses_of
from filterloader.feedback.ledger import Ledger
from filterloader.feedback.report import LossHook, check_sign, checked
from filterloader.stages.stage import Stage


class Score(Stage):
    """From examples to those whose loss, as the model is now, the policy wants to train on.

    Args:
        source: gives what was decided on, example by example.
        policy: whose ``judge`` is asked, while it gates backward passes; meanwhile all go through.
        ledger: counts and times it.
        hook: warns of losses that are not finite.
        score_fn: ``batch -> losses [batch] or logits [batch, classes]``.
        collate: makes the batch for it.
        size: examples a batch; None: as many as come.
    """

    def __init__(
        self,
        source: Any,
        policy: Any,
        ledger: Ledger,
        hook: LossHook,
        *,
        score_fn: Callable,
        collate: Callable[[Candidates], Any],
        size: int | None,
    ):
        super().__init__(source)
        self.policy, self.ledger, self.hook = policy, ledger, hook
        self.score_fn, self.collate, self.size = score_fn, collate, size

    def work(self, taken: Decided) -> None:
        if not self.policy.gates_backward:
            self.item, self.taken = taken, None
            return
        places, size = np.arange(len(taken.payload)), self.size or taken.screened
        part = taken.payload if len(places) <= size else taken.payload.take(places[:size])
        rest = None if len(places) <= size else Decided.of(taken.payload.take(places[size:]), taken.screened)
        kept = self.judge(part)
        self.item, self.taken = Decided.of(kept, taken.screened) if len(kept) else None, rest

    def judge(self, candidates: Candidates) -> Candidates:
        """What the policy keeps of them."""
        start = perf_counter()
        with torch.no_grad():
            losses = losses_of(self.score_fn(self.collate(candidates)), candidates)
        self.ledger.spent("score_s", perf_counter() - start)
        check_sign(losses)
        n = len(candidates)
        self.ledger.count(scored=n)
        known = np.flatnonzero(np.isfinite(losses))
        if known.size < n:
            self.hook.note_nonfinite(n - known.size)
            candidates, losses = candidates.take(known), losses[known]
        start = perf_counter()
        if known.size:
            weights = checked(self.policy.judge(candidates, np.maximum(losses, 0)), known.size, self.policy, "judge")
            candidates.weights, candidates.judged = candidates.weights * weights, np.ones(known.size, bool)
        self.ledger.spent("predictor_s", perf_counter() - start)
        kept = np.flatnonzero(candidates.weights)
        self.ledger.count(scored_out=n - kept.size)
        return candidates.take(kept)
