"""Values: what one column of rows holds, as one array; or an error that names the row that does not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch

from filterloader.data.candidates import Ragged

ABSENT = type("Absent", (), {"__repr__": lambda _: "nothing"})()  # stands for the value of a row without the column
_LARGEST = np.iinfo(np.int64).max
_NUMBER, _EMPTY, _OTHER, _MIXED = range(4)  # what a value holds; an empty list may be a list of anything


class RowError(ValueError):
    """A row that no batch can be made of.

    Args:
        what: the fault, up to the word that says where.
        advice: what to do about it.
        place: number of the row among those read together; None where that is not known.
        n: how many were read together.
    """

    def __init__(self, what: str, advice: str = "", place: int | None = None, n: int = 0):
        where = "" if place is None else f" in row {place} of the {n} read"
        super().__init__(f"{what}{where}; {advice}" if advice else f"{what}{where}")
        self.what, self.advice, self.place = what, advice, place

    def numbered(self, numbers: Sequence) -> RowError:
        """The same error, once the numbers of the rows read are known."""
        if self.place is None:
            return self
        return RowError(f"{self.what} in row {numbers[self.place]} of the data set", self.advice)


def column(name: str, values: list, *, wanted: str | None = None) -> np.ndarray | Ragged | None:
    """One column of rows as an array.

    Args:
        name: of the column.
        values: one for each row, at least one.
        wanted: ``"labels"`` or ``"input_ids"`` where the batch must have it; None for a side column.

    Returns:
        Numbers as int64, float32 or bool ``[n, …]``, lists of them as ``Ragged``; None for a side column without.

    Raises:
        RowError: a row holds no number where one is wanted, or where other rows do; or rows are of different shapes.
    """
    values = [_plain(value) if isinstance(value, torch.Tensor) else value for value in values]
    try:
        found = _read(values)
    except (TypeError, ValueError, OverflowError):
        found = None
    if found is None:
        _explain(name, values, wanted)
        return None
    if isinstance(found, Ragged):
        return found
    return narrow(found, truths=wanted is None)


def ragged(rows: Sequence, dtype: Any = np.int64) -> Ragged:
    """Lists of numbers as one array. Fractions are cut off where ``dtype`` has none."""
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    return Ragged(np.fromiter(chain.from_iterable(rows), dtype, int(offsets[-1])), offsets)


def narrow(array: np.ndarray, *, truths: bool = True) -> np.ndarray:
    """Whole numbers as int64, real ones as float32: what models take. truths: bool stays so, else it is 0 and 1."""
    if array.dtype.kind == "b" and truths:
        return array
    if array.dtype == np.uint64 and array.size and array.max() > _LARGEST:
        raise _too_large(array.max())
    return array.astype(np.float32 if array.dtype.kind == "f" else np.int64, copy=False)


def words(values: list) -> Ragged | None:
    """The whole numbers of each row, however deep in lists, end to end; None where a row holds anything else."""
    found = [_flat(_plain(value) if isinstance(value, torch.Tensor) else value) for value in values]
    rows = [row for row in found if row is not None]
    if len(rows) < len(found):
        return None
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([row.size for row in rows], out=offsets[1:])
    return Ragged(np.concatenate(rows), offsets)


def class_labels(labels: Any) -> np.ndarray | None:
    """Labels as int64 ``[n]`` where each example has one class, None for any others (real, several, of tokens)."""
    if isinstance(labels, list):
        try:
            labels = np.asarray([v.item() if isinstance(v, (torch.Tensor, np.generic)) else v for v in labels])
        except (ValueError, TypeError, RuntimeError):
            return None
    if not isinstance(labels, np.ndarray) or labels.ndim != 1 or labels.dtype.kind not in "iub":
        return None
    return labels.astype(np.int64, copy=False)


def odd(name: str, value: Any, place: int, n: int, wanted: str | None) -> RowError:
    """The error for a value that is no number, where one must be."""
    if value is ABSENT:
        return RowError(f"column {name!r} is missing", "give every row the same columns, or drop this one", place, n)
    if wanted == "labels":
        advice = (
            "map each class to an integer (datasets: `class_encode_column`), fill in what is missing, or name another "
            "column with label="
        )
        return RowError(f"labels must be numbers, got {value!r:.60} in column {name!r},", advice, place, n)
    if wanted == "input_ids":
        what = f"input_ids must hold a list of whole numbers, got {value!r:.60}"
        return RowError(what, "tokenize the row again, or drop it", place, n)
    what = f"column {name!r} must hold numbers in every row or in none, got {value!r:.60}"
    return RowError(what, "fill it in, drop the row or the column, or give a collate_fn", place, n)


def _read(values: list) -> np.ndarray | Ragged | None:
    """A column of numbers, of lists of numbers, or of arrays of one shape; None, or NumPy's error, for any other."""
    first = values[0]
    if isinstance(first, (list, tuple)) or (isinstance(first, np.ndarray) and first.ndim == 1):
        return _lists(values)
    if isinstance(first, np.ndarray):
        return _numbers(np.stack(values))
    if isinstance(first, (int, float, np.number, np.bool_)):
        found = _numbers(np.asarray(values))
        return found if found is not None and found.ndim == 1 else None
    return None


