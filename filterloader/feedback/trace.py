"""Trace: by what a batch is known again: the object, its tensors and arrays, their shapes, some of their values."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any
from zlib import crc32

import numpy as np
import torch

from filterloader.data.batch import Batch

_DEEP, _LOOKED_AT, _MOST = 5, 256, 16  # levels, objects and tensors that are looked at in one batch
_ALONG = 64  # values of a row that go into a sample, at most
# What holds no tensors of a batch.
_CLOSED = (str, bytes, int, float, complex, type(None), type, ModuleType, FunctionType, torch.nn.Module)

# Shape of a tensor, and a checksum of some of its values where they are known.
Mark = tuple[tuple[int, ...], int | None]


class Trace:
    """What is kept of a batch that was handed out: weak references, so that it lives no longer for it, and marks.

    Args:
        batch: any object; default None, for one of which only the marks are left.
        marks: shapes and samples of its tensors; default None, taken from the batch.
        remake: makes the tensors of the batch once more, so that their marks are taken when they are asked for, which
            is seldom; default None, all are taken now.
    """

    __slots__ = ("_batch", "_marks", "_remake", "_tensors")

    def __init__(
        self,
        batch: Any = None,
        marks: list[Mark] | None = None,
        remake: Callable[[], list[torch.Tensor]] | None = None,
    ):
        tensors = [] if batch is None else tensors_of(batch)
        self._batch, self._tensors, self._remake = _weak(batch), [*map(weakref.ref, tensors)], remake
        self._marks = marks_of(batch, tensors) if marks is None and remake is None else marks

    @property
    def marks(self) -> list[Mark]:
        """Shapes and samples of its tensors."""
        if self._marks is None and self._remake is not None:
            self._marks, self._remake = marks_of(None, self._remake()), None
        return self._marks or []

    def __reduce__(self) -> tuple:
        return Trace, (None, self.marks)

    def living(self, rows: int | None = None) -> set[int]:
        """Identities of the batch and of those of its tensors that are still in use, moved ones included.

        Args:
            rows: count only tensors with so many rows, which were made for this batch; others may be the rows' own, and
                the data set holds them. Default None, all.
        """
        tensors = [tensor for ref in self._tensors if (tensor := ref()) is not None]
        batch = None if self._batch is None else self._batch()
        found = set() if batch is None else {id(batch)}
        for tensor in tensors + ([] if batch is None else tensors_of(batch)):
            if rows is None or (tensor.ndim and tensor.shape[0] == rows):
                found.add(id(tensor))
        return found

    def likeness(self, marks: list[Mark]) -> tuple[int, int]:
        """How many of this batch's tensors are among ``marks`` by their values, and how many by their shapes."""
        shapes = {shape for shape, _ in marks}
        by_values = sum(mark in marks for mark in self.marks if mark[1] is not None)
        return by_values, sum(shape in shapes for shape, _ in self.marks)


def tensors_of(value: Any) -> list[Any]:
    """The tensors and arrays in a batch of any kind, wherever they lie in it; at most 16."""
    if type(value) is Batch and all(type(item) is torch.Tensor for item in value.values()):
        return list(value.values())[:_MOST]
    found: dict[int, Any] = {}
    level, looked_at = [value], 0
    for _ in range(_DEEP):
        deeper: list[Any] = []
        for item in level:
            looked_at += 1
            if looked_at > _LOOKED_AT or len(found) == _MOST:
                return list(found.values())
            if isinstance(item, (torch.Tensor, np.ndarray)):
                found[id(item)] = item
            elif not isinstance(item, _CLOSED):
                deeper += _parts(item)
        level = deeper
    return list(found.values())


def _parts(value: Any) -> list[Any]:
    """What an object holds: items of a mapping, list or tuple, else its attributes and slots."""
    if isinstance(value, Mapping):
        return list(value.values())[:_LOOKED_AT]
    if isinstance(value, (list, tuple)):
        return list(value[:_LOOKED_AT])
    held = list(getattr(value, "__dict__", {}).values())
    for kind in type(value).__mro__:
        names = kind.__dict__.get("__slots__", ())
        names = (names,) if isinstance(names, str) else names
        held += [getattr(value, name, None) for name in names if not name.startswith("__")]
    return held[:_LOOKED_AT]


def marks_of(batch: Any, tensors: list[Any], *, every: bool = False, wait: bool = False) -> list[Mark]:
    """Shape and sample of each tensor of a batch, or of its plain values where it has none.

    Args:
        batch: the batch.
        tensors: what ``tensors_of`` found in it.
        every: whether to sample each; default False, the first and the last only, which are the inputs and the labels.
        wait: whether to sample those on a device, too, which waits for it; default False.
    """
    if not tensors:
        values = [repr(value) for value, _ in zip(_plain_values(batch), range(_ALONG), strict=False)]
        return [((rows_of(batch),), crc32("\n".join(values).encode()))] if values else []
    last = len(tensors) - 1
    return [(t.shape, _sample(t, wait) if every or i in (0, last) else None) for i, t in enumerate(tensors)]


def rows_of(batch: Any) -> int:
    """How many rows a batch without tensors has."""
    column = next(iter(batch.values()), ()) if isinstance(batch, Mapping) else batch
    return len(column) if hasattr(column, "__len__") else 1


def _plain_values(value: Any, deep: int = _DEEP) -> Iterator[Any]:
    """Numbers and strings, in their order."""
    if isinstance(value, (str, bytes, int, float)):
        yield value
    elif deep and not isinstance(value, _CLOSED):
        for part in _parts(value):
            yield from _plain_values(part, deep - 1)


def _sample(tensor: Any, wait: bool) -> int | None:
    """A checksum of values all along the middle row; None where they are not at hand."""
    try:
        if isinstance(tensor, torch.Tensor):
            if tensor.is_cpu and not tensor.requires_grad:
                tensor = tensor.numpy()
            elif tensor.is_cpu or wait:
                tensor = _middle(tensor.detach()).cpu().numpy()
            else:
                return None
        row = _middle(tensor)
        if row.size > _ALONG:
            row = row[:: row.size // _ALONG + 1]
        return crc32(row.tobytes()) if row.size and row.dtype.kind != "O" else None
    except (TypeError, ValueError, RuntimeError):  # a dtype or a layout that NumPy does not know
        return None


def _middle(rows: Any) -> Any:
    """The middle row of the middle of … of an array; empty where it is."""
    while rows.ndim > 1 and len(rows):
        rows = rows[len(rows) // 2]
    return rows


def _weak(batch: Any) -> weakref.ref | None:
    """A weak reference to a batch that is an object of its own; None for one that is a tensor, a list, a dict or a
    tuple."""
    try:
        return None if batch is None or isinstance(batch, (torch.Tensor, np.ndarray)) else weakref.ref(batch)
    except TypeError:
        return None
