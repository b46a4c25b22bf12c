"""Claims: what the two papers say, figure by figure, each with the rule by which cells measured here decide on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from table import page
from table.controls import Row, at_wall_clock, ladder, rows, scores_of
from table.frontier import agot
from table.store import Store

from filterloader import metrics

YES, NO, OPEN = "reproduced", "not reproduced", "cannot be checked here"
SETS = {"SST2": "sst2", "QNLI": "qnli", "QQP": "qqp", "AMZ": None, "AG": "ag_news"}  # None: not to be had
ROWS = {"TrainAll": "train_all/1", "Fixed 0.1": "fixed_threshold/0.1", "Fixed 0.3": "fixed_threshold/0.3", "Fixed 0.5": "fixed_threshold/0.5",
        "Fixed 0.7": "fixed_threshold/0.7", "AutoAssist": "autoassist/default", "Auto threshold": "auto_threshold/default"}  # fmt: skip
BASE = "train_all/1"
# Table 3: accuracy % / T_norm on each of SETS, then % of backward passes skipped alone / % of both passes skipped.
TABLE_3 = {
    "Fixed 0.1": "89.79/.55 86.98/.79 89.23/.37 95.11/.50 94.17/.54 56.65/0 20.73/0 39.64/0 67.61/0 67.30/0",
    "Fixed 0.3": "90.83/.46 86.80/.67 88.79/.58 94.76/.44 94.51/.41 70.76/0 41.12/0 54.11/0 79.01/0 85.95/0",
    "Fixed 0.5": "90.25/.43 85.45/.61 88.18/.54 94.24/.41 94.50/.39 76.44/0 52.38/0 62.09/0 83.25/0 88.28/0",
    "Fixed 0.7": "71.10/.31 57.00/.33 60.70/.31 68.33/.31 92.93/.38 98.91/0 99.19/0 99.81/0 99.71/0 90.87/0",
    "AutoAssist": "90.71/.61 86.71/.87 88.40/.82 93.79/.80 93.77/.57 0/38.94 0/13.14 0/18.02 0/20.11 0/43.45",
    "Auto threshold": "91.06/.39 85.19/.53 87.74/.47 94.42/.39 94.54/.42 77.31/0 60.43/0 66.82/0 83.87/0 84.52/0",
    "Three stages": "91.17/.15 86.93/.33 88.49/.38 94.08/.15 93.64/.22 6.01/81.01 10.46/59.89 13.02/52.87 6.30/80.40 11.00/70.43",
}
FULL_ACCURACY = dict(zip(SETS, (90.48, 87.97, 89.93, 95.24, 93.69), strict=True))
TABLE_4 = {1: (90.25, 90.60, 0.28), 2: (90.48, 90.83, 0.14), 3: (90.48, 90.83, 0.25), 4: (90.94, 90.37, 0.08), 5: (90.83, 90.37, 0.12)}
TABLE_5 = {"Fixed 0.1": (90.48, 90.25, 86.98, 86.27, 89.23, 87.58, 95.11, 93.98), "Fixed 0.3": (90.83, 88.64, 86.80, 85.70, 88.79, 87.19, 94.76, 93.45),
           "Fixed 0.5": (90.25, 88.64, 85.45, 84.51, 88.18, 86.49, 94.24, 93.11), "Three stages": (91.17, 87.04, 86.93, 85.02, 88.49, 86.88, 94.08, 93.19)}  # fmt: skip
TABLE_6 = {"SST2": (88.99, 88.53, 0.21), "QNLI": (82.17, 81.15, 0.57), "QQP": (86.64, 85.03, 0.52), "AMZ": (94.29, 92.79, 0.14)}


class Missing(Exception):
    """What a claim needs and is not there."""


@dataclass(frozen=True)
class Claim:
    """source: which table or section. said: what the paper reports. judge: evidence -> (what was found here, whether it holds)."""

    source: str
    said: str
    judge: Callable[[Evidence], tuple[str, bool]]


class Evidence:
    """The rows that are there: ``"script"`` (this benchmark's own), ``"main"`` (accuracy_time.py) and ``"joint"`` (joint.py)."""

    def __init__(self, own: Store, beside: Sequence[Path] = ()):
        self.stores = {"script": own}
        for folder in beside:
            store = Store(folder / "cells.jsonl")
            if store.cells:
                kind = "joint" if any("intent_accuracy" in cell for cell in store.cells.values()) else "main"
                self.stores[kind] = store
        self._rows: dict[tuple[str, str], dict[str, Row]] = {}

    def rows(self, kind: str, dataset: str | None) -> dict[str, Row]:
        """The rows of a data set by name. Raises Missing."""
        if dataset is None:
            raise Missing("the data set is not at hand")
        if kind not in self.stores:
            raise Missing({"main": "needs --beside a folder of accuracy_time.py", "joint": "needs --beside a folder of joint.py"}[kind])
        if (kind, dataset) not in self._rows:
            self._rows[kind, dataset] = {row.name: row for row in rows(self.stores[kind], dataset)}
        return self._rows[kind, dataset]

    def row(self, kind: str, dataset: str | None, name: str) -> Row:
        found = self.rows(kind, dataset)
        if name not in found:
            raise Missing(f"{dataset} {name} was not run")
        return found[name]

    def three_stages(self, dataset: str | None) -> Row:
        """The row of three stages with the highest AGOT, as the paper's tables show it."""
        full = self.row("main", dataset, BASE)
        found = [row for row in self.rows("main", dataset).values() if row.policy == "three_stage" and not row.budget.startswith("frozen")]
        if not found:
            raise Missing(f"{dataset} three_stage was not run")
        return max(found, key=lambda row: agot(row, full) or 0.0)

    def ladder(self, row: Row, kind: str, suffix: str = "") -> np.ndarray:
        """What random scored at the row's share of the stream, ``[seeds, test]``: as many examples trained on, whatever their time."""
        cells = self.stores[kind].of(dataset=row.dataset, setup=row.cells[-1]["setup"])
        out = []
        for cell in row.cells:
            rungs = ladder("random", cell["seed"], cells, suffix)
            rungs = [rung for rung in rungs if rung["policy"] == "random" or not suffix]
            if len(rungs) < 2:
                raise Missing(f"{row.dataset} random{suffix} was not run for seed {cell['seed']}")
            trained, ran = cell["backwarded"] / cell["seen"], [rung["backwarded"] / rung["seen"] for rung in rungs]
            if not 0.95 * min(ran) <= trained <= 1.05 * max(ran):
                raise Missing(f"{row.name} trained on {100 * trained:.0f} %, and random{suffix} was run from {100 * min(ran):.0f} to {100 * max(ran):.0f} %")
            out.append(at_wall_clock(rungs, max(cell["backwarded"], 1), "backwarded"))
        return np.stack(out)


def gap(row: Row, other: Row) -> tuple[float, float, float]:
    """Accuracy of one row minus another's on the seeds that both have, in points, with its paired interval."""
    seeds = [cell["seed"] for cell in row.cells if cell["seed"] in {cell["seed"] for cell in other.cells}]
    if not seeds:
        raise Missing(f"{row.name} and {other.name} have no seed in common")
    mine, others = (np.stack([scores_of(cell) for cell in part.cells if cell["seed"] in seeds]) for part in (row, other))
    return tuple(100 * value for value in metrics.difference_interval(mine, others))


def written(difference: tuple[float, float, float]) -> str:
    return "{:+.2f} ({:+.1f} to {:+.1f})".format(*difference)


def alike(difference: tuple[float, float, float], paper: float) -> bool:
    """Whether the paper's difference lies in our interval, half a point wider on each side."""
    return difference[1] - 0.5 <= paper <= difference[2] + 0.5


def time_ratio(row: Row, other: Row) -> float:
    return row.mean("wall_s") / other.mean("wall_s")


def against_everything(kind: str, pick: Callable[[Evidence], Row], base: Callable[[Evidence], Row], paper_gap: float, paper_time: float) -> Callable:
    """Holds where the paper's difference to training on everything is alike ours, and our measured T_norm is at most .1 above the paper's."""

    def judge(evidence: Evidence) -> tuple[str, bool]:
        row, full = pick(evidence), base(evidence)
        difference, time = gap(row, full), time_ratio(row, full)
        modelled = row.mean("t_norm_modelled")
        shown = f"{written(difference)} at T_norm {time:.2f}" + (f" (modelled {modelled:.2f})" if kind == "main" and modelled is not None else "")
        return f"{row.name}: {shown}", alike(difference, paper_gap) and time <= paper_time + 0.1

    return judge


def table_3() -> list[Claim]:
    claims = []
    for system, text in TABLE_3.items():
        cells = [tuple(float(value) for value in cell.split("/")) for cell in text.split()]
        for i, (name, dataset) in enumerate(SETS.items()):
            (accuracy, time), shares = cells[i], cells[i + 5]
            change = accuracy - FULL_ACCURACY[name]

            def pick(evidence, system=system, dataset=dataset):
                return evidence.three_stages(dataset) if system == "Three stages" else evidence.row("main", dataset, ROWS[system])

            def skipped(evidence, pick=pick, shares=shares):
                row = pick(evidence)
                ours = tuple(100 * row.mean(field) for field in ("alpha_b", "alpha_fb"))
                return f"{row.name}: {ours[0]:.1f} / {ours[1]:.1f}", all(abs(a - b) <= 10 for a, b in zip(ours, shares, strict=True))

            claims.append(Claim("Table 3a", f"{system}, {name}: {accuracy:.2f}, {change:+.2f} against everything, T_norm {time:.2f}",
                                against_everything("main", pick, lambda e, d=dataset: e.row("main", d, BASE), change, time)))  # fmt: skip
            claims.append(Claim("Table 3b", f"{system}, {name}: {shares[0]:.1f} % backward only / {shares[1]:.1f} % both skipped", skipped))
    return sorted(claims, key=lambda claim: claim.source)


def table_4() -> list[Claim]:
    claims = []
    for epochs, (full, ours, time) in TABLE_4.items():
        names = (BASE, "three_stage/script") if epochs == 2 else (f"train_all/epochs {epochs}", f"three_stage/epochs {epochs}")
        pick, base = (lambda e, name=name: e.row("script", "sst2", name) for name in reversed(names))
        claims.append(Claim("Table 4", f"SST2, {epochs} epoch{'s' * (epochs > 1)}: {ours:.2f}, {ours - full:+.2f} against everything, T_norm {time:.2f}",
                            against_everything("script", pick, base, ours - full, time)))  # fmt: skip
    return claims


def beats_random(pick: Callable[[Evidence], Row], kind: str, suffix: str = "") -> Callable:
    """Holds where the row is above random of the same share of examples trained on, its interval clear of 0."""

    def judge(evidence: Evidence) -> tuple[str, bool]:
        row = pick(evidence)
        difference = tuple(100 * value for value in metrics.difference_interval(row.scores, evidence.ladder(row, kind, suffix)))
        share = 100 * row.mean("backwarded") / row.mean("seen")
        return f"{row.name}: {written(difference)}, both trained on {share:.0f} %", difference[1] > 0

    return judge


def table_5() -> list[Claim]:
    claims = []
    for system, figures in TABLE_5.items():
        for name, ours, random in zip(("SST2", "QNLI", "QQP", "AMZ"), figures[::2], figures[1::2], strict=True):

            def pick(evidence, system=system, dataset=SETS[name]):
                return evidence.three_stages(dataset) if system == "Three stages" else evidence.row("main", dataset, ROWS[system])

            claims.append(Claim("Table 5", f"{system}, {name}: {ours:.2f}, {ours - random:+.2f} against random of the same share", beats_random(pick, "main")))
    script = "the authors' script, single examples a step in its last stage (SST2: +4.13 in the paper)"
    for said, suffix in (("random at batch size 8", ""), ("random at batch size 1 as well", ", batch 1")):
        claims.append(Claim("Table 5, batch size 1", f"{script}, against {said}",
                            beats_random(lambda e: e.row("script", "sst2", "three_stage/script, batch 1"), "script", suffix)))  # fmt: skip
    return claims


def table_6() -> list[Claim]:
    return [Claim("Table 6", f"layer freezing, {name}: {ours:.2f}, {ours - full:+.2f} against everything with freezing, T_norm {time:.2f}",
                  against_everything("frozen", lambda e, d=SETS[name]: e.row("main", d, "three_stage/frozen"),
                                     lambda e, d=SETS[name]: e.row("main", d, "train_all/frozen"), ours - full, time))
            for name, (full, ours, time) in TABLE_6.items()]  # fmt: skip


def sweep(names: Sequence[str], rule: Callable[[list[float], list[float]], bool]) -> Callable:
    """rule: (accuracies in points, modelled T_norms) in the order of the names -> whether the claim holds."""

    def judge(evidence: Evidence) -> tuple[str, bool]:
        found = [evidence.row("script", "sst2", f"three_stage/{name}") for name in names]
        accuracy, time = [100 * row.accuracy[0] for row in found], [row.mean("t_norm_modelled") for row in found]
        return "; ".join(f"{row.budget}: {a:.2f}, modelled {t:.2f}" for row, a, t in zip(found, accuracy, time, strict=True)), rule(accuracy, time)

    return judge


def stays_in_fit(names: Sequence[str]) -> Callable:
    def judge(evidence: Evidence) -> tuple[str, bool]:
        found = [evidence.row("script", "sst2", f"three_stage/{name}") for name in names]
        shares = [float(np.mean([(cell.get("stages") or {}).get("filter", 0.0) for cell in row.cells])) for row in found]
        return "; ".join(f"{row.budget}: {100 * share:.0f} % in the filter stage" for row, share in zip(found, shares, strict=True)), max(shares) == 0

    return judge


def sensitivity() -> list[Claim]:
    n0, w = ("script", "N0 0.2", "N0 0.3", "N0 0.4"), ("W 4", "script", "W 16")
    alt = ("ALT 0.1", "ALT 0.2", "script", "ALT 0.4", "ALT 0.5")
    about = "Sensitivity on SST2 (the script, around N0 .1, W 8, ALT .3)"
    return [
        Claim(about, "N0 10 to 40 %: accuracy stable, 89.68 +- 0.35 (here: spread at most 1 point)", sweep(n0, lambda a, _: max(a) - min(a) <= 1)),
        Claim(about, "N0 = 40 % takes 1.95 times as long as 10 % (here: within a quarter of that)", sweep(n0, lambda _, t: 0.75 <= t[-1] / t[0] / 1.95 <= 1.25)),
        Claim(about, "W 4, 8, 16: accuracy 89.74 +- 0.29 (here: spread at most 1 point)", sweep(w, lambda a, _: max(a) - min(a) <= 1)),
        Claim(about, "run time grows with W", sweep(w, lambda _, t: t == sorted(t) and t[0] < t[-1])),
        Claim(about, "with W = 8 and ALT .1 or .2 the last stage is not reached", stays_in_fit(alt[:2])),
        Claim(about, "accuracy falls as ALT rises from .1 to .5", sweep(alt, lambda a, _: a[0] > a[-1])),
        Claim(about, "run time falls as ALT rises from .1 to .5", sweep(alt, lambda _, t: t == sorted(t, reverse=True) and t[0] > t[-1])),
    ]


def text_claims() -> list[Claim]:
    """What the first paper says in words."""

    def stages(evidence: Evidence):
        shares = []
        for dataset in filter(None, SETS.values()):
            cells = [cell.get("stages") or {} for cell in evidence.three_stages(dataset).cells]
            shares.append(float(np.mean([cell.get("warm-up", 0) + cell.get("fit", 0) for cell in cells])))
        return f"mean {100 * np.mean(shares):.1f} % over {len(shares)} data sets", abs(np.mean(shares) - 0.161) <= 0.1

    def most(field: str, pick: Callable[[Evidence, str], Row], at_least: float):
        def judge(evidence: Evidence):
            values = [pick(evidence, dataset).mean(field) for dataset in filter(None, SETS.values())]
            known = [value for value in values if value is not None]
            if not known:
                raise Missing(f"no cell has {field}")
            return f"up to {100 * max(known):.1f} %", max(known) >= at_least

        return judge

    def cost(evidence: Evidence):
        values = [evidence.three_stages(dataset).mean("predictor_over_model") for dataset in filter(None, SETS.values())]
        known = [value for value in values if value is not None]
        if not known:
            raise Missing("no cell has predictor_over_model")
        return f"{100 * max(known):.2f} % of the model's time an example, at most", max(known) <= 0.01

    def svp(dataset: str | None):
        def judge(evidence: Evidence):
            ours, other = evidence.three_stages(dataset), evidence.row("main", dataset, "selection_via_proxy/0.3")
            difference, ratio = gap(ours, other), time_ratio(other, ours)
            return f"{written(difference)}, {ratio:.2f} times as fast", difference[1] > 0 and ratio > 1

        return judge

    def three(evidence: Evidence, dataset: str) -> Row:
        return evidence.three_stages(dataset)

    def energy(evidence: Evidence):
        saved = [1 - time_ratio(three(evidence, dataset), evidence.row("main", dataset, BASE)) for dataset in filter(None, SETS.values())]
        return f"mean {100 * np.mean(saved):.1f} % over {len(saved)} data sets", abs(np.mean(saved) - 0.4585) <= 0.1

    return [
        Claim("In words, section 1", "the first two stages take 16.1 % of the examples on average (here: within 10 points)", stages),
        Claim("In words, section 1", "the threshold skips up to 84 % of the backward passes (here: at least 74 %)",
              most("alpha_b", lambda e, d: e.row("main", d, ROWS["Auto threshold"]), 0.74)),
        Claim("In words, section 1", "the predictor skips up to 81 % of the forward passes (here: at least 71 %)", most("alpha_fb", three, 0.71)),
        Claim("In words, section 5.3", "what threshold and predictor skip overlaps by up to 70 % (here: at least 60 %)", most("overlap", three, 0.60)),
        Claim("In words, section 4.2", "the predictor costs two orders of magnitude less than the model", cost),
        Claim("In words, section 5.2", "AG: +3.62 against selection via proxy, 1.82 times as fast", svp("ag_news")),
        Claim("In words, section 5.2", "AMZ: +5.54 against selection via proxy, 2.67 times as fast", svp(None)),
        Claim("In words, section 5.2", "45.85 % of the energy saved on average (here: within 10 points; power taken as steady, so as much as of the time)", energy),
        Claim("In words, section 5.2", "0.56 instead of 1.05 lb of CO2e a run", _power),
    ]  # fmt: skip


def _power(evidence: Evidence):
    raise Missing("power was not measured, and the runs are smaller")


def second_paper() -> list[Claim]:
    """Dynamic pruning: the two headlines, on joint NLU and on a GLUE task."""
    claims = []
    for kind, dataset, names in (("joint", "atis", ("norm 0.5", "norm 0.2")), ("joint", "snips", ("norm 0.5", "norm 0.2")),
                                 ("main", "atis", ("0.5", "0.2")), ("main", "snips", ("0.5", "0.2")), ("main", "sst2", ("0.5", "0.2"))):  # fmt: skip
        for budget, said, loss, time in ((names[0], "50 % of the data: full accuracy, time down 41 %", 0.0, 0.59),
                                         (names[1], "80 % pruned: 1 % of accuracy lost, time down 66 %", 1.0, 0.34)):  # fmt: skip

            def judge(evidence, kind=kind, dataset=dataset, budget=budget, loss=loss, time=time):
                row, full = evidence.row(kind, dataset, f"dynamic_el2n/{budget}"), evidence.row(kind, dataset, BASE)
                difference, ratio = gap(row, full), time_ratio(row, full)
                more = f"; minus the better control {written(tuple(100 * v for v in row.merit))}" if row.merit else ""
                return f"{written(difference)} at T_norm {ratio:.2f}{more}", difference[0] >= -loss - 0.5 and ratio <= time + 0.1

            what = f"{dataset}, {'intent and slots, whole sentences' if kind == 'joint' else 'classification'}"
            claims.append(Claim("Dynamic pruning", f"{what}: {said}", judge))
    return claims


ALL = [*table_3(), *table_4(), *table_5(), *table_6(), *sensitivity(), *text_claims(), *second_paper()]
ABOUT = """\
# Which claims hold here?

Made of cells by `python benchmarks/reproduction.py --page --out DIR --beside DIR …`; do not edit by hand.

The claims are those of *Efficient NLP Model Finetuning via Multistage Data Filtering* (Ouyang et al., arXiv 2207.14386) and, last, of
dynamic data pruning with EL2N for classification and joint NLU. The papers train other models (DistilBERT, RoBERTa) on more data and a
GPU, and the first one models its time; so levels are not compared, but differences: to training on everything, and to random.

- *reproduced* for an accuracy and a time: the paper's difference lies in our 95 % interval, half a point wider on each side, and our
  **measured** T_norm is at most .1 above the paper's. For shares: within 10 points. "Better than random": our paired interval is above 0.
  Of the second paper: at most half a point, or 1.5 points, below everything, and T_norm at most .1 above. Other rules stand with their claim.
- Differences are in points, with 95 % paired bootstrap intervals over test examples and seeds. "Three stages" is its row of the highest
  AGOT, as in the paper's tables. *cannot be checked here*: what is missing stands beside it.
"""


def judged(evidence: Evidence, claims: Sequence[Claim] = ALL) -> list[tuple[Claim, str, str]]:
    """Each claim with what was found and the verdict."""
    out = []
    for claim in claims:
        try:
            found, holds = claim.judge(evidence)
            out.append((claim, found, YES if holds else NO))
        except Missing as missing:
            out.append((claim, str(missing), OPEN))
    return out


def write(store: Store, folder: Path, beside: Sequence[Path] = ()) -> list[Path]:
    """Write the claims, judged, into README.md, and the rows of this benchmark with their picture into rows/; returns the files."""
    verdicts = judged(Evidence(store, beside))
    counts = {verdict: sum(given == verdict for *_, given in verdicts) for verdict in (YES, NO, OPEN)}
    lines = [ABOUT, f"Of {len(verdicts)} claims: " + ", ".join(f"{count} {verdict}" for verdict, count in counts.items()) + "."]
    for source in dict.fromkeys(claim.source for claim, *_ in verdicts):
        lines += ["", f"## {source}", "", "| the paper | here | |", "| --- | --- | --- |"]
        lines += [f"| {claim.said} | {found} | {verdict if verdict == OPEN else f'**{verdict}**'} |"
                  for claim, found, verdict in verdicts if claim.source == source]  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [folder / "README.md", *page.write(store, folder / "rows")]
