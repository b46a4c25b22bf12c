"""Portable states: trees that ``torch.save`` writes and ``torch.load`` reads back with its safe default."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

_ARRAY = "__array__"


def pack(tree: Any) -> Any:
    """A copy of a state with every array as a tagged tensor and every container a plain one."""
    if isinstance(tree, dict):
        return {key: pack(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [pack(value) for value in tree] if type(tree) is not tuple else tuple(pack(value) for value in tree)
    if isinstance(tree, np.ndarray) and tree.dtype.kind in "biuf":
        return {_ARRAY: torch.from_numpy(np.array(tree, order="C"))}
    if isinstance(tree, np.generic):
        return tree.item()
    return tree.clone() if isinstance(tree, torch.Tensor) else tree


def unpack(tree: Any) -> Any:
    """The state that ``pack`` was given, as a copy."""
    if isinstance(tree, dict):
        if tree.keys() == {_ARRAY}:
            return tree[_ARRAY].numpy(force=True).copy()
        return {key: unpack(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(unpack(value) for value in tree)
    return tree.clone() if isinstance(tree, torch.Tensor) else tree
