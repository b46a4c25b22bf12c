"""Budget: how many examples each class may keep, so that all come out as even as they can."""

from __future__ import annotations

import numpy as np


def evenly(have: np.ndarray, room: np.ndarray, budget: float) -> np.ndarray:
    """A budget poured over classes until all are filled to one level (water filling).

    Args:
        have (float ``[k]``): what each class has already.
        room (float ``[k]``): what it takes at most.
        budget (float): what there is to pour.

    Returns:
        float64 ``[k]``: what each gets; it sums to the budget, or to all the room there is.
    """
    edges = np.concatenate([have, have + room])  # where a class begins to fill, and where it is full
    order = np.argsort(edges, kind="stable")
    rising, filling = edges[order], np.cumsum(np.repeat([1.0, -1.0], have.size)[order])
    poured = np.concatenate([np.zeros(min(have.size, 1)), np.cumsum(filling[:-1] * np.diff(rising))])
    level = np.interp(budget, poured, rising) if have.size else 0.0
    return np.clip(level - have, 0.0, room)
