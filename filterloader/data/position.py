"""Position: where a run stands in its stream; the loader moves it, feedback and schedules read it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Position:
    """How far a loader is, as of the last batch it handed out.

    Attributes:
        epoch: passes that are over.
        consumed: examples of the stream consumed since the first pass, filtered ones included.
        progress: share of this pass consumed, in [0, 1]; 0 where the length of the stream is not known.
    """

    epoch: int = 0
    consumed: int = 0
    progress: float = 0.0
