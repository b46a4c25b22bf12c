"""Batching: from blocks of the stream to batches that the policy lets through."""

from __future__ import annotations

from collections.abc import Callable

from filterloader.candidates import Candidates
from filterloader.refill import RefillBuffer
from filterloader.screening import Screening
from filterloader.source import Source


class Batching:
    """Pulls blocks, has them screened, and makes the next batch of what is left.

    gathered: where blocks are regrouped by length before anything is decided; None: they are decided on as they were read.
    refill: where survivors are put together anew; None: what is kept stays the batch it is. hold: keep one kept batch back, so
    that the last one is known for the last. finish: tokenizes survivors that are still text. drop_last: the stream's last
    batch is dropped unless it is whole.

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
        self.exhausted = False

    def _buffers(self) -> list[RefillBuffer]:
        return [buffer for buffer in (self.gathered, self.refill) if buffer is not None]

    # -- where the stream stands ---------------------------------------------------------------------------------------

    @property
    def place(self) -> int:
        """Where in the stream the oldest example stands that is neither dropped nor handed out."""
        waiting = [buffer.oldest for buffer in self._buffers() if not (self.exhausted and self._drops(buffer))]
        if self._held is not None:
            waiting.append(int(self._held[1].positions[0]))
        return min((place for place in waiting if place is not None), default=self.source.rows)

    @property
    def over(self) -> bool:
        """Whether the stream is read to its end and no buffer holds anything."""
        return self.exhausted and not any(map(len, self._buffers()))

    def _drops(self, buffer: RefillBuffer) -> bool:
        """Whether ``drop_last`` will drop what is in a buffer if nothing follows."""
        *before, last = self._buffers()
        return self.drop_last and buffer is last and not any(map(len, before)) and len(buffer) < buffer.batch_size

    # -- one batch -----------------------------------------------------------------------------------------------------

    def next(self) -> tuple[Candidates, Candidates] | None:
        """What the policy decided on (survivors, or a batch as one candidate), and the examples to make a batch of; None at the end."""
        return self._kept() if self.refill is None else self._refilled()

    def _refilled(self) -> tuple[Candidates, Candidates] | None:
        """A batch of survivors, once the buffer is full or the stream at its end."""
        while not self.refill.full and (block := self._block()) is not None:
            survivors = self.screening.screen(block)
            survivors = self.screening.score(survivors, self.refill.batch_size, self._finish)
            self.refill.push(survivors, len(block))
        survivors = self._popped(self.refill)
        return None if survivors is None else (survivors, survivors)

    def _kept(self) -> tuple[Candidates, Candidates] | None:
        """The next batch that is kept as it stands."""
        while (block := self._block()) is not None:
            asked = self.screening.screen(block)
            if asked is not None:
                held, self._held = self._held, (asked, block) if self.hold else None
                if held is not None or not self.hold:
                    return held or (asked, block)
        held, self._held = self._held, None
        return held

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
            "held": None if self._held is None else [part.state_dict() for part in self._held],
            "exhausted": self.exhausted,
        }

    def load_state_dict(self, state: dict) -> None:
        """Raises ValueError where the state is of a loader that batches otherwise."""
        for name, buffer in (("gathered", self.gathered), ("buffer", self.refill)):
            if buffer is not None and state.get(name) is None:
                raise ValueError("the saved state is of a loader that held other batches back; build it with the same buffer_batches=, score_fn= and policy")
            if buffer is not None:
                buffer.load_state_dict(state[name])
        self._held = None if state["held"] is None else tuple(Candidates.from_state(part) for part in state["held"])
        self.exhausted = bool(state["exhausted"])
