"""ArrowTable: columns of a ``datasets.Dataset``, or of a piece of a stream, gathered straight out of Arrow's buffers."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import Dataset

from filterloader.data.candidates import Ragged
from filterloader.kernels import columns as kernel

_FORMATS = (None, "torch", "numpy")  # what rows hold is the same numbers under each


class Gathered(NamedTuple):
    """Rows of a table as columns."""

    n: int
    columns: dict[str, np.ndarray | Ragged]


class ArrowTable:
    """Rows by number, as columns: numbers as arrays ``[n]``, lists of numbers and strings (UTF-8 bytes) as ``Ragged``.

    Columns that hold anything else, or a missing value, are not ``in`` the table. Numbers keep the dtype they are stored in.
    Nothing is copied until it is asked for, and it may lie in any number of chunks, mapped from disk or not.

    table: a ``pyarrow.Table``. names: those of its columns that are wanted, None for all. order: a column of row numbers, which
    rows come in which order; None: as they lie.
    """

    def __init__(self, table: Any, names: Sequence[str] | None = None, order: Any = None):
        self.table = table
        self.names = tuple(table.column_names if names is None else names)
        self._order = None if order is None else _numbers(order)
        self._size = table.num_rows if order is None else len(order)
        self._columns = {name: column for name in self.names if (column := _column(table.column(name))) is not None}
        self.strings = tuple(
            name for name, column in self._columns.items() if isinstance(column, _Lists) and column.text
        )

    def __len__(self) -> int:
        return self._size

    def __contains__(self, name: Any) -> bool:
        return name in self._columns

    def gather(self, index: np.ndarray, names: Collection[str]) -> Gathered:
        """The rows ``index`` (int64 ``[n]``, in ``[-len, len)``) of the columns ``names``. Raises IndexError for other numbers."""
        size = len(self)
        if index.size and (index.min() < -size or index.max() >= size):
            wrong = index[(index < -size) | (index >= size)][0]
            raise IndexError(
                f"row {wrong} was asked for, and the data set has {size}; a sampler must draw numbers from 0 to {size - 1}"
            )
        index = np.where(index < 0, index + size, index) if index.size and index.min() < 0 else index
        if self._order is not None:
            index = self._order.take(*self._order.locate(index)).astype(np.int64)
        found, placed = {}, {}
        for name in names:
            column = self._columns[name]
            layout = column.starts.tobytes()
            if layout not in placed:
                placed[layout] = column.locate(index)
            found[name] = column.take(*placed[layout])
        return Gathered(index.size, found)


class ArrowRows(Dataset):
    """A ``datasets.Dataset`` whose rows come as columns, many at once.

    table: where they lie (see ``arrow_table``). names: the columns to read.
    """

    def __init__(self, dataset: Any, table: ArrowTable, names: Sequence[str]):
        self.dataset, self.table, self.names = dataset, table, tuple(names)

    def __len__(self) -> int:
        return len(self.table)

    def __getitems__(self, index: Sequence[int]) -> Gathered:
        return self.table.gather(np.asarray(index, np.int64), self.names)

    def __getstate__(self) -> tuple:
        return self.dataset, self.names

    def __setstate__(self, state: tuple) -> None:
        self.__init__(state[0], arrow_table(state[0]), state[1])


def arrow_table(dataset: Any) -> ArrowTable | None:
    """The table behind a data set; None where rows are made some other way (another class, a transform, a format of its own)."""
    datasets = sys.modules.get("datasets")  # where it was never imported, this is none of its data sets
    if datasets is None or type(dataset) is not datasets.Dataset:
        return None
    how = dataset.format
    if how["type"] not in _FORMATS or how["format_kwargs"] or not hasattr(dataset, "_indices"):
        return None
    return ArrowTable(dataset.data.table, None if how["output_all_columns"] else how["columns"],
                      None if dataset._indices is None else dataset._indices.column(0))  # fmt: skip


def arrow_stream(dataset: Any, size: int, *, drop_last: bool) -> Any:
    """The same stream in tables of ``size`` rows (``piece`` opens one); None where its rows are made some other way."""
    datasets = sys.modules.get("datasets")
    if datasets is None or type(dataset) is not datasets.IterableDataset or not dataset.features:
        return None
    if getattr(dataset, "_distributed", None) is not None:  # rows are dealt out among the ranks one by one
        return None
    if (
        getattr(dataset, "_starting_state_dict", None) is not None
    ):  # it goes on where another stopped, which tables of it would not
        return None
    how, source = getattr(dataset, "_formatting", None), getattr(dataset, "_ex_iterable", None)
    if how is not None and (how.format_type not in _FORMATS or getattr(how, "format_kwargs", None)):
        return None
    if getattr(source, "iter_arrow", None) is None or not all(
        _is_plain(feature) for feature in dataset.features.values()
    ):
        return None
    tables = dataset.with_format("arrow").batch(size, drop_last_batch=drop_last)
    tables.set_epoch(dataset.epoch)
    return tables


def piece(rows: Any) -> ArrowTable | None:
    """What ``arrow_stream`` yields, a row that holds the rows of each column, as a table; None for anything else."""
    pyarrow = sys.modules.get("pyarrow")
    if pyarrow is None or not isinstance(rows, pyarrow.Table):
        return None
    return ArrowTable(pyarrow.table({name: rows.column(name).combine_chunks().flatten() for name in rows.column_names}))


def _is_plain(feature: Any) -> bool:
    """Whether a feature of ``datasets`` is a number, a string, or a list of such."""
    kind = type(feature).__name__
    return kind in ("Value", "ClassLabel") or (
        kind in ("List", "LargeList", "Sequence") and type(feature.feature).__name__ == "Value"
    )


class _Chunks:
    """Where the rows of a column lie."""

    def __init__(self, chunks: list):
        self.chunks = chunks  # keeps the memory alive
        self.lengths = np.array([len(chunk) for chunk in chunks], np.int64)
        self.starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.lengths)])

    def locate(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        chunks, rows = np.empty(index.size, np.int64), np.empty(index.size, np.int64)
        kernel.locate(index, self.starts, chunks, rows)
        return chunks, rows


class _Numbers(_Chunks):
    """A column of numbers of fixed width."""

    def __init__(self, chunks: list, dtype: np.dtype):
        super().__init__(chunks)
        self.like = np.empty(0, dtype)
        self.addresses = np.array([_address(chunk, dtype.itemsize) for chunk in chunks], np.int64)

    def take(self, chunks: np.ndarray, rows: np.ndarray) -> np.ndarray:
        out = np.empty(rows.size, self.like.dtype)
        kernel.gather_numbers(chunks, rows, self.addresses, self.lengths, self.like, out)
        return out


class _Lists(_Chunks):
    """A column of lists of numbers, or of strings."""

    def __init__(self, chunks: list, dtype: np.dtype, *, wide: bool, text: bool):
        super().__init__(chunks)
        self.text, self.like, self.end_like = text, np.empty(0, dtype), np.empty(0, np.int64 if wide else np.int32)
        self.ends = np.array([_address(chunk, self.end_like.itemsize) for chunk in chunks], np.int64)
        if text:
            buffers = [chunk.buffers()[2] for chunk in chunks]
            self.values = np.array([0 if buffer is None else buffer.address for buffer in buffers], np.int64)
            self.sizes = np.array([0 if buffer is None else buffer.size for buffer in buffers], np.int64)
        else:
            self.values = np.array([_address(chunk.values, dtype.itemsize) for chunk in chunks], np.int64)
            self.sizes = np.array([len(chunk.values) for chunk in chunks], np.int64)

    def take(self, chunks: np.ndarray, rows: np.ndarray) -> Ragged:
        return Ragged(
            *kernel.gather_lists(
                chunks, rows, self.ends, self.lengths, self.values, self.sizes, self.end_like, self.like
            )
        )


def _address(array: Any, itemsize: int) -> int:
    """Where the second buffer of an Arrow array (its numbers, or its offsets) begins, the array's own offset counted."""
    buffer = array.buffers()[1]
    return 0 if buffer is None else buffer.address + array.offset * itemsize


def _column(column: Any) -> _Numbers | _Lists | None:
    """A column as something to gather from; None for what is odd."""
    import pyarrow as pa

    kind = column.type
    if column.null_count:
        return None
    if _dtype(kind) is not None:
        return _numbers(column)
    chunks = [chunk for chunk in column.chunks if len(chunk)]
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _Lists(chunks, np.dtype(np.uint8), wide=pa.types.is_large_string(kind), text=True)
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or _dtype(kind.value_type) is None:
        return None
    if any(chunk.values.null_count for chunk in chunks):
        return None
    return _Lists(chunks, _dtype(kind.value_type), wide=pa.types.is_large_list(kind), text=False)


def _numbers(column: Any) -> _Numbers:
    return _Numbers([chunk for chunk in column.chunks if len(chunk)], _dtype(column.type))


def _dtype(kind: Any) -> np.dtype | None:
    """The NumPy dtype of an Arrow type that is a number of whole bytes; None for any other."""
    import pyarrow as pa

    known = pa.types.is_integer(kind) or pa.types.is_float32(kind) or pa.types.is_float64(kind)
    return np.dtype(kind.to_pandas_dtype()) if known else None
