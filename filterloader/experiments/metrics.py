"""Metrics: what a run is worth, in accuracy, time, energy and carbon; pure functions of plain numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from filterloader.feedback.cost import agot, check_not_negative, check_positive, co2e_lb, energy_kwh, modelled_t_norm

__all__ = [
    "accuracy_interval",
    "agot",
    "agot_optimal",
    "co2e_lb",
    "difference_interval",
    "energy_kwh",
    "macro_f1",
    "modelled_t_norm",
    "overlap",
    "pareto_front",
    "relative_cost",
    "span_f1",
    "spans",
    "stage_shares",
]  # fmt: skip


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """The indices of the points that no other point beats, by rising time.

    points: ``[n]`` pairs (time, accuracy), finite. One point beats another if it is no slower and no less accurate,
    and better in one of the two. Equal points do not beat each other: all of them are returned, by rising index.
    Raises ValueError for pairs that are not finite numbers. No points, no front: ``[]``.
    Source: online data filtering, section 5.2.
    """
    points = _pairs(points)
    front: list[int] = []
    for i in np.lexsort((np.arange(len(points)), -points[:, 1], points[:, 0])):
        if not front or points[i, 1] > points[front[-1], 1] or (points[i] == points[front[-1]]).all():
            front.append(int(i))
    return front


def agot_optimal(points: Sequence[tuple[float, float]], base: float, full: float, epsilon: float = 0.95) -> int:
    """The index of the point with the highest `agot`; the first of equals.

    points: ``[n]`` pairs (t_norm, accuracy), n >= 1. base, full, epsilon: as in `agot`, which raises the ValueErrors.
    Source: online data filtering, section 5.2.
    """
    pairs = _pairs(points)
    if not len(pairs):
        raise ValueError("points is empty: give at least one (t_norm, accuracy) pair")
    return int(np.argmax([agot(accuracy, base, full, t_norm, epsilon) for t_norm, accuracy in pairs]))


def accuracy_interval(
    correct: ArrayLike, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Mean accuracy and its bootstrap percentile interval: ``(mean, low, high)``, fractions.

    correct: bool or float ``[n]``, 1 where the prediction is right; or ``[seeds, n]``, one row a training run on the
    same n test examples. confidence: in (0, 1). resamples: >= 1. seed: of the bootstrap, not of the training.
    Each resample draws n examples with replacement, and, given several rows, as many rows with replacement; one draw of
    examples serves all rows of a resample. So the interval covers a new test set and a new training seed.
    Raises ValueError for an empty array, another shape or values outside [0, 1].
    Source: percentile bootstrap, Efron 1979.
    """
    values = _scores("correct", correct)
    return _bootstrap(values, confidence, resamples, seed)


def difference_interval(
    ours: ArrayLike, other: ArrayLike, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Mean of ``ours - other`` and its paired bootstrap percentile interval: ``(difference, low, high)``, fractions.

    ours, other: ``[n]`` or ``[seeds, n]`` of one shape, in [0, 1]: what two systems scored on the same n test examples,
    row i of both trained with the same seed. confidence, resamples, seed: as in `accuracy_interval`.
    Each resample draws n examples, and, given several rows, as many rows with replacement; both systems share the draw,
    so what is hard for both cancels. Raises ValueError for what `accuracy_interval` refuses, and for unequal shapes.
    Source: paired bootstrap, Efron 1979.
    """
    ours, other = _scores("ours", ours), _scores("other", other)
    if ours.shape != other.shape:
        raise ValueError(
            f"ours has shape {list(ours.shape)} and other {list(other.shape)}: give scores of the same examples and seeds"
        )
    return _bootstrap(ours - other, confidence, resamples, seed)


def macro_f1(labels: ArrayLike, predictions: ArrayLike) -> float:
    """The F1 score of each class, averaged with equal weight over the classes that occur in either array.

    labels, predictions: ``[n]`` ints or strings, n >= 1. A class never rightly predicted scores 0.
    Raises ValueError if the arrays are empty, not flat, or differ in length. Equals scikit-learn's ``f1_score``.
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.ndim != 1 or labels.shape != predictions.shape or not len(labels):
        given = f"labels {list(labels.shape)} and predictions {list(predictions.shape)}"
        raise ValueError(f"{given}: give two flat arrays of the same length, at least 1")
    if (
        (labels.dtype.kind in "US") != (predictions.dtype.kind in "US")
        or None in labels.tolist()
        or None in predictions.tolist()
    ):
        raise ValueError(
            f"labels are {labels.dtype} and predictions {predictions.dtype}: give both as whole numbers, or both as strings"
        )
    _, ids = np.unique(np.concatenate([labels, predictions]), return_inverse=True)
    true, predicted = ids[: len(labels)], ids[len(labels) :]
    size = ids.max() + 1
    hits = np.bincount(true[true == predicted], minlength=size)
    return float(np.mean(2 * hits / (np.bincount(true, minlength=size) + np.bincount(predicted, minlength=size))))


def span_f1(labels: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]) -> float:
    """Micro F1 over spans of BIO tags: a span is right where its type and both its ends are.

    labels, predictions: one sequence of tags (``"O"``, ``"B-type"``, ``"I-type"``) a sentence, of equal lengths. An ``I-``
    that continues nothing of its type begins a span, as conlleval has it. 1 where neither side has a span.
    Raises ValueError for sentences or sequences that differ in number, and for a tag of another form.
    Source: CoNLL-2000 shared task (Tjong Kim Sang and Buchholz 2000), the scoring of the slot-filling literature.
    """
    if len(labels) != len(predictions):
        raise ValueError(
            f"{len(labels)} label and {len(predictions)} prediction sequences: give one of each a sentence"
        )
    right = total = 0
    for row, (true, predicted) in enumerate(zip(labels, predictions, strict=True)):
        if len(true) != len(predicted):
            raise ValueError(
                f"sentence {row} has {len(true)} labels and {len(predicted)} predictions: give one tag a word"
            )
        wanted, found = set(spans(true)), set(spans(predicted))
        right, total = right + len(wanted & found), total + len(wanted) + len(found)
    return 2 * right / total if total else 1.0


