"""Command: what the benchmarks that fill a table of cells have in common, from their arguments to their page."""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

import torch

from benchmarks.table import page, plan, runner, systems, tasks
from benchmarks.table.store import Store
from filterloader.experiments import metrics


@dataclass(frozen=True)
class Table:
    """A table to fill. name: of its file. about: one line. small, full: data sets with their sizes, by name. systems:
    its rows. own: rows that get controls of their own. bench: how a cell is run. load: (name, size, folder) -> task.
    write: (store, folder, folders beside) -> the files made of it.
    """

    name: str
    about: str
    small: Mapping[str, tasks.Size]
    full: Mapping[str, tasks.Size]
    systems: Sequence[systems.System]
    own: Sequence[str] = ()
    bench: type = runner.Bench
    load: Callable = tasks.load
    write: Callable = page.write


def main(table: Table, arguments: list[str] | None = None) -> int:
    """Fill a table as the arguments say. Returns 0; 1 where a cell failed; 2 for bad input, said in one line."""
    given = parser(table).parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: say(f"note: {message}")
            return go(table, given)
    except (ValueError, OSError, EOFError, RuntimeError, AssertionError, ImportError) as error:
        say(f"{table.name}: error: {' '.join(str(error).split())}")
        return 2
    except KeyboardInterrupt:
        say("interrupted; the same command goes on")
        return 130


def parser(table: Table) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=table.name, description=table.about)
    add = parser.add_argument
    add("--data", type=Path, help="a folder with a folder for each data set (default: look all up on the hub)")
    add("--model", help="a folder or hub name of a pretrained encoder (default: a tiny one that starts from nothing)")
    add("--datasets", nargs="+", default=list(table.small), metavar="NAME", help=f"default: {' '.join(table.small)}")
    about = "policies, or rows as policy/budget (default: all); baseline and controls are always run"
    add("--policies", nargs="+", metavar="NAME", help=about)
    add("--seeds", nargs="+", type=_at_least(0), default=[0, 1, 2], metavar="SEED", help="default: 0 1 2")
    about = f"rows that get controls of their own, or all (default: {' '.join(table.own) or 'none'})"
    add("--own", nargs="*", default=list(table.own), metavar="ROW", help=about)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    add("--device", default=device, help="default: cuda where there is one, else cpu")
    add("--threads", type=_at_least(1), help="CPU threads for torch (default: torch's choice)")
    about = "autocast of the forward pass, for all rows alike (default: bf16)"
    add("--precision", choices=("bf16", "fp32"), default="bf16", help=about)
    add("--full", action="store_true", help="all data and longer texts, for a GPU")
    for name, least in (("train", 1), ("test", 1), ("epochs", 1), ("max-length", 3)):
        about = f"another {name.replace('-', ' ')} than the data set's own"
        add(f"--{name}", type=_at_least(least), metavar="N", help=about)
    add("--minutes", type=float, metavar="M", help="begin no cell after M minutes")
    about = "run cells again that had less than this share of their processors (.9: the machine was busy)"
    add("--steady", type=float, default=0.0, metavar="SHARE", help=about)
    add("--out", type=Path, required=True, metavar="DIR", help="where cells.jsonl, the table and the pictures are")
    about = "folders that other tables filled, for a page that uses their cells"
    add("--beside", type=Path, nargs="*", default=[], metavar="DIR", help=about)
    add("--list", action="store_true", help="say what is done and what is missing, and stop")
    add("--page", action="store_true", help="make the table and pictures of what is there, and stop")
    about = f"instead, try the rates {tasks.RATES} for training on everything, on the tuning split"
    add("--tune", action="store_true", help=about)
    return parser


