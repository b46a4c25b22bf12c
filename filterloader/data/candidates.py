"""Candidates: a block of examples before any decision, held as ragged arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np

from filterloader.kernels import ragged


class Ragged(NamedTuple):
    """Rows of unequal length in one array: row ``i`` is ``values[offsets[i]:offsets[i + 1]]``.

    offsets: int64 ``[n + 1]``; they need not start at 0 nor end at the end of ``values``, the rows may be a part of it.
    """

    values: np.ndarray
    offsets: np.ndarray

    def take(self, index: np.ndarray) -> Ragged:
        return Ragged(*ragged.take_rows(self.values, self.offsets, index))

    def compact(self) -> Ragged:
        """The same rows with offsets from 0 and no value that is in none of them; copies only where needed."""
        start, stop = self.offsets[0], self.offsets[-1]
        if start == 0 and stop == self.values.size:
            return self
        return Ragged(self.values[start:stop].copy(), self.offsets - start)

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)


class Bag(NamedTuple):
    """A ragged bag of words: row ``i`` holds the words ``ids[offsets[i]:offsets[i + 1]]``, repeats counted.

    ids: int32 ``[nnz]``, each in ``[0, n_features)``. offsets: int64 ``[n + 1]``. n_features: how many words there are.
    """

    ids: np.ndarray
    offsets: np.ndarray
    n_features: int

    def take(self, index: np.ndarray) -> Bag:
        ids, offsets = ragged.take_rows(self.ids, self.offsets, index)
        return Bag(ids, offsets, self.n_features)


_PLACED: Any = None  # stands for what ``placed`` gives every block before a policy sees it


@dataclass(eq=False)
class Candidates:
    """``n`` candidates: what a policy sees (words, labels, ids), and what the collator needs to make a batch of them.

    positions: int64 ``[n]``, place in this pass over the stream, from 0. example_ids: int64 ``[n]``, the index in the
    data set where ``indexed``, else the place in the stream. labels: int64 ``[n]`` or None where the task has no
    class label. texts: one or two columns of raw text, as UTF-8 bytes (values uint8), or None where only tokens are
    there. bag: the words of each candidate, or None where the rows hold no text. weights: float32 ``[n]``, what the
    decisions so far made of each (1 = train on it as it is). judged: bool ``[n]``, whether the backward gate has
    already decided. columns: what the batch is padded from. rows: the untouched rows, where a collate function wants
    them. batch: the collated batch, where no decision can change it. total: examples in one pass, None where not
    known. merged: how many examples each candidate stands for (1, or the batch size where a whole batch is one
    candidate). sizes: int64 ``[n]``, words of each where it was decided on by its text, before there were tokens to
    count."""

    n: int
    columns: dict[str, np.ndarray | Ragged] = field(default_factory=dict)
    labels: np.ndarray | None = None
    tokens: Ragged | None = None
    rows: list | None = None
    batch: Any = None
    positions: np.ndarray = _PLACED
    example_ids: np.ndarray = _PLACED
    indexed: bool = False
    bag: Bag | None = None
    weights: np.ndarray = _PLACED
    judged: np.ndarray = _PLACED
    total: int | None = None
    merged: int = 1
    worker: int = -1
    texts: tuple[Ragged, ...] | None = None
    sizes: np.ndarray | None = None

    def __len__(self) -> int:
        return self.n

    @property
    def examples(self) -> int:
        """How many examples these are."""
        return self.n * self.merged

    @property
    def lengths(self) -> np.ndarray | None:
        """Tokens in each candidate, int64 ``[n]``; None where the rows hold no tokens."""
        return None if self.tokens is None else self.tokens.lengths

    def placed(self, position: int, example_ids: np.ndarray | None, total: int | None) -> Candidates:
        """The same candidates, told where in the stream they stand. Modifies and returns self."""
        self.positions = np.arange(position, position + self.n, dtype=np.int64)
        self.indexed = example_ids is not None
        self.example_ids = self.positions if example_ids is None else example_ids
        self.weights = np.ones(self.n, np.float32)
        self.judged = np.zeros(self.n, bool)
        self.total = total
        return self

    def take(self, index: np.ndarray) -> Candidates:
        """The candidates ``index`` (int ``[k]``), in that order."""
        index = np.asarray(index, np.int64)
        new = _copy(self)
        held: dict[str, Any] = new.__dict__
        held["n"] = index.size
        for name in _PER_CANDIDATE:
            if held[name] is not None:
                held[name] = _take(held[name], index)
        if self.columns:
            held["columns"] = {
                name: Ragged(_take(column, index).values, held["tokens"].offsets)
                if self._like_tokens(column)
                else _take(column, index)
                for name, column in self.columns.items()
            }
        if self.rows is not None:
            held["rows"] = [self.rows[i] for i in index]
        return new

    def parts(self, lengths: Sequence[int]) -> list[Candidates]:
        """The candidates in parts of these lengths, in order; nothing is copied but offsets."""
        bounds = list(pairwise(accumulate(lengths, initial=0)))
        held = {name: getattr(self, name) for name in _PER_CANDIDATE}
        fields: dict[str, Any] = {name: _cut(one, bounds) for name, one in held.items() if one is not None}
        columns: dict[str, Any] = {}
        for name, column in self.columns.items():
            alike = self._like_tokens(column)
            columns[name] = (
                map(Ragged, _cut_values(column, bounds), [part.offsets for part in fields["tokens"]])
                if alike
                else _cut(column, bounds)
            )
        fields["n"] = lengths
        fields["columns"] = [{} for _ in lengths]
        for name, pieces in columns.items():
            for part, piece in zip(fields["columns"], pieces, strict=True):
                part[name] = piece
        if self.rows is not None:
            fields["rows"] = [self.rows[start:stop] for start, stop in bounds]
        parts = []
        for pieces in zip(*fields.values(), strict=True):
            parts.append(part := _copy(self))
            part.__dict__.update(zip(fields, pieces, strict=True))
        return parts

    def _like_tokens(self, column: np.ndarray | Ragged) -> bool:
        """Whether a column is laid out as the tokens are, by one array of offsets in common."""
        return type(column) is Ragged and self.tokens is not None and column.offsets is self.tokens.offsets

    def as_one(self) -> Candidates:
        """The whole block as one candidate (batch granularity). Its bag holds every word of every row: counts are
        summed, so a Bernoulli model sees the union of the words and a multinomial one their total counts. Its texts
        are None: end to end, the last word of a row and the first of the next would become one."""
        return Candidates(
            n=1,
            tokens=_merge(self.tokens),
            bag=_merge(self.bag),
            sizes=None if self.sizes is None else self.sizes.sum(keepdims=True),
            positions=self.positions[:1],
            example_ids=self.example_ids[:1],
            weights=np.ones(1, np.float32),
            judged=np.zeros(1, bool),
            total=self.total,
            merged=self.n,
        )

    def for_learning(self) -> Candidates:
        """The same candidates without their payload: what a report needs once the batch is on its way."""
        light = _copy(self)
        light.rows = light.batch = light.texts = None
        light.columns = {}
        return light

    @staticmethod
    def concat(blocks: list[Candidates]) -> Candidates:
        """The candidates of several blocks of one stream, in order."""
        if len(blocks) == 1:
            return blocks[0]
        first = blocks[0]
        for block in blocks[1:]:
            if block.columns.keys() != first.columns.keys() or (block.rows is None) != (first.rows is None):
                raise ValueError(
                    f"the rows of the stream differ: some have the columns {sorted(first.columns)}, others "
                    f"{sorted(block.columns)}; give every row the same columns"
                )
        new = _copy(first)
        held: dict[str, Any] = new.__dict__
        held["n"] = sum(block.n for block in blocks)
        if first.rows is not None:
            held["rows"] = [row for block in blocks for row in block.rows or ()]
        for name in _PER_CANDIDATE:
            held[name] = _concat(name, [block.__dict__[name] for block in blocks])
        held["columns"] = {}
        for name in first.columns:
            joined = _concat(name, [block.columns[name] for block in blocks])
            alike = all(block._like_tokens(block.columns[name]) for block in blocks)
            held["columns"][name] = Ragged(joined.values, held["tokens"].offsets) if alike else joined
        return new

    def state_dict(self) -> dict[str, Any]:
        """Everything as plain containers, arrays and the user's rows; ``batch`` only where there are no rows for it."""
        state = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "batch" or self.rows is None}
        return {
            **state,
            "columns": {name: _plain(column) for name, column in self.columns.items()},
            "tokens": _plain(self.tokens),
            "bag": _plain(self.bag),
            "texts": None if self.texts is None else [_plain(text.compact()) for text in self.texts],
        }

    @staticmethod
    def from_state(state: dict[str, Any]) -> Candidates:
        columns = {name: Ragged(*c) if isinstance(c, list) else c for name, c in state["columns"].items()}
        tokens, bag, texts = state["tokens"], state["bag"], state.get("texts")
        return Candidates(
            **{
                **state,
                "columns": columns,
                "tokens": None if tokens is None else Ragged(*tokens),
                "bag": None if bag is None else Bag(*bag),
                "texts": None if texts is None else tuple(Ragged(*text) for text in texts),
            }
        )


