"""Gate: whether the predictor has earned the right to skip forward passes."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from filterloader.data.checks import integer, real
from filterloader.policies.parts.state import Stateful, array, scalar

_MEMORY = 1 - 1 / 64  # weight of the past, a report
# The same an example, for two guesses: a moving label rate is no merit of the words.
_RATE_MEMORY = np.array([0.998, 0.95])
_SIGMAS = 4.0
_SEEN, _SEEN_AT_ALL = (
    8.0,
    0.5,
)  # examples of the rarer label among recent reports: for the relative gate, the absolute one


class Gate(Stateful):
    """Watches the predictor's log loss on reports it has not learnt from yet (prequential), until it is good enough.

    It stays shut while recent reports (a memory of 64) hold fewer than 8 low or fewer than 8 high losses (with ``alt``:
    none at all of one kind), since to be right about a label that hardly changes is no merit of the words.

    Args:
        window (int): W, reports before the gate may open, and the window of ``alt``; 8 by default.
        alt (float): ALT, absolute limit in nats, above 0: open when the mean loss of the last ``window`` reports is at
            most this. None, the default: open when the predictor beats two guesses of its own label rate, a slow and a
            fast one, by ``margin`` and by four standard errors, so that a predictor of pure noise does not pass by
            luck.
        margin (float): share of the guesses' loss, at least 0; .02 by default.

    Source: Ouyang et al. 2022, arXiv 2207.14386, Table 2 and equation 4, for ``alt``.
    """

    _settings = ("window", "alt", "margin")
    _remembers: ClassVar = {
        "reports": scalar(int),
        "_losses": array(float),
        "_sums": array(float, 2, 4),
        "_labels": array(float, 2, 2),
        "_seen": array(float, 2),
    }

    def __init__(self, window: int = 8, *, alt: float | None = None, margin: float = 0.02):
        self.window = integer("window", window)
        self.alt = None if alt is None else real("alt", alt, above=0)
        self.margin = real("margin", margin, least=0)
        self.reports = 0
        self._losses = np.zeros(0)
        self._sums = np.zeros((2, 4))  # of the slow and the fast guess: examples, its loss, gain over it, gain squared
        self._labels = np.zeros((2, 2))  # of both: examples, high losses
        self._seen = np.zeros(2)  # low and high losses among recent reports

    @property
    def loss(self) -> float | None:
        """Mean predictor loss of the last ``window`` reports, nats; None before the first."""
        return float(self._losses.mean()) if self._losses.size else None

    @property
    def gain(self) -> float | None:
        """Share of the better guess's loss that the predictor saves, recent reports first; None before any."""
        _, guess, gain, _ = self._sums[self._sums[:, 1].argmin()]
        return float(gain / guess) if guess > 0 else None

    @property
    def rate(self) -> float:
        """Share of high losses among recent reports (1/2 before any)."""
        return float((self._labels[0, 1] + 0.5) / (self._labels[0, 0] + 1))

    def observe(self, proba: np.ndarray, y: np.ndarray) -> None:
        """One report. proba: P(high loss) as predicted before the outcome was seen, float ``[n]``; y: bool ``[n]``."""
        loss = -np.log(np.clip(np.where(y, proba, 1 - proba), 1e-12, 1))
        here = np.array([y.size, y.sum()])
        # The slow guess knows this report's rate too.
        known = self._labels + np.array([here, [0, 0]])
        for k, (examples, positives) in enumerate(known):
            rate = (positives + 0.5) / (examples + 1)
            guess = -np.log(np.where(y, rate, 1 - rate))
            gain = guess - loss
            self._sums[k] = _MEMORY * self._sums[k] + [y.size, guess.sum(), gain.sum(), (gain**2).sum()]
        self._labels = _RATE_MEMORY[:, None] ** y.size * self._labels + here
        self._seen = _MEMORY * self._seen + [y.size - y.sum(), y.sum()]
        self._losses = np.append(self._losses, loss.mean())[-self.window :]
        self.reports += 1

    @property
    def open(self) -> bool:
        """Whether the predictor is good enough."""
        if self.reports < self.window or self._seen.min() < (_SEEN if self.alt is None else _SEEN_AT_ALL):
            return False
        if self.alt is not None:
            return bool(self._losses.mean() <= self.alt)
        examples, guess, gain, squares = self._sums.T
        mean = gain / examples
        error = np.sqrt(np.maximum(squares / examples - mean**2, 0.0) / examples)
        return bool((mean > self.margin * guess / examples).all() and (mean > _SIGMAS * error).all())
