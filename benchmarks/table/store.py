"""Store: finished cells as JSON lines; half a line, where a run was killed, counts for nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from filterloader.feedback.log import finite

try:
    import fcntl
except ImportError:  # a system without file locks
    fcntl = None


class Key(NamedTuple):
    """Which cell a line is. controls: ``policy/budget`` of the row whose own control it is (then budget is ``"="``),
    else None. setup: the digest of everything the cells of one table share (data, sizes, model, recipe).
    """

    dataset: str
    policy: str
    budget: str
    seed: int
    controls: str | None
    setup: str


class Store:
    """The cells of one file, in the order in which they were finished; a cell that stands twice counts as it stands
    last.

    path: made on the first `add`. Reading changes no file. Who writes claims the folder first; each cell is one write,
    flushed to the disk. Attribute ``shown``: the setup of each data set whose cells are to be shown, where it is not
    that of the last cell.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.notes: list[str] = []
        self.shown: dict[str, str] = {}
        self.cells: dict[Key, dict[str, Any]] = {}
        self._whole: list[str] | None = None  # the lines to keep, where the file holds others too
        if self.path.is_file():
            self._read()

    def _read(self) -> None:
        text = self.path.read_bytes().decode("utf-8", errors="replace")
        lines = text.split("\n")
        whole, broken = [], 0
        for line in lines:
            if not line.strip():
                continue
            try:
                cell = json.loads(line)
                self.cells[key_of(cell)] = cell
                whole.append(line)
            except (json.JSONDecodeError, KeyError, TypeError, AttributeError):
                broken += 1
        if broken or not text.endswith("\n"):
            self._whole = whole
            if broken:
                some = "1 line that holds" if broken == 1 else f"{broken} lines that hold"
                self.notes.append(f"{self.path}: {some} no whole cell taken out; what was lost is run again")

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Where nobody else writes, and the file ends in a whole line.

        Raises ValueError where another process has claimed the folder.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(self.path.parent, os.O_RDONLY) if fcntl else None
        try:
            if fcntl:
                try:
                    fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise ValueError(
                        f"another process is filling {self.path.parent}; wait for it, or give this one an --out of its "
                        "own and put the lines of both cells.jsonl into one file afterwards"
                    ) from None
            if self.path.is_file():  # as it is now: another process may have written since
                self.cells.clear()
                self.notes.clear()
                self._read()
            if self._whole is not None:
                self._rewrite(self._whole)
                self._whole = None
            yield
        finally:
            if folder is not None:
                os.close(folder)

    def _rewrite(self, lines: Iterable[str]) -> None:
        beside = self.path.with_name(self.path.name + ".mended")
        beside.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        os.replace(beside, self.path)

    def compact(self) -> None:
        """Leave one line a cell in the file."""
        if self.path.read_bytes().count(b"\n") > len(self.cells):
            self._rewrite(json.dumps(cell, ensure_ascii=False) for cell in self.cells.values())

    def add(self, cell: dict[str, Any]) -> None:
        """Keep a finished cell. Raises KeyError where it lacks a field of `Key`."""
        key = key_of(cell)
        line = json.dumps(finite(cell), ensure_ascii=False) + "\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, line.encode("utf-8"))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self.cells[key] = json.loads(line)

    def get(self, key: Key) -> dict[str, Any] | None:
        return self.cells.get(key)

    def of(self, **fields: Any) -> list[dict[str, Any]]:
        """The cells that have these values."""
        return [cell for cell in self.cells.values() if all(cell.get(name) == value for name, value in fields.items())]


def key_of(cell: dict[str, Any]) -> Key:
    controls = cell.setdefault("controls", None)
    return Key(
        cell["dataset"], cell["policy"], "=" if controls else cell["budget"], cell["seed"], controls, cell["setup"]
    )


def packed(correct: Sequence[bool] | np.ndarray) -> str:
    """Bools ``[n]`` as hexadecimal digits, eight bools two digits."""
    return np.packbits(np.asarray(correct, bool)).tobytes().hex()


def unpacked(text: str, n: int) -> np.ndarray:
    """What `packed` was given, float64 ``[n]`` of 0 and 1."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(text), np.uint8), count=n).astype(float)
