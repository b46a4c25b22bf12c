"""Controls: what a random, and a class-balanced random, share of the same measured wall-clock would have scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from benchmarks.table.store import Store, unpacked
from benchmarks.table.systems import BASELINE, CONTROLS, LADDER
from filterloader.experiments import metrics


@dataclass(frozen=True)
class Row:
    """One row of the table: the cells of one policy and budget, a seed each, beside their controls.

    controls: name -> scores ``[seeds, test]`` of that control at each cell's wall-clock, read off its ladder. own: name
    -> the controls that were run for this row, a seed each, which are rungs of its ladder. merit: accuracy minus the
    better control's, with its paired interval; None without controls, and for rows of other passes than training on
    everything has.
    """

    dataset: str
    policy: str
    budget: str
    cells: list[dict[str, Any]]
    scores: np.ndarray
    controls: dict[str, np.ndarray]
    own: dict[str, list[dict[str, Any]]]
    better: str | None
    merit: tuple[float, float, float] | None

    @property
    def name(self) -> str:
        return f"{self.policy}/{self.budget}"

    def mean(self, field: str) -> float | None:
        """Mean of a field over the seeds; None where no cell has it."""
        values = [cell[field] for cell in self.cells if cell.get(field) is not None]
        return float(np.mean(values)) if values else None

    @cached_property
    def accuracy(self) -> tuple[float, float, float]:
        return metrics.accuracy_interval(self.scores)


def scores_of(cell: dict[str, Any]) -> np.ndarray:
    """Which test examples a cell got right, float64 ``[test]``."""
    return unpacked(cell["correct"], cell["test_rows"])


def at_wall_clock(rungs: Sequence[dict[str, Any]], wall_s: float, field: str = "wall_s") -> np.ndarray:
    """Scores ``[test]`` of a control at ``wall_s`` seconds (or at that much of another field), read off a ladder of its
    runs.

    rungs: cells of one data set, seed and control at rising shares, and the one that trained on everything; at least
    one. Between the two rungs next in time each example's score is interpolated, linear in the logarithm of time.
    Beyond the dearest rung it is that rung's, and below the cheapest that one's, so there the control has had more time
    than the row.
    """
    rungs = sorted(rungs, key=lambda cell: cell[field])
    above = next((i for i, cell in enumerate(rungs) if cell[field] >= wall_s), len(rungs) - 1)
    high = rungs[above]
    low = rungs[max(above - 1, 0)]
    if high is low or wall_s >= high[field]:
        return scores_of(high)
    share = np.log(wall_s / low[field]) / np.log(high[field] / low[field])
    return (1 - share) * scores_of(low) + share * scores_of(high)


def ladder(
    policy: str, seed: int, cells: Sequence[dict[str, Any]], suffix: str = "", row: str | None = None
) -> list[dict[str, Any]]:
    """The rungs of a control: its cells whose budget is a share (and a suffix), those that were run for ``row``, and
    the cell that trained on everything.
    """
    shares = [f"{share:g}{suffix}" for share in (*LADDER, 1.0)]

    def rung(cell: dict[str, Any]) -> bool:
        if (cell["policy"], cell["budget"], cell["controls"]) == (*BASELINE, None):
            return True
        return cell["policy"] == policy and (cell["controls"] == row if cell["controls"] else cell["budget"] in shares)

    return [cell for cell in cells if cell["seed"] == seed and rung(cell)]


def rows(store: Store, dataset: str) -> list[Row]:
    """The rows of one data set, in the order in which they were first run.

    Of several setups, that of the last cell counts.
    """
    cells = store.of(dataset=dataset)
    if not cells:
        return []
    setup = store.shown.get(dataset, cells[-1]["setup"])
    cells = [cell for cell in cells if cell["setup"] == setup]
    found: dict[tuple[str, str], list[dict]] = {}
    for cell in cells:
        if cell["controls"] is None:
            found.setdefault((cell["policy"], cell["budget"]), []).append(cell)
    return [_row(dataset, policy, budget, own, cells) for (policy, budget), own in found.items()]


def _row(dataset: str, policy: str, budget: str, members: list[dict], cells: list[dict]) -> Row:
    members = sorted(members, key=lambda cell: cell["seed"])
    scores = np.stack([scores_of(cell) for cell in members])
    alone = policy in CONTROLS or (policy, budget) == BASELINE
    name, full = (
        f"{policy}/{budget}",
        [cell for cell in cells if (cell["policy"], cell["budget"], cell["controls"]) == (*BASELINE, None)],
    )
    own = {} if alone else {control: found for control in CONTROLS if (found := own_controls(control, name, cells))}
    alike = all(cell.get("epochs") == full[0].get("epochs") for cell in members) if full else True
    mine = {} if alone or not alike else ladder_controls(members, cells, name)
    better = max(mine, key=lambda name: mine[name].mean()) if mine else None
    merit = metrics.difference_interval(scores, mine[better]) if mine else None
    return Row(dataset, policy, budget, members, scores, mine, own, better, merit)


def own_controls(control: str, name: str, cells: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The cells of a control that were run for the row of this name."""
    return [cell for cell in cells if cell["controls"] == name and cell["policy"] == control]


def ladder_controls(
    members: Sequence[dict[str, Any]], cells: Sequence[dict[str, Any]], name: str | None = None
) -> dict[str, np.ndarray]:
    """The controls read off the ladder, by their name: those that have a rung for each of the members' seeds. name: of
    the row, whose own controls are rungs too.
    """
    found = {}
    for policy in CONTROLS:
        ladders = [ladder(policy, member["seed"], cells, row=name) for member in members]
        if all(any(cell["policy"] == policy for cell in rungs) for rungs in ladders):
            found[policy] = np.stack(
                [at_wall_clock(rungs, member["wall_s"]) for rungs, member in zip(ladders, members, strict=True)]
            )
    return found
