"""Reader: turns the rows of a data set into candidates; it runs inside the data loader's workers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.utils.data import get_worker_info

from filterloader.data import utf8
from filterloader.data.candidates import Candidates, Ragged
from filterloader.data.columns import ArrowTable, Gathered, piece

_UNLIMITED = 1_000_000  # tokenizers without a limit report a model_max_length of about 1e30


class Passed(NamedTuple):
    """Stands for a block that a resumed stream had already consumed: read, but not decoded again."""

    worker: int


class Reader:
    """A collate function that makes a list of rows, or columns gathered from a table, into ``Candidates``.

    tokenizer, text, label: see ``FilteringDataLoader``. collate_fn: the user's, or None. collate_here: make the batch now
    (no decision will change it), else keep what the batch is made from. reads: what the words that a policy wants to see are
    made of: ``"tokens"``, ``"texts"`` (then survivors are tokenized later, see ``tokenized``), or None where it wants none.
    single: rows come one by one (``batch_size=None``).
    """

    def __init__(self, *, tokenizer, text, label, collate_fn, default_collate, collate_here, reads, single):
        self.tokenizer, self.label, self.reads = tokenizer, label, reads
        self.collate_fn, self.default_collate = collate_fn, default_collate
        self.collate_here, self.single = collate_here, single
        self.texts = text if isinstance(text, tuple) else ("text" if text is None else text,)
        self._bare = text is None  # rows may be strings themselves
        limit = getattr(tokenizer, "model_max_length", None)
        self._limit = limit if limit and limit < _UNLIMITED else None
        self._bulk = self._fast_copy()
        self._segments = "token_type_ids" in getattr(tokenizer, "model_input_names", ())
        self._one_segment = len(self.texts) == 1 and self._bulk is not None and not any(self._bulk.encode("a").type_ids)
        self.passed: dict[int, int] = {}  # blocks to pass over, by worker, before the first one that counts
        self._passed_here: int | None = None

    def restart(self, passed: dict[int, int]) -> None:
        """Begin a pass in which the first ``passed[worker]`` blocks of each worker were consumed before."""
        self.passed, self._passed_here = dict(passed), None

    def __call__(self, rows: Any) -> Candidates | Passed:
        worker = get_worker_info()
        worker_id = -1 if worker is None else worker.id
        if self._passed_here is None:
            self._passed_here = self.passed.get(worker_id, 0)
        if self._passed_here > 0:
            self._passed_here -= 1
            return Passed(worker_id)
        candidates = self.read(rows)
        candidates.worker = worker_id
        return candidates

    # -- columns -------------------------------------------------------------------------------------------------------

    def columns_of(self, table: ArrowTable) -> tuple[str, ...] | None:
        """The columns to gather from a table; None where rows have to be made: somebody looks at them, or they hold more than numbers."""
        if not self.may_read_columns(table.names):
            return None
        label, strings = self._label_of(table.names), table.strings
        labels = () if label is None else (label,)
        if any(name not in table or name in strings for name in labels) or (
            label is None and self.label not in (None, "label")
        ):
            return None  # the rows will say what is wrong
        texts = self.texts if set(self.texts) <= set(strings) else None
        if self._raw(table.names):
            return None if texts is None else (*texts, *labels)
        if self.reads == "texts" and texts is None and not self._bare:
            return None  # the rows will say which column is missing
        rest = [name for name in table.names if name not in (self.label, "labels") or self.label is None]
        rest = [name for name in rest if name not in strings]
        if "input_ids" not in rest or any(name not in table for name in rest):
            return None
        return (*rest, *(texts if texts and self.reads == "texts" else ()), *labels)

    def may_read_columns(self, names: Collection[str]) -> bool:
        """Whether rows of the columns ``names`` could become padded columns."""
        return self.collate_fn is None and not self.single and (self.tokenizer is not None or "input_ids" in names)

    def encodes(self, names: Collection[str]) -> bool:
        """Whether reading rows of the columns ``names`` means tokenizing them."""
        return self._raw(names) and self.reads != "texts"

    def _raw(self, names: Collection[str]) -> bool:
        return self.tokenizer is not None and "input_ids" not in names

    def _label_of(self, names: Collection[str]) -> Any:
        """The label column among ``names``, None where there is none."""
        return (
            None
            if self.label is None
            else self.label
            if self.label in names
            else "labels"
            if "labels" in names
            else None
        )

    def _gathered(self, found: Gathered) -> Candidates:
        columns = dict(found.columns)
        label = self._label_of(columns)
        labels = None if label is None else columns.pop(label)
        raw = self._raw(columns)
        texts = [columns[name] for name in self.texts if name in columns] if raw or self.reads == "texts" else []
        if texts:
            columns = {name: column for name, column in columns.items() if name not in self.texts}
        if raw and self.reads != "texts":
            columns, texts = self._encode([utf8.decode(text) for text in texts]), []
        like = columns.get("input_ids")
        for name, column in columns.items():
            if not isinstance(column, Ragged):
                columns[name] = _narrow(name, column)
            elif isinstance(like, Ragged) and np.array_equal(column.offsets, like.offsets):
                columns[name] = Ragged(
                    column.values, like.offsets
                )  # one array, so that what is known of one is known of all
        return self._assemble(found.n, columns, labels, tuple(texts) or None)

    def _assemble(self, n: int, columns: dict, labels: Any, texts: tuple | None) -> Candidates:
        tokens = columns.pop("input_ids") if "input_ids" in columns else None
        if not (
            isinstance(tokens, Ragged) and tokens.values.dtype.kind in "iu" or (tokens is None and texts is not None)
        ):
            kind = (
                f"{tokens.values.dtype} lists"
                if isinstance(tokens, Ragged)
                else "no lists of numbers"
                if tokens is None
                else f"single {tokens.dtype}"
            )
            raise ValueError(f"input_ids must hold a list of whole numbers in each row, got {kind}")
        columns = {name: column for name, column in columns.items() if column is not None}
        if labels is not None:
            columns["labels"] = labels if isinstance(labels, Ragged) else _narrow("labels", labels)
        return Candidates(n=n, columns=columns, labels=_class_labels(columns.get("labels")), tokens=tokens, texts=texts)

    # -- rows ----------------------------------------------------------------------------------------------------------

    def read(self, rows: Any) -> Candidates:
        """Candidates of a list of rows, of columns, or of whatever the user's collate function takes."""
        table = piece(rows)
        if table is not None:
            names = self.columns_of(table)
            rows = table.table.to_pylist() if names is None else table.gather(np.arange(len(table)), names)
        if isinstance(rows, Gathered):
            return self._gathered(rows)
        listed = [rows] if self.single else rows if isinstance(rows, (list, Mapping)) else list(rows)
        first = next(iter(listed), None) if isinstance(listed, list) else None
        if self.pads(first):
            return self._columns(listed)
        n = len(next(iter(listed.values()), ())) if isinstance(listed, Mapping) else len(listed)
        found = Candidates(n=n)
        if isinstance(listed, list) and all(row is not None for row in listed) and listed:
            found.labels = _class_labels(self._labels(listed, lenient=True))
            found.tokens = self._tokens(listed) if self.reads == "tokens" else None
            found.texts = self._texts(listed) if self.reads == "texts" else None
        if self.collate_here:
            found.batch = (self.collate_fn or self.default_collate)(rows)
        else:
            found.rows = listed if isinstance(listed, list) else _unstack(listed, n)
        return found

    def pads(self, row: Any) -> bool:
        """Whether rows like this one become padded columns, rather than going to a collate function."""
        return self.collate_fn is None and row is not None and (self.tokenizer is not None or _has_tokens(row))

    def _columns(self, rows: list) -> Candidates:
        labels, texts = self._labels(rows), None
        if self.tokenizer is not None and not _has(rows[0], "input_ids"):
            if self.reads == "texts":
                columns, texts = {}, self._texts(rows)
            else:
                columns = self._encode([self._strings(rows, name) for name in self.texts])
        else:
            taken = () if self.label is None else (self.label, "labels")
            columns = {name: _convert(name, [_get(row, name) for row in rows]) for name in rows[0] if name not in taken}
            texts = self._texts(rows) if self.reads == "texts" else None
        return self._assemble(len(rows), columns, None if labels is None else _convert("labels", labels), texts)

    def _tokens(self, rows: list) -> Ragged | None:
        if _has(rows[0], "input_ids"):
            return _convert("input_ids", [row["input_ids"] for row in rows])
        if self.tokenizer is not None:
            return self._encode([self._strings(rows, name) for name in self.texts])["input_ids"]
        return None

    # -- text ----------------------------------------------------------------------------------------------------------

    def tokenized(self, candidates: Candidates) -> Candidates:
        """The same candidates with tokens in place of texts, all tokenized in one call; unchanged where nothing is to be done."""
        if (
            candidates.tokens is not None
            or candidates.texts is None
            or candidates.rows is not None
            or candidates.batch is not None
        ):
            return candidates
        columns = self._encode([utf8.decode(text) for text in candidates.texts])
        return replace(
            candidates, texts=None, tokens=columns.pop("input_ids"), columns={**columns, **candidates.columns}
        )

    def _encode(self, texts: list[list[str]]) -> dict[str, Ragged]:
        """One or two columns of text as token columns, by the cheapest way to the same ids."""
        if not texts[0]:
            return {"input_ids": _ragged([], np.int64)} | (
                {"token_type_ids": _ragged([], np.int64)} if self._segments else {}
            )
        try:
            if self._bulk is None:
                columns = self.tokenizer(
                    *texts, truncation=self._limit is not None, padding=False, return_attention_mask=False
                )
                return {name: _ragged(values, np.int64) for name, values in columns.items()}
            encoded = self._bulk.encode_batch_fast(texts[0] if len(texts) == 1 else list(zip(*texts, strict=True)))
        except (TypeError, UnicodeEncodeError):
            for column in texts:
                utf8.encode(column)  # says which text is none
            raise
        columns = {"input_ids": _ragged([one.ids for one in encoded], np.int64)}
        if self._segments and self._one_segment:
            columns["token_type_ids"] = Ragged(
                np.zeros(columns["input_ids"].values.size, np.int64), columns["input_ids"].offsets
            )
        elif self._segments:
            columns["token_type_ids"] = _ragged([one.type_ids for one in encoded], np.int64)
        return columns

    def _fast_copy(self) -> Any:
        """A copy of the Rust tokenizer, so that nobody else's padding or truncation settings reach it; None for a slow one."""
        if not getattr(self.tokenizer, "is_fast", False):
            return None
        copy = Tokenizer.from_str(self.tokenizer.backend_tokenizer.to_str())
        copy.no_padding()
        copy.no_truncation()
        copy.encode_special_tokens = bool(getattr(self.tokenizer, "split_special_tokens", False))
        if self._limit is not None:
            copy.enable_truncation(self._limit, strategy="longest_first", direction=self.tokenizer.truncation_side)
        return copy

    def _texts(self, rows: list) -> tuple[Ragged, ...] | None:
        """The text columns of rows as UTF-8; None where no column was named and there is none of the usual name."""
        if self._bare and not isinstance(rows[0], str) and not _has(rows[0], "text"):
            return None
        return tuple(utf8.encode(self._strings(rows, name)) for name in self.texts)

    def _strings(self, rows: list, name: Any) -> list[str]:
        texts = rows if self._bare and isinstance(rows[0], str) else [_get(row, name, "text") for row in rows]
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise ValueError(
                    f"text column {name!r} must hold strings to tokenize, got {type(text).__name__} ({text!r:.60}) in row {i} of the {len(texts)} read; "
                    "name the column of raw text with text=, or clean the data"
                )
        return texts

    def _labels(self, rows: list, lenient: bool = False) -> list | None:
        row = rows[0]
        if self.label is None:
            return None
        if isinstance(row, Mapping):
            name = self._label_of(row)
            if lenient:
                return None if name is None or any(name not in r for r in rows) else [r[name] for r in rows]
            if name is None:
                if self.label == "label":
                    return None
                raise ValueError(_no_column("label", self.label, row))
            return [_get(row, name, "label") for row in rows]
        if isinstance(self.label, int) and isinstance(row, (tuple, list)):
            return [_get(row, self.label, "label") for row in rows]
        return None


