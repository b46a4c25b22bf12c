"""Source: the user's data set, and how it is read: by row or by column, here, in a thread, or by workers."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, get_worker_info

from filterloader.data.candidates import Candidates
from filterloader.data.checks import check_same
from filterloader.data.columns import ArrowRows, ArrowTable, arrow_stream, arrow_table, piece
from filterloader.data.groups import Blocks, Draws, Groups, GroupsAhead, GroupsHere, Kept, Unread, as_it_is, portable
from filterloader.data.indices import Indices, draws_at_once
from filterloader.data.randomness import generators_of
from filterloader.data.rows import Reader
from filterloader.data.values import RowError

BLOCK = 128  # candidates decided on at once before a refill: few enough to decide late
_GROUP = 1024  # rows read at once where reading has no side effects: enough to tokenize in bulk


class Source:
    """What a data set, a sampler and workers give, in groups of candidates.

    Args:
        reference: a ``DataLoader`` built from the user's arguments, never iterated: it holds what they mean.
        reader: makes candidates of rows.
        apart: whether batches are put together anew later. Then blocks need not be the sampler's batches: they are
            larger than small batches, and the last one is read even where ``drop_last`` is set (the refill drops it).
        total: examples in one pass, where the user says so.
        at_once: candidates a block.
        overlap: without workers, read the next rows in a thread of their own while the loop trains.

    A ``datasets.Dataset`` is read by column, many blocks at once (a group); the order of rows is the same.
    """

    def __init__(
        self,
        reference: DataLoader,
        reader: Reader,
        *,
        apart: bool,
        total: int | None = None,
        at_once: int = BLOCK,
        overlap: bool = False,
    ):
        self.reference: Any = reference
        self.reader, self.apart, self.overlap, self.at_once = reader, apart, overlap, at_once
        self.streaming = isinstance(reference.dataset, IterableDataset)
        self.total_is_given = total is not None
        self.total: Any = total if total is not None else _length(reference, apart)
        ordered = reference.in_order or not reference.num_workers
        sampler = None if self.streaming else self._index_sampler()
        self.indices: Any = None if self.streaming else Indices(sampler, generators_of(reference), ordered=ordered)
        self._loader: Any = None
        self._rows: Any = None  # what the inner loader reads from
        self._table: tuple | None = None  # what the data set was, and the table behind it

    # -- reading -------------------------------------------------------------------------------------------------------

    def open(self, passed: Mapping[int, int] | None) -> Groups:
        """Begin to read. passed: of a stream, how many blocks of each worker were consumed before."""
        if self._loader is None or passed is not None or not self.reference.persistent_workers:
            self._rows = self._readable()
            self._loader = self._inner(passed or {})
        groups = iter(self._loader)
        if self.reference.num_workers:
            return Groups(groups)
        if self.streaming:
            return GroupsHere(groups, _StreamReader(self.reader, passed or {}), self._loader.dataset)
        ahead = self.overlap and isinstance(self._rows, ArrowRows) and self.indices.group
        if ahead and self.reader.encodes(self._rows.names):
            return GroupsAhead(groups, self.read, self.indices)
        return GroupsHere(groups, self.read, self.indices)

    def read(self, index: Any) -> Candidates:
        """The rows of the data set with these numbers, in that order; the pass under way does not notice."""
        rows = self._rows if self._rows is not None else self._readable()
        if isinstance(index, torch.Tensor) and index.ndim and not self.reader.single:
            index = index.tolist()
        if self.reader.single or not isinstance(index, (list, tuple, range, np.ndarray)):
            return self._made_of(rows[index], [index])
        if isinstance(index, np.ndarray) and not isinstance(rows, ArrowRows):
            index = index.tolist()  # a data set is asked for Python's numbers, as by any sampler
        return self._made_of(
            rows.__getitems__(index) if hasattr(rows, "__getitems__") else [rows[i] for i in index], index
        )

    def _made_of(self, rows: Any, numbers: Any) -> Candidates:
        try:
            return self.reader.read(rows)
        except RowError as error:
            raise error.numbered(numbers) from None

    def finish(self, rows: int) -> None:
        """A pass of so many rows is over."""
        if not self.total_is_given:
            self.total = rows

    @property
    def has_workers(self) -> bool:
        """Whether the next pass finds the workers of the one before."""
        return self._loader is not None

    def forget_workers(self) -> None:
        """The next pass has workers of its own: those that live on do not know where the pass goes on."""
        self._loader = None

    def aside(self) -> Source:
        """The same rows, to be read beside a pass: with their payload, whatever the pass makes of its own."""
        beside = copy(self)
        beside.reader = copy(self.reader)
        beside.reader.collate_here = beside.reader.single = False
        beside._rows = beside._readable()
        return beside

    # -- how -----------------------------------------------------------------------------------------------------------

    def _readable(self) -> Any:
        """The data set, by column where it is made of columns and nobody looks at its rows."""
        given = self.reference
        if self.streaming and not (given.worker_init_fn is not None and given.num_workers):
            return self._readable_stream()
        if given.worker_init_fn is not None:
            return given.dataset
        table = self._table_of(given.dataset)
        names = None if table is None else self.reader.columns_of(table)
        return given.dataset if table is None or names is None else ArrowRows(given.dataset, table, names)

    def _readable_stream(self) -> Any:
        given, size = self.reference, self.block_size
        if size is None:
            return given.dataset
        drop_last = given.drop_last and not self.apart
        if not given.persistent_workers and self.reader.collate_fn is None:
            tables = arrow_stream(given.dataset, size, drop_last=drop_last)
            if tables is not None and self.reader.may_read_columns(given.dataset.features):
                return tables
        return Blocks(given.dataset, size, drop_last=drop_last)

    def _table_of(self, dataset: Any) -> ArrowTable | None:
        """The table behind the data set, kept from pass to pass while nobody gives it another format or other rows."""
        is_now = (getattr(dataset, "_fingerprint", None), str(getattr(dataset, "format", None)))
        if self._table is None or self._table[0] != is_now:
            self._table = is_now, arrow_table(dataset)
        return self._table[1]

    def _inner(self, passed: Mapping[int, int]) -> DataLoader:
        """torch's ``DataLoader``, which draws with the random numbers that the user's would, and runs the workers."""
        given = self.reference
        how: dict[str, Any] = {"generator": given.generator}
        if given.num_workers:
            names = (
                "num_workers",
                "timeout",
                "worker_init_fn",
                "in_order",
                "multiprocessing_context",
                "prefetch_factor",
            )
            how |= {name: getattr(given, name) for name in (*names, "persistent_workers")}
        if self.streaming and not given.num_workers:
            return DataLoader(Kept(self._rows), batch_size=None, collate_fn=as_it_is, **how)
        if self.streaming:
            grouped = self._rows is not given.dataset  # in blocks already
            size = None if grouped else self.block_size
            last: dict[str, Any] = {} if size is None else {"drop_last": given.drop_last and not self.apart}
            return DataLoader(self._rows, batch_size=size, collate_fn=_StreamReader(self.reader, passed), **last, **how)
        rows, read = (self._rows, self.reader.read) if given.num_workers else (Draws(), as_it_is)
        if given.batch_sampler is None:
            return DataLoader(rows, batch_size=None, sampler=self.indices, collate_fn=read, **how)
        at_once = isinstance(self._rows, ArrowRows) and self.indices.ordered and draws_at_once(self.indices.sampler)
        self.indices.group = _GROUP if at_once else 0  # a group that overtakes could not be told apart into its draws
        return DataLoader(rows, batch_sampler=self.indices, collate_fn=read, **how)

    def _index_sampler(self) -> Any:
        sampler = self.reference.batch_sampler
        if sampler is None:
            return self.reference.sampler
        if self.apart and self.reference.batch_size is not None:
            return BatchSampler(sampler.sampler, self.block_size or 1, drop_last=False)
        return sampler

    @property
    def block_size(self) -> int | None:
        """Candidates a block; None where blocks are what data set or sampler give."""
        size = self.reference.batch_size
        return size if size is None or not self.apart else size * max(self.at_once // size, 1)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_loader": None, "_rows": None, "_table": None}

    # -- state ---------------------------------------------------------------------------------------------------------

    def signature(self) -> dict[str, Any]:
        """What a saved place in the stream depends on."""
        return {
            "length": None if self.streaming else len(self.reference.dataset),
            "num_workers": self.reference.num_workers,
            "block_size": self.block_size,
            "batches": _listed(self.reference),
        }

    def check_signature(self, state: dict[str, Any]) -> None:
        """Raise ValueError where a saved place cannot be one in this stream."""
        check_same("streaming", state["length"] is None, self.streaming)
        if not self.streaming:
            check_same("data set length", state["length"], len(self.reference.dataset))
        check_same(
            "block_size (batch_size, or as many batches as are decided on at once)",
            state["block_size"],
            self.block_size,
        )
        check_same("batches in the batch_sampler", state["batches"], _listed(self.reference))
        if self.streaming:
            which = "num_workers (which rows of a stream come when depends on it)"
            check_same(which, state["num_workers"], self.reference.num_workers)


class _StreamReader:
    """The collate function of a stream: passes over what a resumed pass had consumed, and hands on what cannot be read.

    Args:
        reader: makes candidates of rows.
        passed: blocks to pass over, by worker (-1: no worker).
    """

    def __init__(self, reader: Reader, passed: Mapping[int, int]):
        self.reader, self.passed = reader, dict(passed)
        self._left: int | None = None

    def __call__(self, rows: Any) -> Candidates | Unread | int:
        """Candidates; or ``Unread``; or the number of the worker, for a block that was passed over."""
        worker = get_worker_info()
        worker_id = -1 if worker is None else worker.id
        if self._left is None:
            self._left = self.passed.get(worker_id, 0)
        if self._left > 0:
            self._left -= 1
            return worker_id
        if isinstance(rows, Unread):
            return rows
        try:
            candidates = self.reader.read(rows)
        except Exception as error:
            table = piece(rows)
            rows = rows if table is None else table.table.to_pylist()
            return Unread(rows if isinstance(rows, list) else [rows], error if worker is None else portable(error))
        candidates.worker = worker_id
        return candidates


def _listed(reference: Any) -> int | None:
    """How many batches a batch sampler that is a list has; None where it is none."""
    return len(reference.batch_sampler) if isinstance(reference.batch_sampler, (list, tuple)) else None


def _length(reference: Any, apart: bool) -> int | None:
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
    dropped = length % size if dropping and size and not (apart and reference.batch_size is not None) else 0
    return length - dropped
