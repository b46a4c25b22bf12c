"""Reader: turns the rows of a data set into candidates; it runs inside the data loader's workers."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.utils.data import get_worker_info

from filterloader.candidates import Candidates, Ragged

_UNLIMITED = 1_000_000  # tokenizers without a limit report a model_max_length of about 1e30


class Passed(NamedTuple):
    """Stands for a block that a resumed stream had already consumed: read, but not decoded again."""

    worker: int


class Reader:
    """A collate function that makes a list of rows into ``Candidates``.

    tokenizer, text, label: see ``FilteringDataLoader``. collate_fn: the user's, or None. collate_here: make the batch now
    (no decision will change it), else keep what the batch is made from. words: whether a policy wants to see the words.
    single: rows come one by one (``batch_size=None``).
    """

    def __init__(self, *, tokenizer, text, label, collate_fn, default_collate, collate_here, words, single):
        self.tokenizer, self.text, self.label = tokenizer, text, label
        self.collate_fn, self.default_collate = collate_fn, default_collate
        self.collate_here, self.words, self.single = collate_here, words, single
        limit = getattr(tokenizer, "model_max_length", None)
        self._limit = limit if limit and limit < _UNLIMITED else None
        self._bulk = self._fast_copy()
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

    def read(self, rows: Any) -> Candidates:
        """Candidates of a list of rows, or of whatever the user's collate function takes."""
        listed = [rows] if self.single else rows if isinstance(rows, (list, Mapping)) else list(rows)
        first = next(iter(listed), None) if isinstance(listed, list) else None
        if self.collate_fn is None and first is not None and (self.tokenizer is not None or _has_tokens(first)):
            return self._columns(listed)
        n = len(next(iter(listed.values()), ())) if isinstance(listed, Mapping) else len(listed)
        labels = tokens = None
        if isinstance(listed, list) and all(row is not None for row in listed) and listed:
            labels = _class_labels(self._labels(listed, lenient=True))
            tokens = self._tokens(listed) if self.words else None
        found = Candidates(n=n, labels=labels, tokens=tokens)
        if self.collate_here:
            found.batch = (self.collate_fn or self.default_collate)(rows)
        else:
            found.rows = listed if isinstance(listed, list) else _unstack(listed, n)
        return found

    def _columns(self, rows: list) -> Candidates:
        labels = self._labels(rows)
        if self.tokenizer is not None and not _has(rows[0], "input_ids"):
            columns = {name: _ragged(values, np.int64) for name, values in self._encode(rows).items()}
        else:
            taken = () if self.label is None else (self.label, "labels")
            columns = {name: _convert(name, [_get(row, name) for row in rows]) for name in rows[0] if name not in taken}
        tokens = columns.pop("input_ids")
        if not isinstance(tokens, Ragged) or tokens.values.dtype != np.int64:
            raise ValueError(f"input_ids must hold a list of whole numbers in each row, got {rows[0]['input_ids']!r:.80}")
        if labels is not None:
            columns["labels"] = _convert("labels", labels)
        columns = {name: column for name, column in columns.items() if column is not None}
        return Candidates(n=len(rows), columns=columns, labels=_class_labels(columns.get("labels")), tokens=tokens)

    def _tokens(self, rows: list) -> Ragged | None:
        if _has(rows[0], "input_ids"):
            return _convert("input_ids", [row["input_ids"] for row in rows])
        if self.tokenizer is not None:
            return _ragged(self._encode(rows)["input_ids"], np.int64)
        return None

    def _encode(self, rows: list) -> dict[str, list]:
        texts = [self._texts(rows, name) for name in (self.text if isinstance(self.text, tuple) else (self.text,))]
        if self._bulk is None:
            return self.tokenizer(*texts, truncation=self._limit is not None, padding=False, return_attention_mask=False)
        encoded = self._bulk.encode_batch_fast(texts[0] if len(texts) == 1 else list(zip(*texts, strict=True)))
        columns = {"input_ids": [one.ids for one in encoded]}
        if "token_type_ids" in self.tokenizer.model_input_names:
            columns["token_type_ids"] = [one.type_ids for one in encoded]
        return columns

    def _fast_copy(self) -> Any:
        """A copy of the Rust tokenizer, so that nobody else's padding or truncation settings reach it; None for a slow one."""
        if not getattr(self.tokenizer, "is_fast", False):
            return None
        copy = Tokenizer.from_str(self.tokenizer.backend_tokenizer.to_str())
        copy.no_padding()
        copy.no_truncation()
        if self._limit is not None:
            copy.enable_truncation(self._limit, strategy="longest_first", direction=self.tokenizer.truncation_side)
        return copy

    def _texts(self, rows: list, name: Any) -> list[str]:
        if name is None and isinstance(rows[0], str):
            texts = rows
        else:
            name = "text" if name is None else name
            texts = [_get(row, name, "text") for row in rows]
        for text in texts:
            if not isinstance(text, str):
                raise ValueError(
                    f"text column {name!r} must hold strings to tokenize, got {type(text).__name__} ({text!r:.60}); "
                    "name the column of raw text with text=, or clean the data"
                )
        return texts

    def _labels(self, rows: list, lenient: bool = False) -> list | None:
        row = rows[0]
        if self.label is None:
            return None
        if isinstance(row, Mapping):
            name = self.label if self.label in row else "labels" if "labels" in row else None
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
    there = f"the row has the columns {sorted(map(str, row))}" if isinstance(row, Mapping) else f"the row is a {type(row).__name__}"
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
    if name not in _WHOLE and isinstance(first, (list, tuple)) and any(isinstance(v, (list, tuple)) and len(v) for v in values):
        values = _arrays(name, values)
        first = values[0]
    if isinstance(first, np.ndarray) and first.dtype.kind in "OSU":
        return None
    if isinstance(first, np.ndarray) and first.ndim != 1:
        if len({value.shape for value in values}) > 1:
            raise ValueError(
                f"column {name!r} has rows of different shapes, {values[0].shape} and others; pad it, drop it, or give a collate_fn"
            )
        return _narrow(name, np.stack(values))
    if isinstance(first, (list, tuple, np.ndarray)):
        floats = any(getattr(value, "dtype", np.dtype(np.int64)).kind == "f" and len(value) for value in values)
        return _ragged(values, np.float32 if floats else np.int64)
    return _narrow(name, _array(name, values))


