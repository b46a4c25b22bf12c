"""Profiling: where the time of a pass goes, function by function."""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Callable, Iterator

from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding

from benchmarks.throughput.corpus import Corpus
from benchmarks.throughput.everything import COLLATOR, arguments, drain, wake
from benchmarks.throughput.filtering import loaders, prepared
from filterloader import FilteringDataLoader, TrainAll

TOP = 15


def profiles(corpus: Corpus, batch: int) -> Iterator[tuple[str, int, list[dict]]]:
    """Title, batches and the ``TOP`` functions of each: TrainAll over tokenized rows, the same from a ``DataLoader``,
    TrainAll over raw text, the filter stage.
    """
    tokenizer = corpus.tokenizer
    everything = FilteringDataLoader(corpus.tokenized, tokenizer=tokenizer, policy=TrainAll(), **arguments(batch, 0))
    theirs = DataLoader(corpus.tokenized, collate_fn=DataCollatorWithPadding(tokenizer), **arguments(batch, 0))
    raw = FilteringDataLoader(corpus.raw, tokenizer=tokenizer, text="text", policy=TrainAll(), **arguments(batch, 0))
    ours, _ = loaders(corpus, prepared(corpus), batch)
    for title, loader in (
        ("TrainAll, tokenized", everything),
        (COLLATOR, theirs),
        ("TrainAll, raw text", raw),
        ("filter stage, words, raw text", ours),
    ):
        wake(loader)
        yield title, sum(1 for _ in loader), top(lambda loader=loader: drain(loader))


def top(run: Callable, most: int = TOP) -> list[dict]:
    """The functions that took longest themselves: name, calls, seconds of their own, with all they called, and share of
    all (%).

    The profiler costs something with each Python call, so small functions look dearer than they are.
    """
    profiler = cProfile.Profile()
    profiler.runcall(run)
    stats = pstats.Stats(profiler).stats
    whole = sum(own for _, _, own, _, _ in stats.values())
    rows = sorted(stats.items(), key=lambda item: -item[1][2])[:most]
    return [
        {
            "function": _name(*where),
            "calls": calls,
            "own_s": round(own, 4),
            "with_calls_s": round(all_, 4),
            "share": round(100 * own / whole, 1),
        }
        for where, (_, calls, own, all_, _) in rows
    ]


def _name(file: str, line: int, function: str) -> str:
    short = "/".join(file.replace("\\", "/").split("/")[-2:])
    return function if file in ("~", "") else f"{short}:{line} {function}"
