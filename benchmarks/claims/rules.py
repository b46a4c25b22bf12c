"""Rules: what a claim is, and when the cells measured here bear it out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.claims.evidence import Evidence, Missing, above, alike, gap, late, named, time_ratio, written
from benchmarks.table.controls import Row, scores_of
from filterloader.experiments import metrics

Verdict = tuple[str, bool | None]  # what was found here, and whether the claim holds; None: the figures cannot tell
Judge = Callable[[Evidence], Verdict]
Pick = Callable[[Evidence], Row]
SINGLE = "three_stage/script, batch 1"


@dataclass(frozen=True)
class Claim:
    """source: which table or section. said: what the paper reports. judge: what decides on it."""

    source: str
    said: str
    judge: Judge


def against_everything(pick: Pick, base: Pick, paper_gap: float, paper_time: float, *, modelled: bool = False) -> Judge:
    """Holds where the paper's difference to training on everything is alike ours, and our measured T_norm is at most .1
    above the paper's. modelled: say the modelled T_norm too."""

    def judge(evidence: Evidence) -> Verdict:
        row, full = pick(evidence), base(evidence)
        difference, time = gap(row, full), time_ratio(row, full)
        said = f"{named(row)}: {written(difference)} at T_norm {time:.2f}"
        if modelled and row.mean("t_norm_modelled") is not None:
            said += f" (modelled {row.mean('t_norm_modelled'):.2f})"
        return said, time <= paper_time + 0.1 and alike(difference, paper_gap)

    return judge


def skips_alike(pick: Pick, shares: tuple[float, float]) -> Judge:
    """Holds where both shares skipped are within 10 points of the paper's."""

    def judge(evidence: Evidence) -> Verdict:
        row = pick(evidence)
        ours = tuple(100 * row.mean(field) for field in ("alpha_b", "alpha_fb"))
        holds = all(abs(a - b) <= 10 for a, b in zip(ours, shares, strict=True))
        return f"{named(row)}: {ours[0]:.1f} / {ours[1]:.1f}", holds

    return judge


def beats_random(pick: Pick, kind: str, paper: float, suffix: str = "") -> Judge:
    """Holds where the row is above random of the same share of examples trained on; fails where its interval is below
    the paper's gain."""

    def judge(evidence: Evidence) -> Verdict:
        row = pick(evidence)
        difference = _points(row.scores, evidence.ladder(row, kind, suffix))
        share = 100 * row.mean("backwarded") / row.mean("seen")
        return f"{named(row)}: {written(difference)}, both trained on {share:.0f} %", above(difference, paper)

    return judge


def beats_its_own(paper: float) -> Judge:
    """The same against random with as many examples before the last stage and in it, and single examples a step from
    there on."""

    def judge(evidence: Evidence) -> Verdict:
        row = late(evidence.row("script", "sst2", SINGLE))
        other = evidence.row("script", "sst2", SINGLE).own.get("random", [])
        walls = {cell["seed"]: cell["wall_s"] for cell in row.cells}
        found = {cell["seed"]: cell for cell in other if cell.get("row_wall_s") in (None, walls.get(cell["seed"]))}
        seeds = [i for i, cell in enumerate(row.cells) if cell["seed"] in found]
        if not seeds:
            raise Missing(f"random as {SINGLE} was not run")
        cells = [row.cells[i] for i in seeds]
        others = [found[cell["seed"]] for cell in cells]
        difference = _points(row.scores[seeds], np.stack([scores_of(cell) for cell in others]))
        ours, theirs = (100 * np.mean([one["backwarded"] / one["seen"] for one in part]) for part in (cells, others))
        said = f"{named(replace(row, cells=cells))}: {written(difference)}"
        return f"{said}, trained on {ours:.0f} and {theirs:.0f} %", above(difference, paper)

    return judge


def sweep(names: Sequence[str], rule: Callable[[list[Row], list[float]], bool | None]) -> Judge:
    """rule: (rows, modelled T_norms) in the order of the names -> whether the claim holds. Open where no row reaches
    the last stage."""

    def judge(evidence: Evidence) -> Verdict:
        found = [evidence.row("script", "sst2", f"three_stage/{name}") for name in names]
        if max(in_filter(row) for row in found) <= 0.01:
            raise Missing("none of these reached the last stage in so short a run")
        times = [row.mean("t_norm_modelled") for row in found]
        said = (
            f"{named(row).removeprefix('three_stage/')}: {100 * row.accuracy[0]:.2f}, modelled {time:.2f}"
            for row, time in zip(found, times, strict=True)
        )
        return "; ".join(said), rule(found, times)

    return judge


def stable(found: list[Row], _: list[float]) -> bool | None:
    """Whether accuracies differ by a point at most; None where they differ by more, and chance could be why."""
    ordered = sorted(found, key=lambda row: row.accuracy[0])
    spread = gap(ordered[-1], ordered[0])
    return True if spread[0] <= 1 else False if spread[1] > 0 else None


def stays_in_fit(names: Sequence[str]) -> Judge:
    """Holds where these rows never reach the last stage, and the script's does."""

    def judge(evidence: Evidence) -> Verdict:
        late(evidence.row("script", "sst2", "three_stage/script"))  # else it says nothing that these do not
        found = [evidence.row("script", "sst2", f"three_stage/{name}") for name in names]
        said = "; ".join(f"{named(row)}: {100 * in_filter(row):.0f} % in the last stage" for row in found)
        return said, max(map(in_filter, found)) <= 0.01

    return judge


def in_filter(row: Row) -> float:
    """Share of the run in the last stage, the mean over seeds."""
    return float(np.mean([(cell.get("stages") or {}).get("filter", 0.0) for cell in row.cells]))


def _points(ours: np.ndarray, other: np.ndarray) -> tuple[float, float, float]:
    return tuple(100 * value for value in metrics.difference_interval(ours, other))
