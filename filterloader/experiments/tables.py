"""Reports: the ledger's JSON lines read back, and made into tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Run:
    """One training run as its ledger wrote it down.

    Args:
        path: the file.
        settings: what the start line says of the run (``policy``, ``seed``, …).
        events: all lines, ``time`` in seconds since the first start, resumed runs laid end to end.
        note: what was skipped in reading, or None.
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
        line: dict[str, Any] = next(
            (event for event in reversed(self.events) if event["event"] in ("end", "start")), {}
        )
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
    given = [Path(path) for path in ([paths] if isinstance(paths, (str, Path)) else paths)]
    for path in given:
        files += sorted(path.rglob("*.jsonl")) if path.is_dir() else [path]
    if not files:
        raise ValueError(f"no .jsonl file in {', '.join(map(str, given)) or 'no path'}: give files or folders of runs")
    return [read_run(file) for file in dict.fromkeys(files)]


def groups(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs that differ in seed only, by name: the policy, then each plain setting that differs among its runs."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        same = [other for other in runs if other.policy == run.policy]
        names = dict.fromkeys(name for other in same for name in other.settings if name not in ("policy", "seed"))
        told = [n for n in names if len({json.dumps(other.settings.get(n), sort_keys=True) for other in same}) > 1]
        name = " ".join([run.policy, *(f"{n}={_plain(run.settings.get(n))}" for n in told)])
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


def _plain(value: Any) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)  # 0.30000000000000004 is 0.3


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
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    how = [f"<{width}" if at_left else f">{width}" for width, at_left in zip(widths, left, strict=True)]
    lines = (("  ".join(map(format, line, how))).rstrip() for line in cells)
    return "\n".join(lines)


def markdown(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """`table` as a Markdown table of these columns."""
    head = [COLUMNS[key][0] if key in COLUMNS else key for key in columns]
    return markdown_table(head, ([_cell(row, key) for key in columns] for row in rows))


def markdown_table(head: Sequence[str], cells: Iterable[Sequence[object]]) -> str:
    """Every Markdown table of this project: a line of headings, and a line each of ``cells``."""
    lines = [head, ["---"] * len(head), *([str(cell).replace("|", r"\|") for cell in line] for line in cells)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    if _missing(value):
        return "-"
    if isinstance(value, str):
        return value
    if key not in COLUMNS:
        return f"{value:.4g}" if isinstance(value, float) else str(value)
    low: Any = row.get("accuracy_low")
    high: Any = row.get("accuracy_high")
    interval = key == "accuracy" and not _missing(low) and not _missing(high)
    return COLUMNS[key][1](value) + (f" ({_percent(low)}-{_percent(high)})" if interval else "")


def _parse(line: str) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except json.JSONDecodeError:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


def _known(ends: list[dict], key: str) -> list[float]:
    return [end[key] for end in ends if not _missing(end.get(key))]


def _missing(value: Any) -> bool:
    return value is None or value != value


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None