def spans(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """The spans ``(type, first, past the last)`` of one sentence of BIO tags; see `span_f1`."""
    found: list[tuple[str, int, int]] = []
    kind, first = None, 0
    for place, tag in enumerate([*tags, "O"]):
        prefix, _, named = str(tag).partition("-")
        if not (tag == "O" or (prefix in ("B", "I") and named)):
            raise ValueError(f"tag {tag!r} at place {place} is no BIO tag: give 'O', 'B-type' or 'I-type'")
        if kind is not None and (prefix != "I" or named != kind):
            found.append((kind, first, place))
            kind = None
        if kind is None and prefix != "O":
            kind, first = named, place
    return found


def stage_shares(stages: Sequence[tuple[str, int]], total: int) -> dict[str, float]:
    """Share of the stream spent in each stage, by name; a stage that comes back is summed.

    stages: ``(name, place in the stream where it began)``, by rising place, as ``Ledger.stages`` has them; the first is
    taken to have begun at 0. total: places in the stream, all passes, > 0. Raises ValueError for places out of order.
    Source: online data filtering, section 1: "the first two stages process on average 16.1 % of the examples".
    """
    check_positive("total", total)
    starts = [0, *(place for _, place in stages[1:]), total]
    if any(b < a for a, b in zip(starts, starts[1:])):
        raise ValueError(f"the stages begin at {starts[:-1]} of {total}: give them by rising place, within the stream")
    shares: dict[str, float] = {}
    for (name, _), first, end in zip(stages, starts, starts[1:]):
        shares[name] = shares.get(name, 0.0) + (end - first) / total
    return shares


def overlap(by_one: int, by_other: int, by_both: int) -> float:
    """Share of what either of two filters skips that both skip: ``by_both / (by_one + by_other - by_both)``.

    by_one, by_other, by_both: counts of examples, ``by_both`` among both others; nan where nothing is skipped.
    Raises ValueError for counts that cannot be. Source: online data filtering, section 5.3 ("up to 70 %").
    """
    if not 0 <= by_both <= min(by_one, by_other):
        raise ValueError(
            f"by_one={by_one}, by_other={by_other}, by_both={by_both}: both can be at most the smaller, and none below 0"
        )
    either = by_one + by_other - by_both
    return by_both / either if either else math.nan


def relative_cost(predictor_s: float, predicted: int, model_s: float, trained: int) -> float:
    """Time of the predictor an example, over the model's: ``(predictor_s / predicted) / (model_s / trained)``.

    predictor_s, model_s: seconds spent on ``predicted`` and ``trained`` examples (counts > 0; model_s > 0), else ValueError.
    Source: online data filtering, section 4.2: "two orders of magnitude lower than the target model".
    """
    check_not_negative("predictor_s", predictor_s)
    for name, value in (("predicted", predicted), ("model_s", model_s), ("trained", trained)):
        check_positive(name, value)
    return float((predictor_s / predicted) / (model_s / trained))


def _scores(name: str, values: ArrayLike) -> np.ndarray:
    """What was scored, float64 ``[seeds, n]`` in [0, 1]."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim not in (1, 2) or values.size == 0:
        raise ValueError(f"{name} has shape {list(values.shape)}: give [n] or [seeds, n], neither of them 0")
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"{name} has values outside [0, 1]: give 1 for a right prediction and 0 for a wrong one")
    return np.atleast_2d(values)


def _bootstrap(values: np.ndarray, confidence: float, resamples: int, seed: int) -> tuple[float, float, float]:
    """Mean of values ``[seeds, n]`` and its percentile interval over resampled seeds and examples."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}: give a number between 0 and 1, such as 0.95")
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}: give at least 1")
    rows, n = values.shape
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    for i in range(resamples):
        drawn = values[0] if rows == 1 else values[rng.integers(rows, size=rows)].mean(axis=0)
        means[i] = drawn[rng.integers(n, size=n)].mean()
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(values.mean()), float(low), float(high)


def _pairs(points: Sequence[tuple[float, float]]) -> np.ndarray:
    pairs = np.asarray(points, dtype=np.float64).reshape(-1, 2) if len(points) == 0 else np.asarray(points, np.float64)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not np.isfinite(pairs).all():
        raise ValueError(f"points has shape {list(pairs.shape)}: give finite (time, accuracy) pairs, shape [n, 2]")
    return pairs
