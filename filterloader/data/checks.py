"""Checks: settings and states, held against what is allowed, in words; and the repr that can be pasted back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np


def share(name: str, value: Any, *, zero: bool = True) -> float:
    """``value`` as a float in [0, 1] (above 0 unless ``zero``); raises ValueError that says so."""
    low = "[0" if zero else "(0"
    if (
        not isinstance(value, Real)
        or isinstance(value, bool)
        or not (0 <= float(value) <= 1)
        or (not zero and value == 0)
    ):
        raise ValueError(f"{name} must be a number in {low}, 1], got {value!r}")
    return float(value)


def integer(name: str, value: Any, *, least: int = 1, most: int | None = None) -> int:
    """``value`` as an int of at least ``least``, and at most ``most``; raises ValueError that says so."""
    fits = isinstance(value, Integral) and not isinstance(value, bool)
    if not fits or value < least or (most is not None and value > most):
        allowed = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name} must be a whole number {allowed}, got {value!r}")
    return int(value)


def real(name: str, value: Any, *, least: float | None = None, above: float | None = None) -> float:
    """``value`` as a finite float, of at least ``least`` or above ``above``; raises ValueError that says so."""
    fits = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if not fits or (least is not None and value < least) or (above is not None and value <= above):
        allowed = f" of at least {least}" if least is not None else f" above {above}" if above is not None else ""
        raise ValueError(f"{name} must be a finite number{allowed}, got {value!r}")
    return float(value)


def boolean(name: str, value: Any) -> bool:
    """``value`` as a bool; raises ValueError for anything but True and False."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def choice(name: str, value: Any, choices: Sequence[Any], *, otherwise: str = "") -> Any:
    """``value`` itself, one of ``choices``; raises ValueError that lists them. otherwise: what else may be given."""
    if not any(value is one or (isinstance(value, str) and value == one) for one in choices):
        listed = ", ".join(map(repr, choices))
        raise ValueError(f"{name}={value!r} is not known; choose one of {listed}{otherwise}")
    return value


def pasteable_repr(thing: Any, *names: str) -> str:
    """A repr that can be pasted back: the class called with its settings."""
    return f"{type(thing).__name__}({', '.join(f'{name}={getattr(thing, name)!r}' for name in names)})"


def check_same(what: str, saved: Any, own: Any) -> None:
    """Raise ValueError where a saved state belongs to something configured otherwise."""
    if saved != own:
        raise ValueError(
            f"the saved state is of {what}={saved!r}, this one has {what}={own!r}; build it with the saved setting"
        )
