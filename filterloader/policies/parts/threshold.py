"""MovingAverageThreshold: the loss below which an example is taken to be learnt."""

from __future__ import annotations

import numpy as np

from filterloader.data.checks import check_same, paste, whole

_HALF = 32  # reports in each of the two stretches that are compared to see whether the loss has settled
_STILL_FALLING = 0.05


class MovingAverageThreshold:
    """The mean of the last ``window`` reported losses, sliding (paper §3.1, equation 2; K = 8).

    window: how many losses. unit: ``"batch"`` averages batch means, ``"example"`` single losses. include_current: whether
    a report's own losses count before it is compared (the paper: no). frozen: whether the threshold stands still once the
    warm-up is over (the paper: no; the authors' script: yes).
    """

    def __init__(self, window: int = 8, *, unit: str = "batch", include_current: bool = False, frozen: bool = False):
        self.window = whole("window", window)
        if unit not in ("batch", "example"):
            raise ValueError(f"unit must be 'batch' or 'example', got {unit!r}")
        self.unit, self.include_current, self.frozen = unit, bool(include_current), bool(frozen)
        self._recent = np.zeros(0)
        self._reports = np.zeros(0)
        self._stands = False

    def __repr__(self) -> str:
        return paste(self, "window", "unit", "include_current", "frozen")

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
        """Take in one report (float ``[n]``, finite); returns the threshold to hold these losses against, None if none yet."""
        value = self.value
        if not self._stands:
            entering = losses if self.unit == "example" else [losses.mean(dtype=np.float64)]
            self._recent = np.append(self._recent, entering)[-self.window :]
        self._reports = np.append(self._reports, losses.mean(dtype=np.float64))[-2 * _HALF :]
        return self.value if self.include_current else value

    def begin_warmup(self) -> None:
        """A warm-up begins anew: whether the loss has settled is told by its reports alone, and a frozen threshold slides again."""
        self._reports, self._stands = np.zeros(0), False

    def end_warmup(self) -> None:
        """The warm-up is over: a frozen threshold stands still from now on, or from its first value on."""
        self._stands = self.frozen and self._recent.size > 0

    def state_dict(self) -> dict:
        return {
            "settings": repr(self),
            "recent": self._recent.copy(),
            "reports": self._reports.copy(),
            "stands": self._stands,
        }

    def load_state_dict(self, state: dict) -> None:
        check_same("threshold", state["settings"], repr(self))
        self._recent, self._reports = np.array(state["recent"], float), np.array(state["reports"], float)
        self._stands = bool(state["stands"])


def moving(threshold: MovingAverageThreshold | None) -> MovingAverageThreshold:
    """``threshold`` itself, the paper's for None; raises ValueError for what slides over no losses, such as a number."""
    if threshold is not None and not hasattr(threshold, "begin_warmup"):
        raise ValueError(
            f"threshold must be a MovingAverageThreshold, got {threshold!r}; FixedThreshold takes one number"
        )
    return MovingAverageThreshold() if threshold is None else threshold
