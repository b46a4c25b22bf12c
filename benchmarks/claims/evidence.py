"""Evidence: the cells that claims are judged by, and what can be told from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.table.controls import Row, at_wall_clock, ladder, rows, scores_of
from benchmarks.table.frontier import agot
from benchmarks.table.store import Store
from benchmarks.table.systems import BASELINE
from filterloader.experiments import metrics

BASE = "/".join(BASELINE)
NOT_THE_PAPERS = ("frozen", "script", "forward gate", "warmup None")  # rows of three stages that do not stand for them
WIDE = 6.0  # points; a wider interval would hold nearly any difference


class Missing(Exception):
    """What a claim needs and is not there."""


class Evidence:
    """The rows that are there: ``"script"`` (this benchmark's own), ``"main"`` (accuracy_time.py) and ``"joint"``
    (joint.py).
    """

    def __init__(self, own: Store, beside: Sequence[Path] = ()):
        self.stores = {"script": own}
        for folder in beside:
            store = Store(folder / "cells.jsonl")
            if store.cells:
                kind = "joint" if any("intent_accuracy" in cell for cell in store.cells.values()) else "main"
                if kind in self.stores:
                    raise ValueError(
                        f"--beside: {folder} and a folder before it hold the same kind of table; give one of each"
                    )
                self.stores[kind] = store
        self._rows: dict[tuple[str, str], dict[str, Row]] = {}

    def rows(self, kind: str, dataset: str | None) -> dict[str, Row]:
        """The rows of a data set by name. Raises Missing."""
        if dataset is None:
            raise Missing("the data set is not at hand")
        if kind not in self.stores:
            raise Missing(f"needs --beside a folder of {'accuracy_time' if kind == 'main' else kind}.py")
        if (kind, dataset) not in self._rows:
            self._rows[kind, dataset] = {row.name: row for row in rows(self.stores[kind], dataset)}
        return self._rows[kind, dataset]

    def row(self, kind: str, dataset: str | None, name: str) -> Row:
        found = self.rows(kind, dataset)
        if name not in found:
            raise Missing(f"{dataset} {name} was not run")
        return found[name]

    def three_stages(self, dataset: str | None) -> Row:
        """The row of three stages with the highest AGOT, as the paper's tables show it; of those with its two gates and
        a warm-up of a given length, that train as all others do.
        """
        full = self.row("main", dataset, BASE)
        found = [
            row
            for row in self.rows("main", dataset).values()
            if row.policy == "three_stage" and row.budget not in NOT_THE_PAPERS
        ]
        seeds = max((len(row.cells) for row in found), default=0)
        found = [row for row in found if len(row.cells) == seeds]
        if not found:
            raise Missing(f"{dataset} three_stage was not run")
        return max(found, key=lambda row: agot(row, full) or 0.0)

    def ladder(self, row: Row, kind: str, suffix: str = "") -> np.ndarray:
        """What random scored at the row's share of the stream, ``[seeds, test]``: as many examples trained on, whatever
        their time.
        """
        cells = self.stores[kind].of(dataset=row.dataset, setup=row.cells[-1]["setup"])
        out = []
        for cell in row.cells:
            rungs = ladder("random", cell["seed"], cells, suffix)
            rungs = [rung for rung in rungs if rung["policy"] == "random" or not suffix]
            if len(rungs) < 2:
                raise Missing(f"{row.dataset} random{suffix} was not run for seed {cell['seed']}")
            trained, ran = cell["backwarded"] / cell["seen"], [rung["backwarded"] / rung["seen"] for rung in rungs]
            if not 0.95 * min(ran) <= trained <= 1.05 * max(ran):
                span = f"{100 * min(ran):.0f} to {100 * max(ran):.0f} %"
                raise Missing(f"{row.name} trained on {100 * trained:.0f} %, and random{suffix} was run from {span}")
            out.append(at_wall_clock(rungs, max(cell["backwarded"], 1), "backwarded"))
        return np.stack(out)


def named(row: Row) -> str:
    """A row's name, and how many seeds it has where they are few."""
    return row.name if len(row.cells) >= 3 else f"{row.name} ({len(row.cells)} seed{'s' * (len(row.cells) > 1)} only)"


def gap(row: Row, other: Row) -> tuple[float, float, float]:
    """Accuracy of one row minus another's on the seeds that both have, in points, with its paired interval."""
    seeds = [cell["seed"] for cell in row.cells if cell["seed"] in {cell["seed"] for cell in other.cells}]
    if not seeds:
        raise Missing(f"{row.name} and {other.name} have no seed in common")
    mine, others = (
        np.stack([scores_of(cell) for cell in part.cells if cell["seed"] in seeds]) for part in (row, other)
    )
    return tuple(100 * value for value in metrics.difference_interval(mine, others))


def written(difference: tuple[float, float, float]) -> str:
    return "{:+.2f} ({:+.1f} to {:+.1f})".format(*difference)


def alike(difference: tuple[float, float, float], paper: float) -> bool | None:
    """Whether the paper's difference lies in our interval, half a point wider on each side; None where that is too wide
    to tell.
    """
    if not difference[1] - 0.5 <= paper <= difference[2] + 0.5:
        return False
    return True if difference[2] - difference[1] <= max(WIDE, abs(paper)) else None


def above(difference: tuple[float, float, float], paper: float) -> bool | None:
    """Whether we see a gain: True for an interval above 0, False for one below the paper's gain, None where it holds
    both.
    """
    return True if difference[1] > 0 else False if difference[2] < paper else None


def time_ratio(row: Row, other: Row) -> float:
    """Time of one row over another's, the mean over the seeds that both have."""
    walls = [{cell["seed"]: cell["wall_s"] for cell in part.cells} for part in (row, other)]
    seeds = walls[0].keys() & walls[1].keys()
    if not seeds:
        raise Missing(f"{row.name} and {other.name} have no seed in common")
    return float(np.mean([walls[0][seed] / walls[1][seed] for seed in sorted(seeds)]))


def late(row: Row) -> Row:
    """The seeds of a row that reached the last stage. Raises Missing where none did."""
    reached = [i for i, cell in enumerate(row.cells) if (cell.get("stages") or {}).get("filter", 0.0) > 0.01]
    if not reached:
        raise Missing(f"{row.name} did not reach the last stage in so short a run")
    return replace(row, cells=[row.cells[i] for i in reached], scores=row.scores[reached])