class Decided(NamedTuple):
    """Examples on their way to a batch, with what was decided of them.

    asked: what the policy saw and what a report is learnt from: the examples themselves, or all of them as one
    candidate (batch granularity). payload: the examples, with all that a batch is made of. screened: how many there
    were before any was dropped."""

    asked: Candidates
    payload: Candidates
    screened: int

    @staticmethod
    def of(examples: Candidates, screened: int) -> Decided:
        """Examples that were decided on one by one."""
        return Decided(examples, examples, screened)

    @property
    def examples(self) -> int:
        return len(self.payload)

    def state_dict(self) -> dict[str, Any]:
        asked = None if self.asked is self.payload else self.asked.state_dict()
        return {"asked": asked, "payload": self.payload.state_dict(), "screened": self.screened}

    @staticmethod
    def from_state(state: dict[str, Any]) -> Decided:
        payload = Candidates.from_state(state["payload"])
        asked = payload if state["asked"] is None else Candidates.from_state(state["asked"])
        return Decided(asked, payload, int(state["screened"]))


_PER_CANDIDATE = ("labels", "tokens", "texts", "bag", "sizes", "positions", "example_ids", "weights", "judged")


def _merge(rows: Any) -> Any:
    return None if rows is None else rows._replace(offsets=rows.offsets[[0, -1]])


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _copy(candidates: Candidates) -> Candidates:
    """The same candidates as an object of their own; a third of the time that ``dataclasses.replace`` takes."""
    new = object.__new__(Candidates)
    new.__dict__.update(candidates.__dict__)
    return new


