"""Read: the first stage: blocks of candidates, told where in the stream they stand; goes on in the middle of a pass."""

from __future__ import annotations

from typing import Any, NamedTuple, NoReturn

from filterloader.data.candidates import Candidates
from filterloader.data.checks import check_same
from filterloader.data.groups import Unread
from filterloader.data.indices import Drawn
from filterloader.data.randomness import generators_of, restored, set_states, states_of
from filterloader.data.source import Source
from filterloader.data.values import RowError
from filterloader.stages.stage import check_stage, loaded, saved, size


class Place(NamedTuple):
    """How far a pass was read. rows, blocks: handed on, or found unreadable. by_worker: blocks of each worker."""

    rows: int = 0
    blocks: int = 0
    by_worker: tuple[tuple[int, int], ...] = ()

    def after(self, rows: int, worker: int = -1) -> Place:
        """Behind one more block of so many rows."""
        if worker < 0:
            return Place(self.rows + rows, self.blocks + 1, self.by_worker)
        counts = dict(self.by_worker)
        counts[worker] = counts.get(worker, 0) + 1
        return Place(self.rows + rows, self.blocks + 1, tuple(sorted(counts.items())))


class Read:
    """Gives the stream in blocks of candidates; it begins the chain, and so has no stage before it.

    A block that cannot be read as a whole is read row by row where batches are put together anew later: each row at
    fault raises, and the others go on. Where blocks are the batches themselves, the batch is lost, as with a
    ``DataLoader``.

    Args:
        source: the data set and how it is read.

    Attributes: ``item``, see ``Stage``; ``place``, where the pass stands; ``running``, whether a pass has begun and
    is not closed; ``exhausted``, whether it is read to its end."""

    def __init__(self, source: Source):
        self.source = source
        self._at_start: Any = None  # random states before the pass
        self._groups: Any = None
        self._opened = False  # whether any pass has begun, in this process or before
        self.clear()

    def clear(self) -> None:
        """No pass is under way."""
        self.running = self.exhausted = False
        self.place = Place()
        self.item: Any = None
        self._blocks: list[Candidates] = []  # of a group that was read
        self._again: list[Drawn] = []  # draws of a group that could not be read as a whole
        self._errors: list[Exception] = []  # still to be raised
        self._interrupted = False
        self._groups = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_groups": None}

    # -- a pass --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin a pass."""
        self.clear()
        self.running = True
        self._at_start = states_of(self.source.reference)
        if self.source.indices is not None:
            # workers that live on get no new seed in later passes, so those of a resumed run must draw none either
            anew = self._opened and self.source.reference.persistent_workers and not self.source.has_workers
            self.source.indices.start(0, self._at_start if anew else None)
        self._opened = True
        self._groups = self.source.open(None)

    def go_on(self) -> None:
        """Read on from ``place``, in a pass that ``load_state_dict`` brought, or that an interrupt has cut short."""
        if self.exhausted:
            return
        self._blocks, self._again, self._errors, self._interrupted = [], [], [], False
        self.source.forget_workers()
        if self.source.indices is not None:
            self.source.indices.start(self.place.blocks, self.source.indices.at_first_draw)
        with restored(self.source.reference, self._at_start):
            self._groups = self.source.open(dict(self.place.by_worker) or {-1: self.place.blocks})
        if self.source.indices is not None:
            self.source.indices.catch_up()

    def stop(self) -> None:
        """Nobody goes on with this pass: its workers may go."""
        if self.source.reference.num_workers:
            if self.item is None and not self._blocks:
                self.ends()
            self._groups = None

    def next(self) -> Candidates | None:
        """The next block, the same again until it is taken; None at the end."""
        while self.item is None and not self.exhausted:
            if self._errors:
                raise self._errors.pop(0)
            if self._blocks:
                block, rest = self._blocks[0], self._blocks[1:]
                place = self.place.after(len(block), block.worker)
                self.item, self._blocks, self.place = block, rest, place
            else:
                self._read_on()
        return self.item

    def _read_on(self) -> None:
        """Read a group, or find that there is none left."""
        if self._interrupted:
            self.go_on()
        try:
            self._place_next()
        except Exception as error:
            self._read_apart(error)
        except BaseException:
            # an interrupt may have ended the sampler at work: then the draws are drawn again
            self._interrupted = self.source.indices is not None and self.source.indices.drawing
            raise

    def _place_next(self) -> None:
        """Read a group and tell its blocks where they stand."""
        indices = self.source.indices
        if self._again:
            blocks = self._placed(self.source.read(indices.asked(self._again[0])), self._again[0])
            self._blocks, self._again = blocks, self._again[1:]
            return
        group = self._groups.next()
        if group is None:
            self.source.finish(self.place.rows)
            self.exhausted, self._groups = True, None
        elif isinstance(group, int):  # a block that was passed over
            self._groups.item = None
        elif isinstance(group, Unread):
            raise group.error
        elif indices is None:
            self._blocks, self._groups.item = self._placed(group, None), None
        else:
            drawn = indices.pending()
            blocks = self._placed(group, drawn)
            self._blocks, self._groups.item, indices.placed = blocks, None, drawn

    def _placed(self, group: Candidates, drawn: Drawn | None) -> list[Candidates]:
        """The blocks of a group, told where they stand."""
        indices = self.source.indices
        ids = None if indices is None else indices.ids_of(drawn, len(group))
        group.placed(self.place.rows, ids, self.source.total)
        self.source.reader.same_columns(group)
        return [group] if drawn is None or len(drawn) < 2 else group.parts([len(part) for part in drawn])

    # -- what cannot be read -------------------------------------------------------------------------------------------

    def _read_apart(self, error: Exception) -> None:
        """A group could not be read: read its draws one by one, and the rows of a draw that cannot be read."""
        indices = self.source.indices
        if self._again:
            drawn, self._again = self._again[0], self._again[1:]
            self._rescue(drawn.listed(), error, drawn)
        group, self._groups.item = self._groups.item, None
        if group is None:
            self._groups.give_up()
        if indices is None:
            rows = group.rows if isinstance(group, Unread) else [] if group is None else [None] * len(group)
            self._rescue(rows, error, None)
        drawn = indices.pending()
        if drawn is None or _is_of_workers(error) or not indices.ordered:
            raise error
        indices.placed = drawn
        if len(drawn) > 1:
            self._again = [Drawn([draw]) for draw in drawn]
        else:
            self._rescue(drawn.listed(), error, drawn)

    def _rescue(self, rows: list, error: Exception, drawn: Drawn | None) -> NoReturn:
        """Raise for the first row that cannot be read, keep the other errors and the good rows for later.

        Args:
            rows: of a stream, or numbers of rows.
            error: what was raised for all of them.
            drawn: the numbers as they were drawn; None for a stream.
        """
        good: list = []
        errors: list[Exception] = []
        if self.source.apart and not self.source.reader.single and len(rows) > 1:
            for number, row in enumerate(rows):
                try:
                    self._read_rows([row], drawn)
                    good.append(row)
                except RowError as found:
                    errors.append(found.numbered([self.place.rows + number]))
                except Exception as found:
                    errors.append(found)
        block = self._read_rows(good, drawn) if good and errors else None
        if block is not None:
            ids = None if drawn is None else self.source.indices.ids_of(Drawn([good]), len(good))
            block.placed(self.place.rows, ids, self.source.total)
        place = self.place.after(len(rows) - (0 if block is None else len(block)))
        self.place = place if block is None else self.place._replace(rows=place.rows)
        self._errors, self._blocks = errors[1:], [] if block is None else [block]
        raise errors[0] if errors else error

    def _read_rows(self, rows: list, drawn: Drawn | None) -> Candidates:
        return self.source.reader.read(rows) if drawn is None else self.source.read(rows)

    # -- where the stream stands ---------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        return size(self.item)

    all_waiting = waiting

    @property
    def over(self) -> bool:
        """Whether nothing will come any more, as far as that is known without reading on."""
        source = self.source
        known = source.total is not None and not source.streaming and not source.total_is_given
        return self.item is None and (self.exhausted or (known and self.place.rows >= source.total))

    def ends(self) -> bool:
        """The same, told by reading on where the stream may be at its end: a sampler may shuffle once more there."""
        total = self.source.total
        known = total is not None and not self.source.streaming
        if self._groups is None or self.exhausted:
            return self.over or (self.item is None and self.place.rows == total)
        if not known or self.place.rows >= total:
            try:
                self.next()
            except Exception:
                return False  # the pass is broken off, and what it would have raised with it
        return self.exhausted and self.item is None

    # -- state ---------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        indices = self.source.indices
        if indices is not None and not indices.ordered:
            raise ValueError(
                "in_order=False with workers hands out blocks in an order that cannot be repeated, so this loader "
                "cannot be saved; use in_order=True"
            )
        drawing = self.running and not self.exhausted  # then what was noted before it tells where generators stand
        return {
            "stage": "Read",
            **self.source.signature(),
            "rows": self.place.rows,
            "blocks": self.place.blocks,
            "by_worker": self.place.by_worker,
            "running": self.running,
            "opened": self._opened,
            "exhausted": self.exhausted,
            "item": saved(self.item),
            "total": self.source.total,
            "at_start": self._at_start if drawing else None,
            "at_first_draw": indices.at_first_draw if drawing and indices is not None else None,
            "now": None if drawing else states_of(self.source.reference, own_only=True),
            "generators": len(generators_of(self.source.reference)),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises ValueError where the state is of another stream."""
        check_stage(self, state)
        self.source.check_signature(state)
        generators = len(generators_of(self.source.reference))
        check_same("generators (of sampler, seed= and generator=)", state["generators"], generators)
        self.clear()
        self.source.forget_workers()
        self.source.total, self._opened = state["total"], bool(state["opened"])
        self.place = Place(state["rows"], state["blocks"], tuple(map(tuple, state["by_worker"])))
        self.running, self.exhausted, self.item = (
            bool(state["running"]),
            bool(state["exhausted"]),
            loaded(state["item"]),
        )
        self._at_start = state["at_start"]
        if self.source.indices is not None:
            self.source.indices.start(0, state["at_first_draw"])
        if state["now"] is not None:
            set_states(self.source.reference, state["now"])


def _is_of_workers(error: Exception) -> bool:
    """Whether a worker died or kept the loop waiting too long: no row is at fault."""
    told = str(error)
    return isinstance(error, RuntimeError) and told.startswith(("DataLoader worker (pid", "DataLoader timed out"))
