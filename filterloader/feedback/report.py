"""Report: what to train on; the losses of a batch go in, the policy judges them, the loss to go back on comes out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import torch

from filterloader.data.candidates import Candidates
from filterloader.data.position import Position
from filterloader.feedback.ledger import Ledger
from filterloader.feedback.pairing import Learnt, Pairing, Waiting, compact_state
from filterloader.feedback.warn import warn
from filterloader.kernels.weights import count_kept

_TOLERATED = -1e-3  # rounding can push a loss of zero this far below it
_IN_FLIGHT = 8  # reports on their way from a GPU while no decision waits for them: LossHook's docstring tells of it


class _Arriving(NamedTuple):
    """Losses on their way from a GPU: there once ``event`` has happened (None: they are)."""

    candidates: Candidates
    values: torch.Tensor
    event: Any

    def arrived(self) -> np.ndarray:
        if self.event is not None and not self.event.query():
            self.event.synchronize()
        return self.values.numpy()

    def __reduce__(self) -> tuple:
        return _Arriving, (self.candidates, torch.from_numpy(self.arrived().copy()), None)


class LossHook:
    """Takes the forward loss of each batch and gives back what to call ``backward`` on.

    Made by ``FilteringDataLoader``; use ``loader.report`` or ``loader.hook.report``, which are the same.

    Which batch a report belongs to: with ``report(losses, batch)`` the one that is passed. It is known by its id, which
    survives ``batch.to(device)``, copies and pickling; by its tensors, in a batch of any kind; and, where it was
    rebuilt from copied columns, by its shapes and values. With ``report(losses)`` it is the one that was handed out
    first of those still waiting, so that it stays right however far ahead of the model batches are fetched. A batch
    that is never reported is legal; by order it is passed over once its tensors are gone (on the CPU), or once more
    batches wait than at the first report. Where order or values leave a doubt, it is told once.

    How often a step waits for a GPU (a synchronisation of its stream or of an event):

    ==============================================  ============  ================
    stage                                           ``report``    ``next(loader)``
    ==============================================  ============  ================
    warm-up                                         0             0
    fit, filter                                     1             0
    any, with ``backward_gate=False``               0             0
    any, with a policy without a backward gate      0             0
    any, with ``score_fn``                          as above      1 for each batch scored
    ==============================================  ============  ================

    A batch that was rebuilt on the GPU by hand (``{name: column.cuda() for …}``) waits once more where several batches
    of its shape wait for their report: pass the batch as it came, or keep its ``batch_id``. Where nothing waits, losses
    are learnt from 8 reports later, by when they have long arrived: the same ones on every run. Only a GPU that is
    further behind is waited for. The end of a pass, and ``state_dict``, wait for all that is on its way.

    Args:
        policy: what judges the losses.
        ledger: where what was decided is counted.
        position: where the run stands in its stream.
        granularity: ``"example"``, or ``"batch"``: the mean loss decides on the whole batch.
        single: whether a batch is one unbatched row.
        remake: makes the tensors of a ``Batch`` of its candidates once more; default None.

    Example:
        >>> from filterloader import FilteringDataLoader, FixedThreshold
        >>> rows = [{"input_ids": [2, i], "label": 0} for i in range(4)]
        >>> loader = FilteringDataLoader(rows, batch_size=4, policy=FixedThreshold(1.5))
        >>> batch = next(iter(loader))
        >>> loader.hook.report(torch.tensor([0.0, 1.0, 2.0, 3.0]), batch)
        tensor(2.5000)
    """

    def __init__(
        self,
        policy: Any,
        ledger: Ledger,
        position: Position,
        *,
        granularity: str,
        single: bool,
        remake: Callable[[Candidates], list[torch.Tensor]] | None = None,
    ):
        self.policy, self.ledger, self.position = policy, ledger, position
        self.granularity, self.single = granularity, single
        self.pairing = Pairing(single=single, remake=remake)
        self._arriving: deque[_Arriving] = deque()
        self._warned = False  # of losses that are not finite

    # -- the loop's side -----------------------------------------------------------------------------------------------

    def report(self, losses: torch.Tensor, batch: Any = None, *, batch_id: Any = None) -> torch.Tensor | None:
        """Report the loss of a batch; returns what to call ``backward`` on.

        A loss that is NaN or infinite never enters threshold or predictor. Where the values are known here (on the CPU,
        and on a GPU while the backward gate decides) such examples also leave the mean, and a batch with no other gives
        None; else the loss comes back as it is. Warns once.

        Args:
            losses: floating tensor, ``[batch]`` (one loss an example) or a scalar (their mean), not negative; never
                changed.
            batch: the batch as it came from this loader, or moved or copied since, or its ``batch_id``; default None,
                the one that waits longest.
            batch_id: another name of ``batch``.

        Returns:
            The scalar to call ``backward`` on, or None where nothing is worth it: the mean over the examples that are
            kept, each times its weight, with dtype, device and graph of ``losses``. A scalar report comes back whole or
            not at all.

        Raises:
            TypeError: ``losses`` is no floating tensor.
            ValueError: another length than the batch's, a negative loss, or no such batch waits. After an error nothing
                has changed; the batch still waits.
        """
        self.ledger.enter("hook")
        loss = None
        try:
            loss = self._report(losses, batch_id if batch is None else batch)
        finally:
            self.ledger.leave("skipped" if loss is None else "backward")
        return loss

    @property
    def batch_id(self) -> int | None:
        """Id of the batch handed out last; None before the first."""
        return self.pairing.next_id - 1 if self.pairing.next_id else None

    def _report(self, losses: torch.Tensor, batch: Any) -> torch.Tensor | None:
        _check_tensor(losses)
        pair = self.pairing.find(losses, batch)
        candidates = pair.waiting.candidates
        self._check_length(losses, pair.waiting)
        if losses.is_cuda and not self.policy.gates_backward:
            self.ledger.count(unreported=self.pairing.settle(pair))
            self._arriving.append(_Arriving(candidates, *_copying(losses.detach())))
            self.settle(_IN_FLIGHT)
            return _mean(losses, self._for_each_loss(candidates.weights, losses.shape, True))
        values = losses.detach().to("cpu", torch.float32).numpy()
        check_sign(values)
        self.settle()
        weights = self._decide(candidates, values, pair.waiting)
        self.ledger.count(unreported=self.pairing.settle(pair))
        return _mean(losses, weights)

    def settle(self, in_flight: int = 0) -> None:
        """Learn from losses that are on their way from a GPU, in the order of the reports; it depends on no clock.

        Args:
            in_flight: how many may go on being on their way; default 0, none.
        """
        while len(self._arriving) > in_flight:
            arriving = self._arriving[0]
            self._decide(arriving.candidates, arriving.arrived(), Learnt(), gating=False)
            self._arriving.popleft()

    # -- deciding ------------------------------------------------------------------------------------------------------

    def _decide(self, candidates: Candidates, values: np.ndarray, learnt: Learnt, *, gating: bool = True) -> np.ndarray:
        """Weights float32 ``[losses]``: the policy's word on what it has not judged yet, 0 where a loss is not finite.

        The policy is asked once, also where an interrupt came after it was asked and the report is repeated. Without
        ``gating`` its word does not count: the loss went back before its values were known.
        """
        known = np.isfinite(values)
        if not known.all():
            self.note_nonfinite(int((~known).sum()))
        losses = values
        if values.ndim == 0 or self.granularity == "batch" or self.single:  # one loss for all of it
            losses = np.full(len(candidates), values[known].mean() if known.any() else np.nan, np.float32)
        finite = np.isfinite(losses)
        weights = np.where(finite, candidates.weights, 0).astype(np.float32)
        ask = np.flatnonzero(finite & ~candidates.judged)
        if ask.size:
            subset = candidates if ask.size == len(candidates) else candidates.take(ask)
            start = perf_counter()
            if learnt.weights is None:
                learnt.weights = self.policy.judge(subset, np.maximum(losses[ask], 0))
            weights[ask] *= checked(learnt.weights, ask.size, self.policy, "judge") if gating else 1
            self.ledger.spent("predictor_s", perf_counter() - start)
        if not learnt.counted:
            learnt.counted = True
            self._count(candidates, weights, float(losses[finite].mean()) if finite.any() else None)
        return self._for_each_loss(weights, values.shape, known)

    def _count(self, candidates: Candidates, weights: np.ndarray, loss: float | None) -> None:
        self.ledger.judged(candidates, weights, loss)
        stage, consumed = self.policy.stage, self.position.consumed
        self.ledger.stage(stage, consumed)
        self.ledger.report(consumed, self.position.epoch, stage, self.policy.loss_threshold)

    def _for_each_loss(self, weights: np.ndarray, shape: tuple, known: Any) -> np.ndarray:
        """Weights of candidates as weights of the losses reported, float32 ``[losses]``."""
        if shape == () or self.granularity == "batch" or self.single:
            kept = weights[weights > 0]
            return np.where(known, kept.mean() if kept.size else 0, np.zeros(shape)).astype(np.float32).reshape(-1)
        return weights

    def note_nonfinite(self, count: int) -> None:
        """Count losses that are NaN or infinite, and warn of the first.

        Args:
            count: how many.
        """
        self.ledger.count(nonfinite=count)
        if not self._warned:
            self._warned = True
            warn(
                f"{count} reported losses are NaN or infinite; they are never learnt from, and left out of the loss "
                "to train on where their values are known in time. Look for a diverged model or an empty target"
            )

    def _check_length(self, losses: torch.Tensor, waiting: Waiting) -> None:
        n = waiting.rows
        if losses.ndim == 0 or self.single:
            return
        if losses.ndim > 1:
            raise ValueError(
                f"losses has shape {list(losses.shape)}; report one loss an example, shape [{n}], or their mean, a "
                "scalar (token losses: take each example's mean first)"
            )
        if losses.shape[0] != n:
            raise ValueError(
                f"{losses.shape[0]} losses were reported for batch {waiting.batch_id}, which has {n} examples; report "
                "one loss an example of the batch that was handed out, and where reports come out of order pass the "
                "batch: report(losses, batch)"
            )

    # -- the loader's side ---------------------------------------------------------------------------------------------

    def hand_out(self, candidates: Candidates, batch: Any) -> int:
        """Expect a report for a batch.

        Args:
            candidates: its examples.
            batch: the batch as the loop gets it.

        Returns:
            Its id, which a ``Batch`` is told.
        """
        batch_id, given_up = self.pairing.expect(candidates.for_learning(), batch)
        if given_up:
            self.ledger.count(unreported=given_up)
        return batch_id

    def begin_pass(self, *, broken_off: bool) -> None:
        """A pass begins; what one that was broken off, or never reported, has handed out is not waited for any more.

        Args:
            broken_off: whether the pass before was.
        """
        self.settle()
        self.ledger.count(unreported=self.pairing.begin_pass(broken_off=broken_off))

    def state_dict(self) -> dict:
        """What waits for its report, what is on its way, and what was told; waits for a GPU.

        Returns:
            Plain containers and arrays.
        """
        arriving = [[compact_state(a.candidates), a.arrived().copy()] for a in self._arriving]
        return {"pairing": self.pairing.state_dict(), "arriving": arriving, "warned": self._warned}

    def load_state_dict(self, state: dict) -> None:
        """Go on from a state.

        Args:
            state: what ``state_dict`` returned.
        """
        self.pairing.load_state_dict(state["pairing"])
        self._arriving = deque(
            _Arriving(Candidates.from_state(candidates), torch.from_numpy(np.array(values)), None)
            for candidates, values in state["arriving"]
        )
        self._warned = bool(state["warned"])


def checked(weights: Any, n: int, policy: Any, question: str) -> np.ndarray:
    """A policy's answer as float32 ``[n]``; raises ValueError where it is none."""
    weights = np.asarray(weights, np.float32)
    if weights.shape != (n,) or count_kept(weights) < 0:
        raise ValueError(
            f"{policy.name}.{question} must return one finite weight of at least 0 for each of {n} "
            f"candidates, got shape {list(weights.shape)}: {weights!r:.200}"
        )
    return weights


