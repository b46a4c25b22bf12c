"""Batch: the columns a model takes, by name, and which batch of its loader it is."""

from __future__ import annotations

import copy
import warnings
from collections.abc import MutableMapping
from typing import Any

import torch


class Batch(dict):
    """A batch ready for ``model(**batch)``; a dict that can be used wherever a tokenizer's ``BatchEncoding`` is.

    Columns are also attributes (``batch.input_ids``). The label column stands under ``labels`` and is also found by the
    name it has in the data set (``batch["label"]``). The id survives ``to``, ``pin_memory``, ``copy``, ``|``,
    ``copy.deepcopy`` and pickling. What is rebuilt from its columns, ``{name: column.clone() for …}``, has none;
    ``report`` then goes by the values.

    It is a class of its own, since importing transformers for its ``BatchEncoding`` takes longer than the loader's own
    import.

    Args:
        data: the columns, a mapping or pairs; default none.
        batch_id: number of the batch in its loader, counted from 0; default None, not known.
        label_column: name of the label column in the data set; default None, no label.

    Example:
        >>> columns = {"input_ids": torch.tensor([[2, 3]]), "labels": torch.tensor([1])}
        >>> batch = Batch(columns, batch_id=7, label_column="label")
        >>> batch.to("cpu").batch_id, batch.input_ids.shape, batch["label"]
        (7, torch.Size([1, 2]), tensor([1]))
    """

    batch_id: int | None = None
    label_column: str | int | None = None

    def __init__(self, data: Any = None, *, batch_id: int | None = None, label_column: str | int | None = None):
        super().__init__(() if data is None else data)
        if batch_id is not None:
            self.batch_id = batch_id
        if label_column is not None:
            self.label_column = label_column

    def __missing__(self, name: Any) -> Any:
        if self.label_column is not None and name == self.label_column and "labels" in self:
            return self["labels"]
        raise KeyError(name)

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(
                f"this batch has no attribute and no column {name!r}; its columns: {list(self)}"
            ) from None

    def __or__(self, other: Any) -> Batch:
        if not isinstance(other, dict):
            return NotImplemented
        joined = self.copy()
        joined.update(other)
        return joined

    def copy(self) -> Batch:
        """The same columns in a batch of its own, with the same id.

        Returns:
            The copy; its tensors are not copied.
        """
        return Batch(self, batch_id=self.batch_id, label_column=self.label_column)

    def to(self, device: str | int | torch.device, *, non_blocking: bool = False) -> Batch:
        """Move every tensor to a device, in place, as ``BatchEncoding.to`` does.

        Args:
            device: where to, as ``torch.Tensor.to`` takes it. A dtype is not a device: it is warned of, and nothing
                changes.
            non_blocking: whether to copy while the CPU goes on; default False.

        Returns:
            This batch.
        """
        if not isinstance(device, (str, int, torch.device)):
            warnings.warn(f"a batch moves to a device, not to {device!r}: nothing was changed", stacklevel=2)
            return self
        how = {"non_blocking": True} if non_blocking else {}
        for name, value in self.items():
            self[name] = _with_each(value, "to", device, **how)
        return self

    def pin_memory(self) -> Batch:
        """Move every tensor to page-locked memory, in place.

        Returns:
            This batch.
        """
        for name, value in self.items():
            self[name] = _with_each(value, "pin_memory")
        return self


def _with_each(value: Any, method: str, *args: Any, **how: Any) -> Any:
    """The same structure, with what the method returns in place of everything that has the method."""
    if hasattr(value, method):
        return getattr(value, method)(*args, **how)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_with_each(item, method, *args, **how) for item in value))
    if isinstance(value, (list, tuple)):
        return type(value)(_with_each(item, method, *args, **how) for item in value)
    if isinstance(value, MutableMapping):
        moved = copy.copy(value)
        moved.update({name: _with_each(item, method, *args, **how) for name, item in value.items()})
        return moved
    return value
