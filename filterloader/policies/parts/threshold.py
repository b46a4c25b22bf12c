"""MovingAverageThreshold: the loss below which an example is taken to be learnt."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from filterloader.data.checks import boolean, choice, integer
from filterloader.policies.parts.state import Stateful, array, scalar

_HALF = 32  # reports in each of the two stretches that are compared to see whether the loss has settled
_STILL_FALLING = 0.05


class MovingAverageThreshold(Stateful):
    """The mean of the last ``window`` reported losses, sliding: the loss below which an example is taken to be learnt.

    Args:
        window (int): K, how many losses; 8 by default.
        unit (str): ``"batch"`` (default) averages batch means, ``"example"`` single losses.
        include_current (bool): whether a report's own losses count before it is compared; False by default, as in the
            paper.
        frozen (bool): whether it stands still once the warm-up is over; False by default, as in the paper (the authors'
            script freezes it).

    Example:
        >>> import numpy as np
        >>> from filterloader import MovingAverageThreshold
        >>> threshold = MovingAverageThreshold(2)
        >>> [threshold.observe(np.array([loss])) for loss in (1.0, 3.0, 5.0)]
        [None, 1.0, 2.0]
        >>> threshold.value
        4.0

    Source: Ouyang et al. 2022, arXiv 2207.14386, §3.1, equation 2.
    """

    _settings = ("window", "unit", "include_current", "frozen")
    _remembers: ClassVar = {"_recent": array(float), "_reports": array(float), "_stands": scalar(bool)}

    def __init__(self, window: int = 8, *, unit: str = "batch", include_current: bool = False, frozen: bool = False):
        self.window, self.unit = integer("window", window), choice("unit", unit, ("batch", "example"))
        self.include_current, self.frozen = boolean("include_current", include_current), boolean("frozen", frozen)
        self._recent = np.zeros(0)
        self._reports = np.zeros(0)
        self._stands = False

    @property
    def value(self) -> float | None:
        """The threshold now; None before the first report."""
        return float(self._recent.mean()) if self._recent.size else None

    @property
    def settled(self) -> bool:
        """Whether the reported loss no longer falls: the mean of the last 32 reports is within 5 % of the 32 before."""
        if self._reports.size < 2 * _HALF:
            return False
        before, now = self._reports[:_HALF].mean(), self._reports[_HALF:].mean()
        return bool(now > (1 - _STILL_FALLING) * before)

    def observe(self, losses: np.ndarray) -> float | None:
        """Take in one report (float ``[n]``, finite); returns the threshold to hold it against, None if none yet."""
        value = self.value
        if not self._stands:
            entering = losses if self.unit == "example" else [losses.mean(dtype=np.float64)]
            self._recent = np.append(self._recent, entering)[-self.window :]
        self._reports = np.append(self._reports, losses.mean(dtype=np.float64))[-2 * _HALF :]
        return self.value if self.include_current else value

    def begin_warmup(self) -> None:
        """Another warm-up begins: its reports alone tell whether the loss settles; a frozen threshold slides."""
        self._reports, self._stands = np.zeros(0), False

    def end_warmup(self) -> None:
        """The warm-up is over: a frozen threshold stands still from now on, or from its first value on."""
        self._stands = self.frozen and self._recent.size > 0


def moving(threshold: MovingAverageThreshold | None) -> MovingAverageThreshold:
    """``threshold`` itself, the paper's for None; raises ValueError for anything else, such as a number."""
    if threshold is not None and not isinstance(threshold, MovingAverageThreshold):
        raise ValueError(
            f"threshold must be a MovingAverageThreshold, got {threshold!r}; FixedThreshold takes one number"
        )
    return MovingAverageThreshold() if threshold is None else threshold
