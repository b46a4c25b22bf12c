"""Corpus: the text that is measured on, raw and tokenized, as ``datasets.Dataset``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from datasets import Dataset

SETS = ("sst2", "ag_news")


@dataclass(frozen=True)
class Corpus:
    """raw: columns ``text`` (string) and ``label`` (class). tokenizer: a fast one. classes: how many."""

    name: str
    raw: Dataset
    tokenizer: Any
    classes: int

    def __len__(self) -> int:
        return len(self.raw)

    @cached_property
    def tokenized(self) -> Dataset:
        """What the usual recipe makes of it: ``map`` the tokenizer over batches, drop the text."""
        tokenizer = self.tokenizer
        with quiet():
            return self.raw.map(
                lambda rows: tokenizer(rows["text"], truncation=True),
                batched=True,
                remove_columns=["text"],
                load_from_cache_file=False,
            )

    @cached_property
    def ids(self) -> list[list[int]]:
        return self.tokenized.with_format("arrow")[:]["input_ids"].to_pylist()

    @cached_property
    def texts(self) -> list[str]:
        return self.raw.with_format("arrow")[:]["text"].to_pylist()

    @cached_property
    def labels(self) -> np.ndarray:
        return np.asarray(self.raw.with_format("arrow")[:]["label"].to_pylist(), np.int64)

    @cached_property
    def bytes(self) -> int:
        return sum(len(text.encode()) for text in self.texts)

    def head(self, rows: int) -> Corpus:
        """The first ``rows`` of it."""
        return Corpus(self.name, self.raw.select(range(min(rows, len(self)))), self.tokenizer, self.classes)

    def repeated(self, rows: int) -> Corpus:
        """Its rows over and over until there are ``rows``, each in memory of its own."""
        whole = datasets.concatenate_datasets([self.raw] * -(-rows // len(self)))
        return Corpus(
            self.name, Dataset(whole.data.table.slice(0, rows).combine_chunks()), self.tokenizer, self.classes
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars of ``datasets``."""
    hidden = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not hidden:
            datasets.enable_progress_bars()


def corpora(data: str | None, model: str | None, rows: int | None) -> list[Corpus]:
    """Those of ``SETS`` that the folder ``data`` holds, or the one that it is, ``rows`` of each (None: all). Without a
    folder: sentences from the docstrings of the installed libraries; without a model: a WordPiece trained on the texts.
    """
    from filterloader.experiments import data_files as datafiles
    from filterloader.experiments import demo_corpus as docstrings
    from filterloader.experiments import models as encoder

    found = {}
    if data is None:
        texts, names = docstrings.sentences()
        found["docstrings"] = (Dataset.from_list(texts[:rows]), len(names))
    else:
        folders = [Path(data) / name for name in SETS if (Path(data) / name).is_dir()] or [Path(data)]
        for folder in folders:
            task = datafiles.load(folder, limit=rows)
            if len(task.text) > 1:
                raise SystemExit(f"{folder} holds pairs of texts: give a set of single ones")
            renamed = {old: new for old, new in ((task.text[0], "text"), (task.label, "label")) if old != new}
            found[folder.name] = (task.train.rename_columns(renamed), len(task.classes))
    if model is None:
        tokenizer = encoder.wordpiece(
            [text for raw, _ in found.values() for text in raw["text"]], vocab_size=8000, max_length=128
        )
    else:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.deprecation_warnings["Asking-to-pad-a-fast-tokenizer"] = True  # said once a process by the usual collator
    return [Corpus(name, raw, tokenizer, classes) for name, (raw, classes) in found.items()]
