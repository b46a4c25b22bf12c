"""Warn: a warning that points at the line of the user's loop, however many of our own calls lie between."""

from __future__ import annotations

import sys
import warnings

_PACKAGE = __name__.partition(".")[0] + "."


def warn(message: str) -> None:
    """Warn the first caller that is not of this package.

    Args:
        message: what is told.
    """
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)
