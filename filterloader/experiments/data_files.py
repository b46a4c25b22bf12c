"""Data files: the labelled text that a folder, a file or a hub name holds, as a training set and a test set."""

from __future__ import annotations

import csv
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import datasets
import numpy as np
from datasets import ClassLabel, Dataset, Features, Value

from filterloader.experiments.cause import cause
from filterloader.experiments.names import DATA, READERS, check_data, kind

SPLITS = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}
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


@dataclass(frozen=True)
class Task:
    """A text classification task.

    train, test: rows with the text columns (str) and the label column (int in ``[0, len(classes))``), nothing else.
    text: one column name, or two for pairs. label: a column name. classes: names, by id. name: of the file or folder.
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
    """Read a `Task` from a folder, a file or, if no such path exists, the hub.

    data: a folder with files named train*, validation* (valid*, val*, dev*) or test*; one file; or a hub name, with
    ``:configuration`` if it needs one. Files end in .jsonl, .json, .csv, .tsv (where quotes are plain characters) or
    .parquet; .gz may follow, but for .parquet. Several files of one split are read in the order of their names.
    text: the text column, or two for pairs; by default a usual name (`TEXTS`) or else the only column of strings. Lists
    of strings are joined with spaces. label: the class column; strings are numbered in sorted order and integers in
    rising order, over train and test together, so that a class seen in test only has an id too.
    The test set is the test split if it has labels, else the validation split, else ``test_share`` (in (0, 1)) of each
    class of train, drawn with ``seed``. limit: rows of train, and of test, at most, drawn with ``seed``.
    Nothing is cached: files are read again by each call, into memory. Only hub data goes through the hub's cache.
    Raises ValueError, in one line, for anything missing, empty, null, unreadable or ambiguous.
    """
    check_data(str(data))
    if not 0 < test_share < 1:
        raise ValueError(f"test_share is {test_share}: give a fraction between 0 and 1, such as 0.1")
    if limit is not None and limit < 2:
        raise ValueError(f"limit is {limit}: give at least 2 rows, or None for all")
    path = Path(data).expanduser()
    splits = _read_path(path) if path.exists() else _read_hub(str(data))
    if "train" not in splits:
        raise ValueError(f"{data} has {_listing(splits)} but no train split: name one file train.*")
    train = splits["train"]
    text = _text_columns(data, train, text, label)
    held_out = next((splits[s] for s in ("test", "validation") if s in splits and _labelled(splits[s], label)), None)
    wheres = [f"the train split of {data}", f"the test split of {data}"]
    parts = [_columns(where, part, text, label) for where, part in zip(wheres, (train, held_out)) if part is not None]
    classes, ids = _number(data, [part[label] for part in parts], train.features[label])
    rng = np.random.default_rng(seed)
    if held_out is None:
        kept, drawn = _split(ids[0], test_share, rng)
        takes = [(parts[0], ids[0], kept), (parts[0], ids[0], drawn)]
    else:
        takes = [(part, part_ids, np.arange(len(part_ids))) for part, part_ids in zip(parts, ids)]
    features = Features({**{name: Value("string") for name in text}, label: ClassLabel(names=list(classes))})
    done = []
    for part, part_ids, rows in takes:
        if limit is not None and len(rows) > limit:
            rows = np.sort(rng.choice(rows, limit, replace=False))
        columns = {name: [part[name][i] for i in rows] for name in text}
        done.append(Dataset.from_dict({**columns, label: part_ids[rows]}, features=features))
    name = path.resolve().name.split(".")[0] if path.exists() else str(data)
    return Task(train=done[0], test=done[1], text=text, label=label, classes=classes, name=name)


def _read_path(path: Path) -> dict[str, Dataset]:
    if path.is_file():
        return {"train": _read_files([path])}
    files = defaultdict(list)
    for file in sorted(path.iterdir()):
        split = next((s for s, starts in SPLITS.items() if file.name.lower().startswith(starts)), None)
        if split and file.is_file() and kind(file):
            files[split].append(file)
    if not files:
        there = _listing(sorted(file.name for file in path.iterdir()))
        wanted = f"train, validation or test files that end in {_listing(READERS)}"
        raise ValueError(f"folder {path} holds {there}: give one with {wanted}")
    return {split: _read_files(found) for split, found in files.items()}


def _read_files(files: list[Path]) -> Dataset:
    """One split. The reader's cache is a folder that is gone when the rows are in memory."""
    kinds = {kind(file) for file in files}
    if None in kinds:
        raise ValueError(f"{files[0]} does not end in {_listing(READERS)} (or .gz after a text one): convert it first")
    if len(kinds) > 1:
        raise ValueError(f"{_listing([file.name for file in files])} are of several kinds: keep one kind for a split")
    if not any(file.stat().st_size for file in files):
        raise ValueError(f"{files[0]} is empty: give a file with rows")
    ending = kinds.pop()
    options = {}
    if READERS[ending] == "csv":  # an empty cell is missing; "NA" and "None" are texts
        options = {"keep_default_na": False, "na_values": [""]}
    if ending == ".tsv":
        options |= {"sep": "\t", "quoting": csv.QUOTE_NONE}
    bars = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as cache:
            names = [str(file) for file in files]
            builder = datasets.load_dataset_builder(READERS[ending], data_files=names, cache_dir=cache, **options)
            builder.download_and_prepare()
            full = builder.info.splits["train"].num_examples > 0
            rows = builder.as_dataset("train", in_memory=True) if full else None
    except Exception as error:
        raise ValueError(f"cannot read {_listing(files)} as {ending[1:]}: {cause(error)}") from error
    finally:
        if not bars:
            datasets.enable_progress_bars()
    if rows is None:
        raise ValueError(f"{files[0]} has no rows: give a file with some")
    return rows


