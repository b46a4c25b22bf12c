"""Ahead: reads the next rows in a thread of its own while the loop trains."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from torch.utils.data import Dataset

_DEPTH = 2  # groups on their way


class Draws(Dataset):
    """A data set whose rows are their own numbers: a ``DataLoader`` over it draws, and reads nothing."""

    def __init__(self, length: int):
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitems__(self, index: Sequence[int]) -> Sequence[int]:
        return index


def as_drawn(index: Sequence[int]) -> Sequence[int]:
    """The collate function of such a ``DataLoader``."""
    return index


class Ahead:
    """Iterates over ``read(drawn)`` for each of ``draws``, which are drawn here, and read in one thread of its own.

    Whatever ``read`` raises is raised when its turn has come.
    """

    def __init__(self, draws: Iterator, read: Callable[[Any], Any]):
        self._draws, self._read = draws, read
        self._coming: deque[Future] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="filterloader-read")

    def __iter__(self) -> Ahead:
        return self

    def __next__(self) -> Any:
        while len(self._coming) < _DEPTH:
            drawn = next(self._draws, None)
            if drawn is None:
                break
            self._coming.append(self._thread.submit(self._read, drawn))
        if not self._coming:
            self._thread.shutdown(wait=False)
            raise StopIteration
        try:
            read = self._coming[0].result()
        except Exception:
            self._coming.popleft()
            raise
        self._coming.popleft()  # after an interrupt it is still there
        return read
