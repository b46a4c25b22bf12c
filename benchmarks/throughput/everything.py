"""Everything: how fast do batches come out of the loader where nothing is filtered, against a ``DataLoader`` and the
bare tokenizer?
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from tokenizers import Tokenizer
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding

from benchmarks.throughput.clock import figure, interleaved, rates, record, times_faster
from benchmarks.throughput.corpus import Corpus
from filterloader import FilteringDataLoader, TrainAll

COLLATOR, HABIT, BULK = (
    "DataLoader + DataCollatorWithPadding",
    "DataLoader + tokenizer in collate_fn",
    "the tokenizer, all in one call",
)
_AWAKE = 3  # batches drawn before the clock: workers have started, kernels are compiled


class InCollate:
    """The collate function that everybody writes: tokenize and pad the texts of a batch."""

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer

    def __call__(self, rows: list[dict]) -> Any:
        batch = self.tokenizer([row["text"] for row in rows], padding=True, truncation=True, return_tensors="pt")
        batch["labels"] = torch.tensor([row["label"] for row in rows])
        return batch


def arguments(batch: int, workers: int, *, pin: bool = False) -> dict:
    """What both loaders are given; workers live on from pass to pass."""
    return {
        "batch_size": batch,
        "shuffle": True,
        "generator": torch.Generator().manual_seed(0),
        "num_workers": workers,
        "persistent_workers": workers > 0,
        "pin_memory": pin,
    }


def drain(batches: Iterable) -> int:
    """Draw a whole pass; returns its number of rows."""
    rows = 0
    for batch in batches:
        rows += batch["labels"].shape[0]
    return rows


def wake(*loaders: Iterable) -> None:
    for loader in loaders:
        for _, _ in zip(range(_AWAKE), loader, strict=False):
            pass


def tokenized(corpus: Corpus, *, batch: int, workers: int, repeats: int, pin: bool = False) -> Iterator[dict]:
    """TrainAll over a tokenized data set."""
    data, tokenizer = corpus.tokenized, corpus.tokenizer
    ours = FilteringDataLoader(data, tokenizer=tokenizer, policy=TrainAll(), **arguments(batch, workers, pin=pin))
    theirs = DataLoader(data, collate_fn=DataCollatorWithPadding(tokenizer), **arguments(batch, workers, pin=pin))
    wake(ours, theirs)
    times = interleaved({"ours": lambda: drain(ours), COLLATOR: lambda: drain(theirs)}, repeats)
    checked = same_batches(ours, theirs)
    figures = times_faster(times, "ours", {COLLATOR: 30})
    yield record(
        "TrainAll, tokenized",
        corpus,
        batch=batch,
        workers=workers,
        unit="rows/s",
        rate=rates(times, len(corpus)),
        figures=figures,
        checked=checked,
    )


def raw(corpus: Corpus, *, batch: int, workers: int, repeats: int, pin: bool = False) -> Iterator[dict]:
    """TrainAll over raw text."""
    tokenizer, texts, bulk = corpus.tokenizer, corpus.texts, bulk_tokenizer(corpus.tokenizer)
    ours = FilteringDataLoader(corpus.raw, tokenizer=tokenizer, policy=TrainAll(), **arguments(batch, workers, pin=pin))
    theirs = DataLoader(corpus.raw, collate_fn=InCollate(tokenizer), **arguments(batch, workers, pin=pin))
    wake(ours, theirs)
    contenders = {
        "ours": lambda: drain(ours),
        HABIT: lambda: drain(theirs),
        BULK: lambda: bulk.encode_batch_fast(texts),
    }
    times = interleaved(contenders, repeats)
    checked = same_batches(ours, theirs)
    same_rows(rows_of(ours), (tuple(one.ids) for one in bulk.encode_batch_fast(texts)))
    figures = times_faster(times, "ours", {HABIT: 3})
    del figures[f"times faster than {BULK}"]
    figures["time over the tokenizer's in one call"] = figure(
        [a / b for a, b in zip(times["ours"], times[BULK], strict=True)], most=1.2
    )
    yield record(
        "TrainAll, raw text",
        corpus,
        batch=batch,
        workers=workers,
        unit="rows/s",
        rate=rates(times, len(corpus)),
        figures=figures,
        checked=checked,
    )


def bulk_tokenizer(tokenizer: Any) -> Tokenizer:
    """The Rust tokenizer behind ``tokenizer``, with its limit and without padding, as a copy."""
    copy = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    copy.no_padding()
    if tokenizer.model_max_length < 1_000_000:
        copy.enable_truncation(tokenizer.model_max_length)
    return copy


def same_batches(ours: Any, theirs: Any) -> str:
    """One pass of each under one seed: the same rows in the same order as the same tensors, or AssertionError."""
    passes = []
    for loader in (ours, theirs):
        loader.generator.manual_seed(1)
        passes.append([{name: tensor.clone() for name, tensor in batch.items()} for batch in loader])
    left, right = passes
    assert len(left) == len(right), f"{len(left)} batches against {len(right)}"
    for i, (a, b) in enumerate(zip(left, right, strict=True)):
        assert a.keys() == b.keys(), f"batch {i}: {sorted(a)} against {sorted(b)}"
        for name in a:
            assert a[name].dtype == b[name].dtype and torch.equal(a[name], b[name]), f"batch {i}: {name} differs"
    return f"{len(left)} batches equal: rows, order, tensors"


def rows_of(batches: Iterable) -> Iterator[tuple]:
    """Token ids of each row, padding cut off."""
    for batch in batches:
        for ids, length in zip(batch["input_ids"].tolist(), batch["attention_mask"].sum(dim=1).tolist(), strict=True):
            yield tuple(ids[:length])


def same_rows(left: Iterable[tuple], right: Iterable[tuple]) -> int:
    """The same rows in whatever order, or AssertionError; returns how many."""
    left, right = sorted(left), sorted(right)
    assert len(left) == len(right), f"{len(left)} rows against {len(right)}"
    assert left == right, "rows differ"
    return len(left)
