"""State: what an object saves and brings back, from one table of what it remembers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np

from filterloader.data.checks import check_same, pasteable_repr

PART: Any = object()  # marks an attribute that is Stateful itself, and brings its own state back
_KINDS: dict[type, Any] = {bool: (bool, np.bool_), int: Integral, float: Real}


class Stateful:
    """Saves its settings, which must agree, and what it remembers; a state is brought back whole or not at all.

    ``_settings`` names the settings. ``_remembers`` says, for each attribute, how its saved value is read: a function
    below, which raises TypeError or ValueError for what does not fit, or ``PART`` for what is ``Stateful`` itself.
    ``_reads_itself`` names what else must be in a state: the class saves and reads it on its own.
    """

    _settings: tuple[str, ...] = ()
    _reads_itself: tuple[str, ...] = ()
    _remembers: ClassVar[dict[str, Callable[[Any], Any]]] = {}

    def __repr__(self) -> str:
        return pasteable_repr(self, *self._settings)

    def state_dict(self) -> dict:
        """Settings, to be compared, and copies of all that is remembered."""
        settings = pasteable_repr(self, *self._settings)
        return {"settings": settings, **{_key(name): _saved(getattr(self, name)) for name in self._remembers}}

    def load_state_dict(self, state: dict) -> None:
        """Go on as the one that gave ``state``; raises ValueError, and changes nothing, where it does not fit."""
        self._take(self._read(state))

    def _read(self, state: Any) -> dict[str, Any]:
        """What ``state`` holds for each attribute, checked; nothing has changed yet."""
        owner = type(self).__name__
        if not isinstance(state, Mapping):
            raise ValueError(f"this is no state of {owner}: {state!r:.60}; give what state_dict() returned")
        for key in ("settings", *map(_key, self._remembers), *self._reads_itself):
            if key not in state:
                raise ValueError(f"the saved state of {owner} lacks {key!r}; give what state_dict() returned")
        check_same("settings", state["settings"], pasteable_repr(self, *self._settings))
        return {name: self._value(name, read, state[_key(name)]) for name, read in self._remembers.items()}

    def _value(self, name: str, read: Callable[[Any], Any], saved: Any) -> Any:
        if read is PART:
            return getattr(self, name)._read(saved)
        try:
            return read(saved)
        except (TypeError, ValueError, KeyError, OverflowError) as error:
            raise ValueError(
                f"the saved state of {type(self).__name__} has {_key(name)}={saved!r:.60}, which does not fit "
                f"({error}); give what state_dict() returned"
            ) from error

    def _take(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            if self._remembers[name] is PART:
                getattr(self, name)._take(value)
            else:
                setattr(self, name, value)


def scalar(kind: type, *, or_none: bool = False) -> Callable[[Any], Any]:
    """Reads a bool, an int or a float, as ``kind`` says."""

    def read(value: Any) -> Any:
        if or_none and value is None:
            return None
        if not isinstance(value, _KINDS[kind]) or (kind is not bool and isinstance(value, bool)):
            raise TypeError(kind.__name__)
        return kind(value)

    return read


def array(dtype: Any, *shape: int, or_none: bool = False) -> Callable[[Any], Any]:
    """Reads an array of one dimension and any length, or of this shape; a copy."""

    def read(value: Any) -> np.ndarray | None:
        if or_none and value is None:
            return None
        found = np.array(value, dtype)
        if found.shape != shape if shape else found.ndim != 1:
            raise ValueError(found.shape)
        return found

    return read


def generator(value: Any) -> np.random.Generator:
    """Reads the state of a private random generator."""
    found = np.random.default_rng(0)
    found.bit_generator.state = value
    return found


def _key(name: str) -> str:
    """Under which an attribute is saved."""
    return name.lstrip("_")


def _saved(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    if isinstance(value, set):
        return sorted(value)
    return value.state_dict() if isinstance(value, Stateful) else value