def _has(row: Any, name: str) -> bool:
    return isinstance(row, Mapping) and name in row


def _has_tokens(row: Any) -> bool:
    """Whether a row is one tokenized example (rows that are batches of their own go to the collate function)."""
    if not _has(row, "input_ids"):
        return False
    ids = row["input_ids"]
    return getattr(ids, "ndim", 1) == 1 and not (isinstance(ids, (list, tuple)) and ids and hasattr(ids[0], "__len__"))


def _unstack(columns: Mapping, n: int) -> list[dict]:
    """Rows of a batch that the data set gave as columns."""
    return [{name: column[i] for name, column in columns.items()} for i in range(n)]


def _get(row: Any, name: Any, argument: str | None = None) -> Any:
    try:
        return row[name]
    except (KeyError, IndexError, TypeError):
        raise ValueError(_no_column(argument, name, row)) from None


def _no_column(argument: str | None, name: Any, row: Any) -> str:
    if argument is None:
        return f"a row lacks the column {name!r} that the first row of its batch has: it has {sorted(map(str, row))}; give every row the same columns"
    there = (
        f"the row has the columns {sorted(map(str, row))}"
        if isinstance(row, Mapping)
        else f"the row is a {type(row).__name__}"
    )
    return f"{argument}={name!r} names no column: {there}; pass {argument}= one of them"


