"""Source: reads the stream in blocks of candidates through a torch ``DataLoader``, and can go on in the middle of a pass."""

from __future__ import annotations

from collections import Counter, deque
from copy import copy
from typing import Any

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, IterableDataset

from filterloader.data.ahead import Ahead, Draws, as_drawn
from filterloader.data.candidates import Candidates
from filterloader.data.checks import check_same
from filterloader.data.columns import ArrowRows, ArrowTable, arrow_stream, arrow_table
from filterloader.data.indices import Drawn, Indices, draws_at_once
from filterloader.data.randomness import generators_of, restored, set_states, states_of
from filterloader.data.rows import Passed, Reader
from filterloader.data.values import RowError

_BLOCK = 128  # candidates decided on at once before a refill: few enough to decide late
_GROUP = 1024  # rows read at once where reading has no side effects: enough to tokenize in bulk


class Source:
    """Blocks of candidates, each told where in the stream it stands.

    reference: a ``DataLoader`` built from the user's arguments, never iterated: it holds what they mean. reader: its collate
    function here. whole: a refill follows, so that blocks need not be batches: they are larger than small batches, and the
    last one is read even where ``drop_last`` is set (the refill drops it). at_once: how many candidates. overlap: without workers, read the next rows in a
    thread of their own while the loop trains.

    A ``datasets.Dataset`` is read by column, many blocks at once (a group); the order of rows is the same.
    """

    def __init__(
        self,
        reference: DataLoader,
        reader: Reader,
        *,
        whole: bool,
        total: int | None,
        at_once: int = _BLOCK,
        overlap: bool = False,
    ):
        self.reference, self.reader, self.whole, self.overlap, self.at_once = reference, reader, whole, overlap, at_once
        self.streaming = isinstance(reference.dataset, IterableDataset)
        self._given_total = total is not None
        self.total = total if total is not None else _length(reference, whole)
        overtaking = reference.num_workers > 0 and not reference.in_order
        self._indices = (
            None if self.streaming else Indices(self._index_sampler(), generators_of(reference), ordered=not overtaking)
        )
        self._loader: DataLoader | None = None
        self._rows: Any = None  # what the inner loader reads from
        self._table: tuple | None = None  # what the data set was, and the table behind it
        self._groups: Any = None
        self._resume: dict | None = None
        self._at_start: list | None = None
        self._clear()

    def _clear(self) -> None:
        self.rows = 0  # examples of this pass that were handed on
        self._blocks = 0
        self._by_worker: Counter = Counter()
        self._waiting: deque[Candidates] = deque()  # blocks of a group that was read
        self._again: deque = deque()  # draws of a group that could not be read as a whole

    def start(self) -> None:
        """Begin a pass, or go on with the one that ``load_state_dict`` brought."""
        resume, self._resume = self._resume, None
        self._clear()
        if resume is None:
            self.reader.restart({})
            self._at_start = states_of(self.reference)
            self._groups = self._open()
            return
        self.rows, self._blocks, self._by_worker = resume["rows"], resume["blocks"], Counter(dict(resume["by_worker"]))
        self._at_start = resume["at_start"]
        self._loader = None  # workers that live on know nothing of the blocks to pass over
        self.reader.restart(self._by_worker if self.streaming else {})
        if not self.streaming:
            self._indices.resume(self._blocks, resume["at_first_draw"])
        with restored(self.reference, self._at_start):
            self._groups = self._open()

    def __next__(self) -> Candidates:
        if not self._waiting:
            self._next_group()
        block = self._waiting.popleft()
        self._blocks += 1
        self._by_worker[block.worker] += 1
        self.rows += len(block)
        return block

    def _next_group(self) -> None:
        draws = None
        try:
            if self._again:
                draws = Drawn([self._again.popleft()])
                group = self.read(draws[0])
            else:
                group = next(self._groups)
                while isinstance(group, Passed):
                    group = next(self._groups)
                draws = None if self._indices is None else self._indices.arrived()
            ids = None if draws is None else self._indices.ids_of(draws, len(group))
            group.placed(self.rows, ids, self.total)
            self.reader.same_columns(group)
        except StopIteration:
            raise
        except KeyboardInterrupt:
            if draws is not None:
                self._again.extendleft(reversed(draws))
            elif not self.reference.num_workers and not isinstance(self._groups, Ahead) and self._indices is not None:
                self._again.extend(self._indices.arrived())  # drawn, and not read yet; elsewhere it is still on its way
            raise
        except Exception as error:
            draws = draws or ([] if self._indices is None else self._indices.arrived())
            if len(draws) < 2 or isinstance(error, RuntimeError):  # of which one is a worker that died
                self._blocks += len(draws)  # a resumed pass goes on after the one that failed
                if draws and isinstance(error, RowError):
                    raise error.numbered(draws.listed()) from None
                raise
            self._again.extend(draws)  # only the rows at fault shall fail
            return self._next_group()
        self._waiting.extend(
            [group] if draws is None or len(draws) == 1 else group.parts([len(drawn) for drawn in draws])
        )

    def read(self, index: Any) -> Candidates:
        """The rows of the data set with these numbers, in that order; the pass under way does not notice."""
        rows = self._rows if self._rows is not None else self._readable()
        if isinstance(index, torch.Tensor) and index.ndim:
            index = index.tolist()
        if not isinstance(index, (list, tuple, range, np.ndarray)):
            return self._made_of(rows[index], [index])
        if isinstance(index, np.ndarray) and not isinstance(rows, ArrowRows):
            index = index.tolist()  # a data set is asked for Python's numbers, as by any sampler
        found = rows.__getitems__(index) if hasattr(rows, "__getitems__") else [rows[i] for i in index]
        return self._made_of(found, index)

    def _made_of(self, rows: Any, numbers: Any) -> Candidates:
        try:
            return self.reader.read(rows)
        except RowError as error:
            raise error.numbered(numbers) from None

    def close(self) -> None:
        """Nobody goes on with this pass: its workers may go."""
        self._groups = None

    def finish(self) -> None:
        """The stream is read to its end: its length is known now."""
        if not self._given_total:
            self.total = self.rows
        if self.streaming and self.reader.passed:
            self._loader = None
        self._groups = None

    def _open(self) -> Any:
        """An iterator over groups of candidates."""
        if self._loader is None or not self.reference.persistent_workers:
            self._rows = self._readable()
            self._loader = self._inner()
        groups = iter(self._loader)
        return Ahead(groups, self.read) if isinstance(self._loader.dataset, Draws) else groups

    def _readable(self) -> Any:
        """The data set, by column where it is made of columns and nobody looks at its rows."""
        given = self.reference
        if given.worker_init_fn is not None:
            return given.dataset
        if self.streaming:
            sized = given.batch_size is not None and not given.persistent_workers and self.reader.collate_fn is None
            tables = (
                arrow_stream(given.dataset, self._block_size(), drop_last=given.drop_last and not self.whole)
                if sized
                else None
            )
            return (
                tables if tables is not None and self.reader.may_read_columns(given.dataset.features) else given.dataset
            )
        table = self._table_of(given.dataset)
        names = None if table is None else self.reader.columns_of(table)
        return given.dataset if names is None else ArrowRows(given.dataset, table, names)

    def _table_of(self, dataset: Any) -> ArrowTable | None:
        """The table behind the data set, kept from pass to pass while nobody gives it another format or other rows."""
        is_now = (getattr(dataset, "_fingerprint", None), str(getattr(dataset, "format", None)))
        if self._table is None or self._table[0] != is_now:
            self._table = is_now, arrow_table(dataset)
        return self._table[1]

    def aside(self) -> Source:
        """The same rows, to be read beside a pass: with their payload, whatever the pass makes of its own."""
        beside = copy(self)
        beside.reader = copy(self.reader)
        beside.reader.collate_here = beside.reader.single = False
        beside._rows = beside._readable()
        return beside

    def _inner(self) -> DataLoader:
        given = self.reference
        how = {"dataset": self._rows, "collate_fn": self.reader, "generator": given.generator, "timeout": given.timeout,
               "num_workers": given.num_workers, "worker_init_fn": given.worker_init_fn, "in_order": given.in_order,
               "multiprocessing_context": given.multiprocessing_context, "prefetch_factor": given.prefetch_factor,
               "persistent_workers": given.persistent_workers}  # fmt: skip
        if self.streaming:
            size = self._block_size() if self._rows is given.dataset else None  # tables are blocks already
            last = {} if size is None else {"drop_last": given.drop_last and not self.whole}
            return DataLoader(**how, batch_size=size, **last)
        if given.batch_sampler is None:
            return DataLoader(**how, batch_size=None, sampler=self._indices)
        columns = isinstance(self._rows, ArrowRows)
        at_once = columns and self._indices.ordered and draws_at_once(self._indices.sampler)
        self._indices.group = _GROUP if at_once else 0  # a group that overtakes could not be told apart into its draws
        if self.overlap and not given.num_workers and at_once and self.reader.encodes(self._rows.names):
            how |= {"dataset": Draws(len(self._rows)), "collate_fn": as_drawn}
        return DataLoader(**how, batch_sampler=self._indices)

    def _index_sampler(self):
        sampler = self.reference.batch_sampler
        if sampler is None:
            return self.reference.sampler
        if self.whole and self.reference.batch_size is not None:
            return BatchSampler(sampler.sampler, self._block_size(), drop_last=False)
        return sampler

    def _block_size(self) -> int | None:
        size = self.reference.batch_size
        return size if size is None or not self.whole else size * max(self.at_once // size, 1)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_loader": None, "_groups": None, "_rows": None, "_table": None}

    def state_dict(self) -> dict:
        if self._resume is not None:  # loaded and not begun
            return dict(self._resume)
        if not self.streaming and not self._indices.ordered:
            raise ValueError(
                "in_order=False with workers hands out blocks in an order that cannot be repeated, so this loader cannot be saved; "
                "use in_order=True"
            )
        return {
            "length": None if self.streaming else len(self.reference.dataset),
            "num_workers": self.reference.num_workers,
            "block_size": self._block_size(),
            "batches": _listed(self.reference),
            "rows": self.rows,
            "blocks": self._blocks,
            "by_worker": sorted(self._by_worker.items()),
            "total": self.total,
            "at_start": self._at_start,
            "at_first_draw": None if self._indices is None else self._indices.at_first_draw,
            "now": states_of(self.reference, own_only=True),
        }

    def load_state_dict(self, state: dict, *, running: bool) -> None:
        """running: whether the saved pass was under way, so that ``start`` goes on with it."""
        check_same("streaming", state["length"] is None, self.streaming)
        if not self.streaming:
            check_same("data set length", state["length"], len(self.reference.dataset))
        check_same(
            "block_size (batch_size, or as many batches as are decided on at once)",
            state["block_size"],
            self._block_size(),
        )
        check_same("batches in the batch_sampler", state["batches"], _listed(self.reference))
        check_same("generators", len(state["now"]), len(generators_of(self.reference)))
        if self.streaming:
            check_same(
                "num_workers (which rows of a stream come when depends on it)",
                state["num_workers"],
                self.reference.num_workers,
            )
        self.total = state["total"]
        self._groups, self._loader = None, None
        self._resume = dict(state) if running else None
        self.rows = state["rows"]
        if not running:
            set_states(self.reference, state["now"])


def _listed(reference: DataLoader) -> int | None:
    """How many batches a batch sampler that is a list has; None where it is none."""
    return len(reference.batch_sampler) if isinstance(reference.batch_sampler, (list, tuple)) else None


def _length(reference: DataLoader, whole: bool) -> int | None:
    """Examples that one pass reads, where that is known."""
    if isinstance(reference.batch_sampler, (list, tuple)):
        return sum(map(len, reference.batch_sampler))
    sized = reference.dataset
    if not isinstance(sized, IterableDataset):
        sized = (
            reference.sampler if reference.batch_sampler is None else getattr(reference.batch_sampler, "sampler", None)
        )
    try:
        length = len(sized)
    except (TypeError, NotImplementedError):
        return None
    dropping = reference.drop_last or getattr(reference.batch_sampler, "drop_last", False)
    size = getattr(reference.batch_sampler, "batch_size", None)
    return length - length % size if dropping and size and not (whole and reference.batch_size is not None) else length
