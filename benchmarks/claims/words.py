"""Words: what the first paper says in words, and the headlines of the second."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.claims.evidence import BASE, Evidence, Missing, above, gap, named, time_ratio, written
from benchmarks.claims.figures import HAD, ROWS
from benchmarks.claims.rules import Claim, Judge, Verdict
from benchmarks.table.controls import Row
from benchmarks.table.frontier import agot


def stages(evidence: Evidence) -> Verdict:
    shares = []
    for dataset in HAD:
        cells = [cell.get("stages") or {} for cell in evidence.three_stages(dataset).cells]
        shares.append(float(np.mean([cell.get("warm-up", 0) + cell.get("fit", 0) for cell in cells])))
    return f"mean {100 * np.mean(shares):.1f} % over {len(shares)} data sets", abs(np.mean(shares) - 0.161) <= 0.1


def most(field: str, at_least: float, pick: Callable[[Evidence, str], Row] = Evidence.three_stages) -> Judge:
    """Holds where the highest share over the data sets is at least this."""

    def judge(evidence: Evidence) -> Verdict:
        values = [pick(evidence, dataset).mean(field) for dataset in HAD]
        known = [value for value in values if value is not None]
        if not known:
            raise Missing(f"no cell has {field}")
        return f"up to {100 * max(known):.1f} %", max(known) >= at_least

    return judge


def cost(evidence: Evidence) -> Verdict:
    values = [evidence.three_stages(dataset).mean("predictor_over_model") for dataset in HAD]
    known = [value for value in values if value is not None]
    if not known:
        raise Missing("no cell has predictor_over_model")
    return f"{100 * max(known):.2f} % of the model's time an example, at most", max(known) <= 0.01


def svp(dataset: str | None, paper: float) -> Judge:
    def judge(evidence: Evidence) -> Verdict:
        ours, other = evidence.three_stages(dataset), evidence.row("main", dataset, "selection_via_proxy/0.3")
        difference, ratio = gap(ours, other), time_ratio(other, ours)
        return f"{written(difference)}, {ratio:.2f} times as fast", ratio > 1 and above(difference, paper)

    return judge


def over_sets(evidence: Evidence, other: str) -> tuple[list[float], list[float]]:
    """Time of three stages over another row's, and accuracy minus its, a data set each."""
    pairs = [(evidence.three_stages(dataset), evidence.row("main", dataset, other)) for dataset in HAD]
    return [time_ratio(*pair) for pair in pairs], [gap(*pair)[0] for pair in pairs]


def faster(evidence: Evidence) -> Verdict:
    times = [1 / ratio for ratio in over_sets(evidence, BASE)[0]]
    said = f"{min(times):.2f} to {max(times):.2f} times, mean {np.mean(times):.2f}, over {len(times)} data sets"
    return said, np.mean(times) >= 4.4


def loss(evidence: Evidence) -> Verdict:
    gaps = over_sets(evidence, BASE)[1]
    return f"{min(gaps):+.2f} to {max(gaps):+.2f} over {len(gaps)} data sets", min(gaps) >= -1.94


def assist(evidence: Evidence) -> Verdict:
    ratios, gaps = over_sets(evidence, ROWS["AutoAssist"])
    times = 1 / min(ratios)
    return f"up to {times:.2f} times, {min(gaps):+.2f} to {max(gaps):+.2f}", times >= 4 and min(gaps) >= -0.63


def predictor(evidence: Evidence) -> Verdict:
    ratios, gaps = over_sets(evidence, ROWS["Auto threshold"])
    times = np.mean([1 / ratio for ratio in ratios])
    return f"{times:.2f} times, {np.mean(gaps):+.2f} on average", times >= 1.5 and np.mean(gaps) > 0


def automatic(evidence: Evidence) -> Verdict:
    said, best = [], []
    for dataset in HAD:
        full = evidence.row("main", dataset, BASE)
        names = ("Auto threshold", "Fixed 0.1", "Fixed 0.3", "Fixed 0.5", "Fixed 0.7")
        values = {name: agot(evidence.row("main", dataset, ROWS[name]), full) for name in names}
        if None in values.values():
            raise Missing(f"training on everything gained nothing on {dataset}")
        first = max(values, key=values.__getitem__)
        said.append(f"{dataset}: {first} ({values[first]:.3f}, automatic {values['Auto threshold']:.3f})")
        best.append(first == "Auto threshold")
    return "; ".join(said), all(best)


def freezing(evidence: Evidence) -> Verdict:
    names = (BASE, "train_all/frozen")
    pairs = [tuple(evidence.row("main", dataset, name) for name in names) for dataset in ("sst2", "qnli", "qqp")]
    times, lost = np.mean([time_ratio(*pair) for pair in pairs]), np.mean([gap(*pair)[0] for pair in pairs])
    holds = 0.75 <= times / 2.34 <= 1.25 and abs(lost - 2.88) <= 2
    return f"{times:.2f} times, {lost:.2f} points, over SST2, QNLI and QQP", holds


