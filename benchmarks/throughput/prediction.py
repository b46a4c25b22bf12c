"""Prediction: how long does the predictor take, against scikit-learn and river? Measured by
``predictor_throughput.py``.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import predictor_throughput as bench
from benchmarks.throughput.clock import figure, record, times_faster
from benchmarks.throughput.corpus import Corpus

AIMS = {"scikit-learn": 200, "scikit-learn from ids": 200, "river": 1000}
_OTHERS = ("ours calibrated", "floor")


def predicted(corpus: Corpus, *, batch: int, repeats: int) -> Iterator[dict]:
    """Predict and update of both models, call included."""
    for line in bench.measure(
        corpus.ids, (corpus.labels > 0).astype(int), len(corpus.tokenizer), repeats, sizes=(batch,), leasts=(1,)
    ):
        times = line["us a repeat"]
        rivals = {name: own for name, own in times.items() if name not in _OTHERS}
        yield record(
            f"predictor, {line['model']}, {line['op']}",
            corpus,
            batch=batch,
            unit="us/batch",
            rate={name: figure(own) for name, own in times.items()},
            figures=times_faster(rivals, "ours", AIMS),
            checked="scores equal scikit-learn's after the same updates",
        )
