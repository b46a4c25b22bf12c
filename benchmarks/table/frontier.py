"""Frontier: which rows are worth their time."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.table.controls import Row
from benchmarks.table.systems import BASELINE, CONTROLS
from filterloader.experiments import metrics


def marked(found: Sequence[Row]) -> tuple[list[str], str | None]:
    """Names of the rows on the Pareto front, by rising time, and of the AGOT-optimal one."""
    points = [(row.mean("wall_s"), row.accuracy[0]) for row in found]
    front = [found[i].name for i in metrics.pareto_front(points)]
    full = next(row for row in found if (row.policy, row.budget) == BASELINE)
    scored = {
        row.name: agot(row, full) for row in found if row.policy not in CONTROLS and not row.budget.startswith("frozen")
    }
    known = {name: value for name, value in scored.items() if value is not None}
    return front, max(known, key=known.__getitem__) if known else None


def agot(row: Row, full: Row) -> float | None:
    """Accuracy gain over time, of the means over seeds; None where training on everything gained nothing."""
    base, top = full.mean("base_accuracy"), full.accuracy[0]
    return None if top <= base else metrics.agot(row.accuracy[0], base, top, row.mean("t_norm_measured"))
