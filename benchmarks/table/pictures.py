"""Pictures: accuracy against wall-clock of one data set, every row and both controls on it, and the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from filterloader.report import COLOURS, FAINT, INK, MARKERS, dress
from table.controls import Row
from table.systems import BASELINE, CONTROLS


def draw(found: Sequence[Row], path: Path) -> Path:
    """Draw the rows of one data set into a PNG file. Raises ImportError where matplotlib is missing."""
    raise ImportError
