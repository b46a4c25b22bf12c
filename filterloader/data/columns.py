"""ArrowTable: columns of a ``datasets.Dataset``, or of a piece of a stream, gathered from Arrow many rows at once."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import Dataset

from filterloader.data import utf8
from filterloader.data.candidates import Ragged

_FORMATS = (None, "torch", "numpy")  # what rows hold is the same numbers under each
# Bytes of columns in many chunks that are copied into one each, once; larger ones are gathered from disk.
_IN_ONE_PIECE = 2**30


class Gathered(NamedTuple):
    """Rows of a table as columns. missing: for each column that lacks a value in some of them, the first such row."""

    n: int
    columns: dict[str, np.ndarray | Ragged]
    missing: dict[str, int]


class ArrowTable:
    """Rows by number, as columns: numbers as arrays ``[n]``, lists of numbers and strings (UTF-8 bytes) as ``Ragged``.

    Columns that hold anything else are not ``in`` the table. Numbers keep the dtype they are stored in. A column that
    lies in one piece is not copied, mapped from disk or not.

    Args:
        table: a ``pyarrow.Table``, or one of ``datasets``.
        names: those of its columns that are wanted; None for all.
        order: a column of row numbers, which rows come in which order; None: as they lie.

    Attributes:
        strings: the columns of text.
        others: the columns whose type says that they hold no numbers (text, times, mappings, …).
    """

    def __init__(self, table: Any, names: Sequence[str] | None = None, order: Any = None):
        self._stored = table
        self.table = getattr(table, "table", table)
        self.names = tuple(self.table.column_names if names is None else names)
        self._order = None if order is None else _read(order)[0]
        self._size = self.table.num_rows if order is None else len(order)
        types = {name: self.table.schema.field(name).type for name in self.names}
        self.strings = tuple(name for name, kind in types.items() if _is_text(kind))
        self.others = tuple(name for name, kind in types.items() if not _holds_numbers(kind))
        self._known = {name for name, kind in types.items() if _is_text(kind) or _is_flat(kind)}
        self._whole: dict[str, tuple] = {}  # columns in one piece each
        self._part: tuple | None = None  # some columns of the stored table, where they are too large for that

    def __len__(self) -> int:
        return self._size

    def __contains__(self, name: Any) -> bool:
        return name in self._known

    def gather(self, index: np.ndarray, names: Collection[str]) -> Gathered:
        """The rows ``index`` (int64 ``[n]``, in ``[-len, len)``; IndexError for others) of the columns ``names``."""
        size = len(self)
        if index.size and (index.min() < -size or index.max() >= size):
            wrong = index[(index < -size) | (index >= size)][0]
            raise IndexError(
                f"row {wrong} was asked for, and the data set has {size}; a sampler must draw numbers from 0 to "
                f"{size - 1}"
            )
        index = np.where(index < 0, index + size, index) if index.size and index.min() < 0 else index
        if self._order is not None:
            index = self._order[index].astype(np.int64)
        part = self._far(index, names)
        found, missing = {}, {}
        for name in names:
            values, holes = self._piece(name) if part is None else _read(part.column(name))
            if part is None:
                found[name] = values[index] if isinstance(values, np.ndarray) else values.take(index)
                holes = None if holes is None else holes[index]
            else:
                found[name] = values if isinstance(values, np.ndarray) else values.compact()
            if holes is not None and holes.any():
                missing[name] = int(holes.argmax())
        return Gathered(index.size, found, missing)

    def _piece(self, name: str) -> tuple[np.ndarray | Ragged, np.ndarray | None]:
        if name not in self._whole:
            self._whole[name] = _read(self.table.column(name))
        return self._whole[name]

    def _far(self, index: np.ndarray, names: Collection[str]) -> Any:
        """The rows as a small table, where the columns are too large to be copied into one piece; else None."""
        names = list(names)
        if self._part is None or self._part[0] != names:
            few = self.table.select(names)
            chunks = max((column.num_chunks for column in few.columns), default=0)
            large = chunks > 1 and few.nbytes > _IN_ONE_PIECE
            self._part = names, self._stored.select(names) if large else None
        if self._part[1] is None:
            return None
        return self._part[1].fast_gather(index) if index.size else self.table.slice(0, 0)


class ArrowRows(Dataset):
    """A ``datasets.Dataset`` whose rows come as columns, many at once.

    table: where they lie (see ``arrow_table``). names: the columns to read.
    """

    def __init__(self, dataset: Any, table: ArrowTable, names: Sequence[str]):
        self.dataset, self.names = dataset, tuple(names)
        self.table: Any = table

    def __len__(self) -> int:
        return len(self.table)

    def __getitems__(self, index: Sequence[int]) -> Gathered:
        return self.table.gather(np.asarray(index, np.int64), self.names)

    def __getstate__(self) -> tuple:
        return self.dataset, self.names

    def __setstate__(self, state: tuple) -> None:
        self.dataset, self.names = state
        self.table = arrow_table(self.dataset)


def arrow_table(dataset: Any) -> ArrowTable | None:
    """The table behind a data set; None where rows are made some other way (a class of its own, a transform, …)."""
    datasets = sys.modules.get("datasets")  # where it was never imported, this is none of its data sets
    if datasets is None or type(dataset) is not datasets.Dataset:
        return None
    how = dataset.format
    if how["type"] not in _FORMATS or how["format_kwargs"] or not hasattr(dataset, "_indices"):
        return None
    return ArrowTable(dataset.data, None if how["output_all_columns"] else how["columns"],
                      None if dataset._indices is None else dataset._indices.column(0))  # fmt: skip


def arrow_stream(dataset: Any, size: int, *, drop_last: bool) -> Any:
    """The same stream in tables of ``size`` rows (``piece`` opens one); None where its rows are made some other way."""
    datasets = sys.modules.get("datasets")
    if datasets is None or type(dataset) is not datasets.IterableDataset or not dataset.features:
        return None
    if getattr(dataset, "_distributed", None) is not None:  # rows are dealt out among the ranks one by one
        return None
    if getattr(dataset, "_starting_state_dict", None) is not None:  # it goes on from there, and tables would not
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


def _read(column: Any) -> tuple[np.ndarray | Ragged, np.ndarray | None]:
    """A column as one array, and bool ``[n]``, which rows lack a value; None where none does."""
    array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    holes = np.asarray(array.is_null()) if array.null_count else None
    if _is_text(array.type):
        return utf8.of_arrow(array), holes
    if _is_number(array.type):
        return _numbers(array), holes
    offsets, values = np.asarray(array.offsets).astype(np.int64), array.values
    if values.null_count:
        before = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.asarray(values.is_null()))])
        inside = before[offsets[1:]] > before[offsets[:-1]]
        holes = inside if holes is None else holes | inside
    return Ragged(_numbers(values), offsets), holes


def _numbers(array: Any) -> np.ndarray:
    import pyarrow as pa

    if array.null_count:
        array = array.fill_null(pa.scalar(0).cast(array.type))
    return array.to_numpy(zero_copy_only=False)


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_flat(kind: Any) -> bool:
    """Whether a type is of numbers, or of lists of them, that NumPy has."""
    import pyarrow as pa

    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _is_number(kind.value_type) and not pa.types.is_boolean(kind.value_type)
    return _is_number(kind)


def _is_number(kind: Any) -> bool:
    import pyarrow as pa

    tests = (pa.types.is_integer, pa.types.is_float32, pa.types.is_float64, pa.types.is_boolean)
    return any(test(kind) for test in tests)


def _holds_numbers(kind: Any) -> bool:
    """Whether rows of a type hold numbers, or lists of them to any depth; so may lists that are all empty."""
    import pyarrow as pa

    if isinstance(kind, pa.BaseExtensionType):
        return _holds_numbers(kind.storage_type)
    if pa.types.is_struct(kind) or pa.types.is_map(kind):
        return False
    inner = getattr(kind, "value_type", None)
    if inner is not None:
        return pa.types.is_null(inner) or _holds_numbers(inner)
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
