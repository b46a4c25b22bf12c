"""Clock: where the time of a pass goes, split where the loop enters and leaves the loader and the hook."""

from __future__ import annotations

from time import perf_counter

TIMES = ("loader_s", "predictor_s", "score_s", "survey_s", "hook_s", "forward_s", "backward_s", "other_s")


class Clock:
    """Measures the stretches between the doors of the loader; ``Ledger`` says what each is called.

    Attributes:
        times: seconds of each stretch so far, by name.
    """

    def __init__(self) -> None:
        self.times = dict.fromkeys(TIMES, 0.0)
        self._outside: str | None = None  # the door that the loop went out of; None between passes
        self._inside = "hook_s"  # the stretch that runs now
        self._since = 0.0

    def enter(self, door: str) -> None:
        """The loop comes in; what passed since it last went out is the loop's own time.

        Args:
            door: ``"loader"``, ``"survey"`` or ``"hook"``.
        """
        now = perf_counter()
        if self._outside is not None:
            work = "forward_s" if door == "hook" else "backward_s" if self._outside == "backward" else "other_s"
            self.times[work] += now - self._since
        self._since, self._inside = now, f"{door}_s"

    def leave(self, door: str | None) -> None:
        """The loop goes out.

        Args:
            door: ``"loader"`` with a batch, ``"backward"`` from the hook with a loss, ``"skipped"`` from it without
                one; None where a survey or a pass is over.
        """
        now = perf_counter()
        self.times[self._inside] += now - self._since
        self._outside, self._since = door, now

    def spent(self, kind: str, seconds: float) -> None:
        """Some of the time inside has a name of its own, and is taken out of that of the door last entered.

        Args:
            kind: its name, such as ``"predictor_s"``.
            seconds: how long it took.
        """
        self.times[kind] += seconds
        self.times[self._inside] -= seconds

    def resume(self, times: dict[str, float]) -> None:
        """Go on from saved times; what passed since they were saved is nobody's."""
        self.times.update(times)
        self._outside = None


def duration(seconds: float) -> str:
    """Seconds for a person, such as ``3m12s``."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{seconds:02d}s" if minutes else f"{seconds}s"
