"""Groups: rows on their way from the data set, read in the loop itself, in a thread of its own, or by workers."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

from torch.utils.data import Dataset, IterableDataset

from filterloader.data.indices import Indices

_DEPTH = 2  # groups on their way to a thread


class Draws(Dataset):
    """A data set whose rows are their own numbers: a ``DataLoader`` over it draws, and reads nothing."""

    def __getitem__(self, index: Any) -> Any:
        return index

    def __getitems__(self, index: Sequence[Any]) -> Sequence[Any]:
        return index


def as_it_is(value: Any) -> Any:
    """The collate function of a ``DataLoader`` whose rows are read later."""
    return value


class Unread(NamedTuple):
    """Rows of a stream that could not be read, all or some of them, and why."""

    rows: list
    error: Exception


def portable(error: Exception) -> Exception:
    """The same error, or one that says the same, able to leave a worker; with its traceback as a note."""
    if hasattr(error, "add_note"):
        error.add_note("In a worker:\n" + "".join(traceback.format_exception(error)))
    try:
        return pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")


class Blocks(IterableDataset):
    """A stream in lists of ``size`` rows. Where it raises, what was read before comes first, then an ``Unread``.

    Args:
        dataset: an iterable data set.
        size: rows a list.
        drop_last: whether a last list that is shorter is dropped.
    """

    def __init__(self, dataset: Any, size: int, *, drop_last: bool):
        self.dataset, self.size, self.drop_last = dataset, size, drop_last

    def __iter__(self) -> Iterator:
        return _Blocks(iter(self.dataset), self.size, self.drop_last)


class _Blocks:
    """One pass over ``Blocks``; rows that have come stay here until their list is complete."""

    def __init__(self, rows: Iterator, size: int, drop_last: bool):
        self.rows, self.size, self.drop_last = rows, size, drop_last
        self._block: list = []
        self._full: list[list] = []
        self._error: Exception | None = None

    def __iter__(self) -> _Blocks:
        return self

    def __next__(self) -> list | Unread:
        while not self._full and len(self._block) < self.size and self._error is None:
            try:
                self._block.append(next(self.rows))
            except StopIteration:
                break
            except Exception as error:
                self._error = error
        if self._block and (self._error is not None or len(self._block) == self.size or not self.drop_last):
            self._full, self._block = [self._block], []
        if self._full:
            return self._full.pop()
        if self._error is None:
            raise StopIteration
        last, self._error = self._error, None
        return Unread([], last)


class Kept(IterableDataset):
    """A stream whose items stay here until they are taken: a ``DataLoader`` over it may be interrupted on the way.

    Args:
        dataset: an iterable data set.

    Attributes: ``items``, the item at hand, or nothing.
    """

    def __init__(self, dataset: Any):
        self.dataset = dataset
        self.items: list = []

    def __iter__(self) -> Kept:
        self.items, self._source = [], iter(self.dataset)
        return self

    def __next__(self) -> Any:
        if not self.items:
            self.items = [next(self._source)]
        return self.items[0]


class Groups:
    """What workers give: rows that are read already.

    ``next()`` gives the group at hand, the same again until it is taken (``….item = None``), and None at the end.

    Args:
        source: an iterator over groups.
    """

    def __init__(self, source: Iterator):
        self.source = source
        self.item: Any = None

    def next(self) -> Any:
        if self.item is None:
            self.item = next(self.source, None)
        return self.item

    def give_up(self) -> None:
        """Go on behind the group that could not be read."""


class GroupsHere(Groups):
    """Groups that are read here, when they are wanted.

    Args:
        source: an iterator over draws, or over a stream.
        read: makes a group of what it gives.
        drawn: where that is found, since an interrupt may keep it from coming here: ``Indices``, or a stream ``Kept``.
    """

    def __init__(self, source: Iterator, read: Callable[[Any], Any], drawn: Indices | Kept):
        super().__init__(source)
        self.read, self.drawn = read, drawn
        self._now: list = []  # what is to be read now

    def next(self) -> Any:
        if self.item is None and self._wanted():
            self.item, self._now = self.read(self._now[0]), []
        return self.item

    def _wanted(self) -> bool:
        """Whether there is something to read."""
        if self._now:
            return True
        if isinstance(self.drawn, Indices):
            asked = self.drawn.after(0, self.source)
            self._now = [] if asked is None else [asked]
        else:
            next(self.source, None)
            self._now, self.drawn.items = self.drawn.items, []
        return bool(self._now)

    def give_up(self) -> None:
        self._now = []


class GroupsAhead(GroupsHere):
    """Groups that are read in one thread of its own while the loop trains.

    Whatever ``read`` raises is raised when its turn has come.
    """

    def __init__(self, source: Iterator, read: Callable[[Any], Any], indices: Indices):
        super().__init__(source, read, indices)
        self.indices = indices
        self._coming: list[Future] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="filterloader-read")

    def next(self) -> Any:
        if self.item is None:
            while (
                len(self._coming) < _DEPTH and (drawn := self.indices.after(len(self._coming), self.source)) is not None
            ):
                self._coming = [*self._coming, self._thread.submit(self.read, drawn)]
            if not self._coming:
                self._thread.shutdown(wait=False)
                return None
            group, rest = self._coming[0].result(), self._coming[1:]
            self.item, self._coming = group, rest
        return self.item

    def give_up(self) -> None:
        self._coming = self._coming[1:]
