"""Table: results as they are read, on a screen and in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from filterloader.experiments.tables import markdown_table

_COLUMNS = ("work", "data", "batch", "workers", "ours", "what", "median", "range", "aim", "met")


def said(line: dict) -> Iterator[str]:
    """A result as lines for the screen."""
    where = f"{line['data']}, batch {line['batch']}, {line['workers']} workers, {line['rows']:,} rows"
    kept = f", kept {line['kept']:.1%} of the rows and {line['words kept']:.1%} of the words" if "kept" in line else ""
    yield f"{line['work']} ({where}{kept})"
    for name, rate in line["rate"].items():
        yield f"    {name}: {number(rate['median'])} {line['unit']} ({number(rate['low'])} to {number(rate['high'])})"
    for name, found in line["figures"].items():
        verdict = f", aim {found['aim']}: {'met' if found['met'] else 'MISSED'}" if "aim" in found else ""
        yield f"    {name}: {number(found['median'])} ({number(found['low'])} to {number(found['high'])}){verdict}"
    yield f"    checked: {line['checked']}"


def markdown(lines: Iterable[dict]) -> Iterator[str]:
    """The whole table, a line for each figure; results that did not run are listed below it."""
    head, *lines = lines
    versions = ", ".join(f"{name} {head[name]}" for name in ("python", *head["libraries"]) if name in head)
    where = f"{head['cpu']}, {head['cores']} cores, {head['threads used']} thread(s) a process"
    yield f"{where}; {head['date']}; commit {head['commit']}; {versions}"
    yield ""
    yield markdown_table(_COLUMNS, [cells for line in lines for cells in _cells(line)])
    absent = [line for line in lines if "not run" in line]
    yield from [""] * bool(absent)
    yield from (f"- Not run: {line['work']} ({line['not run']})" for line in absent)


def _cells(line: dict) -> Iterator[tuple]:
    """A line of the table for each figure of a result."""
    own = line.get("rate", {}).get("ours")
    shown = "" if own is None else f"{number(own['median'])} {line['unit']}"
    for name, found in line.get("figures", {}).items():
        met = "" if "met" not in found else "yes" if found["met"] else "**no**"
        where = (line["work"], line["data"], line["batch"], line["workers"])
        span = f"{number(found['low'])} to {number(found['high'])}"
        yield (*where, shown, name, number(found["median"]), span, found.get("aim", ""), met)


def profile(title: str, batches: int, rows: Iterable[dict]) -> Iterator[str]:
    """Where the time of a pass goes, as a Markdown table."""
    yield f"{title}, {batches} batches, under cProfile:"
    yield ""
    yield markdown_table(
        ["own time %", "own us a batch", "calls a batch", "function"],
        [
            (
                row["share"],
                f"{1e6 * row['own_s'] / batches:.1f}",
                f"{row['calls'] / batches:.2f}",
                f"`{row['function']}`",
            )
            for row in rows
        ],
    )
    yield ""


def number(value: float) -> str:
    """Three digits are as many as a timing has."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
