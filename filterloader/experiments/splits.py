"""Splits: which files of a folder, or parts of a hub data set, are the train, the validation and the test split."""

from __future__ import annotations

import re
import warnings
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import datasets

from filterloader.experiments.cause import cause
from filterloader.experiments.names import DATA, READERS, kind, listing
from filterloader.experiments.readers import Columns, read_dataset, read_file

SPLITS = {"train": "train|training", "validation": "validation|valid|val|dev", "test": "test|testing|eval|evaluation"}
_NAME = re.compile("|".join(f"(?P<{split}>(?:{words})(?![a-z]))" for split, words in SPLITS.items()))
_SHARD = re.compile(
    r"(?P<more>.*?)(?:[-_. ]?(?:part|shard)?[-_ ]?(?P<number>\d+)(?:[-_]of[-_](?P<total>\d+))?(?:-[0-9a-f]{16})?)?"
)


def find_splits(data: str) -> dict[str, list[Columns]]:
    """What to read for each split that a path, or else a hub name, has: ``{"train": [...], ...}``, shards in order.

    A file is all train. A folder holds files named train*, validation* (valid*, val*, dev*) or test* (eval*), or has
    them in its folder ``data``, as a clone from the hub does, or was written by ``save_to_disk``. Files of one split
    are read one after the other where they are shards, their names alike but for a number: ``train-1.jsonl``,
    ``train-00000-of-00002.parquet``. Else the one with the split's own name is read, and a warning names the others.

    Args:
        data: a path or a hub name, with ``:configuration`` if it needs one.

    Returns: split -> readers.

    Raises:
        ValueError: for a folder without such files, shards that are missing, files that cannot be told apart or read.
    """
    path = Path(data).expanduser()
    if path.is_file():
        return {"train": [read_file(path)]}
    if not path.exists():
        return _of_hub(data)
    there = {file.name for file in path.iterdir()}
    if "dataset_dict.json" in there or {"state.json", "dataset_info.json"} <= there:
        return _saved(path)
    found = [folder for folder in (path, path / "data") if folder.is_dir() and _named(folder)]
    if not found:
        wanted = f"train, validation or test files that end in {listing(READERS)}, or what save_to_disk wrote"
        raise ValueError(f"folder {path} holds {listing(sorted(there))}: give one with {wanted}")
    if len(found) > 1:
        raise ValueError(
            f"folder {path} holds splits, and so does its folder data: name {path / 'data'}, or move one away"
        )
    return {split: [read_file(file) for file in _files(split, names)] for split, names in _named(found[0]).items()}


@dataclass(frozen=True)
class _File:
    """A data file. more: what its name says beside the split and the number of the shard; total: of how many shards."""

    path: Path
    more: str
    number: int | None
    total: int | None


def _split_of(name: str) -> tuple[str, str] | None:
    """The split that a name begins with, and the rest of the name."""
    match = _NAME.match(name.lower())
    return None if match is None else (str(match.lastgroup), name[match.end() :].lower())


def _named(folder: Path) -> dict[str, list[_File]]:
    """The data files of a folder by split."""
    files = defaultdict(list)
    for path in sorted(folder.iterdir()):
        ending = kind(path)
        named = _split_of(path.name) if ending and path.is_file() else None
        shard = _SHARD.fullmatch(named[1].removesuffix(".gz").removesuffix(ending)) if named and ending else None
        if named and shard:
            number, total = (None if text is None else int(text) for text in shard.group("number", "total"))
            files[named[0]].append(_File(path, shard["more"], number, total))
    return files


def _files(split: str, files: list[_File]) -> list[Path]:
    """Those of a split's files that are read, in the order of their numbers."""
    names = [file.path.name for file in files]
    if len({kind(name) for name in names}) > 1:
        raise ValueError(f"{listing(names)} are of several kinds: keep one kind for a split")
    groups = defaultdict(list)
    for file in files:
        groups[file.more, file.total, file.number is not None].append(file)
    own = [key for key in groups if not key[0]]
    key = _chosen(
        split, {key: " and ".join(file.path.name for file in group[:3]) for key, group in groups.items()}, own
    )
    shards = sorted(groups[key], key=lambda file: file.number or 0)
    numbers = [file.number for file in shards]
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"{listing(file.path.name for file in shards)} hold the same part of {split} twice: keep one")
    total, first = key[1], shards[0].number or 0
    if total is not None and numbers != list(range(first, first + total)):
        raise ValueError(
            f"{shards[0].path.parent} holds {len(shards)} of {total} files of the {split} split: fetch the others"
        )
    return [file.path for file in shards]


def _chosen(split: str, names: dict, own: Iterable):
    """The key of what is read for a split. names: key -> how it is told. own: those whose name is just the split's."""
    own = list(own)
    if len(names) == 1:
        return next(iter(names))
    if len(own) != 1 and (split == "train" or own):
        raise ValueError(
            f"{listing(names.values())} are not shards of one {split} split: keep one of them, or give it as a file"
        )
    chosen = own[0] if own else next(iter(names))
    others = listing(name for key, name in names.items() if key != chosen)
    warnings.warn(f"{names[chosen]} is the {split} split; {others} is not read", stacklevel=5)
    return chosen


def _saved(path: Path) -> dict[str, list[Columns]]:
    try:
        saved = datasets.load_from_disk(str(path))
    except Exception as error:
        raise ValueError(f"cannot read {path} as what save_to_disk wrote: {cause(error)}") from error
    return _of_splits(str(path), saved) if isinstance(saved, dict) else {"train": [read_dataset(str(path), saved)]}


def _of_hub(name: str) -> dict[str, list[Columns]]:
    hub, _, configuration = name.partition(":")
    try:
        splits = datasets.load_dataset(hub, configuration or None)
    except Exception as error:
        offline = datasets.config.HF_HUB_OFFLINE and isinstance(error, ConnectionError)
        why = "offline, and not in its cache" if offline else cause(error)
        raise ValueError(f"{name} is no path here, nor could the hub give it ({why}): {DATA}") from error
    return _of_splits(name, splits)


def _of_splits(data: str, splits: dict[str, datasets.Dataset]) -> dict[str, list[Columns]]:
    """The splits of a ``DatasetDict``."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    own = set()  # those whose name is just the split's
    for name in splits:
        named = _split_of(name)
        if named:
            found[named[0]][name] = name
            own |= set() if named[1] else {name}
    chosen = {split: _chosen(split, names, [name for name in names if name in own]) for split, names in found.items()}
    return {split: [read_dataset(f"{data}, split {name}", splits[name])] for split, name in chosen.items()}