def _read_hub(name: str) -> dict[str, Dataset]:
    hub, _, configuration = name.partition(":")
    try:
        splits = datasets.load_dataset(hub, configuration or None)
    except Exception as error:
        offline = datasets.config.HF_HUB_OFFLINE and isinstance(error, ConnectionError)
        why = "offline, and not in its cache" if offline else cause(error)
        raise ValueError(f"{name} is no path here, nor could the hub give it ({why}): {DATA}") from error
    found = {}
    for split, starts in SPLITS.items():
        match = next((s for s in splits if s.lower().startswith(starts)), None)
        if match:
            found[split] = splits[match]
    return found


def _text_columns(data, rows: Dataset, text: str | tuple[str, ...] | None, label: str) -> tuple[str, ...]:
    there = rows.column_names
    if label not in there:
        raise ValueError(f"{data} has no column {label!r} for the label: its columns are {_listing(there)}")
    if text is None:
        text = next((names for names in TEXTS if set(names) <= set(there) - {label}), None)
        strings = [name for name in there if name != label and _is_text(rows.features[name])]
        if text is None and len(strings) != 1:
            raise ValueError(
                f"cannot tell which of the columns {_listing(there)} of {data} is the text: name it with text="
            )
        text = text or (strings[0],)
    text = (text,) if isinstance(text, str) else tuple(text)
    if len(text) not in (1, 2):
        raise ValueError(f"text names {len(text)} columns: give one, or two for pairs")
    for name in text:
        if name not in there:
            raise ValueError(f"{data} has no column {name!r} for the text: its columns are {_listing(there)}")
        if name == label:
            raise ValueError(f"column {name!r} is both text and label: name two different columns")
    return text


def _is_text(feature) -> bool:
    return getattr(feature, "dtype", None) in ("string", "large_string")


def _labelled(rows: Dataset, label: str) -> bool:
    """Whether a split can be scored: benchmarks publish test sets with labels that are all -1 or null."""
    return label in rows.column_names and any(value not in (None, -1, "-1") for value in _values(rows, label))


def _columns(where: str, rows: Dataset, text: tuple[str, ...], label: str) -> dict[str, list]:
    """The wanted columns as lists: texts as strings, nothing null."""
    columns = {}
    for name in (*text, label):
        if name not in rows.column_names:
            raise ValueError(f"{where} has no column {name!r}: its columns are {_listing(rows.column_names)}")
        values = _values(rows, name)
        columns[name] = values if name == label else [_join(value) for value in values]
        null = next((i for i, value in enumerate(values) if value is None or value != value), None)
        if null is not None:
            what = "label" if name == label else "text"
            raise ValueError(f"row {null + 1} of {where} has no {what} in column {name!r}: fill it in or drop the row")
        if name != label and not all(isinstance(value, str) for value in columns[name]):
            raise ValueError(
                f"column {name!r} of {where} holds {rows.features[name]}: name a column of text with text="
            )
    return columns


def _values(rows: Dataset, name: str) -> list:
    return rows.with_format("arrow")[:][name].to_pylist()


def _join(value):
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        return " ".join(value)
    return value


def _number(data, labels: list[list], feature) -> tuple[tuple[str, ...], list[np.ndarray]]:
    """Class names, and each list of labels as int64 ids."""
    kinds = sorted({type(value).__name__ for value in chain.from_iterable(labels)})
    values = set(chain.from_iterable(labels)) if kinds in (["str"], ["int"], ["bool"], ["float"]) else set()
    if kinds == ["float"] and all(value.is_integer() for value in values):
        values, kinds = {int(value) for value in values}, ["int"]
    if kinds not in (["str"], ["int"], ["bool"]):
        raise ValueError(
            f"the labels of {data} are of type {' and '.join(kinds)}: give strings or integers, one kind only"
        )
    if len(values) < 2:
        raise ValueError(f"the labels of {data} are all {values.pop()!r}: give at least two classes")
    ids = {value: i for i, value in enumerate(sorted(values))}
    named = isinstance(feature, ClassLabel) and max(values) < feature.num_classes and min(values) >= 0
    names = tuple(feature.int2str(value) if named else str(value) for value in ids)
    return names, [np.array([ids[value] for value in part], dtype=np.int64) for part in labels]


def _split(ids: np.ndarray, share: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers to keep and to test on, ``share`` of each class; a class keeps at least one row to train on."""
    order = rng.permutation(len(ids))
    tested = [
        rows[: min(round(share * len(rows)), len(rows) - 1)]
        for rows in (order[ids[order] == c] for c in np.unique(ids))
    ]
    drawn = np.sort(np.concatenate(tested))
    if not len(drawn):
        raise ValueError(f"{len(ids)} rows are too few to test on {share:g} of each class: give more, or a test file")
    return np.setdiff1d(np.arange(len(ids)), drawn), drawn


def _listing(names) -> str:
    names = [str(name) for name in names]
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "") if names else "nothing"
