"""Warmup: how much of the stream is trained on in full before anything is filtered."""

from __future__ import annotations

import warnings
from numbers import Integral

import numpy as np

from filterloader.data.checks import check_same, paste, share, whole

_PATIENCE = 1024  # reports that a loss may take to settle
_RECENT = 8  # reports whose loss is held against guessing
_CLASSES = 4096  # labels from here on are no classes
_FALLEN, _LONG = (
    0.8,
    32,
)  # share of its first reports' loss below which a loss of any kind has fallen; reports compared at most
_GUESSING, _LABELS_NEEDED = 0.95, 64  # share of guessing's loss that tells of nothing learnt; labels it must rest on


class Warmup:
    """Counts examples until the warm-up is over (paper §3.1, stage 0; N0 in Table 2).

    length: a share of one pass (float in [0, 1]), a count of examples (int), or None: until the loss has settled, and, where there
    are class labels, settled below where it began or below what guessing by how frequent each label is costs in cross entropy:
    before that, losses say nothing of what is learnt. A count of 1 warns: the whole of a pass is 1.0. A share of a stream of
    unknown length also waits for the loss to settle. That wait ends after 1024 reports, with a warning. Another warns where a
    warm-up of a given length ends before the model does better than guessing.
    """

    def __init__(self, length: float | int | None = 0.1):
        if length is not None:
            length = whole("warmup", length, low=0) if isinstance(length, Integral) else share("warmup", length)
            if length == 1 and isinstance(length, int):
                warnings.warn(
                    "warmup=1 is one example; to warm up for the whole of a pass, write warmup=1.0", stacklevel=3
                )
        self.length = length
        self.over = length is not None and length == 0
        self._seen = self._reports = 0
        self._labels = np.zeros(0, np.int64)  # how often each label occurred
        self._first, self._recent = np.zeros(0), np.zeros(0)  # mean losses of the first and the last reports

    def __repr__(self) -> str:
        return paste(self, "length")

    def observe(
        self,
        examples: int,
        total: int | None,
        settled: bool,
        *,
        labels: np.ndarray | None = None,
        losses: np.ndarray | None = None,
    ) -> bool:
        """Count reported examples; True at the report that ends the warm-up. total: examples in one pass, if known. labels, losses:
        of these examples, where there are any: int64 and float32 ``[n]``."""
        if self.over:
            return False
        self._seen += examples
        self._reports += 1
        if (
            labels is not None
            and losses is not None
            and labels.min(initial=0) >= 0
            and labels.max(initial=0) < _CLASSES
        ):
            self._labels = _sum(self._labels, np.bincount(labels))
            loss = losses.mean(dtype=np.float64)
            self._first, self._recent = np.append(self._first, loss)[:_LONG], np.append(self._recent, loss)[-_LONG:]
        if self.length is not None and (isinstance(self.length, int) or total is not None):
            self.over = self._seen >= (self.length if isinstance(self.length, int) else self.length * total)
            if self.over and self._guesses:
                self._tell_that_nothing_is_learnt()
        else:
            settled = settled and not self._guesses
            self.over = settled or self._reports >= _PATIENCE
            if self.over and not settled:
                where = " below guessing" if self._guesses else ""
                warnings.warn(
                    f"the warm-up was ended after {self._reports} reports, although the loss had not settled{where}: warmup={self.length!r} waits for "
                    "that" + ("" if self.length is None else " where the length of the stream is not known") +
                    "; give warmup= a count of examples, or a share and the loader total_examples=",
                    stacklevel=2,
                )  # fmt: skip
        return self.over

    def _tell_that_nothing_is_learnt(self) -> None:
        warnings.warn(
            f"the warm-up ends after {self._seen} examples, and the model knows nothing yet: its loss is {self._recent[-_RECENT:].mean():.3f} and was "
            f"{self._first.mean():.3f}, and guessing by how frequent each label is costs {self._guessing:.3f} in cross entropy. To go by losses "
            f"now trains on chance, and can ruin a run; give a longer warmup= than {self.length!r}, or None, which waits", stacklevel=4,
        )  # fmt: skip

    @property
    def _guessing(self) -> float:
        """What guessing by how frequent each label is costs: the entropy of the labels, nats."""
        shares = self._labels[self._labels > 0] / max(self._labels.sum(), 1)
        return float(-(shares * np.log(shares)).sum())

    @property
    def _guesses(self) -> bool:
        """Whether the model does no better than that, nor than when it began (a loss may be of more than the label); False where it
        cannot be told."""
        if self._labels.sum() < _LABELS_NEEDED or self._recent.size < _RECENT or self._guessing == 0:
            return False
        n = max(min(_LONG, self._reports // 2), 1)
        fallen = self._recent[-n:].mean() < _FALLEN * self._first[:n].mean()
        return bool(not fallen and self._recent[-_RECENT:].mean() >= _GUESSING * self._guessing)

    def state_dict(self) -> dict:
        return {"settings": repr(self), "seen": self._seen, "reports": self._reports, "over": self.over,
                "labels": self._labels.copy(), "first": self._first.copy(), "recent": self._recent.copy()}  # fmt: skip

    def load_state_dict(self, state: dict) -> None:
        check_same("warm-up", state["settings"], repr(self))
        self._labels = np.array(state["labels"], np.int64)
        self._first, self._recent = np.array(state["first"], float), np.array(state["recent"], float)
        self._seen, self._reports, self.over = int(state["seen"]), int(state["reports"]), bool(state["over"])


def _sum(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Counts ``[k]`` and ``[l]`` as one, the shorter filled up with zeros."""
    out = np.zeros(max(left.size, right.size), np.int64)
    out[: left.size] += left
    out[: right.size] += right
    return out
