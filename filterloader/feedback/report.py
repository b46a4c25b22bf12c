"""LossHook: pairs each reported loss with its batch, lets the policy judge it, returns the loss to train on."""

from __future__ import annotations

import warnings
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import torch

from filterloader.data.candidates import Candidates
from filterloader.feedback.ledger import Ledger
from filterloader.kernels.weights import count_kept
from filterloader.stages.collate import Batch

_STEADY = 4  # reports after which the look-ahead seen so far is believed
_REMEMBERED = 1024  # batches that may wait for their report; beyond it the oldest is given up
_TOLERATED = -1e-3  # rounding can push a loss of zero this far below it
_IN_FLIGHT = 8  # reports on their way from a GPU while no decision waits for them: LossHook's docstring tells of it


@dataclass(eq=False, slots=True)
class _Awaited:
    """A batch that was handed out and not reported yet."""

    batch_id: int
    candidates: Candidates
    tensors: list[weakref.ref] = field(default_factory=list)

    def __getstate__(self) -> tuple:
        return None, {"batch_id": self.batch_id, "candidates": self.candidates, "tensors": []}

    @property
    def alive(self) -> bool:
        return any(tensor() is not None for tensor in self.tensors)


class _Pair(NamedTuple):
    """What a report belongs to, which batches it passes over, and how far ahead batches are fetched."""

    awaited: _Awaited
    dropped: list[_Awaited]
    lookahead: int | None


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

    Made by ``FilteringDataLoader``; use ``loader.hook``. A report is paired with its batch by ``batch_id``, or by order: it
    belongs to the batch that was handed out first of those still waiting. So it stays right however far ahead of the model
    batches are fetched. A batch that is never reported is legal; by order it is passed over once its tensors are gone (on
    the CPU), or once more batches wait than at the first report. Order alone cannot tell a loop that fetches ahead from one
    that skips reports from the very first: if you skip reports and move batches to a GPU, or fetch ahead, pass ``batch_id``.

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

    Where nothing waits, losses are learnt from 8 reports later, by when they have long arrived: the same ones on every run. Only a
    GPU that is further behind is waited for. The end of a pass, and ``state_dict``, wait for all that is on its way.
    """

    def __init__(self, policy, ledger: Ledger, *, granularity: str, single: bool, after_report: Callable[[], None]):
        self.policy, self.ledger = policy, ledger
        self.tell(after_report)
        self.granularity, self.single = granularity, single
        self._awaited: OrderedDict[int, _Awaited] = OrderedDict()
        self._arriving: deque[_Arriving] = deque()
        self._lookahead: int | None = None
        self._next_id = 0
        self._warned = self._told = False
        self._reported = False  # whether this pass has seen a report
        self._steady = 0  # reports in a row that found as many batches waiting as ever

    # -- the loop's side -----------------------------------------------------------------------------------------------

    def report(self, losses: torch.Tensor, batch_id: Any = None) -> torch.Tensor | None:
        """Report the loss of a batch; returns the scalar to call ``backward`` on, or None where nothing is worth it.

        losses: floating tensor, ``[batch]`` (one loss an example) or a scalar (their mean); never changed. batch_id: a batch
        of this loader or its ``batch_id``; None pairs by order. The scalar is the mean over the examples that are kept, each
        times its weight (dtype, device and graph of ``losses``); a scalar report comes back whole or not at all.

        A loss that is NaN or infinite never enters threshold or predictor. Where the values are known here (on the CPU, and
        on a GPU while the backward gate decides) such examples also leave the mean, and a batch with no other gives None;
        else the loss comes back as it is. Warns once.

        Raises TypeError for what is no floating tensor, ValueError for another length than the batch's, a negative loss, or a
        report without a batch. After an error nothing has changed; the batch still waits.
        """
        self.ledger.enter("hook")
        kept = False
        try:
            loss = self._report(losses, batch_id)
            kept = loss is not None
        finally:
            self.ledger.leave("backward" if kept else "skipped")
        return loss

    @property
    def batch_id(self) -> int | None:
        """Id of the batch handed out last; None before the first."""
        return self._next_id - 1 if self._next_id else None

    def _report(self, losses: torch.Tensor, batch_id: Any) -> torch.Tensor | None:
        _check_tensor(losses)
        pair = self._by_order(losses) if batch_id is None else self._by_id(batch_id)
        self._check_length(losses, pair.awaited)
        if losses.is_cuda and not getattr(self.policy, "gates_backward", True):
            self._settle_pair(pair)
            return self._learn_later(losses, pair.awaited.candidates)
        values = losses.detach().to("cpu", torch.float32).numpy()
        check_sign(values)
        self.settle()
        self._settle_pair(pair)
        weights = self._decide(pair.awaited.candidates, values)
        self._told_loader()
        return _mean(losses, weights)

    def _learn_later(self, losses: torch.Tensor, candidates: Candidates) -> torch.Tensor:
        """On a GPU, where no decision waits: start the copy, go on, learn when it has arrived."""
        self._arriving.append(_Arriving(candidates, *_copying(losses.detach())))
        self.settle(_IN_FLIGHT)
        return _mean(losses, self._for_each_loss(candidates.weights, losses.shape, True))

    def settle(self, in_flight: int = 0) -> None:
        """Learn from losses that were on their way, until ``in_flight`` are left, in the order of the reports: it depends on no clock."""
        while len(self._arriving) > in_flight:
            arriving = self._arriving.popleft()
            self._decide(arriving.candidates, arriving.arrived(), gating=False)
            self._told_loader()

    def tell(self, after_report: Callable[[], None]) -> None:
        """Call this method of the loader after each report. It is held weakly: in a circle of references the loader would wait
        for the garbage collector, and its workers with it, who then do not hear that they are to stop."""
        self._after_report = weakref.WeakMethod(after_report)

    def _told_loader(self) -> None:
        note = self._after_report()
        if note is not None:
            note()

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_after_report": None}  # the loader that is unpickled says so again

    # -- deciding ------------------------------------------------------------------------------------------------------

    def _decide(self, candidates: Candidates, values: np.ndarray, *, gating: bool = True) -> np.ndarray:
        """Weights float32 ``[losses]`` of a report: the policy's word on what it has not judged yet, 0 where not finite. gating:
        whether that word counts; not where the loss went back before its values were known."""
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
            judged = checked(self.policy.judge(subset, np.maximum(losses[ask], 0)), ask.size, self.policy, "judge")
            weights[ask] *= judged if gating else 1
            self.ledger.spent("predictor_s", perf_counter() - start)
        self.ledger.judged(candidates, weights, float(losses[finite].mean()) if finite.any() else None)
        return self._for_each_loss(weights, values.shape, known)

    def _for_each_loss(self, weights: np.ndarray, shape: tuple, known: Any) -> np.ndarray:
        """Weights of candidates as weights of the losses reported, float32 ``[losses]``."""
        if shape == () or self.granularity == "batch" or self.single:
            kept = weights[weights > 0]
            return np.where(known, kept.mean() if kept.size else 0, np.zeros(shape)).astype(np.float32).reshape(-1)
        return weights

    def note_nonfinite(self, count: int) -> None:
        self.ledger.count(nonfinite=count)
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"{count} reported losses are NaN or infinite; they are never learnt from, and left out of the loss to train on "
                "where their values are known in time. Look for a diverged model or an empty target",
                stacklevel=5,
            )

    # -- pairing -------------------------------------------------------------------------------------------------------

    def _by_id(self, batch_id: Any) -> _Pair:
        self._check_waiting()
        named = getattr(batch_id, "batch_id", batch_id)
        if not isinstance(named, int):
            mine = {id(ref()) for ref in _watch(batch_id)}
            named = next(
                (i for i, a in self._awaited.items() if any(id(t()) in mine for t in a.tensors if t() is not None)),
                None,
            )
        if named not in self._awaited:
            waiting = list(self._awaited)
            raise ValueError(
                f"no batch with batch_id={batch_id!r:.80} waits for its loss; waiting: {waiting[0]} to {waiting[-1]} "
                f"({len(waiting)} batches). Each batch is reported once: pass the batch as it came from this loader, or its batch_id"
            )
        return _Pair(self._awaited[named], [], self._lookahead)

    def _by_order(self, losses: torch.Tensor) -> _Pair:
        """The batch that waits longest, passing over those that were dropped.

        On the CPU the tensors of a batch in use are still there: the loop holds them, or the graph of its loss does. So what
        is gone was dropped (without a graph that is less certain, and believed only of a single first batch). On a GPU the
        originals go when they are moved; there only the count tells: more waiting than ever means that some were dropped.
        """
        self._check_waiting()
        waiting = list(self._awaited.values())
        gone = next((i for i, awaited in enumerate(waiting) if awaited.alive), 0) if losses.device.type == "cpu" else 0
        dropped = gone if losses.requires_grad or (self._lookahead is None and gone == 1) else 0
        if self._lookahead is not None:
            while len(waiting) - dropped > self._lookahead + 1 and (
                self._steady >= _STEADY or not waiting[dropped].alive
            ):
                dropped += 1
        elif dropped and not self._told:
            self._told = True
            warnings.warn(
                f"the first loss reported was taken to be that of batch {waiting[dropped].batch_id}, since nothing is left of the "
                f"{dropped} before it; if your loop fetches batches ahead and converts them, pass the batch: report(losses, batch)",
                stacklevel=5,
            )
        return _Pair(waiting[dropped], waiting[:dropped], max(self._lookahead or 0, len(waiting) - dropped - 1))

    def _check_waiting(self) -> None:
        if not self._awaited:
            raise ValueError(
                "a loss was reported, but no batch waits for one: each batch is reported once, after the loader handed it out; "
                "evaluation batches of other loaders are not reported here"
            )

    def _settle_pair(self, pair: _Pair) -> None:
        """The report is good: its batch waits no more, and those passed over are given up."""
        del self._awaited[pair.awaited.batch_id]
        for awaited in pair.dropped:
            self._give_up(awaited)
        self._steady = self._steady + 1 if pair.lookahead == self._lookahead else 0
        self._lookahead, self._reported = pair.lookahead, True

    def _give_up(self, awaited: _Awaited) -> None:
        del self._awaited[awaited.batch_id]
        self.ledger.count(unreported=1)

    def _check_length(self, losses: torch.Tensor, awaited: _Awaited) -> None:
        n = len(awaited.candidates) * awaited.candidates.merged
        if losses.ndim == 0 or self.single:
            return
        if losses.ndim > 1:
            raise ValueError(
                f"losses has shape {list(losses.shape)}; report one loss an example, shape [{n}], or their mean, a scalar "
                "(token losses: take each example's mean first)"
            )
        if losses.shape[0] != n:
            raise ValueError(
                f"{losses.shape[0]} losses were reported for batch {awaited.batch_id}, which has {n} examples; report one loss an "
                "example of the batch that was handed out, or pass batch_id= if reports come out of order"
            )

    # -- the loader's side ---------------------------------------------------------------------------------------------

    def hand_out(self, candidates: Candidates, batch: Any) -> int:
        """Expect a report for ``batch``; returns its id."""
        batch_id, self._next_id = self._next_id, self._next_id + 1
        self._awaited[batch_id] = _Awaited(batch_id, candidates.for_learning(), _watch(batch))
        if len(self._awaited) > _REMEMBERED:
            self._give_up(next(iter(self._awaited.values())))
        return batch_id

    def begin_pass(self, *, broken_off: bool) -> None:
        """What a pass that was broken off, or never reported at all, has handed out is not waited for any more."""
        self.settle()
        if broken_off or not self._reported:
            self.ledger.count(unreported=len(self._awaited))
            self._awaited.clear()
        self._reported = False

    def state_dict(self) -> dict:
        awaited = [[a.batch_id, a.candidates.state_dict()] for a in self._awaited.values()]
        arriving = [[a.candidates.state_dict(), a.arrived().copy()] for a in self._arriving]
        return {"awaited": awaited, "arriving": arriving, "next_id": self._next_id, "lookahead": self._lookahead, "steady": self._steady,
                "reported": self._reported}  # fmt: skip

    def load_state_dict(self, state: dict) -> None:
        self._arriving = deque(
            _Arriving(Candidates.from_state(c), torch.from_numpy(np.array(values)), None)
            for c, values in state.get("arriving", ())
        )
        self._awaited = OrderedDict((i, _Awaited(i, Candidates.from_state(c))) for i, c in state["awaited"])
        self._next_id, self._lookahead = int(state["next_id"]), state["lookahead"]
        self._steady, self._reported = int(state["steady"]), bool(state["reported"])


def checked(weights: Any, n: int, policy: Any, question: str) -> np.ndarray:
    """A policy's answer as float32 ``[n]``; raises ValueError where it is none."""
    weights = np.asarray(weights, np.float32)
    if weights.shape != (n,) or count_kept(weights) < 0:
        raise ValueError(
            f"{type(policy).__name__}.{question} must return one finite weight of at least 0 for each of {n} candidates, got shape "
            f"{list(weights.shape)}: {weights!r:.200}"
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
            f"a loss must not be negative, got {lowest:.6g}; report the loss itself (lower is better), and shift an objective "
            "that can be negative by a constant"
        )


def _mean(losses: torch.Tensor, weights: np.ndarray) -> torch.Tensor | None:
    """Mean of the losses with a weight, each times its weight; None where none has one. weights: float32 ``[losses]``."""
    kept = np.flatnonzero(weights)
    if not kept.size:
        return None
    if kept.size == weights.size and (weights == weights[0]).all():
        loss = losses.mean() if losses.ndim else losses
        return loss if weights[0] == 1 else loss * float(weights[0])
    index = torch.from_numpy(kept).to(losses.device, non_blocking=True)
    weight = torch.from_numpy(weights[kept]).to(losses.device, losses.dtype, non_blocking=True)
    return (losses.index_select(0, index) * weight).mean()


def _watch(value: Any) -> list[weakref.ref]:
    """Weak references to the tensors of a batch."""
    if isinstance(value, torch.Tensor):
        return [weakref.ref(value)]
    if type(value) is Batch:
        return [weakref.ref(tensor) for tensor in value.values() if isinstance(tensor, torch.Tensor)]
    if isinstance(value, dict) or hasattr(value, "items"):
        value = list(dict(value).values())
    if isinstance(value, (list, tuple)):
        return [ref for item in value for ref in _watch(item)]
    return []
