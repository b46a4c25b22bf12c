"""Pictures: runs drawn as loss over the stream, shares over time, and accuracy against time."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from filterloader.experiments.metrics import pareto_front
from filterloader.experiments.tables import Run, groups

# Okabe and Ito: colour-blind safe
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX"
INK, FAINT = "#333333", "#BBBBBB"
PANELS = 12  # in one picture, at most
_BESIDE, _LINE = 28, 88  # letters of a name that may stand beside a frame; of a line below it
_LETTER = 0.085  # inches, of a title


def draw(runs: Sequence[Run], directory: str | Path) -> list[Path]:
    """Draw the pictures that the runs have numbers for, as PNG files in ``directory`` (made if it is not there).

    ``loss.png``: loss and threshold over the stream, stages as a coloured band, one panel a group (its first run).
    ``shares.png``: share kept and share trained on over wall-clock time. ``accuracy.png``: accuracy against wall-clock
    time, one marker a run, with the Pareto front of the group means.
    Returns: the files written. Raises ValueError if matplotlib is not there or no run has anything to draw.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ValueError("drawing needs matplotlib: pip install filterloader[report]") from error

    found = groups(runs)
    styles = {name: (COLOURS[i % 7], MARKERS[(i + i // 7) % 7]) for i, name in enumerate(found)}
    directory = Path(directory)
    written = []
    for name, painter in (("loss", _draw_loss), ("shares", _draw_shares), ("accuracy", _draw_accuracy)):
        figure = Figure(layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        if painter(figure, found, styles):
            directory.mkdir(parents=True, exist_ok=True)
            written.append(directory / f"{name}.png")
            figure.savefig(written[-1], dpi=144)
    if not written:
        raise ValueError(f"nothing to draw: none of the {len(runs)} runs has a report or an accuracy")
    return written


def _draw_loss(figure, found: dict[str, list[Run]], styles: dict) -> bool:
    shown = [(name, run) for name, (run, *_) in found.items() if len(run.of("report")) > 1][:PANELS]
    if not shown:
        return False
    wide = 1 if len(shown) < 3 else 2
    tall = -(-len(shown) // wide)
    width = 5.2 * wide + (2 if wide == 1 else 0)
    titles = [textwrap.wrap(name, int(0.88 * width / wide / _LETTER)) for name, _ in shown]
    figure.set_size_inches(width, 1.2 + tall * (2.4 + 0.2 * max(map(len, titles))))
    panels = figure.subplots(tall, wide, sharex=True, sharey=True, squeeze=False).ravel()
    stages = dict.fromkeys(stage["stage"] for _, run in shown for stage in run.of("stage"))
    colours = {stage: COLOURS[(4, 3, 2, 5, 6)[i % 5]] for i, stage in enumerate(stages)}
    for axes, title, (_, run) in zip(panels, titles, shown, strict=False):
        reports = run.of("report")
        place, loss, threshold = (_column(reports, key) for key in ("position", "loss", "threshold"))
        axes.plot(place, loss, color=FAINT, linewidth=0.8, label="loss, as reported")
        axes.plot(place, _smooth(loss), color=COLOURS[0], linewidth=2, label="loss, smoothed")
        axes.plot(place, threshold, color=COLOURS[1], linewidth=1.6, linestyle=(0, (4, 1.5)), label="threshold")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k" if value else "0")
        _band(axes, run.of("stage"), float(np.nanmax(place)), colours)
        dress(axes, "", _escape("\n".join(title)), pad=14 if stages else 8)
    everything = np.concatenate([_column(run.of("report"), "loss") for _, run in shown])
    panels[0].set_ylim(0, 1.1 * float(np.nanquantile(everything, 0.995)))
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    for axes in panels[max(0, len(shown) - wide) : len(shown)]:
        axes.tick_params(labelbottom=True)
        axes.set_xlabel("examples of the stream consumed, all passes", fontsize=9, color=INK)
    figure.suptitle("Loss and threshold over the stream", fontsize=12, color=INK)
    figure.supylabel("loss (mean of a few batches)", fontsize=9, color=INK)
    lines, _ = panels[0].get_legend_handles_labels()
    figure.legend(**_in_threes(lines, colours), loc="outside lower center", frameon=False, fontsize=9)
    return True


def _band(axes, stages: list[dict], width: float, colours: dict[str, str]) -> None:
    """The stages as a band of colours above the frame, and a line where each begins, so that none hides another."""
    ends = [stage["position"] for stage in stages[1:]] + [width]
    for stage, end in zip(stages, ends, strict=False):
        start, colour = stage["position"], colours[stage["stage"]]
        axes.axvspan(start, end, 1.02, 1.06, facecolor=colour, edgecolor=colour, linewidth=0.5, clip_on=False)
        axes.axvline(start, color=INK, linewidth=0.8, linestyle=":")


def _in_threes(lines: list, colours: dict[str, str]) -> dict:
    """Legend settings: three marks a row, the lines first, then the stages. Legends are filled column by column."""
    from matplotlib.patches import Patch

    marks = [*lines, *(Patch(color=colour, label=f"stage {_escape(stage)}") for stage, colour in colours.items())]
    marks += [Patch(alpha=0, label=" ")] * (-len(marks) % 3)
    return {"handles": [mark for column in range(3) for mark in marks[column::3]], "ncols": 3}


def _draw_shares(figure, found: dict[str, list[Run]], styles: dict) -> bool:
    shown = [(name, run) for name, (run, *_) in found.items() if len(run.of("report")) > 1]
    if not shown:
        return False
    figure.set_size_inches(11, 4)
    panels = figure.subplots(1, 2, sharey=True)
    unit, seconds = _unit(max(run.of("report")[-1]["time"] for _, run in shown))
    titles = {"kept": "Forwarded", "trained": "Trained on (forward and backward)"}
    for axes, (key, title) in zip(panels, titles.items(), strict=True):
        for i, (name, run) in enumerate(shown):
            reports = run.of("report")
            time, share = _column(reports, "time") / seconds, 100 * _column(reports, key)
            colour, marker = styles[name]
            width = 1.2 + 2 * (1 - i / len(shown))  # equal lines stay visible, the later on the earlier
            axes.plot(time, share, color=colour, linewidth=0.6, alpha=0.25)
            line = {"color": colour, "linewidth": width, "marker": marker, "markevery": [-1], "markersize": 7}
            axes.plot(time, _smooth(share), label=_wrapped(name), **line)
        dress(axes, f"wall-clock time ({unit})", title)
    panels[0].set_ylim(0, 104)
    panels[0].set_ylabel("share of the stream just seen (%)", fontsize=9, color=INK)
    figure.suptitle("What the filter lets through", fontsize=12, color=INK)
    _name(figure, panels[0], "policy")
    return True


def _draw_accuracy(figure, found: dict[str, list[Run]], styles: dict) -> bool:
    points = {
        name: [(run.end["wall_s"], 100 * run.end["accuracy"], run.end) for run in members if "accuracy" in run.end]
        for name, members in found.items()
    }
    points = {name: members for name, members in points.items() if members}
    if not points:
        return False
    figure.set_size_inches(8.5, 4.6)
    axes = figure.subplots()
    longest = max(wall for members in points.values() for wall, *_ in members)
    unit, seconds = _unit(longest)
    means, intervals = [], False
    for name, members in points.items():
        colour, marker = styles[name]
        for wall, accuracy, end in members:
            faint = 0.6 if len(members) > 1 else 1
            axes.plot(wall / seconds, accuracy, marker, color=colour, markersize=6, alpha=faint, clip_on=False)
            if "accuracy_low" in end and "accuracy_high" in end:
                intervals, span = True, [100 * end["accuracy_low"], 100 * end["accuracy_high"]]
                axes.plot([wall / seconds] * 2, span, color=colour, linewidth=1, alpha=0.4, zorder=1)
        walls, accuracies, _ = zip(*members, strict=True)
        means.append((float(np.mean(walls)) / seconds, float(np.mean(accuracies))))
        look = {"color": colour, "markersize": 10, "markeredgecolor": INK, "linestyle": "none", "clip_on": False}
        axes.plot(*means[-1], marker, label=_wrapped(name), **look)
    front = [means[i] for i in pareto_front(means)]
    label = "Pareto front: none is both\nfaster and more accurate"
    axes.step(*zip(*front, strict=True), where="post", color=INK, linewidth=1, linestyle="--", zorder=1, label=label)
    dress(axes, f"wall-clock time of the training run ({unit})", "Accuracy against time: up and to the left is better")
    axes.margins(y=0.1)
    axes.set_xlim(0, 1.06 * longest / seconds)
    axes.set_ylabel("test accuracy (%)", fontsize=9, color=INK)
    several = any(len(members) > 1 for members in points.values())
    one = "a run, with its interval" if intervals else "a run"
    _name(figure, axes, f"small: {one}\nlarge: mean of the runs" if several else one)
    return True


def _name(figure, axes, title: str) -> None:
    """Say what the marks of ``axes`` mean: beside the frames, or below them where a name is long."""
    handles, labels = axes.get_legend_handles_labels()
    how = {"frameon": False, "fontsize": 9, "title": title, "title_fontproperties": {"size": 8}, "labelspacing": 0.8}
    longest = max(len(line) for label in labels for line in label.split("\n"))
    if longest <= _BESIDE:
        legend = figure.legend(handles, labels, loc="outside right upper", **how)
    else:
        columns = 2 if 2 * longest <= _LINE else 1
        wide, tall = figure.get_size_inches()
        lines = sum(label.count("\n") + 1 for label in labels) / columns + title.count("\n") + 1
        figure.set_size_inches(wide, tall + 0.21 * lines)
        legend = figure.legend(handles, labels, loc="outside lower center", ncols=columns, **how)
    legend.get_title().set(color=INK)


def dress(axes, below: str, title: str, pad: float = 8) -> None:
    """The look of one frame: its title, the label of the axis below, a quiet grid and edges."""
    axes.set_title(title, fontsize=10, color=INK, loc="left", pad=pad)
    axes.set_xlabel(below, fontsize=9, color=INK)
    axes.tick_params(labelsize=8, color=FAINT, labelcolor=INK)
    axes.grid(axis="y", color="#EEEEEE", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)


def _column(events: list[dict], key: str) -> np.ndarray:
    return np.array([math.nan if event.get(key) is None else event[key] for event in events], dtype=np.float64)


def _smooth(values: np.ndarray) -> np.ndarray:
    """A moving mean over a twentieth of the values, centred, shorter at both ends; nans do not count."""
    window = np.ones(max(1, len(values) // 20) | 1)
    known = ~np.isnan(values)
    total, count = (np.convolve(x, window, mode="same") for x in (np.where(known, values, 0.0), known.astype(float)))
    return np.where(known, total[: len(values)] / np.maximum(count[: len(values)], 1), math.nan)


def _unit(longest: float) -> tuple[str, float]:
    units = (("hours", 3600.0), ("minutes", 60.0), ("s", 0.0))
    unit, size = next(one for one in units if longest >= 2 * one[1])
    return unit, size or 1.0


def _escape(text: str) -> str:
    return text.replace("$", r"\$")


def _wrapped(name: str) -> str:
    return _escape(textwrap.fill(name, _LINE))
