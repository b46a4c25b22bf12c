"""RefillBuffer: survivors wait here until they leave in dense batches of similar length."""

from __future__ import annotations

import numpy as np

from filterloader.candidates import Candidates
from filterloader.settings import check_same


class RefillBuffer:
    """Collects survivors and hands out batches of ``batch_size``, none lost and none doubled.

    A batch is the survivor that waits longest and those nearest to it in length, so nobody waits for ever and little is
    padding. Survivors of unknown length leave in the order they came.

    batch_size: examples a batch; None: as many as the largest block that came in. batches: how many batches of survivors are
    held back before the first one leaves, so that there is something to choose from.
    """

    def __init__(self, batch_size: int | None, batches: int):
        self.fixed, self.batch_size, self.batches = batch_size is not None, batch_size or 1, max(batches, 1)
        self._blocks: list[Candidates] = []
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def full(self) -> bool:
        """Whether a batch may leave while the stream goes on."""
        return self._size >= self.batch_size * self.batches

    @property
    def oldest(self) -> int | None:
        """Place in the stream of the survivor that waits longest; None when empty."""
        return int(self._blocks[0].positions[0]) if self._size else None

    def push(self, survivors: Candidates, block: int) -> None:
        """Take in what is left of a block of ``block`` candidates."""
        if not self.fixed:
            self.batch_size = max(self.batch_size, block)
        if len(survivors):
            self._blocks.append(survivors)
            self._size += len(survivors)

    def pop(self) -> Candidates:
        """The next batch: ``batch_size`` survivors, fewer only when fewer are left. Raises IndexError when empty."""
        if not self._size:
            raise IndexError("pop from an empty refill buffer")
        waiting = Candidates.concat(self._blocks)
        chosen = self._choose(waiting)
        rest = np.ones(self._size, bool)
        rest[chosen] = False
        self._size -= chosen.size
        self._blocks = [waiting.take(np.flatnonzero(rest))] if self._size else []
        return waiting.take(chosen)

    def _choose(self, waiting: Candidates) -> np.ndarray:
        lengths = waiting.lengths
        if lengths is None or self._size <= self.batch_size:
            return np.arange(min(self._size, self.batch_size))
        distance = np.abs(lengths - lengths[0])
        distance[0] = -1  # the oldest always leaves
        return np.sort(np.argsort(distance, kind="stable")[: self.batch_size])

    def clear(self) -> None:
        self._blocks, self._size = [], 0

    def state_dict(self) -> dict:
        waiting = Candidates.concat(self._blocks).state_dict() if self._size else None
        return {"batch_size": self.batch_size, "fixed": self.fixed, "batches": self.batches, "waiting": waiting}

    def load_state_dict(self, state: dict) -> None:
        check_same("batches held back", state["batches"], self.batches)
        if state["fixed"] or self.fixed:
            check_same("batch_size", state["batch_size"], self.batch_size)
        self.batch_size = state["batch_size"]
        waiting = state["waiting"]
        self._blocks = [] if waiting is None else [Candidates.from_state(waiting)]
        self._size = 0 if waiting is None else len(self._blocks[0])
