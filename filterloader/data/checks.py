"""Settings: checks and the paste-able repr that every configurable class shares."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any


def share(name: str, value: Any, *, zero: bool = True) -> float:
    """``value`` as a float in [0, 1] (above 0 unless ``zero``); raises ValueError that says so."""
    low = "[0" if zero else "(0"
    if not isinstance(value, Real) or isinstance(value, bool) or not (0 <= value <= 1) or (not zero and value == 0):
        raise ValueError(f"{name} must be a number in {low}, 1], got {value!r}")
    return float(value)


def whole(name: str, value: Any, *, low: int = 1) -> int:
    """``value`` as an int of at least ``low``; raises ValueError that says so."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < low:
        raise ValueError(f"{name} must be a whole number of at least {low}, got {value!r}")
    return int(value)


def real(name: str, value: Any) -> float:
    """``value`` as a finite float; raises ValueError that says so."""
    if (
        not isinstance(value, Real)
        or isinstance(value, bool)
        or value != value
        or value in (float("inf"), -float("inf"))
    ):
        raise ValueError(f"{name} must be a finite number, got {value!r}")
    return float(value)


def truth(name: str, value: Any) -> bool:
    """``value`` as a bool; raises ValueError for anything but True and False."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {value!r}")
    return value


def paste(thing: Any, *names: str) -> str:
    """A repr that can be pasted back: the class called with its settings."""
    return f"{type(thing).__name__}({', '.join(f'{name}={getattr(thing, name)!r}' for name in names)})"


def check_same(what: str, saved: Any, own: Any) -> None:
    """Raise ValueError where a saved state belongs to something configured otherwise."""
    if saved != own:
        raise ValueError(
            f"the saved state is of {what}={saved!r}, this one has {what}={own!r}; build it with the saved setting"
        )
