"""Page: every claim judged, as a README."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.claims import tables, words
from benchmarks.claims.evidence import Evidence, Missing
from benchmarks.claims.rules import Claim
from benchmarks.table import page
from benchmarks.table.store import Store
from filterloader.experiments.tables import markdown_table

YES, NO, OPEN = "reproduced", "not reproduced", "cannot be checked here"
ALL = [
    *tables.table_3(),
    *tables.table_4(),
    *tables.table_5(),
    *tables.table_6(),
    *tables.sensitivity(),
    *words.first_paper(),
    *words.second_paper(),
]
ABOUT = """\
# Which claims hold here?

Made of cells by `python -m benchmarks.reproduction --page --out DIR --beside DIR …`; do not edit by hand.

The claims are those of *Efficient NLP Model Finetuning via Multistage Data Filtering* (Ouyang et al., arXiv 2207.14386)
and, last, of dynamic data pruning with EL2N for classification and joint NLU. The papers train other models (DistilBERT
and RoBERTa) on more data and a GPU, and the first one models its time; so levels are not compared, but differences: to
training on everything, and to random.

- *reproduced* for an accuracy and a time: our **measured** T_norm is at most .1 above the paper's, and the paper's
  difference lies in our 95 % interval, half a point wider on each side. For shares: within 10 points. "Better than
  random": our paired interval is above 0; *not reproduced* where it is below the paper's gain. Of the second paper:
  T_norm at most .1 above, and our interval no more than half a point below what it says. Other rules stand with their
  claim.
- *cannot be checked here*: what is missing stands beside it, or else our interval is too wide to tell (over six points,
  and wider than the difference it would have to hold; or holding 0 as well as the paper's gain).
- Differences are in points, with 95 % paired bootstrap intervals over test examples and seeds, of three seeds where no
  other number stands. "Three stages" is its row of the highest AGOT on the reported split, as in the paper's tables,
  which favours it; without the script's, which trains otherwise than its controls, and those without its backward gate
  or without a given N0. Some of the paper's figures contradict each other (Fixed 0.1 on QQP: T_norm .37, and .73 by its
  own shares); they are judged as printed.
"""


def judged(evidence: Evidence, claims: Sequence[Claim] = ALL) -> list[tuple[Claim, str, str]]:
    """Each claim with what was found and the verdict."""
    out = []
    for claim in claims:
        try:
            found, holds = claim.judge(evidence)
            out.append((claim, found, YES if holds else OPEN if holds is None else NO))
        except Missing as missing:
            out.append((claim, str(missing), OPEN))
    return out


def write(store: Store, folder: Path, beside: Sequence[Path] = ()) -> list[Path]:
    """Write the claims, judged, into README.md, and the rows of this benchmark, with a picture, into rows/.

    Returns the files.
    """
    verdicts = judged(Evidence(store, beside))
    counts = {verdict: sum(given == verdict for *_, given in verdicts) for verdict in (YES, NO, OPEN)}
    parts = [ABOUT, f"Of {len(verdicts)} claims: {', '.join(f'{n} {verdict}' for verdict, n in counts.items())}."]
    for source in dict.fromkeys(claim.source for claim, *_ in verdicts):
        cells = [
            (claim.said, found, verdict if verdict == OPEN else f"**{verdict}**")
            for claim, found, verdict in verdicts
            if claim.source == source
        ]
        parts += ["", f"## {source}", "", markdown_table(["the paper", "here", ""], cells)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text("\n".join(parts) + "\n", encoding="utf-8")
    return [folder / "README.md", *page.write(store, folder / "rows")]
