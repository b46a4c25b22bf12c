"""Clock: contenders timed turn by turn, and what their times come to."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.throughput.corpus import Corpus


def interleaved(contenders: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each call, ``repeats`` a contender.

    They take turns, so that a slow moment of the machine hits all, and another one begins each repeat.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for repeat in range(repeats):
        for name in names[repeat % len(names) :] + names[: repeat % len(names)]:
            gc.collect()
            start = perf_counter()
            contenders[name]()
            times[name].append(perf_counter() - start)
    return times


def figure(values: Sequence[float], *, least: float | None = None, most: float | None = None) -> dict:
    """Median and range of a measured quantity, and the aim that it has to reach (``least``) or keep to (``most``)."""
    values = [float(value) for value in values]
    found = {"median": _short(np.median(values)), "low": _short(min(values)), "high": _short(max(values))}
    if least is not None:
        found |= {"aim": f">= {least:g}", "met": found["median"] >= least}
    if most is not None:
        found |= {"aim": f"<= {most:g}", "met": found["median"] <= most}
    return found


def rates(times: Mapping[str, Sequence[float]], amount: float | Mapping[str, float]) -> dict[str, dict]:
    """Amount a second of each contender; amount: of one call, or of one call of each."""
    return {
        name: figure([(amount[name] if isinstance(amount, Mapping) else amount) / t for t in own])
        for name, own in times.items()
    }


def times_faster(times: Mapping[str, Sequence[float]], ours: str, aims: Mapping[str, float]) -> dict[str, dict]:
    """How many times longer than ``ours`` each other contender takes, from turn to turn; aims: by contender."""
    return {
        f"times faster than {name}": figure(np.divide(own, times[ours]), least=aims.get(name))
        for name, own in times.items()
        if name != ours
    }


def record(work: str, corpus: Corpus, *, batch: int, workers: int = 0, rows: int | None = None, **more: Any) -> dict:
    """What is kept of a measurement. more: ``unit``, ``rate``, ``figures`` and ``checked``, and what else there is."""
    shown = {"batch": batch, "workers": workers, "rows": len(corpus) if rows is None else rows}
    return {"work": work, "data": corpus.name, **shown, **more}


def _short(value: float) -> float:
    return float(f"{value:.4g}")
