"""Gate: whether the predictor has earned the right to skip forward passes."""

from __future__ import annotations

import numpy as np

from filterloader.data.checks import check_same, paste, real, whole

_MEMORY = 1 - 1 / 64  # weight of the past, a report
_RATE_MEMORY = np.array(
    [0.998, 0.95]
)  # the same an example, for two guesses: a moving label rate is no merit of the words
_SIGMAS = 4.0
_SEEN, _SEEN_AT_ALL = (
    8.0,
    0.5,
)  # examples of the rarer label among recent reports: for the relative gate, for the absolute one


class Gate:
    """Watches the predictor's log loss on reports it has not learnt from yet (prequential).

    window: reports before the gate may open, and the window of ``alt`` (W in Table 2). alt: absolute limit in nats: open when
    the mean loss of the last ``window`` reports is at most this (ALT in Table 2, equation 4). None: relative: open when the
    predictor beats two guesses of its own label rate, a slow and a fast one, by ``margin`` (share of their loss) and by four standard
    errors, so that a predictor of pure noise does not pass by luck.

    It stays shut while recent reports (a memory of 64) hold fewer than 8 low or fewer than 8 high losses (with ``alt``: none at
    all of one kind), since to be right about a label that hardly changes is no merit of the words.
    """

    def __init__(self, window: int = 8, *, alt: float | None = None, margin: float = 0.02):
        self.window = whole("window", window)
        self.alt = None if alt is None else real("alt", alt)
        self.margin = real("margin", margin)
        if self.margin < 0 or (self.alt is not None and self.alt <= 0):
            raise ValueError(f"alt must be above 0 and margin at least 0, got alt={alt!r}, margin={margin!r}")
        self.reports = 0
        self._losses = np.zeros(0)
        self._sums = np.zeros((2, 4))  # of the slow and the fast guess: examples, its loss, gain over it, gain squared
        self._labels = np.zeros((2, 2))  # of both: examples, high losses
        self._seen = np.zeros(2)  # low and high losses among recent reports

    def __repr__(self) -> str:
        return paste(self, "window", "alt", "margin")

    @property
    def loss(self) -> float | None:
        """Mean predictor loss of the last ``window`` reports, nats; None before the first."""
        return float(self._losses.mean()) if self._losses.size else None

    @property
    def gain(self) -> float | None:
        """Share of the better guess's loss that the predictor saves, recent reports weighing most; None before the first."""
        _, guess, gain, _ = self._sums[self._sums[:, 1].argmin()]
        return float(gain / guess) if guess > 0 else None

    @property
    def rate(self) -> float:
        """Share of high losses among recent reports (1/2 before any)."""
        return float((self._labels[0, 1] + 0.5) / (self._labels[0, 0] + 1))

    def observe(self, proba: np.ndarray, y: np.ndarray) -> None:
        """One report: what the predictor said (float ``[n]``, P(high loss)) before it saw the outcome ``y`` (bool ``[n]``)."""
        loss = -np.log(np.clip(np.where(y, proba, 1 - proba), 1e-12, 1))
        here = np.array([y.size, y.sum()])
        for k, (examples, positives) in enumerate(
            self._labels + [here, [0, 0]]
        ):  # the slow guess knows this report's rate too
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

    def state_dict(self) -> dict:
        return {"settings": repr(self), "reports": self.reports, "losses": self._losses.copy(),
                "sums": self._sums.copy(), "labels": self._labels.copy(), "seen": self._seen.copy()}  # fmt: skip

    def load_state_dict(self, state: dict) -> None:
        check_same("gate", state["settings"], repr(self))
        self.reports = int(state["reports"])
        self._losses, self._sums = np.array(state["losses"], float), np.array(state["sums"], float)
        self._labels, self._seen = np.array(state["labels"], float), np.array(state["seen"], float)