_WHOLE = ("input_ids", "token_type_ids", "attention_mask", "special_tokens_mask", "position_ids")


def _arrays(name: str, values: list) -> list[np.ndarray]:
    """Each list of a column as an array of its own."""
    try:
        return [np.asarray(value) for value in values]
    except ValueError:
        raise ValueError(f"column {name!r} has nested rows of different lengths; pad it, drop it, or give a collate_fn") from None


def _array(name: str, values: list) -> np.ndarray:
    """A column of plain numbers, float64 or int64 ``[n]``."""
    for value in values:
        if value is None or isinstance(value, (str, bytes)):
            raise ValueError(f"{name} must be numbers, got {value!r} in one row; fill it in, drop the row, or map it to a number")
    return np.asarray(values)


def _narrow(name: str, array: np.ndarray) -> np.ndarray:
    """Integers as int64, real numbers as float32: what models take."""
    if array.dtype.kind in "bui":
        return array.astype(np.int64, copy=False)
    if array.dtype.kind == "f":
        return array.astype(np.float32, copy=False)
    raise ValueError(f"column {name!r} must hold numbers, got dtype {array.dtype}: {array.flat[0]!r}")


def _class_labels(labels: Any) -> np.ndarray | None:
    """Labels as int64 ``[n]`` where each example has one class; None for real, multi-label or token-level ones."""
    if isinstance(labels, list):
        try:
            labels = np.asarray([value.item() if isinstance(value, (torch.Tensor, np.generic)) else value for value in labels])
        except (ValueError, TypeError, RuntimeError):
            return None
    if not isinstance(labels, np.ndarray) or labels.ndim != 1 or labels.dtype.kind not in "iub":
        return None
    return labels.astype(np.int64, copy=False)