def _ragged(rows: list, dtype) -> Ragged:
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    if any(isinstance(row, np.ndarray) for row in rows):
        return Ragged(np.concatenate([np.asarray(row, dtype) for row in rows]), offsets)
    return Ragged(np.fromiter(chain.from_iterable(rows), dtype, int(offsets[-1])), offsets)


def _convert(name: str, values: list) -> np.ndarray | Ragged | None:
    """One column as an array ``[n, …]``, or ragged where its rows differ in length; None for what is no number."""
    values = [value.numpy(force=True) if isinstance(value, torch.Tensor) else value for value in values]
    first = values[0]
    if isinstance(first, (str, bytes, Mapping)) or first is None:
        if name == "labels":
            raise ValueError(
                f"labels must be numbers, got {first!r}; map each class to an integer first "
                "(datasets: `class_encode_column`), or name the right column with label="
            )
        return None
    if (
        name not in _WHOLE
        and isinstance(first, (list, tuple))
        and any(isinstance(v, (list, tuple)) and len(v) for v in values)
    ):
        values = _arrays(name, values)
        first = values[0]
    if any(isinstance(value, np.ndarray) and value.dtype.kind in "OSU" for value in values):
        return None
    if isinstance(first, np.ndarray) and first.ndim != 1:
        if len({value.shape for value in values}) > 1:
            raise ValueError(
                f"column {name!r} has rows of different shapes, {values[0].shape} and others; pad it, drop it, or give a collate_fn"
            )
        return _narrow(name, np.stack(values))
    if isinstance(first, (list, tuple, np.ndarray)):
        floats = any(
            len(value) and (value.dtype.kind == "f" if isinstance(value, np.ndarray) else isinstance(value[0], float))
            for value in values
        )
        return _ragged(values, np.float32 if floats else np.int64)
    return _narrow(name, _array(name, values))


