"""Metrics: what a run is worth, in accuracy, time, energy and carbon; pure functions of plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise
from types import ModuleType

import numpy as np
from numpy.typing import ArrayLike

from filterloader.feedback.cost import agot, check_not_negative, check_positive, co2e_lb, energy_kwh, modelled_t_norm

__all__ = [
    "accuracy_interval",
    "agot",
    "co2e_lb",
    "difference_interval",
    "energy_kwh",
    "macro_f1",
    "modelled_t_norm",
    "pareto_front",
    "relative_cost",
    "span_f1",
    "stage_shares",
]


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """The indices of the points that no other point beats, by rising time.

    One point beats another if it is no slower and no less accurate, and better in one of the two. Equal points do not
    beat each other: all of them are returned, by rising index.

    Args:
        points: ``[n]`` pairs (time, accuracy), finite; no points have no front, ``[]``.

    Raises:
        ValueError: for pairs that are not finite numbers.

    Source: online data filtering, section 5.2.
    """
    pairs = np.asarray(points, dtype=np.float64).reshape(-1, 2) if len(points) == 0 else np.asarray(points, np.float64)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not np.isfinite(pairs).all():
        raise ValueError(f"points has shape {list(pairs.shape)}: give finite (time, accuracy) pairs, shape [n, 2]")
    front: list[int] = []
    for i in np.lexsort((np.arange(len(pairs)), -pairs[:, 1], pairs[:, 0])):
        if not front or pairs[i, 1] > pairs[front[-1], 1] or (pairs[i] == pairs[front[-1]]).all():
            front.append(int(i))
    return front


def accuracy_interval(
    correct: ArrayLike, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Mean accuracy and its bootstrap percentile interval: ``(mean, low, high)``, fractions.

    Each resample draws n examples with replacement, and, given several rows, as many rows with replacement; one draw of
    examples serves all rows of a resample. So the interval covers a new test set and a new training seed.

    Args:
        correct: bool or float ``[n]``, 1 where the prediction is right; or ``[seeds, n]``, one row a training run on
            the same n test examples.
        confidence: in (0, 1).
        resamples: how many, >= 1.
        seed: of the bootstrap, not of the training.

    Raises:
        ValueError: for an empty array, another shape or values outside [0, 1].

    Source: percentile bootstrap, Efron 1979.
    """
    return _bootstrap(_scores("correct", correct), confidence, resamples, seed)


def difference_interval(
    ours: ArrayLike, other: ArrayLike, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Mean of ``ours - other`` and its paired bootstrap percentile interval: ``(difference, low, high)``, fractions.

    Resampled as in `accuracy_interval`; both systems share the draw, so what is hard for both cancels.

    Args:
        ours: ``[n]`` or ``[seeds, n]``, in [0, 1]: what a system scored on n test examples.
        other: the scores of another on the same examples, row i trained with the same seed; of the same shape.
        confidence: in (0, 1).
        resamples: how many, >= 1.
        seed: of the bootstrap.

    Raises:
        ValueError: for what `accuracy_interval` refuses, and for unequal shapes.

    Source: paired bootstrap, Efron 1979.
    """
    ours, other = _scores("ours", ours), _scores("other", other)
    if ours.shape != other.shape:
        shapes = f"ours has shape {list(ours.shape)} and other {list(other.shape)}"
        raise ValueError(f"{shapes}: give scores of the same examples and seeds")
    return _bootstrap(ours - other, confidence, resamples, seed)


def macro_f1(labels: ArrayLike, predictions: ArrayLike) -> float:
    """scikit-learn's F1 score, averaged with equal weight over the classes that occur in either array.

    Args:
        labels: ``[n]`` ints or strings, n >= 1.
        predictions: as many.

    Raises:
        ImportError: without scikit-learn.
    """
    return float(_extra("sklearn.metrics").f1_score(labels, predictions, average="macro", zero_division=0))


def span_f1(labels: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]) -> float:
    """seqeval's micro F1 over spans of BIO tags, as conlleval counts them; 1 where neither side has a span.

    Args:
        labels: a sequence of tags (``"O"``, ``"B-type"``, ``"I-type"``) a sentence.
        predictions: tags of the same sentences, as many.

    Raises:
        ImportError: without seqeval.
        ValueError: for sentences or sequences that differ in number.
    """
    return float(_extra("seqeval.metrics").f1_score(labels, predictions, zero_division=1))


def stage_shares(stages: Sequence[tuple[str, int]], total: int) -> dict[str, float]:
    """Share of the stream spent in each stage, by name; a stage that comes back is summed.

    Args:
        stages: ``(name, place in the stream where it began)``, by rising place, as ``Ledger.stages`` has them; the
            first is taken to have begun at 0.
        total: places in the stream, all passes, > 0.

    Raises:
        ValueError: for places out of order.

    Source: online data filtering, section 1: "the first two stages process on average 16.1 % of the examples".
    """
    check_positive("total", total)
    starts = [0, *(place for _, place in stages[1:]), total]
    if any(b < a for a, b in pairwise(starts)):
        raise ValueError(f"the stages begin at {starts[:-1]} of {total}: give them by rising place, within the stream")
    shares: dict[str, float] = {}
    for (name, _), (first, end) in zip(stages, pairwise(starts), strict=False):  # no stages, one pair
        shares[name] = shares.get(name, 0.0) + (end - first) / total
    return shares


def relative_cost(predictor_s: float, predicted: int, model_s: float, trained: int) -> float:
    """Time of the predictor an example, over the model's: ``(predictor_s / predicted) / (model_s / trained)``.

    Args:
        predictor_s: seconds, >= 0, spent on
        predicted: examples, > 0.
        model_s: seconds, > 0, spent on
        trained: examples, > 0.

    Raises:
        ValueError: outside these ranges.

    Source: online data filtering, section 4.2: "two orders of magnitude lower than the target model".
    """
    check_not_negative("predictor_s", predictor_s)
    for name, value in (("predicted", predicted), ("model_s", model_s), ("trained", trained)):
        check_positive(name, value)
    return float((predictor_s / predicted) / (model_s / trained))


def _extra(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0].replace("sklearn", "scikit-learn")
        raise ImportError(f"F1 needs {package}: pip install 'filterloader[experiments]'") from error


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
