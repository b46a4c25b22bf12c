"""Reports: the ledger's JSON lines read back, and made into tables and pictures."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from filterloader.metrics import pareto_front

COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
)  # Okabe and Ito: colour-blind safe
MARKERS = "osD^vPX"
INK, FAINT = "#333333", "#BBBBBB"
PANELS = 12  # in one picture, at most


@dataclass(frozen=True)
class Run:
    """One training run as its ledger wrote it down.

    path: the file. settings: what the start line says of the run (``policy``, ``seed``, …). events: all lines, ``time``
    in seconds since the first start, resumed runs laid end to end. note: what was skipped in reading, or None.
    """

    path: Path
    settings: dict[str, Any]
    events: list[dict[str, Any]]
    note: str | None = None

    @property
    def policy(self) -> str:
        return str(self.settings.get("policy", "?"))

    @property
    def end(self) -> dict[str, Any]:
        """The values of the last line, scalars among them, nulls left out; empty for a run that did not finish."""
        line = next((event for event in reversed(self.events) if event["event"] in ("end", "start")), {})
        if line.get("event") != "end":
            return {}
        known = [(k, v) for part in (line.get("scalars") or {}, line) for k, v in part.items() if not _missing(v)]
        return {"wall_s": line["time"], **{key: value for key, value in known if key not in ("event", "scalars")}}

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The events of one kind: ``"report"``, ``"stage"``, ``"eval"``, …"""
        return [event for event in self.events if event["event"] == kind]