def energy(evidence: Evidence) -> Verdict:
    saved = [1 - ratio for ratio in over_sets(evidence, BASE)[0]]
    return f"mean {100 * np.mean(saved):.1f} % over {len(saved)} data sets", abs(np.mean(saved) - 0.4585) <= 0.1


def power(_: Evidence) -> Verdict:
    raise Missing("power was not measured, and the runs are smaller")


def _threshold(evidence: Evidence, dataset: str) -> Row:
    return evidence.row("main", dataset, ROWS["Auto threshold"])


FIRST_PAPER = {
    "1": {
        "the first two stages take 16.1 % of the examples on average (here: within 10 points)": stages,
        "the threshold skips up to 84 % of the backward passes (here: at least 74 %)": most(
            "alpha_b", 0.74, _threshold
        ),
        "the predictor skips up to 81 % of the forward passes (here: at least 71 %)": most("alpha_fb", 0.71),
        "training takes 5.88 times less time on average (here: at least 4.4)": faster,
        "at most 1.44 points of accuracy are lost (here: at most 1.94)": loss,
    },
    "5.2": {
        "up to 5.33 times faster than AutoAssist, at -0.13 to +0.46 points (here: 4 times, at most .63 behind)": assist,
        "AG: +3.62 against selection via proxy (here keeping .3), 1.82 times as fast by Table 3's .22 and .40 (the "
        "text says 2.67)": svp("ag_news", 3.62),
        "AMZ: +5.54 against selection via proxy, 2.67 times as fast by Table 3 (the text says 1.82)": svp(None, 5.54),
        "45.85 % of the energy saved on average (here: within 10 points; at steady power, as of the time)": energy,
        "0.56 instead of 1.05 lb of CO2e a run": power,
    },
    "5.3": {
        "the automatic threshold has a higher AGOT than every fixed one (here: on each data set)": automatic,
        "2.01 times faster than the automatic threshold alone, +0.57 points, on average (here: 1.5 times, above "
        "0)": predictor,
        "what threshold and predictor skip overlaps by up to 70 % (here: at least 60 %)": most("overlap", 0.60),
    },
    "5.5": {
        "layer freezing alone: 2.34 times less time, 2.88 points lost (here: within a quarter, within 2 "
        "points)": freezing
    },
    "4.2": {"the predictor costs two orders of magnitude less than the model": cost},
}


def first_paper() -> list[Claim]:
    sections = FIRST_PAPER.items()
    return [Claim(f"In words, section {name}", said, judge) for name, part in sections for said, judge in part.items()]


def second_paper() -> list[Claim]:
    """Dynamic pruning: the two headlines, on joint NLU and on a GLUE task."""
    claims = []
    for kind, dataset in (("joint", "atis"), ("joint", "snips"), ("main", "atis"), ("main", "snips"), ("main", "sst2")):
        prefix, what = ("norm ", "intent and slots, whole sentences") if kind == "joint" else ("", "classification")
        for keep, said, lost, time in (
            ("0.5", "50 % of the data: full accuracy, time down 41 %", 0.0, 0.59),
            ("0.2", "80 % pruned: 1 % of accuracy lost, time down 66 %", 1.0, 0.34),
        ):
            judge = prunes(kind, dataset, f"dynamic_el2n/{prefix}{keep}", lost, time)
            claims.append(Claim("Dynamic pruning", f"{dataset}, {what}: {said}", judge))
    return claims


def prunes(kind: str, dataset: str, name: str, lost: float, time: float) -> Judge:
    """Holds where a row loses at most so many points, and takes at most .1 more than so much of the time."""

    def judge(evidence: Evidence) -> Verdict:
        row, full = evidence.row(kind, dataset, name), evidence.row(kind, dataset, BASE)
        difference, ratio = gap(row, full), time_ratio(row, full)
        more = f"; minus the better control {written(tuple(100 * v for v in row.merit))}" if row.merit else ""
        found, modelled = (
            f"{named(row)}: {written(difference)} at T_norm {ratio:.2f}{more}",
            row.mean("t_norm_modelled"),
        )
        if difference[2] < -lost - 0.5:
            return found, False
        if modelled is not None and modelled > time + 0.1:
            least = f"it takes {modelled:.2f} of the time even by the formula"
            raise Missing(f"{found}; in so few passes, the first on everything, {least}")
        return found, ratio <= time + 0.1 and (True if difference[1] >= -lost - 0.5 else None)

    return judge
