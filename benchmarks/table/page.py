"""Page: the cells of a store as a Markdown table a data set, with its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.table import pictures
from benchmarks.table.controls import Row, ladder_controls, rows
from benchmarks.table.frontier import agot, marked
from benchmarks.table.plan import quiet
from benchmarks.table.store import Store
from benchmarks.table.systems import BASELINE
from filterloader.experiments import tables as report

OPTIONAL = ("intent %", "slot F1")  # of joint.py
COLUMNS = (
    "row",
    "accuracy",
    *OPTIONAL,
    "macro F1",
    "wall_s",
    "t_norm_measured",
    "t_norm_modelled",
    "forwarded",
    "backwarded",
    "agot",
    "better control",
    "minus control, points",
    "marks",
)
ABOUT = """\
Made of `cells.jsonl` by `python -m benchmarks.accuracy_time --page --out DIR`; do not edit by hand.

- **accuracy**: on the reported split, mean over seeds, with a 95 % bootstrap interval over seeds and test examples.
- **T_norm**: measured wall-clock over that of training on everything with the same seed; **modelled**: the paper's
  formula, with the forward and backward times of training on everything. It counts scoring the whole data set before a
  pass, but no predictor, no proxy, and no second forward pass of what a row scored ahead and kept.
- **forwarded**, **backwarded**: share of the stream; a row that scores ahead forwards what it keeps twice and counts
  it once.
- **minus control**: accuracy minus that of the better of two controls at the same measured wall-clock, with a 95 %
  paired bootstrap interval. An interval that holds 0 means: no difference was seen. Bold: it does not hold 0, and the
  row has been run with every seed. Two controls that are equal in truth are not equal here, and the better one is
  taken: that leans against the row, by some .3 points where they differ by .8. With three seeds a bootstrap takes what
  hangs on the seed for a fifth less than it is. Beyond the dearest rung the control is training on everything, below
  the cheapest it has had more time than the row.
- **P**: on the Pareto front (nothing is both faster and more accurate); **A**: highest AGOT (epsilon 0.95) of the rows
  that train all weights; both among rows run with every seed.
