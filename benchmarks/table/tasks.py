"""Tasks: which data sets, at which sizes, with which tuned learning rate; a tuning split is cut from train."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from filterloader.experiments import data_files as datafiles


@dataclass(frozen=True)
class Size:
    """What one data set costs. train, tune, test: rows at most (None: all); epochs; max_length: tokens kept of a row.

    lr: chosen on the tuning split, for TrainAll, out of `RATES` (``--tune`` prints the accuracies at this size).
    """

    train: int | None
    test: int | None
    epochs: int
    max_length: int
    lr: float
    tune: int = 1000
    label: str = "label"
    hub: str | None = None


RATES = (5e-5, 1e-4, 2e-4, 4e-4, 8e-4)
# Sizes for a few hours of CPU cores: training on everything takes half a minute to two minutes of one core, and all
# rows of all data sets about two and a half hours a seed. The rates of SST-2, ATIS, Yelp and SNIPS were chosen at
# somewhat larger sizes, out of the first four.
SMALL = {
    "sst2": Size(6000, None, 2, 64, 1e-4, hub="nyu-mll/glue:sst2"),
    "atis": Size(None, None, 4, 64, 2e-4, tune=478, label="intent"),
    "ag_news": Size(1000, 1000, 2, 64, 2e-4, hub="fancyzhx/ag_news"),
    "yelp_sentences": Size(3000, 2000, 2, 64, 2e-4),
    "snips": Size(2000, None, 3, 64, 2e-4, tune=700, label="intent"),
    "qqp": Size(1600, 1000, 2, 64, 1e-4, hub="nyu-mll/glue:qqp"),
    "qnli": Size(1400, 1000, 2, 64, 2e-4, hub="nyu-mll/glue:qnli"),
    "amazon_multidomain": Size(800, 1000, 2, 64, 2e-4),
}
# All data, for a GPU: two passes as in the paper's main table, more over the two small sets; the rates are those of the
# small sizes until `--full --tune` says otherwise.
FULL = {
    name: replace(size, train=None, test=None, epochs=10 if size.label == "intent" else 2, max_length=128)
    for name, size in SMALL.items()
}
OTHER = Size(8000, 2000, 2, 128, 1e-4)  # a data set that is not among them


@dataclass(frozen=True)
class Task:
    """One data set as the runs see it: rows are dicts with the text columns and the label column (int)."""

    name: str
    size: Size
    train: list[dict[str, Any]]
    tune: list[dict[str, Any]]
    test: list[dict[str, Any]]
    text: str | tuple[str, ...]
    label: str
    classes: tuple[str, ...]


def size_of(name: str, sizes: Mapping[str, Size] = SMALL, *, full: bool = False, **changes: Any) -> Size:
    """The size of a data set, with what is not None in ``changes`` put in its place.

    full: all of one that ``sizes`` does not name.
    """
    other = replace(OTHER, train=None, test=None) if full else OTHER
    return replace(sizes.get(name, other), **{key: value for key, value in changes.items() if value is not None})


def load(name: str, size: Size, folder: Path | None) -> Task:
    """Read a data set: ``folder/name`` where it is there, else the hub. The same arguments give the same rows.

    The tuning rows are drawn from train first, and never trained on or reported; the reported rows are those of the
    test split (the validation split where test has no labels, or there is none).
    """
    there = folder is not None and (folder / name).exists()
    found = datafiles.load(folder / name if there else size.hub or name, label=size.label)
    order = np.random.default_rng(0).permutation(len(found.train))
    tune = min(size.tune, len(order) // 4)
    trained = order[tune:] if size.train is None else order[tune : tune + size.train]
    tested = np.random.default_rng(1).permutation(len(found.test))[: size.test]
    rows = found.train.to_list()
    return Task(
        name=name,
        size=size,
        train=[rows[i] for i in trained],
        tune=[rows[i] for i in order[:tune]],
        test=[found.test[int(i)] for i in sorted(tested)],
        text=found.text if len(found.text) > 1 else found.text[0],
        label=found.label,
        classes=found.classes,
    )