def _at_least(low: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if int(text) < low:
            raise argparse.ArgumentTypeError(f"must be at least {low}, got {text}")
        return int(text)

    return number


def go(table: Table, given: argparse.Namespace) -> int:
    store = Store(given.out / "cells.jsonl")
    for note in store.notes:
        say(f"note: {note}")
    for folder in given.beside:
        if not (folder / "cells.jsonl").is_file():
            raise ValueError(f"--beside {folder}: there is no cells.jsonl in it; give folders that a table has filled")
    if given.page:
        say(f"written: {', '.join(map(str, table.write(store, given.out, given.beside)))}")
        return 0
    if given.threads:
        torch.set_num_threads(given.threads)
        os.environ.setdefault("RAYON_NUM_THREADS", str(given.threads))  # of the tokenizer
    bench = table.bench(given.model, torch.device(given.device), given.precision)
    given.datasets = list(dict.fromkeys(given.datasets))
    loaded = {name: load(table, name, given) for name in given.datasets}
    if given.tune:
        results = Store(given.out / "tune.jsonl")
        with results.claimed():
            return tune(bench, loaded, results, given.minutes)
    rows, notes = systems.choose(table.systems, given.policies)
    for note in notes:
        say(f"note: {note}")
    others = [system for system in rows if system.policy not in systems.CONTROLS]
    mine = [system.name for system in others if system.name != "/".join(systems.BASELINE)]
    own = mine if given.own == ["all"] else _named(given.own, rows, table)
    planned = list(plan.cells(given.datasets, rows, list(dict.fromkeys(given.seeds)), own))
    setups = {name: bench.setup(task) for name, task in loaded.items()}
    if given.list:
        sys.stdout.write(plan.overview(planned, store, setups, given.steady) + "\n")
        return 0
    store.shown = setups
    with store.claimed():
        return fill(table, bench, loaded, planned, store, setups, given)


def _named(names: Sequence[str], rows: Sequence[systems.System], table: Table) -> list[str]:
    """The rows of these names (a policy, or ``policy/budget``) among those that are run.

    Raises ValueError for a name that no row has.
    """
    known = {name for system in table.systems for name in (system.policy, system.name)}
    if set(names) - known:
        there = ", ".join(system.name for system in table.systems)
        raise ValueError(f"--own: no row is called {sorted(set(names) - known)}: choose from {there}, or all")
    others = [system for system in rows if system.policy not in (*systems.CONTROLS, systems.BASELINE[0])]
    return [system.name for system in others if {system.policy, system.name} & set(names)]


def load(table: Table, name: str, given: argparse.Namespace) -> tasks.Task:
    changes = {name: getattr(given, name) for name in ("train", "test", "epochs", "max_length")}
    size = tasks.size_of(name, table.full if given.full else table.small, full=given.full, **changes)
    task = table.load(name, size, given.data)
    rows = f"{len(task.train)} training rows x {size.epochs} passes, {len(task.test)} test rows"
    say(f"{name}: {rows}, {len(task.classes)} classes, lr {size.lr:g}, at most {size.max_length} tokens")
    return task


def fill(table: Table, bench: runner.Bench, loaded: dict, planned: list, store: Store, setups: dict, given) -> int:
    """Run what is missing, in order; a cell that fails is named and passed over."""
    start, failed, tried = time.monotonic(), [], set()
    todo = plan.missing(planned, store, setups, given.steady)
    say(f"{len(planned) - len(todo)} of {len(planned)} cells are done")
    runner.rescale(store)
    if todo:
        metrics.macro_f1([0], [0])  # so is a library that is missing
        bench.make(loaded[todo[0].dataset], todo[0].seed)  # a model that cannot be had is told once
    while todo:
        cell, *todo = todo
        if given.minutes is not None and time.monotonic() - start > 60 * given.minutes:
            say(f"{given.minutes:g} minutes are over; {len(todo) + 1} cells are left for the next call")
            break
        tried.add(cell.name)
        try:
            done = runner.run_cell(bench, loaded[cell.dataset], cell, store, setups[cell.dataset])
        except Exception as error:  # a policy's own fault must not cost the other rows
            failed.append(cell.name)
            say(f"{cell.name} failed: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
            continue
        store.add(done)
        if (done["policy"], done["budget"]) == systems.BASELINE:
            runner.rescale(store)
        found = f"accuracy {100 * done['accuracy']:.2f} %, {done['wall_s']:.1f} s, T_norm {done['t_norm_measured']:.2f}"
        say(f"[{len(tried)}/{len(tried) + len(todo)}] {cell.name}: {found}")
        if not todo:  # a row that was run again leaves its own controls behind
            todo = [cell for cell in plan.missing(planned, store, setups, given.steady) if cell.name not in tried]
    if store.cells:
        store.compact()
        say(f"written: {', '.join(map(str, table.write(store, given.out, given.beside)))}")
    if failed:
        say(f"{len(failed)} cells failed: {', '.join(failed)}")
    return 1 if failed else 0


def tune(bench: runner.Bench, loaded: dict, store: Store, minutes: float | None) -> int:
    start = time.monotonic()
    for task in loaded.values():
        for rate in tasks.RATES:
            setup, name = bench.setup(runner.at_rate(task, rate)), f"tune:{task.name}"
            cell = next(iter(store.of(dataset=name, budget=f"lr {rate:g}", setup=setup)), None)
            if cell is None and (minutes is None or time.monotonic() - start < 60 * minutes):
                cell = runner.tune(bench, task, rate)
                store.add(cell)
            if cell is not None:
                found = f"{100 * cell['accuracy']:.2f} % of {cell['test_rows']} tuning rows, {cell['wall_s']:.0f} s"
                say(f"{name} lr {rate:g}: {found}")
    return 0


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
