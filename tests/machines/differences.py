"""Differences: the first place where two trees of containers, tensors and numbers part, and a clock at rest."""

import math
import sys
import time

import numpy as np
import torch

_CLOCKS = ("perf_counter", "monotonic", "time", "process_time", "perf_counter_ns", "monotonic_ns", "time_ns")
_RANDOM_STATE = 5056  # bytes of the state of a torch generator on the CPU


def difference(left, right, *, random_states=True, path=""):
    """Where two trees first differ, as ``path: left | right``; None where they are equal.

    random_states: False passes over the states of torch's generators.
    """
    where = path or "(top)"
    if isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        return _tensors(left, right, random_states, where)
    if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
        return _tensors(torch.from_numpy(left), torch.from_numpy(right), random_states, where)
    if type(left) is not type(right):
        return f"{where}: {type(left).__name__} {left!r:.80} | {type(right).__name__} {right!r:.80}"
    if isinstance(left, dict):
        if list(left) != list(right):
            return f"{where}: keys {list(left)!r:.200} | {list(right)!r:.200}"
        parts = [(f"{path}[{key!r}]", left[key], right[key]) for key in left]
    elif isinstance(left, (list, tuple)):
        if len(left) != len(right):
            return f"{where}: {len(left)} items {left!r:.120} | {len(right)} items {right!r:.120}"
        parts = [(f"{path}[{i}]", a, b) for i, (a, b) in enumerate(zip(left, right, strict=True))]
    else:
        return None if _equal(left, right) else f"{where}: {left!r:.120} | {right!r:.120}"
    found = (difference(a, b, random_states=random_states, path=name) for name, a, b in parts)
    return next((text for text in found if text is not None), None)


def _equal(left, right):
    if isinstance(left, float) and math.isnan(left) and math.isnan(right):
        return True
    return left == right


def _tensors(left, right, random_states, where):
    if left.dtype != right.dtype or left.shape != right.shape:
        return f"{where}: {left.dtype} {list(left.shape)} | {right.dtype} {list(right.shape)}"
    if not random_states and left.dtype == torch.uint8 and left.numel() == _RANDOM_STATE:
        return None
    both_nan = left.isnan() & right.isnan() if left.is_floating_point() else torch.zeros_like(left, dtype=torch.bool)
    apart = ((left != right) & ~both_nan).flatten().nonzero().flatten()
    if not len(apart):
        return None
    if left.dtype == torch.uint8 and left.numel() == _RANDOM_STATE:
        return f"{where}: a torch generator stands elsewhere"
    at, count = int(apart[0]), len(apart)
    return f"{where}: {count} of {left.numel()} values, first {left.flatten()[at]} | {right.flatten()[at]} at {at}"


class _StillTime:
    """The module ``time`` with clocks that stand still."""

    def __getattr__(self, name):
        return (lambda: 0) if name in _CLOCKS else getattr(time, name)


def stop_clocks(monkeypatch):
    """Let every clock that filterloader reads stand still, so that all measured times are equal."""
    import filterloader.loader  # the rooms that read clocks are open from here on

    real = {id(getattr(time, name)) for name in _CLOCKS}
    for module in [module for name, module in sys.modules.items() if name.split(".")[0] == "filterloader"]:
        for name, value in list(vars(module).items()):
            if value is time:
                monkeypatch.setattr(module, name, _StillTime())
            elif callable(value) and id(value) in real:
                monkeypatch.setattr(module, name, lambda: 0.0)
    return filterloader
