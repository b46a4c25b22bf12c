"""Warmup: how much of the stream is trained on in full before anything is filtered."""

from __future__ import annotations

from numbers import Integral

from filterloader.settings import check_same, paste, share, whole


class Warmup:
    """Counts examples until the warm-up is over (paper §3.1, stage 0; N0 in Table 2).

    length: a share of one pass (float in [0, 1]), a count of examples (int), or None: until the threshold has settled.
    A share of a stream of unknown length also waits for the threshold to settle.
    """

    def __init__(self, length: float | int | None = 0.1):
        if length is not None:
            length = whole("warmup", length, low=0) if isinstance(length, Integral) else share("warmup", length)
        self.length = length
        self.over = length is not None and length == 0
        self._seen = 0

    def __repr__(self) -> str:
        return paste(self, "length")

    def observe(self, examples: int, total: int | None, settled: bool) -> bool:
        """Count reported examples; True at the report that ends the warm-up. total: examples in one pass, if known."""
        if self.over:
            return False
        self._seen += examples
        if isinstance(self.length, int):
            self.over = self._seen >= self.length
        elif self.length is not None and total is not None:
            self.over = self._seen >= self.length * total
        else:
            self.over = settled
        return self.over

    def state_dict(self) -> dict:
        return {"settings": repr(self), "seen": self._seen, "over": self.over}

    def load_state_dict(self, state: dict) -> None:
        check_same("warm-up", state["settings"], repr(self))
        self._seen, self.over = int(state["seen"]), bool(state["over"])