def read_run(path: str | Path) -> Run:
    """Read one JSON-lines file that a ledger wrote.

    A half-written line, where a run was killed, is skipped and noted: the last, or one that a resumed run went on from.
    Raises ValueError, with the line number, for anything else that is not an event; for a missing or an empty file.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path} is not a file: give the .jsonl that a ledger wrote with log_to")
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    settings: dict[str, Any] = {}
    events: list[dict[str, Any]] = []
    note, offset = None, 0.0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        event = _parse(line)
        if event is None:
            note = f"{path}:{number} is half written and was skipped"
            event = _parse(line[line.rfind('{"event"') :]) if line.count('{"event"') > 1 else None
            if event is None and number == len(lines) and events:  # no newline after it: the run was killed here
                break
        if event is None or (not events and event["event"] != "start"):
            wanted = 'a line with "event": "start"' if not events else 'a JSON object with an "event"'
            raise ValueError(f"{path}:{number} is {line[:40]!r}: expected {wanted}, as a ledger writes it")
        if event["event"] == "start":
            settings |= event.get("run") or {}
            offset = events[-1]["time"] if events else 0.0
        events.append({**event, "time": offset + (event.get("time") or 0.0)})
    if not events:
        raise ValueError(f"{path} is empty: the run wrote nothing")
    return Run(path, settings, events, note)


def find_runs(paths: str | Path | Iterable[str | Path]) -> list[Run]:
    """Read files, and every ``*.jsonl`` under folders, in the order of their names.

    Raises ValueError if a path does not exist, nothing is found, or a file is not a ledger's.
    """
    files: list[Path] = []
    paths = [Path(path) for path in ([paths] if isinstance(paths, (str, Path)) else paths)]
    for path in paths:
        files += sorted(path.rglob("*.jsonl")) if path.is_dir() else [path]
    if not files:
        raise ValueError(f"no .jsonl file in {', '.join(map(str, paths)) or 'no path'}: give files or folders of runs")
    return [read_run(file) for file in dict.fromkeys(files)]


def groups(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs that differ in seed only, by name: the policy, then each plain setting that differs among its runs."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        same = [other for other in runs if other.policy == run.policy]
        names = dict.fromkeys(name for other in same for name in other.settings if name not in ("policy", "seed"))
        told = [n for n in names if len({json.dumps(other.settings.get(n), sort_keys=True) for other in same}) > 1]
        name = " ".join([run.policy, *(f"{n}={run.settings.get(n)}" for n in told)])
        found.setdefault(name, []).append(run)
    return found


def summarise(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """One row a group of `groups`, means over its finished runs; None where nothing is known.

    Keys: ``policy``, ``seeds`` (int, or text if some did not finish), ``accuracy`` with ``accuracy_low`` and
    ``accuracy_high`` (the extremes over seeds; of one run, its own interval), ``wall_s``, ``t_norm_measured``,
    ``t_norm_modelled``, ``forwarded`` and ``backwarded`` (shares of what was seen), ``agot``, ``energy_kwh``.
    """
    rows = []
    for name, members in groups(runs).items():
        ends = [run.end for run in members if run.end]
        row: dict[str, Any] = {"policy": name, "seeds": len(ends)}
        if len(ends) < len(members):
            row["seeds"] = f"{len(ends)} of {len(members)} finished"
        accuracies = _known(ends, "accuracy")
        lows, highs = (
            _known(ends, key) if len(accuracies) == 1 else accuracies for key in ("accuracy_low", "accuracy_high")
        )
        row |= {"accuracy": _mean(accuracies), "accuracy_low": min(lows, default=None)}
        row |= {"accuracy_high": max(highs, default=None)}
        row |= {key: _mean(_known(ends, key)) for key in ("wall_s", "t_norm_measured", "t_norm_modelled")}
        for key in ("forwarded", "backwarded"):
            row[key] = _mean([end[key] / end["seen"] for end in ends if end.get("seen") and key in end])
        row |= {key: _mean(_known(ends, key)) for key in ("agot", "energy_kwh")}
        rows.append(row)
    return rows


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {  # key -> heading, how to write a value
    "policy": ("policy", str),
    "seeds": ("seeds", str),
    "accuracy": ("accuracy %", lambda value: f"{100 * value:.2f}"),
    "wall_s": ("wall s", lambda value: f"{value:.1f}"),
    "t_norm_measured": ("T_norm", lambda value: f"{value:.2f}"),
    "t_norm_modelled": ("modelled", lambda value: f"{value:.2f}"),
    "forwarded": ("forwarded %", _percent),
    "backwarded": ("backwarded %", _percent),
    "agot": ("AGOT", lambda value: f"{value:.3f}"),
    "energy_kwh": ("kWh", lambda value: f"{value:.3g}"),
}


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    """An aligned text table, one line a row under a line of headings; None and nan are written "-".

    rows: mappings. columns: the keys to show, in order; by default those of `COLUMNS` that a row knows, then the rest.
    An accuracy is followed by its interval where the row has ``accuracy_low`` and ``accuracy_high``.
    """
    if columns is None:
        given = dict.fromkeys(key for row in rows for key, value in row.items() if not _missing(value))
        hidden = {*COLUMNS, "accuracy_low", "accuracy_high"}
        columns = [key for key in COLUMNS if key in given] + [key for key in given if key not in hidden]
    cells = [[COLUMNS[key][0] if key in COLUMNS else key for key in columns]]
    cells += [[_cell(row, key) for key in columns] for row in rows]
    left = [all(isinstance(row.get(key), str) or _missing(row.get(key)) for row in rows) for key in columns]
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = [[c.ljust(w) if at_left else c.rjust(w) for c, w, at_left in zip(line, widths, left)] for line in cells]
    return "\n".join("  ".join(line).rstrip() for line in lines)


def markdown(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """`table` as a Markdown table of these columns."""
    lines = [[COLUMNS[key][0] if key in COLUMNS else key for key in columns], ["---"] * len(columns)]
    lines += [[_cell(row, key).replace("|", r"\|") for key in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    if _missing(value):
        return "-"
    if isinstance(value, str):
        return value
    if key not in COLUMNS:
        return f"{value:.4g}" if isinstance(value, float) else str(value)
    low, high = row.get("accuracy_low"), row.get("accuracy_high")
    interval = key == "accuracy" and not _missing(low) and not _missing(high)
    return COLUMNS[key][1](value) + (f" ({_percent(low)}-{_percent(high)})" if interval else "")


def draw(runs: Sequence[Run], directory: str | Path) -> list[Path]:
    """Draw the pictures that the runs have numbers for, as PNG files in ``directory`` (made if it is not there).

    ``loss.png``: loss and threshold over the stream, stages named, one panel a group (its first run).
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
    figure.set_size_inches(5.2 * wide + (2 if wide == 1 else 0), 0.9 + 2.6 * tall)
    panels = figure.subplots(tall, wide, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, (name, run) in zip(panels, shown):
        reports = run.of("report")
        place, loss, threshold = (_column(reports, key) for key in ("position", "loss", "threshold"))
        axes.plot(place, loss, color=FAINT, linewidth=0.8, label="loss, as reported")
        axes.plot(place, _smooth(loss), color=COLOURS[0], linewidth=2, label="loss, smoothed")
        axes.plot(place, threshold, color=COLOURS[1], linewidth=1.6, linestyle=(0, (4, 1.5)), label="threshold")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k" if value else "0")
        rows = _name_stages(axes, run.of("stage"), float(np.nanmax(place)))
        dress(axes, "", _escape(name), pad=6 + 10 * rows)
    everything = np.concatenate([_column(run.of("report"), "loss") for _, run in shown])
    panels[0].set_ylim(0, 1.1 * float(np.nanquantile(everything, 0.995)))
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    for axes in panels[max(0, len(shown) - wide) : len(shown)]:
        axes.tick_params(labelbottom=True)
        axes.set_xlabel("examples of the stream consumed, all passes", fontsize=9, color=INK)
    figure.suptitle("Loss and threshold over the stream", fontsize=12, color=INK)
    figure.supylabel("loss (mean of a few batches)", fontsize=9, color=INK)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return True


def _name_stages(axes, stages: list[dict], width: float) -> int:
    """A line where each stage begins, its name above the frame, on rows so that no two touch; how many rows."""
    ends: list[float] = []
    for stage in stages:
        place = stage["position"] / max(width, 1)
        row = next((i for i, end in enumerate(ends) if place >= end), len(ends))
        ends[row : row + 1] = [place + 0.02 + 0.015 * len(stage["stage"])]
        axes.axvline(stage["position"], color=INK, linewidth=0.8, linestyle=":")
        axes.annotate(
            stage["stage"], (stage["position"], 1), xycoords=("data", "axes fraction"), xytext=(2, 2 + 10 * row),
            textcoords="offset points", fontsize=8, color=INK, annotation_clip=False,
        )  # fmt: skip
    return len(ends)


def _draw_shares(figure, found: dict[str, list[Run]], styles: dict) -> bool:
    shown = [(name, run) for name, (run, *_) in found.items() if len(run.of("report")) > 1]
    if not shown:
        return False
    figure.set_size_inches(11, 4)
    panels = figure.subplots(1, 2, sharey=True)
    unit, seconds = _unit(max(run.of("report")[-1]["time"] for _, run in shown))
    for axes, key, title in zip(panels, ("kept", "trained"), ("Forwarded", "Trained on (forward and backward)")):
        for i, (name, run) in enumerate(shown):
            reports = run.of("report")
            time, share = _column(reports, "time") / seconds, 100 * _column(reports, key)
            colour, marker = styles[name]
            width = 1.2 + 2 * (1 - i / len(shown))  # equal lines stay visible, the later on the earlier
            axes.plot(time, share, color=colour, linewidth=0.6, alpha=0.25)
            line = {"color": colour, "linewidth": width, "marker": marker, "markevery": [-1], "markersize": 7}
            axes.plot(time, _smooth(share), label=_escape(name), **line)
        dress(axes, f"wall-clock time ({unit})", title)
    panels[0].set_ylim(0, 104)
    panels[0].set_ylabel("share of the stream just seen (%)", fontsize=9, color=INK)
    figure.suptitle("What the filter lets through", fontsize=12, color=INK)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False, fontsize=9, title="policy")
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
    unit, seconds = _unit(max(wall for members in points.values() for wall, *_ in members))
    means = []
    for name, members in points.items():
        colour, marker = styles[name]
        for wall, accuracy, end in members:
            axes.plot(
                wall / seconds, accuracy, marker, color=colour, markersize=6, alpha=0.6 if len(members) > 1 else 1
            )
            if "accuracy_low" in end and "accuracy_high" in end:
                span = [100 * end["accuracy_low"], 100 * end["accuracy_high"]]
                axes.plot([wall / seconds] * 2, span, color=colour, linewidth=1, alpha=0.4, zorder=1)
        means.append((_mean([wall for wall, *_ in members]) / seconds, _mean([accuracy for _, accuracy, _ in members])))
        axes.plot(
            *means[-1], marker, color=colour, markersize=10, markeredgecolor=INK, label=_escape(name), linestyle="none"
        )
    front = [means[i] for i in pareto_front(means)]
    label = "Pareto front: none is both\nfaster and more accurate"
    axes.step(*zip(*front), where="post", color=INK, linewidth=1, linestyle="--", zorder=1, label=label)
    dress(axes, f"wall-clock time of the training run ({unit})", "Accuracy against time: up and to the left is better")
    axes.set_xlim(left=0)
    axes.margins(x=0.08, y=0.1)
    axes.set_ylabel("test accuracy (%)", fontsize=9, color=INK)
    several = any(len(members) > 1 for members in points.values())
    title = "small: a run, with its interval\nlarge: mean of the runs" if several else "a run, with its interval"
    legend = figure.legend(loc="outside right upper", frameon=False, fontsize=9, title=title, labelspacing=0.8)
    legend.get_title().set(fontsize=8, color=INK)
    return True


