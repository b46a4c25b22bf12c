"""Batching: from blocks of the stream to batches that the policy lets through."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from filterloader.data.candidates import Candidates
from filterloader.data.source import Source
from filterloader.stages.refill import RefillBuffer
from filterloader.stages.screen import Screening


class Batching:
    """Pulls blocks, has them screened, and makes the next batch of what is left.

    gathered: where blocks are regrouped by length before anything is decided; None: they are decided on as they were read.
    refill: where survivors are put together anew; None: what is kept stays the batch it is. hold: keep one kept batch back, so
    that the last one is known for the last. finish: tokenizes survivors that are still text. drop_last: the stream's last
    batch is dropped unless it is whole.

    A block, or a batch, stays here until it has been dealt with: an interrupt while the policy decides, the model scores or a
    batch is put together loses nothing, and the next call goes on with it. After any other error there the pass goes on behind it.

    Attributes: ``exhausted``, whether the source is read to its end.
    """

    def __init__(self, source: Source, screening: Screening, *, gathered: RefillBuffer | None, refill: RefillBuffer | None, hold: bool,
                 finish: Callable[[Candidates], Candidates], drop_last: bool):  # fmt: skip
        self.source, self.screening = source, screening
        self.gathered, self.refill, self.hold = gathered, refill, hold
        self._finish, self.drop_last = finish, drop_last
        self.clear()

    def clear(self) -> None:
        """Forget what waits."""
        for buffer in self._buffers():
            buffer.clear()
        self._held: tuple[Candidates, Candidates] | None = None
        self._leaving: tuple[Candidates, Candidates] | None = None  # a batch that is not handed out yet
        self._drop_at_hand()
        self.exhausted = False

    def _drop_at_hand(self) -> None:
        self._at_hand: Candidates | None = None  # a block that is not dealt with yet
        self._screened: int | None = None  # how many it had, once what is left of it are its survivors

    def _buffers(self) -> list[RefillBuffer]:
        return [buffer for buffer in (self.gathered, self.refill) if buffer is not None]

    # -- where the stream stands ---------------------------------------------------------------------------------------

    @property
    def place(self) -> int:
        """Where in the stream the oldest example stands that is neither dropped nor handed out."""
        waiting = [buffer.oldest for buffer in self._buffers() if not (self.exhausted and self._drops(buffer))]
        loose = [self._at_hand, *(pair[1] for pair in (self._held, self._leaving) if pair is not None)]
        waiting += [int(part.positions[0]) for part in loose if part is not None and len(part)]
        return min((place for place in waiting if place is not None), default=self.source.rows)

    @property
    def over(self) -> bool:
        """Whether the stream is read to its end and nothing of it is left here."""
        return self.exhausted and not any(map(len, self._buffers())) and self._at_hand is None and self._leaving is None

    def _drops(self, buffer: RefillBuffer) -> bool:
        """Whether ``drop_last`` will drop what is in a buffer if nothing follows."""
        *before, last = self._buffers()
        return self.drop_last and buffer is last and not any(map(len, before)) and len(buffer) < buffer.batch_size

    # -- one batch -----------------------------------------------------------------------------------------------------

    def next(self) -> tuple[Candidates, Candidates] | None:
        """What the policy decided on (survivors, or a batch as one candidate), and the examples to make a batch of; None at the end.
        The same again until ``gone`` is called."""
        if self._leaving is None:
            try:
                self._leaving = self._kept() if self.refill is None else self._refilled()
            except Exception:
                self._drop_at_hand()
                raise
        return self._leaving

    def gone(self) -> None:
        """The batch was handed out, or cannot be."""
        self._leaving = None

    def _refilled(self) -> tuple[Candidates, Candidates] | None:
        """A batch of survivors, once the buffer is full or the stream at its end."""
        while not self.refill.full and self._take():
            if self._screened is None:
                survivors = self.screening.screen(self._at_hand)
                self._at_hand, self._screened = survivors, len(self._at_hand)
            if self.screening.judging:
                self._at_hand = self._finish(self._at_hand)
                self._score(self.refill.batch_size if self.refill.fixed else self._screened)
            self.refill.push(self._at_hand, self._screened)
            self._drop_at_hand()
        survivors = self._popped(self.refill)
        return None if survivors is None else (survivors, survivors)

    def _score(self, at_once: int) -> None:
        """Have survivors judged, some at once, before they are put together."""
        while len(self._at_hand):
            places = np.arange(len(self._at_hand))
            part, rest = self._at_hand.take(places[:at_once]), self._at_hand.take(places[at_once:])
            judged = self.screening.judge(part)
            self.refill.push(judged, self._screened)
            self._at_hand = rest

    def _kept(self) -> tuple[Candidates, Candidates] | None:
        """The next batch that is kept as it stands."""
        while self._take():
            asked, block = self.screening.screen(self._at_hand), self._at_hand
            self._drop_at_hand()
            if asked is not None:
                held, self._held = self._held, (asked, block) if self.hold else None
                if held is not None or not self.hold:
                    return held or (asked, block)
        held, self._held = self._held, None
        return held

    def _take(self) -> bool:
        """Whether there is a block to deal with."""
        if self._at_hand is None:
            self._at_hand = self._block()
        return self._at_hand is not None

    def _block(self) -> Candidates | None:
        """What is decided on next, None at the end of the stream."""
        if self.gathered is None:
            return self._read()
        while not self.gathered.full and (block := self._read()) is not None:
            self.gathered.push(block, len(block))
        return self._popped(self.gathered)

    def _read(self) -> Candidates | None:
        if not self.exhausted:
            try:
                return next(self.source)
            except StopIteration:
                self.source.finish()
                self.exhausted = True
        return None

    def _popped(self, buffer: RefillBuffer) -> Candidates | None:
        return buffer.pop() if len(buffer) and not self._drops(buffer) else None

    # -- state ---------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict:
        return {
            "gathered": None if self.gathered is None else self.gathered.state_dict(),
            "buffer": None if self.refill is None else self.refill.state_dict(),
            "held": _saved(self._held),
            "at_hand": None if self._at_hand is None else [self._at_hand.state_dict(), self._screened],
            "leaving": _saved(self._leaving),
            "exhausted": self.exhausted,
        }

    def load_state_dict(self, state: dict) -> None:
        """Raises ValueError where the state is of a loader that batches otherwise."""
        for name, buffer in (("gathered", self.gathered), ("buffer", self.refill)):
            if (buffer is None) != (state[name] is None):
                raise ValueError(
                    "the saved state is of a loader that held other batches back; build it with the same buffer_batches=, score_fn= and policy"
                )
            if buffer is not None:
                buffer.load_state_dict(state[name])
        self._held, self._leaving = _loaded(state["held"]), _loaded(state["leaving"])
        self._drop_at_hand()
        if state["at_hand"] is not None:
            block, self._screened = state["at_hand"]
            self._at_hand = Candidates.from_state(block)
        self.exhausted = bool(state["exhausted"])


def _saved(pair: tuple[Candidates, Candidates] | None) -> list[dict] | None:
    return None if pair is None else [part.state_dict() for part in pair]


def _loaded(state: list[dict] | None) -> tuple[Candidates, Candidates] | None:
    return None if state is None else tuple(Candidates.from_state(part) for part in state)