"""


def write(store: Store, folder: Path, beside: Sequence[Path] = ()) -> list[Path]:
    """Write README.md and a picture a data set into ``folder``; returns the files.

    Without matplotlib: the page only, with a note. beside: not used.
    """
    names = list(dict.fromkeys(cell["dataset"] for cell in store.cells.values()))
    parts, written = ["# Accuracy against time", "", ABOUT], []
    for name in names:
        found = rows(store, name)
        if not any((row.policy, row.budget) == BASELINE for row in found):
            continue
        parts += [f"## {name}", "", described(found), ""]
        try:
            file = name.replace("/", "-").replace(":", "-") + ".png"  # a hub name
            written.append(pictures.draw(found, folder / file))
            parts += [f"![accuracy against wall-clock on {name}]({file})", ""]
        except ImportError:
            parts += ["(no picture: matplotlib is not installed; `pip install filterloader[report]`)", ""]
        table = lines(found)
        shown = [column for column in COLUMNS if column not in OPTIONAL or any(line.get(column) for line in table)]
        parts += [report.markdown(table, shown), ""]
        parts += notes(found, store)
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "README.md"
    page.write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")
    return [page, *written]


def lines(found: Sequence[Row]) -> list[dict[str, Any]]:
    """One line a row, for `report.markdown`."""
    full = next(row for row in found if (row.policy, row.budget) == BASELINE)
    whole = [row for row in found if len(row.cells) == len(full.cells)]
    front, best = marked(whole)
    table = []
    for row in found:
        accuracy, low, high = row.accuracy
        seen = row.mean("seen")
        few = "" if row in whole else f" ({len(row.cells)} seeds)"
        line: dict[str, Any] = {"row": f"{row.policy} {row.budget}{few}", "accuracy": accuracy}
        line |= {"accuracy_low": low, "accuracy_high": high}
        line |= {name: row.mean(name) for name in ("wall_s", "t_norm_measured", "t_norm_modelled")}
        line["t_norm_modelled"] = None if row.cells[0].get("frozen") else line["t_norm_modelled"]
        line |= {"forwarded": 1 - row.mean("alpha_fb"), "backwarded": row.mean("backwarded") / seen if seen else None}
        line |= {"macro F1": _points(row.mean("macro_f1")), "agot": agot(row, full)}
        line |= {"intent %": _points(row.mean("intent_accuracy")), "slot F1": _points(row.mean("slot_f1"))}
        if row.merit is not None:
            gap, gap_low, gap_high = row.merit
            value = f"{100 * gap:+.2f} ({100 * gap_low:+.1f} to {100 * gap_high:+.1f})"
            control = 100 * row.controls[row.better].mean()
            line["minus control, points"] = f"**{value}**" if (gap_low > 0 or gap_high < 0) and row in whole else value
            line["better control"] = f"{row.better} {control:.2f}"
        line["marks"] = " ".join(mark for mark, has in (("P", row.name in front), ("A", row.name == best)) if has)
        table.append(line)
    return table


def described(found: Sequence[Row]) -> str:
    """What all these rows share, in one line."""
    cell = next(row for row in found if (row.policy, row.budget) == BASELINE).cells[-1]
    seeds = sorted({cell["seed"] for row in found for cell in row.cells})
    quiet = _quiet([cell for row in found for cell in row.cells])
    data = f"{cell['train_rows']:,} training rows x {cell['epochs']} passes, {cell['test_rows']:,} test rows"
    model = f"{cell['model'] or 'a tiny encoder from nothing'}, all weights trained (but for `frozen`)"
    shared = f"AdamW {cell['lr']:g}, {cell['precision']}, batch {cell['batch_size']}"
    where = f"{cell['device']} ({cell['hardware']}, {cell['threads']} threads), {cell['date']}"
    code = f"filterloader {cell['version']}, torch {cell['torch']}"
    return (
        f"{data}, at most {cell['max_length']} tokens; {model}, {shared}; seeds {', '.join(map(str, seeds))}; {where}, "
        f"{code}. Untrained: {100 * cell['base_accuracy']:.2f} %.{quiet}"
    )


def _quiet(cells: Sequence[dict[str, Any]]) -> str:
    """Whether the runs had their processors for themselves."""
    shares = sorted(quiet(cell) for cell in cells if cell.get("elapsed_s") and cell["device"] == "cpu")
    if not shares:
        return ""
    low, median = shares[0], shares[len(shares) // 2]
    said = f" Processor time over wall-clock x threads: {median:.2f} (median), {low:.2f} at least"
    return said + (
        "."
        if low > 0.75 * median
        else "; **the machine was busy with other work at times: read times and controls with care**."
    )


def notes(found: Sequence[Row], store: Store) -> list[str]:
    """What the rows say besides: stages, overlap, the predictor's cost, and how far the ladder is from controls run at
    a row's own time.
    """
    said = []
    for row in found:
        stages = [cell["stages"] for cell in row.cells if cell.get("stages")]
        if row.policy == "three_stage" and stages:
            early = sum(stage.get("warm-up", 0) + stage.get("fit", 0) for stage in stages) / len(stages)
            parts = [f"{100 * early:.0f} % of the stream in warm-up and fit"]
            overlap, cost, wrong = (row.mean(name) for name in ("overlap", "predictor_over_model", "false_skip_rate"))
            parts += [f"overlap of threshold and predictor {100 * overlap:.0f} %"] if overlap is not None else []
            parts += [f"audited skips with a high loss {100 * wrong:.0f} %"] if wrong is not None else []
            parts += [f"predictor {100 * cost:.2f} % of the model's time an example"] if cost is not None else []
            said.append(f"- {row.name}: {', '.join(parts)}.")
        said += [
            _gap_of_ladder(row, name, own, store)
            for name, own in row.own.items()
            if not any(cell.get("single") for cell in own)
        ]
    return [*said, ""] if said else []


def _gap_of_ladder(row: Row, name: str, own: Sequence[dict[str, Any]], store: Store) -> str:
    """How far the ladder is from controls that were run beside it."""
    cells = store.of(dataset=row.dataset, setup=row.cells[-1]["setup"])
    run = sum(100 * cell["accuracy"] for cell in own) / len(own)
    read = 100 * ladder_controls(own, cells)[name].mean()
    walls = sum(cell["wall_s"] for cell in own) / len(own)
    ran = f"{name} run for it {run:.2f} % ({walls:.1f} s)"
    return f"- {row.name} ({row.mean('wall_s'):.1f} s): {ran}, read off the other rungs at that time {read:.2f} %."


def _points(value: float | None) -> str | None:
    return None if value is None else f"{100 * value:.2f}"
