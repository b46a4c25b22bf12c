"""Pairing: which of the batches that were handed out a report belongs to."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from filterloader.data.batch import Batch
from filterloader.data.candidates import Candidates
from filterloader.feedback.trace import Mark, Trace, marks_of, tensors_of
from filterloader.feedback.warn import warn

_STEADY = 4  # reports after which the look-ahead seen so far is believed
_REMEMBERED = 1024  # batches that may wait for their report; beyond it the oldest is given up


@dataclass(eq=False, slots=True, kw_only=True)
class Learnt:
    """What became of a report so far. weights: the policy's answer; counted: whether the ledger knows."""

    weights: Any = None
    counted: bool = False


@dataclass(eq=False, slots=True)
class Waiting(Learnt):
    """A batch that was handed out and not reported yet."""

    batch_id: int
    candidates: Candidates
    trace: Trace

    @property
    def rows(self) -> int:
        return len(self.candidates) * self.candidates.merged


class Pair(NamedTuple):
    """The batch that a report belongs to, those it passes over, how far ahead batches are fetched, and why in doubt."""

    waiting: Waiting
    dropped: list[Waiting]
    lookahead: int | None
    doubt: str | None = None


class Pairing:
    """Batches that wait for their report, in the order they were handed out.

    A report that comes with its batch, or the number of it, is paired by the id of the batch, by its tensors, or, where
    it was moved or copied and has no id, by shapes and values. One that comes alone belongs to the batch that waits
    longest, passing over those that were dropped. Where that is a guess, it is told once.

    Args:
        single: whether a batch is one unbatched row, which may be reported with any number of losses.
        remake: makes the tensors of a ``Batch`` of its candidates once more; default None.
    """

    def __init__(self, *, single: bool, remake: Callable[[Candidates], list[torch.Tensor]] | None = None):
        self.single, self.remake = single, remake
        self._waiting: OrderedDict[int, Waiting] = OrderedDict()
        self.next_id = 0
        self._lookahead: int | None = None
        self._steady = 0  # reports in a row that found as many batches waiting as ever
        self._reported = False  # whether this pass has seen a report
        self._told = False  # whether a doubt was told

    def __len__(self) -> int:
        return len(self._waiting)

    def expect(self, candidates: Candidates, batch: Any) -> tuple[int, int]:
        """Wait for the report of a batch.

        Args:
            candidates: its examples.
            batch: the batch as the loop gets it; a ``Batch`` is told its id.

        Returns:
            Its id, and how many batches were given up, since too many wait.
        """
        last = next(reversed(self._waiting.values()), None)
        if last is not None and last.candidates.positions is candidates.positions:
            return last.batch_id, 0  # an interrupt came between here and the loop
        batch_id, self.next_id = self.next_id, self.next_id + 1
        if isinstance(batch, Batch):
            batch.batch_id = batch_id
        again = None
        if self.remake is not None and type(batch) is Batch and candidates.tokens is not None and not self.single:
            again = partial(self.remake, candidates) if candidates.merged == 1 else None
        self._waiting[batch_id] = Waiting(batch_id, candidates, Trace(batch, remake=again))
        if len(self._waiting) <= _REMEMBERED:
            return batch_id, 0
        self._waiting.popitem(last=False)
        return batch_id, 1

    def find(self, losses: torch.Tensor, batch: Any) -> Pair:
        """The batch that a report belongs to; nothing changes until ``settle``.

        Args:
            losses: what was reported.
            batch: the batch, a moved or copied one, or its id; None goes by order.

        Raises:
            ValueError: no batch waits, or not this one.
        """
        if not self._waiting:
            raise ValueError(
                "a loss was reported, but no batch waits for one: each batch is reported once, after the loader handed "
                "it out; evaluation batches of other loaders are not reported here"
            )
        if batch is None:
            return self._by_order(losses)
        number = batch.batch_id if isinstance(batch, Batch) else batch
        if isinstance(number, (int, np.integer)):
            found = self._waiting.get(int(number))
        else:
            found = self._by_tensors(batch)
            if found is None and not isinstance(batch, (str, bytes)):
                return self._by_values(losses, batch)
        if found is None:
            raise self._unknown(batch)
        return Pair(found, [], self._lookahead)

    def settle(self, pair: Pair) -> int:
        """The report is good: its batch waits no more, and those passed over are given up.

        Returns:
            How many were given up.
        """
        for waiting in (pair.waiting, *pair.dropped):
            del self._waiting[waiting.batch_id]
        self._steady = self._steady + 1 if pair.lookahead == self._lookahead else 0
        self._lookahead, self._reported = pair.lookahead, True
        if pair.doubt is not None and not self._told:
            self._told = True
            warn(
                f"the loss reported was taken to be that of batch {pair.waiting.batch_id}: {pair.doubt}. To be sure, "
                "pass the batch as the loader gave it, report(losses, batch), or keep its batch.batch_id and pass "
                "that; this is told once"
            )
        return len(pair.dropped)

    def begin_pass(self, *, broken_off: bool) -> int:
        """What a pass that was broken off, or never reported at all, has handed out is not waited for any more.

        Returns:
            How many batches were given up.
        """
        given_up = len(self._waiting) if broken_off or not self._reported else 0
        if given_up:
            self._waiting.clear()
        self._reported = False
        return given_up

    # -- with the batch ------------------------------------------------------------------------------------------------

    def _by_tensors(self, batch: Any) -> Waiting | None:
        """The one batch that has most of its tensors, or itself, in common with the one that was reported."""
        mine = {id(batch), *map(id, tensors_of(batch))}
        shared = [(len(mine & waiting.trace.living()), waiting) for waiting in self._waiting.values()]
        most = max(count for count, _ in shared)
        best = [waiting for count, waiting in shared if count == most]
        return best[0] if most and len(best) == 1 else None

    def _by_values(self, losses: torch.Tensor, batch: Any) -> Pair:
        """The batch most like one that was moved or copied: by its values where they are on the CPU, else by its
        shapes, and by its values only where several have these shapes."""
        tensors = tensors_of(batch)
        waiting = self._waiting.values()
        fitting = [w for w in waiting if self.single or losses.ndim != 1 or w.rows == losses.shape[0]]
        marks = marks_of(batch, tensors, every=True)
        best, likeness = _most_alike(fitting, marks)
        if len(best) > 1 and any(sample is None for _, sample in marks):
            marks = marks_of(batch, tensors, every=True, wait=True)
            best, likeness = _most_alike(fitting, marks)
        if not best or likeness == (0, 0):
            raise self._unknown(batch)
        doubt = None
        if not likeness[0] and len(waiting) > 1 and all(sample is not None for _, sample in marks):
            doubt = "the one that was passed has its shapes, but values of no batch that waits"
        elif len(best) > 1:
            doubt = (
                f"it is the first of {len(best)} like the batch that was passed, which has no id, and tensors of none"
            )
        return Pair(best[0], [], self._lookahead, doubt)

    def _unknown(self, batch: Any) -> ValueError:
        first, last = next(iter(self._waiting)), next(reversed(self._waiting))
        number = batch.batch_id if isinstance(batch, Batch) else batch if isinstance(batch, (int, str)) else None
        named = (
            f"batch like the {type(batch).__name__} passed" if number is None else f"batch with batch_id={number!r:.80}"
        )
        return ValueError(
            f"no {named} waits for its loss; waiting: {first} to {last} ({len(self._waiting)} batches). Each batch is "
            "reported once: pass the batch as it came from this loader, or its batch_id"
        )

    # -- by order ------------------------------------------------------------------------------------------------------

    def _by_order(self, losses: torch.Tensor) -> Pair:
        """The batch that waits longest, passing over those that were dropped.

        On the CPU the tensors of a batch in use are still there: the loop holds them, or the graph of its loss does. So
        what is gone was dropped (without a graph that is less certain, and believed only of a single first batch). On a
        GPU the originals go when they are moved; there only the count tells: more waiting than ever means that some
        were dropped.
        """
        waiting = list(self._waiting.values())
        if len(waiting) == 1:
            return Pair(waiting[0], [], self._lookahead or 0)
        in_use = self._in_use(waiting)
        on_cpu = losses.device.type == "cpu"
        gone = in_use.index(True) if on_cpu and True in in_use else 0
        dropped = gone if losses.requires_grad or (self._lookahead is None and gone == 1) else 0
        first_guess = self._lookahead is None and dropped > 0
        if self._lookahead is not None:
            while len(waiting) - dropped > self._lookahead + 1 and (self._steady >= _STEADY or not in_use[dropped]):
                dropped += 1
        ahead = len(waiting) - dropped - 1
        seen = in_use[dropped] and not any(in_use[:dropped]) and (on_cpu or not dropped)
        counted = not dropped and ahead == self._lookahead
        doubt = None
        if first_guess or not (seen or counted):
            doubt = (
                f"{len(waiting)} batches wait, and order alone does not tell whether your loop fetches batches ahead "
                + (f"or left the {dropped} before it unreported" if dropped else "or leaves some unreported")
            )
        return Pair(waiting[dropped], waiting[:dropped], max(self._lookahead or 0, ahead), doubt)

    def _in_use(self, waiting: list[Waiting]) -> list[bool]:
        """Of each batch whether something of it is still there that neither another batch nor the data set holds."""
        living = [one.trace.living(0 if self.single else one.rows) for one in waiting]
        shared = Counter(identity for identities in living for identity in identities)
        return [any(shared[identity] == 1 for identity in identities) for identities in living]

    # -- state ---------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict:
        waiting = []
        for one in self._waiting.values():
            marks = [[list(shape), sample] for shape, sample in one.trace.marks]
            waiting.append({"batch_id": one.batch_id, "candidates": compact_state(one.candidates), "marks": marks})
        return {"waiting": waiting, "next_id": self.next_id, "lookahead": self._lookahead, "steady": self._steady,
                "reported": self._reported, "told": self._told}  # fmt: skip

    def load_state_dict(self, state: dict) -> None:
        self._waiting = OrderedDict()
        for one in state["waiting"]:
            trace = Trace(None, [(tuple(shape), sample) for shape, sample in one["marks"]])
            self._waiting[one["batch_id"]] = Waiting(one["batch_id"], Candidates.from_state(one["candidates"]), trace)
        self.next_id, self._lookahead, self._steady = state["next_id"], state["lookahead"], state["steady"]
        self._reported, self._told = state["reported"], state["told"]


def compact_state(candidates: Candidates) -> dict:
    """The state of candidates by themselves, without the rest of the block that they were read in."""
    return candidates.take(np.arange(len(candidates))).state_dict()


def _most_alike(fitting: list[Waiting], marks: list[Mark]) -> tuple[list[Waiting], tuple[int, int]]:
    """Those of the batches that are most like the marks, and how much."""
    scored = [(waiting.trace.likeness(marks), waiting) for waiting in fitting]
    most = max((likeness for likeness, _ in scored), default=(0, 0))
    return [waiting for likeness, waiting in scored if likeness == most], most
