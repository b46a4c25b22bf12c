"""Tables: the claims of the first paper's tables, and of how its hyperparameters act."""

from __future__ import annotations

from benchmarks.claims.evidence import BASE, above, gap, late
from benchmarks.claims.figures import FULL_ACCURACY, ROWS, SETS, TABLE_3, TABLE_4, TABLE_5, TABLE_6
from benchmarks.claims.rules import (
    SINGLE,
    Claim,
    Pick,
    against_everything,
    beats_its_own,
    beats_random,
    skips_alike,
    stable,
    stays_in_fit,
    sweep,
)


def row_of(name: str, dataset: str | None, kind: str = "main") -> Pick:
    """Picks a row by its name."""
    return lambda evidence: evidence.row(kind, dataset, name)


def system_of(system: str, dataset: str | None) -> Pick:
    """Picks the row of what the paper calls a system."""
    if system == "Three stages":
        return lambda evidence: evidence.three_stages(dataset)
    return row_of(ROWS[system], dataset)


def table_3() -> list[Claim]:
    claims = []
    for system, text in TABLE_3.items():
        cells = [tuple(float(value) for value in cell.split("/")) for cell in text.split()]
        for i, (name, dataset) in enumerate(SETS.items()):
            (accuracy, time), shares = cells[i], cells[i + 5]
            change, pick = accuracy - FULL_ACCURACY[name], system_of(system, dataset)
            said = f"{system}, {name}: {accuracy:.2f}, {change:+.2f} against everything, T_norm {time:.2f}"
            judge = against_everything(pick, row_of(BASE, dataset), change, time, modelled=True)
            claims.append(Claim("Table 3a", said, judge))
            said = f"{system}, {name}: {shares[0]:.1f} % backward only / {shares[1]:.1f} % both skipped"
            claims.append(Claim("Table 3b", said, skips_alike(pick, shares)))
    return sorted(claims, key=lambda claim: claim.source)


def table_4() -> list[Claim]:
    claims = []
    for epochs, (full, ours, time) in TABLE_4.items():
        names = (f"three_stage/epochs {epochs}", f"train_all/epochs {epochs}")
        pick, base = (
            row_of(name, "sst2", "script") for name in (("three_stage/script", BASE) if epochs == 2 else names)
        )
        passes = f"{epochs} epoch{'s' * (epochs > 1)}"
        said = f"SST2, {passes}: {ours:.2f}, {ours - full:+.2f} against everything, T_norm {time:.2f}"
        claims.append(Claim("Table 4", said, against_everything(pick, base, ours - full, time)))
    return claims


def table_5() -> list[Claim]:
    claims = []
    for system, figures in TABLE_5.items():
        for name, ours, random in zip(("SST2", "QNLI", "QQP", "AMZ"), figures[::2], figures[1::2], strict=True):
            said = f"{system}, {name}: {ours:.2f}, {ours - random:+.2f} against random of the same share"
            claims.append(Claim("Table 5", said, beats_random(system_of(system, SETS[name]), "main", ours - random)))
    script = "the authors' script, single examples a step in its last stage (SST2: +4.13 in the paper)"
    for other, judge in (
        ("random at batch size 8", beats_random(_single, "script", 4.13)),
        ("random at batch size 1 all along", beats_random(_single, "script", 4.13, ", batch 1")),
        ("random at batch size 1 from the same place on", beats_its_own(4.13)),
    ):
        claims.append(Claim("Table 5, batch size 1", f"{script}, against {other}", judge))
    return claims


def _single(evidence):
    return late(evidence.row("script", "sst2", SINGLE))


def table_6() -> list[Claim]:
    claims = []
    for name, (full, ours, time) in TABLE_6.items():
        change = f"{ours:.2f}, {ours - full:+.2f} against everything with freezing, T_norm {time:.2f}"
        pick, base = (row_of(row, SETS[name]) for row in ("three_stage/frozen", "train_all/frozen"))
        judge = against_everything(pick, base, ours - full, time)
        claims.append(Claim("Table 6", f"layer freezing, {name}: {change}", judge))
    return claims


def sensitivity() -> list[Claim]:
    n0, w = ("script", "N0 0.2", "N0 0.3", "N0 0.4"), ("W 4", "script", "W 16")
    alt = ("ALT 0.1", "ALT 0.2", "script", "ALT 0.4", "ALT 0.5")
    claims = {
        "N0 10 to 40 %: accuracy stable, 89.68 +- 0.35 (here: spread at most 1 point)": sweep(n0, stable),
        "N0 = 40 % takes 1.95 times as long as 10 % (here: within a quarter of that)": sweep(
            n0, lambda _, t: 0.75 <= t[-1] / t[0] / 1.95 <= 1.25
        ),
        "W 4, 8, 16: accuracy 89.74 +- 0.29 (here: spread at most 1 point)": sweep(w, stable),
        "run time grows with W": sweep(w, lambda _, t: t == sorted(t) and t[0] < t[-1]),
        "with W = 8 and ALT .1 or .2 the last stage is not reached": stays_in_fit(alt[:2]),
        "accuracy falls as ALT rises from .1 to .5, by .06 to .89": sweep(
            alt, lambda rows, _: above(gap(rows[0], rows[-1]), 0.06)
        ),
        "run time falls as ALT rises from .1 to .5": sweep(
            alt, lambda _, t: t == sorted(t, reverse=True) and t[0] > t[-1]
        ),
    }
    about = "Sensitivity on SST2 (the script, around N0 .1, W 8, ALT .3)"
    return [Claim(about, said, judge) for said, judge in claims.items()]
