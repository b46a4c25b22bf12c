"""Plan: which cells a table has, in which order they are run, and which of them are missing."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.table.store import Key, Store
from benchmarks.table.systems import BASELINE, CONTROLS, System


@dataclass(frozen=True)
class Cell:
    """One training run. controls: ``policy/budget`` of the row whose own control it is; its budget is known once that
    row is.
    """

    dataset: str
    system: System
    seed: int
    controls: str | None = None

    def key(self, setup: str) -> Key:
        return Key(
            self.dataset,
            self.system.policy,
            "=" if self.controls else self.system.budget,
            self.seed,
            self.controls,
            setup,
        )

    def settled(self, found: dict[str, Any] | None) -> bool:
        """Whether what was found is this cell: a policy whose defaults have changed since is run again."""
        if found is None or self.controls is not None:
            return found is not None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return found.get("settings") in (None, repr(self.system.make(self.system.epochs or found.get("epochs", 2))))

    @property
    def name(self) -> str:
        row = f"{self.system.policy} as {self.controls}" if self.controls else self.system.name
        return f"{self.dataset} {row} seed {self.seed}"


def cells(
    datasets: Sequence[str], systems: Sequence[System], seeds: Sequence[int], own: Sequence[str] = ()
) -> Iterator[Cell]:
    """All cells, the most useful first: the first seed of each data set with its controls, then the second seed, …

    own: names of rows (``policy/budget``) that get two controls of their own, run at the row's measured time.
    """
    controls = [policy for policy in CONTROLS if any(system.policy == policy for system in systems)]
    ordered = sorted(
        systems, key=lambda system: ((system.policy, system.budget) != BASELINE, system.policy not in CONTROLS)
    )
    for seed in seeds:
        for dataset in datasets:
            for system in ordered:
                yield Cell(dataset, system, seed)
                if system.name in own:
                    for policy in controls:
                        yield Cell(dataset, System(policy, "=", lambda kind, _: None), seed, controls=system.name)


def missing(planned: Sequence[Cell], store: Store, setups: Mapping[str, str], steady: float = 0.0) -> list[Cell]:
    """The planned cells that are not in the store, or there with other settings of their policy, or whose run had less
    than ``steady`` of its processors. setups: digest a data set.
    """
    found = [(cell, store.get(cell.key(setups[cell.dataset]))) for cell in planned]
    return [
        cell
        for cell, there in found
        if not cell.settled(there) or quiet(there) < steady or _of_another_run(cell, there, store)
    ]


def _of_another_run(cell: Cell, there: dict[str, Any], store: Store) -> bool:
    """Whether a row's own control was run for a time that its row, since run again, does not have any more."""
    if cell.controls is None or "row_wall_s" not in there:
        return False
    row = store.get(Key(cell.dataset, *cell.controls.split("/", 1), cell.seed, None, there["setup"]))
    return row is not None and row["wall_s"] != there["row_wall_s"]


def quiet(cell: dict[str, Any]) -> float:
    """The share of its processors that a run on a CPU had: processor time over wall-clock x threads; 1 where that is
    not known.
    """
    known = cell.get("elapsed_s") and cell.get("cpu_s") is not None and cell.get("device") == "cpu"
    return cell["cpu_s"] / cell["elapsed_s"] / cell["threads"] if known else 1.0


def overview(planned: Sequence[Cell], store: Store, setups: Mapping[str, str], steady: float = 0.0) -> str:
    """What is done and what is missing, one line a data set and seed, as text."""
    lines = []
    left = {id(cell) for cell in missing(planned, store, setups, steady)}
    for dataset, seed in dict.fromkeys((cell.dataset, cell.seed) for cell in planned):
        own = [cell for cell in planned if (cell.dataset, cell.seed) == (dataset, seed)]
        todo = [cell.name.removeprefix(f"{dataset} ").removesuffix(f" seed {seed}") for cell in own if id(cell) in left]
        wall = sum(store.get(cell.key(setups[dataset]))["wall_s"] for cell in own if id(cell) not in left)
        lines.append(
            f"{dataset} seed {seed}: {len(own) - len(todo)} of {len(own)} done ({wall:.0f} s of training)"
            + (f"; missing: {', '.join(todo)}" if todo else "")
        )
    others = len(store.cells) - (len(planned) - len(left))
    if others:
        lines.append(f"{others} more cells in {store.path} belong to other data sets, rows, seeds, sizes or settings")
    return "\n".join(lines)
