"""Kernels over weights: the numbers in which policies answer."""

from numba import njit


@njit(cache=True)
def count_kept(weights):
    """How many weights are above 0; -1 where one is negative, infinite or no number."""
    kept = 0
    for weight in weights:
        if not 0.0 <= weight < float("inf"):
            return -1
        kept += weight > 0.0
    return kept