def _copying(losses: torch.Tensor) -> tuple[torch.Tensor, Any]:
    """Where the losses will be on the CPU, float32, and the event after which they are."""
    values = torch.empty(losses.shape, dtype=torch.float32, pin_memory=True)
    values.copy_(losses, non_blocking=True)
    event = torch.cuda.Event()
    event.record(torch.cuda.current_stream(losses.device))
    return values, event


def _check_tensor(losses: Any) -> None:
    if not isinstance(losses, torch.Tensor) or not losses.is_floating_point():
        kind = f"a tensor of {losses.dtype}" if isinstance(losses, torch.Tensor) else type(losses).__name__
        raise TypeError(
            f"report takes the loss as a floating-point tensor (one loss an example, or their mean), got {kind}; "
            "pass the tensor itself, not loss.item()"
        )
    if losses.numel() == 0:
        raise ValueError(f"losses is empty (shape {list(losses.shape)}); report one loss an example, or their mean")


def check_sign(values: np.ndarray) -> None:
    """Raise ValueError where a finite loss is negative by more than rounding."""
    lowest = values.min(where=np.isfinite(values), initial=0.0)
    if lowest < _TOLERATED:
        raise ValueError(
            f"a loss must not be negative, got {lowest:.6g}; report the loss itself (lower is better), and shift an "
            "objective that can be negative by a constant"
        )


def _mean(losses: torch.Tensor, weights: np.ndarray) -> torch.Tensor | None:
    """Mean of the losses whose weight (float32 ``[losses]``) is not 0, each times its weight; None where all are."""
    kept = np.flatnonzero(weights)
    if not kept.size:
        return None
    if kept.size == weights.size and (weights == weights[0]).all():
        loss = losses.mean() if losses.ndim else losses
        return loss if weights[0] == 1 else loss * float(weights[0])
    index = torch.from_numpy(kept).to(losses.device, non_blocking=True)
    weight = torch.from_numpy(weights[kept]).to(losses.device, losses.dtype, non_blocking=True)
    return (losses.index_select(0, index) * weight).mean()
