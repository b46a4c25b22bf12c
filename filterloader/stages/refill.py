"""RefillBuffer: examples wait here until they leave in dense batches of similar length."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future

import numpy as np

from filterloader.data.candidates import Candidates
from filterloader.data.checks import check_same


def _as_they_are(survivors: Candidates) -> Candidates:
    return survivors


class RefillBuffer:
    """Collects survivors and hands out batches of ``batch_size``, none lost and none doubled.

    A batch is the survivor that waits longest and those nearest to it in length, so nobody waits for ever and little is
    padding. Where there are no tokens yet the text's bytes are its length; those of unknown length leave in the order they came.

    batch_size: examples a batch; None: as many as the largest block that came in. batches: how many batches of survivors are
    held back before the first one leaves, so that there is something to choose from. finish: makes survivors complete
    (tokenizes their text), many at once; those that came in since the last batch left are not needed for the next one, so that
    a thread can finish them while the loop trains. thread: where to; None: here, when they are needed.
    """

    def __init__(
        self,
        batch_size: int | None,
        batches: int,
        *,
        finish: Callable[[Candidates], Candidates] = _as_they_are,
        thread: Executor | None = None,
    ):
        self.fixed, self.batch_size, self.batches = batch_size is not None, batch_size or 1, max(batches, 1)
        self._finish, self._thread = finish, thread
        self.clear()

    def clear(self) -> None:
        self._ready: list[Candidates] = []
        self._fresh: list[Candidates] = []  # came in since the last batch left, texts only
        self._coming: list[Candidates] = []  # before that
        self._future: Future | None = None  # of what is coming
        self._size = self._unfinished = 0

    def __len__(self) -> int:
        return self._size

    @property
    def full(self) -> bool:
        """Whether a batch may leave while the stream goes on."""
        return self._size >= self.batch_size * self.batches

    @property
    def oldest(self) -> int | None:
        """Place in the stream of the survivor that waits longest; None when empty."""
        first = self._ready or self._coming or self._fresh
        return int(first[0].positions[0]) if first else None

    def push(self, survivors: Candidates, block: int) -> None:
        """Take in what is left of a block of ``block`` candidates."""
        if not self.fixed:
            self.batch_size = max(self.batch_size, block)
        if len(survivors):
            unfinished = survivors.tokens is None and survivors.texts is not None
            (self._fresh if unfinished else self._ready).append(survivors)
            self._size += len(survivors)
            self._unfinished += len(survivors) * unfinished

    def pop(self) -> Candidates:
        """The next batch: ``batch_size`` survivors, fewer only when fewer are left. Raises IndexError when empty."""
        if not self._size:
            raise IndexError("pop from an empty refill buffer")
        self._arrive()
        if self._size - self._unfinished < self.batch_size:
            self._send()
            self._arrive()
        waiting = Candidates.concat(self._ready)
        chosen = self._choose(waiting)
        rest = np.ones(len(waiting), bool)
        rest[chosen] = False
        leaving, left = waiting.take(chosen), [waiting.take(np.flatnonzero(rest))] if chosen.size < len(waiting) else []
        self._send()
        self._ready, self._size = left, self._size - chosen.size
        return leaving

    def _send(self) -> None:
        """What came in since the last batch is finished now, or in its thread while the loop trains."""
        self._coming, self._fresh = self._coming + self._fresh, []
        if self._coming and self._thread is not None:
            self._future = self._thread.submit(self._finish, Candidates.concat(self._coming))

    def _arrive(self) -> None:
        if self._coming:
            self._ready.append(
                self._finish(Candidates.concat(self._coming)) if self._future is None else self._future.result()
            )
            self._unfinished -= sum(map(len, self._coming))
            self._coming, self._future = [], None

    def _choose(self, waiting: Candidates) -> np.ndarray:
        lengths = waiting.lengths
        if lengths is None and waiting.texts is not None:
            lengths = sum(text.lengths for text in waiting.texts)
        if lengths is None or len(waiting) <= self.batch_size:
            return np.arange(min(len(waiting), self.batch_size))
        distance = np.abs(lengths - lengths[0])
        distance[0] = -1  # the oldest always leaves
        return np.sort(np.argsort(distance, kind="stable")[: self.batch_size])

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_future": None, "_thread": None}

    def state_dict(self) -> dict:
        waiting, coming, fresh = (
            Candidates.concat(part).state_dict() if part else None for part in (self._ready, self._coming, self._fresh)
        )
        return {
            "batch_size": self.batch_size,
            "fixed": self.fixed,
            "batches": self.batches,
            "waiting": waiting,
            "coming": coming,
            "fresh": fresh,
        }

    def load_state_dict(self, state: dict) -> None:
        check_same("batches held back", state["batches"], self.batches)
        if state["fixed"] or self.fixed:
            check_same("batch_size", state["batch_size"], self.batch_size)
        parts = [
            [] if state[name] is None else [Candidates.from_state(state[name])]
            for name in ("waiting", "coming", "fresh")
        ]
        self.clear()
        self.batch_size = state["batch_size"]
        self._ready, self._coming, self._fresh = parts
        self._unfinished = sum(map(len, self._coming + self._fresh))
        self._size = self._unfinished + sum(map(len, self._ready))
