"""Selection: the examples of a data set that a policy has chosen, by their index."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from filterloader.data.candidates import Candidates
from filterloader.data.checks import share
from filterloader.kernels import proxy as kernel
from filterloader.policies.base import everything, others
from filterloader.policies.parts.state import Stateful, array

_PART = 8192  # examples among which k-centres looks for its centres


class Selection(Stateful):
    """Which examples are trained on; everything, until something is chosen.

    owner: whose selection it is, for errors. Attributes: ``chosen``, bool ``[examples]``, or None.
    """

    _settings = ("owner",)
    _remembers: ClassVar = {"chosen": array(bool, or_none=True)}

    def __init__(self, owner: str):
        self.owner = owner
        self.chosen: np.ndarray | None = None

    def choose(self, chosen: np.ndarray, blocks: Any) -> None:
        """chosen: bool ``[blocks.examples]``, of what was surveyed."""
        self.chosen = np.zeros(getattr(blocks, "length", blocks.examples), bool)
        self.chosen[_rows_of(blocks)[chosen]] = True

    def weights(self, candidates: Candidates) -> np.ndarray:
        """1 for what is chosen, else 0, float32 ``[n]``."""
        if not candidates.indexed or candidates.merged > 1:
            raise ValueError(
                f"{self.owner} needs examples by index, and these come without: use granularity='example', a sampler "
                f"of whole numbers, and in_order=True, or choose a policy that needs no index: {others(streams=True)}"
            )
        if self.chosen is None:
            return everything(candidates)
        ids = candidates.example_ids
        if len(ids) and not -len(self.chosen) <= ids.min() <= ids.max() < len(self.chosen):
            raise ValueError(
                f"{self.owner} chose among {len(self.chosen)} examples, and now comes number {ids.max()}; a policy "
                "that has chosen belongs to one data set, make a new one for another"
            )
        return self.chosen[ids].astype(np.float32)


def _rows_of(blocks: Any) -> np.ndarray:
    """Indices in the data set of what was surveyed, rising; all of them where blocks do not say."""
    return getattr(blocks, "rows", np.arange(blocks.examples))


def gather(blocks: Any, score: Callable[[Any, Candidates], np.ndarray]) -> np.ndarray:
    """One score a surveyed example, float32 ``[blocks.examples]``, nan where it is not finite (a warning says how
    many).

    score: ``(scores, candidates) -> [n]``.
    """
    found, rows = np.full(blocks.examples, np.nan, np.float32), _rows_of(blocks)
    for candidates, scores in blocks:
        found[np.searchsorted(rows, candidates.example_ids)] = score(scores, candidates)
    wild = ~np.isfinite(found)
    if wild.any():
        found[wild] = np.nan
        warnings.warn(
            f"{wild.sum()} of {len(found)} scores are NaN or infinite; those examples are chosen last. Look for a "
            "diverged model",
            stacklevel=3,
        )
    return found


def blend(mean: np.ndarray | None, fresh: np.ndarray, weight: float, owner: str) -> np.ndarray:
    """``mean + weight · (fresh - mean)``, and the one where the other is not known (nan); float32 ``[examples]``."""
    if mean is None:
        return fresh
    if len(mean) != len(fresh):
        raise ValueError(
            f"{owner} scored {len(mean)} examples before, and now there are {len(fresh)}; make a new one for another "
            "data set"
        )
    mixed = (mean + np.float32(weight) * (fresh - mean)).astype(np.float32)
    return np.where(np.isnan(mean), fresh, np.where(np.isnan(fresh), mean, mixed))


def kept(examples: int, keep: float) -> int:
    """How many of ``examples`` a share is: at least one where there are any."""
    return min(max(round(keep * examples), 1), examples)


def check_offset(keep: float, offset: Any) -> float:
    """``offset`` as a share of the data set that leaves room for ``keep``."""
    offset = share("offset", offset)
    if keep + offset > 1 + 1e-9:
        raise ValueError(
            f"keep and offset are shares of one data set and must not exceed 1 together, got keep={keep} and "
            f"offset={offset}"
        )
    return offset


def random_share(examples: int, keep: float, rng: np.random.Generator) -> np.ndarray:
    """A random share of the data set, bool ``[examples]``."""
    chosen = np.zeros(examples, bool)
    chosen[rng.permutation(examples)[: kept(examples, keep)]] = True
    return chosen


def top_share(scores: np.ndarray, keep: float, rng: np.random.Generator, offset: float = 0.0) -> np.ndarray:
    """The share with the highest scores, after a share ``offset`` of the very highest; bool ``[examples]``.

    Among equal scores chance decides, not the order of the data set, which may be that of the classes. nan comes last.
    """
    ranks = np.where(np.isnan(scores), -np.inf, scores)
    order = np.lexsort((rng.random(len(ranks)), -ranks))
    past = min(round(offset * len(ranks)), len(ranks) - kept(len(ranks), keep))
    chosen = np.zeros(len(ranks), bool)
    chosen[order[past : past + kept(len(ranks), keep)]] = True
    return chosen


def k_centres(points: np.ndarray, keep: float, rng: np.random.Generator) -> np.ndarray:
    """A share of the points such that no point is far from all of them, bool ``[n]``: greedy k-centres (Sener and
    Savarese 2018, algorithm 1), each next centre being the point farthest (Euclidean) from those before, the first one
    random.

    points: float32 ``[n, dim]``. Exact up to 8192 points; beyond, the data set is dealt at random into equal parts of
    at most that, and each gives its own centres. So time grows no faster than ``n · 8192 · keep · dim`` (67,000 points
    of width 10 took two seconds on one core at ``keep`` .3), and memory by a copy of one part.
    """
    chosen = np.zeros(len(points), bool)
    parts = -(-len(points) // _PART)
    total, left = kept(len(points), keep), len(points)  # centres still to be found, points still to be dealt
    for part in np.array_split(rng.permutation(len(points)), parts) if parts else ():
        k = -(-total * len(part) // left)
        total, left = total - k, left - len(part)
        if k:
            chosen[part[kernel.farthest_first(np.ascontiguousarray(points[part], np.float32), k)]] = True
    return chosen
