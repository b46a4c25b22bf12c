"""Data files: the labelled text that a folder, a file or a hub name holds, as a training set and a test set."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from datasets import ClassLabel, Dataset, Features, Value

from filterloader.experiments.cause import cut
from filterloader.experiments.names import check_data, listing
from filterloader.experiments.readers import Columns
from filterloader.experiments.splits import find_splits

TEXTS = (  # column names known to hold the text, first match wins
    ("text", "text_pair"),
    ("text",),
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("premise", "hypothesis"),
    ("sentence",),
    ("tokens",),
)
LONGEST = 600  # characters of an error, whatever a file holds


@dataclass(frozen=True)
class Task:
    """A text classification task.

    Args:
        train: rows with the text columns (str) and the label column (int in ``[0, len(classes))``), nothing else.
        test: rows of the same columns.
        text: one column name, or two for pairs.
        label: a column name.
        classes: names, by id.
        name: of the file or folder.
    """

    train: Dataset
    test: Dataset
    text: tuple[str, ...]
    label: str
    classes: tuple[str, ...]
    name: str


def load(
    data: str | Path,
    text: str | tuple[str, ...] | None = None,
    label: str = "label",
    test_share: float = 0.1,
    seed: int = 0,
    limit: int | None = None,
) -> Task:
    """Read a `Task` from a folder, a file or, if no such path exists, the hub; only the wanted columns are looked at.

    The test set is the test split if it has labels, else the validation split, else a share of each class of train.
    Rows without a label are left out, with a warning that counts them: where the label is null, nan or empty, or -1 in
    a column whose file declares its classes. Declared classes keep their names and numbers. Else strings are numbered
    in sorted order and integers in rising order, over train and test together, so that a class of test only has an id.
    Nothing is cached: each call reads its files again, into memory. Only hub data goes through the hub's cache.

    Args:
        data: a folder that `find_splits` understands, a file (all of it train), or a hub name, with ``:configuration``
            if it needs one. Files end in .jsonl, .json, .csv, .tsv (where quotes are plain characters) or .parquet; .gz
            may follow, but for .parquet.
        text: the text column, or two for pairs; by default a usual name (`TEXTS`) or else the only column of strings.
            Lists of strings are joined with spaces.
        label: the class column.
        test_share: of each class, in (0, 1), where there is no other test set.
        seed: what is drawn is drawn with it.
        limit: rows of train, and of test, at most; None for all.

    Returns: a `Task`.

    Raises:
        ValueError: for anything missing, empty, unreadable or ambiguous, in one line of at most 600 characters.
    """
    check_data(str(data))
    if not 0 < test_share < 1:
        raise ValueError(f"test_share is {test_share}: give a fraction between 0 and 1, such as 0.1")
    if limit is not None and limit < 2:
        raise ValueError(f"limit is {limit}: give at least 2 rows, or None for all")
    try:
        return _load(str(data), text, label, test_share, np.random.default_rng(seed), limit)
    except ValueError as error:
        if len(str(error)) <= LONGEST:
            raise
        raise ValueError(cut(str(error), LONGEST)) from error


def _load(data: str, text, label: str, test_share: float, rng: np.random.Generator, limit: int | None) -> Task:
    splits = find_splits(data)
    if "train" not in splits:
        raise ValueError(f"{data} has {listing(splits)} but no train split: name one file train.*")
    text = _text_columns(data, splits["train"], text, label)
    names = _declared(data, splits, label)
    held_out = _held_out(data, splits, label, names)
    parts = [_columns(f"the train split of {data}", splits["train"], text, label, names)]
    if held_out is not None:
        parts.append(_columns(f"the {held_out} split of {data}", splits[held_out], text, label, names))
    classes, ids = _numbered(data, [part[label] for part in parts], names)
    if held_out is None:
        kept, drawn = _split(ids[0], test_share, rng)
        takes = [(parts[0], ids[0], kept), (parts[0], ids[0], drawn)]
    else:
        takes = [(part, part_ids, np.arange(len(part_ids))) for part, part_ids in zip(parts, ids, strict=True)]
    features = Features({**{name: Value("string") for name in text}, label: ClassLabel(names=list(classes))})
    done = []
    for part, part_ids, rows in takes:
        if limit is not None and len(rows) > limit:
            rows = np.sort(rng.choice(rows, limit, replace=False))
        columns = {name: [part[name][i] for i in rows] for name in text}
        done.append(Dataset.from_dict({**columns, label: part_ids[rows]}, features=features))
    path = Path(data).expanduser()
    name = path.resolve().name.split(".")[0] if path.exists() else data
    return Task(train=done[0], test=done[1], text=text, label=label, classes=classes, name=name)


def _text_columns(data: str, train: list[Columns], text, label: str) -> tuple[str, ...]:
    there = train[0].names
    if label not in there:
        raise ValueError(f"{data} has no column {label!r} for the label: its columns are {listing(there)}")
    if text is None:
        text = next((names for names in TEXTS if set(names) <= set(there) - {label}), None)
        if text is None:
            strings = [name for name in train[0].texts() if name != label]
            if len(strings) != 1:
                raise ValueError(
                    f"cannot tell which of the columns {listing(there)} of {data} is the text: name it with text="
                )
            text = (strings[0],)
            warnings.warn(f"column {cut(repr(text[0]), 60)} of {data} is taken for the text", stacklevel=4)
    text = (text,) if isinstance(text, str) else tuple(text)
    if len(text) not in (1, 2):
        raise ValueError(f"text names {len(text)} columns: give one, or two for pairs")
    for name in text:
        if name not in there:
            raise ValueError(f"{data} has no column {name!r} for the text: its columns are {listing(there)}")
        if name == label:
            raise ValueError(f"column {name!r} is both text and label: name two different columns")
    return text


def _declared(data: str, splits: dict[str, list[Columns]], label: str) -> tuple[str, ...] | None:
    """The names of the classes that the files declare, by number; None where none does."""
    found = {part.declared[label] for parts in splits.values() for part in parts if label in part.declared}
    if len(found) > 1:
        told = " and ".join(sorted(listing(names) for names in found))
        raise ValueError(f"the files of {data} declare different classes ({told}): give all of them the same")
    return found.pop() if found else None


def _held_out(data: str, splits: dict[str, list[Columns]], label: str, names: tuple[str, ...] | None) -> str | None:
    """The split to test on: benchmarks publish test sets whose labels are all -1 or null."""
    for split in ("test", "validation"):
        if split in splits:
            if all(label in part.names for part in splits[split]):
                values = chain.from_iterable(part.read(label) for part in splits[split])
                if any(not _unlabelled(value, names) and value not in (-1, "-1") for value in values):
                    return split
            warnings.warn(f"the {split} split of {data} has no labels and is not used", stacklevel=4)
    return None


def _unlabelled(value: Any, names: tuple[str, ...] | None) -> bool:
    return value is None or value != value or (names is not None and value == -1)


def _columns(where: str, parts: list[Columns], text: tuple[str, ...], label: str, names) -> dict[str, list]:
    """The wanted columns of a split as lists: texts as strings; rows without a label left out."""
    called = where if len(parts) == 1 else None  # of several, the error names the file
    columns = {name: [value for part in parts for value in part.read(name, called)] for name in (*text, label)}
    bare = [row for row, value in enumerate(columns[label]) if _unlabelled(value, names)]
    if len(bare) == len(columns[label]):
        raise ValueError(f"{where} has no label in any of its {len(bare)} rows: give a column with labels")
    rows = np.setdiff1d(np.arange(len(columns[label])), bare).tolist()
    if bare:
        said = "1 row has no label and is" if len(bare) == 1 else f"{len(bare)} rows have no label and are"
        first = f"the first is row {bare[0] + 1} of {len(columns[label])}"
        warnings.warn(f"{said} left out: column {label!r} of {where} ({first})", stacklevel=4)
    return {
        label: [columns[label][row] for row in rows],
        **{name: _texts(where, name, columns[name], rows) for name in text},
    }


def _texts(where: str, name: str, values: list, rows: list[int]) -> list[str]:
    """The strings of a column at these rows, lists of words joined."""
    found = [_joined(values[row]) for row in rows]
    place = next((place for place, value in enumerate(found) if not isinstance(value, str)), None)
    if place is None:
        return found
    row, value = rows[place] + 1, found[place]
    if value is None or value != value:
        raise ValueError(f"row {row} of {where} has no text in column {name!r}: fill it in or drop the row")
    raise ValueError(
        f"row {row} of {where} holds {cut(repr(value), 60)} in column {name!r}, no text: name a column of text with "
        "text="
    )


def _joined(value):
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        return " ".join(value)
    return value


def _numbered(data: str, labels: list[list], names: tuple[str, ...] | None) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """Class names, and each list of labels as int64 ids."""
    kinds = {type(value).__name__ for value in chain.from_iterable(labels)}
    numbers = "float" in kinds and kinds <= {"int", "float"}
    if numbers and all(float(value).is_integer() for value in chain.from_iterable(labels)):
        labels, kinds = [[int(value) for value in part] for part in labels], {"int"}
    if len(kinds) > 1 or not kinds <= {"str", "int", "bool"}:
        raise ValueError(
            f"the labels of {data} are of type {' and '.join(sorted(kinds))}: give strings or integers, one kind only"
        )
    values = sorted(set(chain.from_iterable(labels)))
    if len(values) < 2:
        raise ValueError(f"the labels of {data} are all {cut(repr(values[0]), 60)}: give at least two classes")
    if names is not None:
        known = {name: i for i, name in enumerate(names)} if kinds == {"str"} else {i: i for i in range(len(names))}
        strange = next((value for value in values if value not in known), None)
        if strange is not None:
            raise ValueError(
                f"the labels of {data} hold {cut(repr(strange), 60)}, none of the {len(names)} classes that it "
                f"declares ({listing(names)}): mend the labels or the classes"
            )
    else:
        known, names = {value: i for i, value in enumerate(values)}, tuple(map(str, values))
        if kinds == {"int"} and values[0] == -1 and 0 in values:
            warnings.warn(
                f"{data} declares no classes, so its label -1, beside {listing(values[1:])}, is taken for one; if it "
                "means 'no label', drop those rows",
                stacklevel=4,
            )
    return names, [np.array([known[value] for value in part], dtype=np.int64) for part in labels]


def _split(ids: np.ndarray, share: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers to keep and to test on, ``share`` of each class; a class keeps at least one row to train on."""
    order = rng.permutation(len(ids))
    classes = (order[ids[order] == c] for c in np.unique(ids))
    tested = [rows[: min(round(share * len(rows)), len(rows) - 1)] for rows in classes]
    drawn = np.sort(np.concatenate(tested))
    if not len(drawn):
        raise ValueError(f"{len(ids)} rows are too few to test on {share:g} of each class: give more, or a test file")
    return np.setdiff1d(np.arange(len(ids)), drawn), drawn