def _lists(rows: list) -> np.ndarray | Ragged | None:
    if any(isinstance(row, np.ndarray) for row in rows):
        rows = [np.asarray(row) for row in rows]
        full = [row for row in rows if row.size]
        if full and full[0].ndim > 1:
            return _numbers(np.stack(rows))
        values = np.concatenate(full) if full else np.zeros(0, np.int64)
    elif not all(isinstance(row, (list, tuple)) for row in rows):
        return None
    else:
        try:
            if type(sum(map(sum, rows))) is int:  # then all are whole, and need not be looked at one by one
                return ragged(rows)
        except (TypeError, OverflowError):
            pass
        values = np.array(list(chain.from_iterable(rows)))
    if _numbers(values) is None:
        return None
    if values.ndim > 1:
        return values.reshape(len(rows), len(rows[0]), *values.shape[1:]) if len(set(map(len, rows))) == 1 else None
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    return Ragged(narrow(values, truths=False), offsets)


def _numbers(array: np.ndarray) -> np.ndarray | None:
    """The array where int64, float32 or bool can hold it, else None."""
    if array.dtype.kind not in "biuf" or (array.dtype == np.uint64 and array.size and array.max() > _LARGEST):
        return None
    return array


def _plain(tensor: torch.Tensor) -> np.ndarray:
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy(force=True)


def _flat(value: Any) -> np.ndarray | None:
    try:
        array = np.asarray(value)
    except ValueError:
        parts = [_flat(part) for part in value]
        known = [part for part in parts if part is not None]
        return np.concatenate(known) if len(known) == len(parts) else None
    if array.dtype.kind not in "iu" and (array.size or array.ndim == 0):
        return None
    return array.ravel().astype(np.int64, copy=False)


def _explain(name: str, values: list, wanted: str | None) -> None:
    """Raise the error that says why a column cannot be read; None where it holds no numbers, and need not."""
    kinds = [_kind(value) for value in values]
    if wanted is None and not {_NUMBER, _MIXED} & set(kinds):
        return
    for place, kind in enumerate(kinds):
        if kind not in (_NUMBER, _EMPTY):
            raise odd(name, values[place], place, len(values), wanted)
    shapes = [_shape(value) for value in values]
    like = next(shape for shape in shapes if shape is not None) if any(shapes) else ()
    odd_ones = [i for i, shape in enumerate(shapes) if shape is None or shape != like]
    if not odd_ones:
        raise _too_large(f"values of column {name!r}")
    place = odd_ones[0]
    shape = shapes[place]
    got = "lists of different lengths" if shape is None else f"{list(shape)} beside {list(like or ())}"
    what = f"column {name!r} has nested rows of different shapes, {got}"
    raise RowError(what, "pad it, drop the column, or give a collate_fn", place, len(values))


def _too_large(what: Any) -> RowError:
    return RowError(
        f"{what}: whole numbers must be at most {_LARGEST}", "store a hash as signed or as text, or drop it"
    )


def _kind(value: Any) -> int:
    if isinstance(value, np.ndarray) and value.dtype.kind != "O":
        number = _numbers(value) is not None
        return _EMPTY if value.size == 0 else _NUMBER if number else _OTHER
    if isinstance(value, (list, tuple, np.ndarray)):
        kinds = {_kind(part) for part in value} - {_EMPTY}
        return kinds.pop() if len(kinds) == 1 else _MIXED if kinds & {_NUMBER, _MIXED} else _OTHER if kinds else _EMPTY
    if isinstance(value, torch.Tensor):
        return _kind(_plain(value))
    if isinstance(value, int):
        return _NUMBER if -_LARGEST <= value <= _LARGEST else _OTHER
    return _NUMBER if isinstance(value, (float, np.integer, np.floating, np.bool_)) else _OTHER


def _shape(value: Any) -> tuple | None:
    """What all rows of a nested column must share; None for a row that is no rectangle itself."""
    try:
        return np.shape(value)
    except ValueError:
        return None


def is_row(row: Any, name: Any) -> bool:
    """Whether a row is a mapping that has a column."""
    return isinstance(row, Mapping) and name in row
