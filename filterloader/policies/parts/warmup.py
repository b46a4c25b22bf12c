"""Warmup: how much of the stream is trained on in full before anything is filtered."""

from __future__ import annotations

import warnings
from numbers import Integral
from typing import ClassVar

import numpy as np

from filterloader.data.candidates import Candidates
from filterloader.data.checks import integer, share
from filterloader.policies.parts.state import Stateful, array, scalar

_PATIENCE = 1024  # reports that a loss may take to settle
_RECENT = 8  # reports whose loss is held against guessing
_CLASSES = 4096  # labels from here on are no classes
_FALLEN = 0.8  # share of its first reports' loss below which a loss of any kind has fallen
_LONG = 32  # reports compared at most
_GUESSING, _LABELS_NEEDED = 0.95, 64  # share of guessing's loss that tells of nothing learnt; labels it must rest on


class Warmup(Stateful):
    """Counts examples until the warm-up is over.

    A share of a stream of unknown length also waits for the loss to settle. That wait ends after 1024 reports, with a
    warning. Another warns where a warm-up of a given length ends before the model does better than guessing.

    Args:
        length (float, int or None): a share of one pass (float in [0, 1]; 0.1 by default), a count of examples (int; 1
            warns, since the whole of a pass is 1.0), or None: until the loss has settled, and, where there are class
            labels, settled below where it began or below what guessing by how frequent each label is costs in cross
            entropy: before that, losses say nothing of what is learnt.

    Source: Ouyang et al. 2022, arXiv 2207.14386, §3.1, stage 0 (N0 in Table 2).
    """

    _settings = ("length",)
    _remembers: ClassVar = {
        "_seen": scalar(int),
        "_reports": scalar(int),
        "over": scalar(bool),
        "_labels": array(np.int64),
        "_first": array(float),
        "_recent": array(float),
    }

    def __init__(self, length: float | int | None = 0.1):
        if length is not None:
            length = integer("warmup", length, least=0) if isinstance(length, Integral) else share("warmup", length)
            if length == 1 and isinstance(length, int):
                warnings.warn(
                    "warmup=1 is one example; to warm up for the whole of a pass, write warmup=1.0", stacklevel=3
                )
        self.length = length
        self.over = length is not None and length == 0
        self._seen = self._reports = 0
        self._labels = np.zeros(0, np.int64)  # how often each label occurred
        self._first, self._recent = np.zeros(0), np.zeros(0)  # mean losses of the first and the last reports

    def report(self, candidates: Candidates, losses: np.ndarray, settled: bool) -> bool:
        """Count the candidates of one report; True where that ends the warm-up. settled: the loss no longer falls."""
        examples = len(candidates) * candidates.merged
        return self.observe(examples, candidates.total, settled, labels=candidates.labels, losses=losses)

    def observe(
        self,
        examples: int,
        total: int | None,
        settled: bool,
        *,
        labels: np.ndarray | None = None,
        losses: np.ndarray | None = None,
    ) -> bool:
        """Count reported examples; True at the report that ends the warm-up. total: examples in one pass, if known.
        labels, losses: of these examples, where there are any: int64 and float32 ``[n]``."""
        if self.over:
            return False
        self._seen += examples
        self._reports += 1
        if labels is not None and losses is not None:
            self._compare_with_guessing(labels, losses)
        share = isinstance(self.length, float)
        if self.length is not None and not (share and total is None):
            self.over = self._seen >= self.length * ((total or 0) if share else 1)
            if self.over and self._guesses:
                self._tell_that_nothing_is_learnt()
        else:
            settled = settled and not self._guesses
            self.over = settled or self._reports >= _PATIENCE
            if self.over and not settled:
                self._tell_that_it_never_settled()
        return self.over

    def _compare_with_guessing(self, labels: np.ndarray, losses: np.ndarray) -> None:
        if labels.min(initial=0) >= 0 and labels.max(initial=0) < _CLASSES:
            self._labels = _sum(self._labels, np.bincount(labels))
            loss = losses.mean(dtype=np.float64)
            self._first, self._recent = np.append(self._first, loss)[:_LONG], np.append(self._recent, loss)[-_LONG:]

    def _tell_that_it_never_settled(self) -> None:
        below = " below guessing" if self._guesses else ""
        where = "" if self.length is None else " where the length of the stream is not known"
        warnings.warn(
            f"the warm-up was ended after {self._reports} reports, although the loss had not settled{below}: "
            f"warmup={self.length!r} waits for that{where}; give warmup= a count of examples, or a share and the "
            "loader total_examples=",
            stacklevel=5,
        )

    def _tell_that_nothing_is_learnt(self) -> None:
        warnings.warn(
            f"the warm-up ends after {self._seen} examples, and the model knows nothing yet: its loss is "
            f"{self._recent[-_RECENT:].mean():.3f} and was {self._first.mean():.3f}, and guessing by how frequent "
            f"each label is costs {self._guessing:.3f} in cross entropy. To go by losses now trains on chance, and "
            f"can ruin a run; give a longer warmup= than {self.length!r}, or None, which waits",
            stacklevel=5,
        )

    @property
    def _guessing(self) -> float:
        """What guessing by how frequent each label is costs: the entropy of the labels, nats."""
        shares = self._labels[self._labels > 0] / max(self._labels.sum(), 1)
        return float(-(shares * np.log(shares)).sum())

    @property
    def _guesses(self) -> bool:
        """Whether the model does no better than that, nor than when it began (a loss may be of more than the label).

        False where it cannot be told.
        """
        if self._labels.sum() < _LABELS_NEEDED or self._recent.size < _RECENT or self._guessing == 0:
            return False
        n = max(min(_LONG, self._reports // 2), 1)
        fallen = self._recent[-n:].mean() < _FALLEN * self._first[:n].mean()
        return bool(not fallen and self._recent[-_RECENT:].mean() >= _GUESSING * self._guessing)


def _sum(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Counts ``[k]`` and ``[l]`` as one, the shorter filled up with zeros."""
    out = np.zeros(max(left.size, right.size), np.int64)
    out[: left.size] += left
    out[: right.size] += right
    return out
