"""Warmup: how much of the stream is trained on in full before anything is filtered."""

from __future__ import annotations

import warnings
from numbers import Integral

from filterloader.settings import check_same, paste, share, whole

_PATIENCE = 1024  # reports that a loss may take to settle


class Warmup:
    """Counts examples until the warm-up is over (paper §3.1, stage 0; N0 in Table 2).

    length: a share of one pass (float in [0, 1]), a count of examples (int), or None: until the threshold has settled. A
    count of 1 warns: the whole of a pass is 1.0. A share of a stream of unknown length also waits for the threshold to
    settle. A wait for a loss that goes on falling ends after 1024 reports, with a warning.
    """

    def __init__(self, length: float | int | None = 0.1):
        if length is not None:
            length = whole("warmup", length, low=0) if isinstance(length, Integral) else share("warmup", length)
            if length == 1 and isinstance(length, int):
                warnings.warn("warmup=1 is one example; to warm up for the whole of a pass, write warmup=1.0", stacklevel=3)
        self.length = length
        self.over = length is not None and length == 0
        self._seen = self._reports = 0

    def __repr__(self) -> str:
        return paste(self, "length")

    def observe(self, examples: int, total: int | None, settled: bool) -> bool:
        """Count reported examples; True at the report that ends the warm-up. total: examples in one pass, if known."""
        if self.over:
            return False
        self._seen += examples
        self._reports += 1
        if isinstance(self.length, int):
            self.over = self._seen >= self.length
        elif self.length is not None and total is not None:
            self.over = self._seen >= self.length * total
        else:
            self.over = settled or self._reports >= _PATIENCE
            if self.over and not settled:
                warnings.warn(
                    f"the warm-up was ended after {self._reports} reports, although the loss had not settled: warmup={self.length!r} waits for "
                    "that" + ("" if self.length is None else " where the length of the stream is not known") +
                    "; give warmup= a count of examples, or a share and the loader total_examples=",
                    stacklevel=2,
                )  # fmt: skip
        return self.over

    def state_dict(self) -> dict:
        return {"settings": repr(self), "seen": self._seen, "reports": self._reports, "over": self.over}

    def load_state_dict(self, state: dict) -> None:
        check_same("warm-up", state["settings"], repr(self))
        self._seen, self._reports, self.over = int(state["seen"]), int(state["reports"]), bool(state["over"])