_WHOLE = ("input_ids", "token_type_ids", "attention_mask", "special_tokens_mask", "position_ids")


def _arrays(name: str, values: list) -> list[np.ndarray]:
    """Each list of a column as an array of its own."""
    try:
        return [np.asarray(value) for value in values]
    except ValueError:
        raise ValueError(
            f"column {name!r} has nested rows of different lengths; pad it, drop it, or give a collate_fn"
        ) from None


def _array(name: str, values: list) -> np.ndarray:
    """A column of plain numbers, float64 or int64 ``[n]``."""
    for value in values:
        if value is None or isinstance(value, (str, bytes)):
            raise ValueError(
                f"{name} must be numbers, got {value!r} in one row; fill it in, drop the row, or map it to a number"
            )
    return np.asarray(values)


def _narrow(name: str, array: np.ndarray) -> np.ndarray:
    """Integers as int64, real numbers as float32: what models take; truth values as bool, but for labels, whose classes they are."""
    if array.dtype.kind == "b" and name != "labels":
        return array
    if array.dtype.kind in "bui":
        return array.astype(np.int64, copy=False)
    if array.dtype.kind == "f":
        return array.astype(np.float32, copy=False)
    raise ValueError(f"column {name!r} must hold numbers, got dtype {array.dtype}: {array.flat[0]!r}")


def _class_labels(labels: Any) -> np.ndarray | None:
    """Labels as int64 ``[n]`` where each example has one class; None for real, multi-label or token-level ones."""
    if isinstance(labels, list):
        try:
            labels = np.asarray(
                [value.item() if isinstance(value, (torch.Tensor, np.generic)) else value for value in labels]
            )
        except (ValueError, TypeError, RuntimeError):
            return None
    if not isinstance(labels, np.ndarray) or labels.ndim != 1 or labels.dtype.kind not in "iub":
        return None
    return labels.astype(np.int64, copy=False)