def dress(axes, below: str, title: str, pad: float = 8) -> None:
    """The house's look for one frame: title, label of the time axis, quiet grid and edges."""
    axes.set_title(title, fontsize=10, color=INK, loc="left", pad=pad)
    axes.set_xlabel(below, fontsize=9, color=INK)
    axes.tick_params(labelsize=8, color=FAINT, labelcolor=INK)
    axes.grid(axis="y", color="#EEEEEE", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)


def _parse(line: str) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except json.JSONDecodeError:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


def _column(events: list[dict], key: str) -> np.ndarray:
    return np.array([math.nan if event.get(key) is None else event[key] for event in events], dtype=np.float64)


def _smooth(values: np.ndarray) -> np.ndarray:
    """A moving mean over a twentieth of the values, centred, shorter at both ends; nans do not count."""
    window = np.ones(max(1, len(values) // 20) | 1)
    known = ~np.isnan(values)
    total, count = (np.convolve(x, window, mode="same") for x in (np.where(known, values, 0.0), known.astype(float)))
    return np.where(known, total[: len(values)] / np.maximum(count[: len(values)], 1), math.nan)


def _unit(longest: float) -> tuple[str, float]:
    return next(
        ((unit, size) for unit, size in (("hours", 3600.0), ("minutes", 60.0)) if longest > 2 * size), ("s", 1.0)
    )


def _escape(text: str) -> str:
    return text.replace("$", r"\$")


def _known(ends: list[dict], key: str) -> list[float]:
    return [end[key] for end in ends if not _missing(end.get(key))]


def _missing(value: Any) -> bool:
    return value is None or value != value


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None
