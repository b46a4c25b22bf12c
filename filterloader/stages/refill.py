"""Refill: examples wait here until they leave in full batches of similar length."""

from __future__ import annotations

from typing import Any

import numpy as np

from filterloader.data.candidates import Candidates, Decided
from filterloader.data.checks import check_same
from filterloader.stages.stage import Stage


class Refill(Stage):
    """From what is left of blocks to batches of ``batch_size``, none lost and none doubled.

    A batch is the example that waits longest and those nearest to it in length, so nobody waits for ever and little
    is padding. Where there are no tokens yet the bytes of the text are its length; those of unknown length leave in
    the order they came.

    Args:
        source: gives what was decided on.
        batch_size: examples a batch; None: as many as the largest block had before anything was dropped.
        batches: how many batches wait before the first one leaves, so that there is something to choose from.
        drop_last: drop the last batch unless it is full.
    """

    def __init__(self, source: Any, batch_size: int | None, batches: int, *, drop_last: bool):
        super().__init__(source)
        self.fixed, self.batch_size, self.batches = batch_size is not None, batch_size or 1, max(batches, 1)
        self.drop_last = drop_last
        self._blocks: list[Candidates] = []  # oldest first

    def candidates_of(self, item: Any) -> tuple[Candidates, int]:
        """The examples of an item of the source, and of how many they are left."""
        return item.payload, item.screened

    def item_of(self, batch: Candidates) -> Any:
        return Decided.of(batch, len(batch))

    def make(self) -> None:
        while len(self) < self.batch_size * self.batches and self.pull():
            survivors, screened = self.candidates_of(self.taken)
            if not self.fixed:
                self.batch_size = max(self.batch_size, screened)
            self._blocks, self.taken = [*self._blocks, survivors] if len(survivors) else self._blocks, None
        if len(self) and not self._drops:
            waiting = Candidates.concat(self._blocks)
            chosen = self._choose(waiting)
            left = np.delete(np.arange(len(waiting)), chosen)
            batch = waiting if not left.size else waiting.take(chosen)
            self.item, self._blocks = self.item_of(batch), [waiting.take(left)] if left.size else []

    def _choose(self, waiting: Candidates) -> np.ndarray:
        """Places of the next batch among what waits, rising."""
        lengths: Any = waiting.lengths
        if lengths is None and waiting.texts is not None:
            lengths = sum(text.lengths for text in waiting.texts)
        if lengths is None or len(waiting) <= self.batch_size:
            return np.arange(min(len(waiting), self.batch_size))
        distance = np.abs(lengths - lengths[0])
        distance[0] = -1  # the oldest always leaves
        return np.sort(np.argsort(distance, kind="stable")[: self.batch_size])

    def __len__(self) -> int:
        return sum(map(len, self._blocks))

    @property
    def _drops(self) -> bool:
        """Whether what waits is less than a batch, and nothing will follow."""
        return self.drop_last and len(self) < self.batch_size and self.taken is None and self.source.over

    @property
    def waiting(self) -> int:
        return super().waiting + (0 if self._drops else len(self))

    def clear(self) -> None:
        self._blocks = []
        super().clear()

    def own_state(self) -> dict[str, Any]:
        waiting = Candidates.concat(self._blocks).state_dict() if self._blocks else None
        return {"batch_size": self.batch_size, "fixed": self.fixed, "batches": self.batches, "waiting": waiting}

    def load_own_state(self, state: dict[str, Any]) -> None:
        check_same("batches held back", state["batches"], self.batches)
        if state["fixed"] or self.fixed:
            check_same("batch_size", state["batch_size"], self.batch_size)
        self.batch_size = state["batch_size"]
        self._blocks = [] if state["waiting"] is None else [Candidates.from_state(state["waiting"])]
