"""Portable states: trees that ``torch.save`` writes and ``torch.load`` reads back with its safe default."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import torch

_ARRAY, _SCALAR = "__array__", "__scalar__"


def pack(tree: Any) -> Any:
    """A copy of a state with every array as a tagged tensor.

    What is of a class of its own stays as it is: plain rows come back by the safe default of ``torch.load``, rows of
    your own classes by ``weights_only=False``.
    """
    if type(tree) in (dict, OrderedDict):
        return type(tree)((key, pack(value)) for key, value in tree.items())
    if type(tree) in (list, tuple):
        return type(tree)(pack(value) for value in tree)
    if isinstance(tree, (np.ndarray, np.generic)) and tree.dtype.kind in "biuf":
        return {_ARRAY if isinstance(tree, np.ndarray) else _SCALAR: torch.from_numpy(np.array(tree, order="C"))}
    return tree.clone() if isinstance(tree, torch.Tensor) else tree


def unpack(tree: Any) -> Any:
    """The state that ``pack`` was given, as a copy."""
    if type(tree) in (dict, OrderedDict):
        if tree.keys() == {_ARRAY}:
            return tree[_ARRAY].numpy(force=True).copy()
        if tree.keys() == {_SCALAR}:
            return tree[_SCALAR].numpy(force=True)[()]
        return type(tree)((key, unpack(value)) for key, value in tree.items())
    if type(tree) in (list, tuple):
        return type(tree)(unpack(value) for value in tree)
    return tree.clone() if isinstance(tree, torch.Tensor) else tree
