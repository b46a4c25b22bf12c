"""Log: a run as JSON lines, one event a line."""

from __future__ import annotations

import json
import math
from pathlib import Path
from time import perf_counter
from typing import Any


class Log:
    """Appends events to a file; before ``open`` it writes nothing."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._started = perf_counter()

    def open(self, path: str | Path) -> None:
        """Append to this file from now on; its folder is made."""
        self._path = Path(path)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.is_file() and not self._path.read_bytes().endswith(b"\n"):
            with self._path.open("a") as file:
                file.write("\n")  # a run that was killed left half a line

    def write(self, event: str, **values: Any) -> None:
        """Append one line: the event, the seconds since the log was made, and ``values``."""
        if self._path is None:
            return
        line = {"event": event, "time": round(perf_counter() - self._started, 4), **values}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(finite(line), default=str) + "\n")


def finite(value: Any) -> Any:
    """The same value as JSON wants it: arrays and tensors as lists or numbers, nan and infinities as None."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
