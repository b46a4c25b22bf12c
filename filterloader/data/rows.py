"""Reader: turns the rows of a data set into candidates; it runs inside the data loader's workers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np

from filterloader.data import utf8, values
from filterloader.data.candidates import Candidates, Ragged
from filterloader.data.columns import ArrowTable, Gathered, piece
from filterloader.data.encoder import Encoder
from filterloader.data.values import ABSENT, RowError, is_row


class Reader:
    """A collate function that makes a list of rows, or columns gathered from a table, into ``Candidates``.

    Rows of raw text (a tokenizer, and no ``input_ids``) give tokens and labels; their other columns are not looked
    at. Rows of ``input_ids`` give every column that holds numbers, or lists of them. A side column that holds none
    (text, times, mappings, nothing at all) is left out of the batch, as the types of a ``datasets.Dataset`` say, and
    elsewhere as its values do. What holds numbers must hold them in every row, and labels must be numbers: a value
    that is missing, or is none, raises, and the error names row and column. A ``collate_fn`` gets the untouched rows,
    which are looked into only for what the policy reads.

    Args:
        tokenizer, text, label, collate_fn: see ``FilteringDataLoader``.
        default_collate: for rows that are neither text nor tokens, or are whole batches.
        collate_here: make the batch now (no decision will change it), else keep what the batch is made from.
        reads: what the words that a policy wants to see are made of: ``"tokens"``, ``"texts"`` (then survivors are
            tokenized later, see ``tokenized``), or None where it wants none.
        single: rows come one by one (``batch_size=None``).
        reads_labels: whether anybody reads the labels of rows that go to a collate function.
    """

    def __init__(
        self,
        *,
        tokenizer: Any,
        text: Any,
        label: Any,
        collate_fn: Callable | None,
        default_collate: Callable,
        collate_here: bool,
        reads: str | None,
        single: bool,
        reads_labels: bool = True,
    ):
        self.label, self.reads, self.reads_labels = label, reads, reads_labels
        self.collate_fn, self.default_collate = collate_fn, default_collate
        self.collate_here, self.single = collate_here, single
        self.texts = text if isinstance(text, tuple) else ("text" if text is None else text,)
        self.encoder: Any = None if tokenizer is None else Encoder(tokenizer, self.texts)
        self._bare = text is None  # rows may be strings themselves
        self._filled: set[str] | None = None  # columns that held numbers so far, and those that held empty lists only
        self._empty: set[str] = set()

    def read(self, rows: Any) -> Candidates:
        """Candidates of a list of rows, of columns, or of whatever the user's collate function takes.

        Raises:
            RowError: a row that no batch can be made of.
        """
        table = piece(rows)
        if table is not None:
            names = self.columns_of(table)
            rows = table.table.to_pylist() if names is None else table.gather(np.arange(len(table)), names)
        return self._gathered(rows) if isinstance(rows, Gathered) else self._listed(rows)

    def same_columns(self, block: Candidates) -> None:
        """Check, in the main process, that a block holds numbers in the same columns as those before it.

        A column of lists that hold nothing may turn out to be of text, and is left out then. Modifies the block.

        Raises:
            ValueError: its rows lack values that others have.
        """
        if block.rows is not None or block.batch is not None or not len(block):
            return
        sizes = {name: (c.values if isinstance(c, Ragged) else c).size for name, c in block.columns.items()}
        filled = {name for name, size in sizes.items() if size}
        empty = sizes.keys() - filled
        if self._filled is None:
            self._filled, self._empty = filled, empty
            return
        if filled == self._filled and not empty:
            return
        odd = (filled - self._filled - self._empty) | (self._filled - sizes.keys())
        for name in sorted(odd):
            row = block.example_ids[0]
            these, others = ("holds", "hold none") if name in filled else ("holds no", "hold them")
            raise ValueError(
                f"column {name!r} {these} numbers from row {row} of the data set on, and rows before {others}; fill in "
                "what is missing, drop the rows or the column, or give a collate_fn"
            )
        for name in empty - self._filled - self._empty:
            del block.columns[name]
        self._filled |= filled
        self._empty = (self._empty & sizes.keys()) - filled

    # -- columns -------------------------------------------------------------------------------------------------------

    def columns_of(self, table: ArrowTable) -> tuple[str, ...] | None:
        """The columns to gather from a table; None where rows must be made, or say what is wrong."""
        names = table.names
        if not self.may_read_columns(names) or self._label_twice(names):
            return None
        label = self._label_of(names)
        labels = () if label is None else (label,)
        if any(name not in table or name in table.strings for name in labels):
            return None
        if label is None and self.label not in (None, "label"):
            return None
        texts = self.texts if set(self.texts) <= set(table.strings) else None
        if self._raw(names):
            return None if texts is None else (*texts, *labels)
        if self.reads == "texts" and texts is None and not self._bare:
            return None
        rest = [name for name in names if name not in labels and name not in table.others]
        if "input_ids" not in rest or any(name not in table for name in rest):
            return None
        return (*rest, *(texts if texts and self.reads == "texts" else ()), *labels)

    def may_read_columns(self, names: Collection[str]) -> bool:
        """Whether rows of the columns ``names`` could become padded columns."""
        return self.collate_fn is None and not self.single and (self.encoder is not None or "input_ids" in names)

    def encodes(self, names: Collection[str]) -> bool:
        """Whether reading rows of the columns ``names`` means tokenizing them, which may be done in a thread."""
        return self._raw(names) and self.reads != "texts" and self.encoder.private

    def _raw(self, names: Collection[str]) -> bool:
        return self.encoder is not None and "input_ids" not in names

    def _label_of(self, names: Collection[str]) -> Any:
        """The label column among ``names``, None where there is none."""
        if self.label is None:
            return None
        return self.label if self.label in names else "labels" if "labels" in names else None

    def _label_twice(self, names: Collection[str]) -> bool:
        """Whether two columns want to be the ``labels`` of a batch, and nobody said which."""
        twice = self.label not in (None, "labels") and self.label in names and "labels" in names
        return twice and (self.label == "label" or not self._raw(names))

    def _gathered(self, found: Gathered) -> Candidates:
        label = self._label_of(found.columns)
        for name, place in found.missing.items():
            if name in self.texts:
                raise utf8.no_text(name, None, place, found.n)
            wanted = "labels" if name == label else "input_ids" if name == "input_ids" else None
            raise values.odd(name, None, place, found.n, wanted)
        columns: dict[str, Any] = dict(found.columns)
        labels = None if label is None else columns.pop(label)
        raw = self._raw(columns)
        texts = [columns[name] for name in self.texts if name in columns] if raw or self.reads == "texts" else []
        if texts:
            columns = {name: column for name, column in columns.items() if name not in self.texts}
        if raw and self.reads != "texts":
            columns, texts = self.encoder([utf8.decode(text) for text in texts]), []
        like = columns.get("input_ids")
        for name, column in columns.items():
            if not isinstance(column, Ragged):
                columns[name] = values.narrow(column)
            elif isinstance(like, Ragged) and np.array_equal(column.offsets, like.offsets):
                columns[name] = Ragged(column.values, like.offsets)  # one array: what is known of one is known of all
        if labels is not None and not isinstance(labels, Ragged):
            labels = values.narrow(labels, truths=False)
        return self._assembled(found.n, columns, labels, tuple(texts) or None)

    def _assembled(self, n: int, columns: dict, labels: Any, texts: tuple | None) -> Candidates:
        tokens = columns.pop("input_ids", None)
        if tokens is not None and not (isinstance(tokens, Ragged) and tokens.values.dtype.kind in "iu"):
            kind = (
                f"lists of {tokens.values.dtype}"
                if isinstance(tokens, Ragged)
                else f"{tokens.dtype} {tokens.shape[1:]}"
            )
            raise ValueError(
                f"input_ids must hold a list of whole numbers in each row, got {kind}; tokenize the rows again"
            )
        if labels is not None:
            columns["labels"] = labels
        return Candidates(n=n, columns=columns, labels=values.class_labels(labels), tokens=tokens, texts=texts)

    # -- rows ----------------------------------------------------------------------------------------------------------

    def pads(self, row: Any) -> bool:
        """Whether rows like this one become padded columns, rather than going to a collate function."""
        if self.collate_fn is not None or row is None:
            return False
        return _is_one(row["input_ids"]) if is_row(row, "input_ids") else self.encoder is not None

    def _listed(self, rows: Any) -> Candidates:
        listed = [rows] if self.single else rows if isinstance(rows, (list, Mapping)) else list(rows)
        if isinstance(listed, Mapping):  # of columns
            n = len(next(iter(listed.values()), ()))
            apart = not self.collate_here or self.reads is not None
            listed = [{name: column[i] for name, column in listed.items()} if apart else None for i in range(n)]
        elif listed and self.pads(next((row for row in listed if is_row(row, "input_ids")), listed[0])):
            return self._padded(listed)
        found = Candidates(n=len(listed))
        if listed and all(row is not None for row in listed):
            found.labels = self._seen_labels(listed) if self.reads_labels else None
            found.tokens = self._seen_tokens(listed) if self.reads == "tokens" else None
            found.texts = self._texts(listed) if self.reads == "texts" else None
        if self.collate_here:
            found.batch = (self.collate_fn or self.default_collate)(rows)
        else:
            found.rows = listed
        return found

    def _padded(self, rows: list) -> Candidates:
        names = _names(rows)
        label, labels = self._labels(rows, names)
        texts, columns = None, dict[str, Any]()
        if not self._raw(names):
            for name in names:
                if name != label:
                    listed = [row.get(name, ABSENT) for row in rows]
                    found = values.column(name, listed, wanted="input_ids" if name == "input_ids" else None)
                    columns |= {} if found is None else {name: found}
        elif self.reads != "texts":
            columns = self.encoder([self._strings(rows, name) for name in self.texts])
        if self.reads == "texts":
            texts = self._texts(rows)
        read = None if labels is None else values.column(label, labels, wanted="labels")
        return self._assembled(len(rows), columns, read, texts)

    def _labels(self, rows: list, names: Collection[str]) -> tuple[Any, list | None]:
        """The label column and what rows hold there, for a batch that is made here."""
        if self.label is None:
            return None, None
        if isinstance(rows[0], Mapping):
            if self._label_twice(names):
                raise ValueError(
                    f"the rows have a column {self.label!r} and a column 'labels', and a batch has one 'labels'; drop "
                    "one, or say label='labels'"
                )
            name = self._label_of(names)
            if name is None and self.label != "label":
                raise ValueError(_no_column("label", self.label, rows[0]))
            return name, None if name is None else [row.get(name, ABSENT) for row in rows]
        if isinstance(self.label, int) and isinstance(rows[0], (tuple, list)):
            return self.label, [_get(row, self.label, "label") for row in rows]
        return None, None

    def _seen_labels(self, rows: list) -> np.ndarray | None:
        """The class labels of rows that somebody else collates; None where they have none that is easily read."""
        name = self._label_of(rows[0]) if isinstance(rows[0], Mapping) else self.label
        plain = isinstance(rows[0], Mapping) or (isinstance(rows[0], (tuple, list)) and isinstance(name, int))
        try:
            return values.class_labels([row[name] for row in rows]) if plain and name is not None else None
        except (KeyError, IndexError, TypeError):
            return None

    def _seen_tokens(self, rows: list) -> Ragged | None:
        """The tokens of rows that somebody else collates, those of a whole batch, or of several texts, end to end."""
        if any(is_row(row, "input_ids") for row in rows):
            return values.words([row["input_ids"] if is_row(row, "input_ids") else None for row in rows])
        if self.encoder is None:
            return None
        return self.encoder([self._strings(rows, name) for name in self.texts])["input_ids"]

    # -- text ----------------------------------------------------------------------------------------------------------

    def tokenized(self, candidates: Candidates) -> Candidates:
        """The same candidates with tokens in place of texts, all tokenized in one call; unchanged without texts."""
        if candidates.tokens is not None or candidates.texts is None:
            return candidates
        if candidates.rows is not None or candidates.batch is not None:
            return candidates
        columns = self.encoder([utf8.decode(text) for text in candidates.texts])
        tokens = columns.pop("input_ids")
        return replace(candidates, texts=None, tokens=tokens, columns={**columns, **candidates.columns})

    def _texts(self, rows: list) -> tuple[Ragged, ...] | None:
        """The text columns of rows as UTF-8; None where no column was named and there is none of the usual name."""
        if self._bare and not isinstance(rows[0], str) and not is_row(rows[0], "text"):
            return None
        return tuple(utf8.encode(self._strings(rows, name), name) for name in self.texts)

    def _strings(self, rows: list, name: Any) -> list[str]:
        texts = rows if self._bare and isinstance(rows[0], str) else [_get(row, name, "text") for row in rows]
        for place, text in enumerate(texts):
            if not isinstance(text, str):
                raise utf8.no_text(name, text, place, len(texts))
        return texts


def _is_one(ids: Any) -> bool:
    """Whether ``input_ids`` are of one example; whole batches, and choices, go to the collate function."""
    return getattr(ids, "ndim", 1) == 1 and not (isinstance(ids, (list, tuple)) and ids and hasattr(ids[0], "__len__"))


def _names(rows: list) -> Collection[str]:
    """The columns that any of the rows has."""
    if not isinstance(rows[0], Mapping):
        return ()
    if all(isinstance(row, Mapping) and row.keys() == rows[0].keys() for row in rows):
        return rows[0].keys()
    for place, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise RowError(f"got {row!r:.60}, a {type(row).__name__},", "give every row as a mapping", place, len(rows))
    return dict.fromkeys(chain.from_iterable(rows)).keys()


def _get(row: Any, name: Any, argument: str) -> Any:
    try:
        return row[name]
    except (KeyError, IndexError, TypeError):
        raise ValueError(_no_column(argument, name, row)) from None


def _no_column(argument: str, name: Any, row: Any) -> str:
    has = (
        f"the row has the columns {sorted(map(str, row))}"
        if isinstance(row, Mapping)
        else f"the row is a {type(row).__name__}"
    )
    return f"{argument}={name!r} names no column: {has}; pass {argument}= one of them"