def _cut(value: Any, bounds: list[tuple[int, int]]) -> list:
    """Consecutive parts, from the first to the second of each of ``bounds``."""
    if type(value) is np.ndarray:
        return [value[start:stop] for start, stop in bounds]
    if type(value) is tuple:
        return list(zip(*(_cut(text, bounds) for text in value), strict=True))
    offsets = value.offsets
    offsets = [offsets[start : stop + 1] - offsets[start] for start, stop in bounds]
    return [type(value)(*both, *value[2:]) for both in zip(_cut_values(value, bounds), offsets, strict=True)]


def _cut_values(ragged: Any, bounds: list[tuple[int, int]]) -> list[np.ndarray]:
    places = ragged.offsets[[0, *(stop for _, stop in bounds)]].tolist()
    return [ragged[0][first:last] for first, last in pairwise(places)]


def _take(value: Any, index: np.ndarray) -> Any:
    if type(value) is np.ndarray:
        return value[index]
    return tuple(_take(part, index) for part in value) if type(value) is tuple else value.take(index)


def _concat(name: str, parts: list) -> Any:
    if any(part is None for part in parts):
        if all(part is None for part in parts):
            return None
        raise ValueError(f"the rows of the stream differ: some have {name!r}, others have not; give all or none")
    if type(parts[0]) is np.ndarray:
        return np.concatenate(parts)
    if type(parts[0]) is tuple:
        if any(len(part) != len(parts[0]) for part in parts):
            raise ValueError(
                f"the rows of the stream differ: some have one column of {name!r}, others two; give every row the same"
            )
        return tuple(_join(column) for column in zip(*parts, strict=True))
    return _join(parts)


def _join(parts: Sequence) -> Any:
    """Rows of several ragged arrays of one kind, one after the other."""
    at, values, offsets = 0, [], [_START]
    for part in parts:
        first, last = int(part.offsets[0]), int(part.offsets[-1])
        values.append(part[0][first:last])
        offsets.append(part.offsets[1:] + (at - first))
        at += last - first
    return type(parts[0])(np.concatenate(values), np.concatenate(offsets), *parts[0][2:])


_START = np.zeros(1, np.int64)
