"""Pictures: accuracy against wall-clock of one data set, every row and both controls on it, and the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.table.controls import Row
from benchmarks.table.frontier import marked
from benchmarks.table.systems import BASELINE, CONTROLS
from filterloader.experiments.metrics import pareto_front
from filterloader.experiments.pictures import COLOURS, FAINT, INK, dress

COLOUR = {
    "train_all": "#000000",
    "fixed_threshold": "#E69F00",
    "auto_threshold": "#8C5A00",
    "three_stage": "#0072B2",
    "autoassist": "#56B4E9",
    "selection_via_proxy": "#CC79A7",
    "static_el2n": "#7FB800",
    "dynamic_el2n": "#009E73",
    "infobatch": "#D55E00",
    "selective_backprop": "#6A3D9A",
}
SHAPES = "osD^vPX<>h"
CONTROL_LINES = {"random": ("#777777", "o", "-"), "class_balanced": ("#B5651D", "s", (0, (5, 2)))}


def draw(found: Sequence[Row], path: Path) -> Path:
    """Draw the rows of one data set into a PNG file. Raises ImportError where matplotlib is missing."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10.5, 6.2), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    full = next(row for row in found if (row.policy, row.budget) == BASELINE)
    for control in CONTROLS:
        _line(axes, [row for row in found if row.policy == control and "batch" not in row.budget], full, control)
    floor = _floor(found, full)
    budgets: dict[str, int] = {}
    for row in found:
        if row.policy not in CONTROLS or "batch" in row.budget:
            shape = SHAPES[budgets.get(row.policy, 0) % len(SHAPES)]
            budgets[row.policy] = budgets.get(row.policy, 0) + 1
            _point(axes, row, COLOUR.get(row.policy, COLOURS[len(budgets) % 7]), shape, floor)
    points = [_place(row) for row in found]
    front = [points[i] for i in pareto_front(points)]
    how = {"color": INK, "linewidth": 1, "linestyle": ":", "zorder": 1.5, "label": "Pareto front (all rows)"}
    axes.step(*zip(*front, strict=True), where="post", **how)
    best = _best(found)
    if best is not None:
        ring = {"markersize": 17, "markerfacecolor": "none", "markeredgecolor": INK, "markeredgewidth": 1.4}
        axes.plot(*_place(best), "o", **ring, linestyle="none", label="highest AGOT (all weights trained)")
    seeds = len({cell["seed"] for row in found for cell in row.cells})
    title = f"{full.dataset}: accuracy against time; up and to the left is better"
    dress(axes, "wall-clock time of the training run (s)", title)
    axes.set_ylabel(f"test accuracy (%), mean of {seeds} seed{'s' * (seeds > 1)}, 95 % interval", fontsize=9, color=INK)
    axes.set_xlim(left=0)
    axes.set_ylim(floor, None)
    axes.axvline(full.mean("wall_s"), color=FAINT, linewidth=0.8, zorder=0)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8.5, labelspacing=0.75)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return path


def _place(row: Row) -> tuple[float, float]:
    return row.mean("wall_s"), 100 * row.accuracy[0]


def _line(axes, rungs: list[Row], full: Row, control: str) -> None:
    """A control's ladder, up to training on everything, with a band for its intervals."""
    if not rungs:
        return
    rungs = sorted([*rungs, full], key=lambda row: row.mean("wall_s"))
    colour, shape, dashes = CONTROL_LINES[control]
    time = [row.mean("wall_s") for row in rungs]
    means, lows, highs = zip(*(tuple(100 * value for value in row.accuracy) for row in rungs), strict=True)
    axes.fill_between(time, lows, highs, color=colour, alpha=0.10, linewidth=0, zorder=0.5)
    look = {"color": colour, "linestyle": dashes, "linewidth": 2, "marker": shape, "markersize": 4, "zorder": 2}
    axes.plot(time, means, label=f"control: {control.replace('_', ' ')}", **look)


def _point(axes, row: Row, colour: str, shape: str, floor: float) -> None:
    time, accuracy = _place(row)
    plain = (row.policy, row.budget) == BASELINE or row.budget == "default"
    name = row.policy.replace("_", " ") + ("" if plain else f", {row.budget}")
    if accuracy < floor:
        arrow = {"arrowstyle": "->", "color": colour}
        how = {"xytext": (0, 14), "textcoords": "offset points", "fontsize": 7.5, "color": colour, "ha": "center"}
        axes.annotate(f"{name}: {accuracy:.1f}", (time, floor), arrowprops=arrow, **how)
        return
    _, low, high = row.accuracy
    axes.plot([time, time], [100 * low, 100 * high], color=colour, linewidth=1, alpha=0.35, zorder=2.5)
    look = {"color": colour, "markersize": 8, "markeredgecolor": "white", "markeredgewidth": 0.7, "zorder": 3}
    axes.plot(time, accuracy, shape, label=name, linestyle="none", **look)


def _floor(found: Sequence[Row], full: Row) -> float:
    """Where the accuracy axis begins: rows far below the cheapest control would flatten all others."""
    drops = [full.accuracy[0] - row.accuracy[0] for row in found if row.policy in CONTROLS]
    depth = 1.3 * max([*drops, 0.0]) + 0.02
    lowest = min(row.accuracy[1] for row in found)
    return 100 * max(lowest - 0.005, full.accuracy[0] - depth)


def _best(found: Sequence[Row]) -> Row | None:
    _, name = marked(found)
    return next((row for row in found if row.name == name), None)
