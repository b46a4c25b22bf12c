"""Kernels that every online model shares: find what is wrong with its rows, and make probabilities of its scores."""

import math

import numpy as np
from numba import njit

START, END, ORDER, WORD, LABEL, HEAVY = 1, 2, 3, 4, 5, 6  # what find_bad finds


@njit(cache=True, error_model="numpy")
def find_bad(ids, offsets, n_features, y, weight):
    """0 when rows, labels and weights (either may be empty) are legal, else ``8 * position + what``."""
    n = offsets.size - 1
    if offsets[0] != 0:
        return START
    if offsets[n] != ids.size:
        return END + 8 * n
    for i in range(n):
        if offsets[i + 1] < offsets[i]:
            return ORDER + 8 * (i + 1)
    low, high = 0, 0
    for j in range(ids.size):
        low, high = min(low, ids[j]), max(high, ids[j])
    if low < 0 or high >= n_features:
        for j in range(ids.size):
            if ids[j] < 0 or ids[j] >= n_features:
                return WORD + 8 * j
    for i in range(y.size):
        if y[i] != 0.0 and y[i] != 1.0:
            return LABEL + 8 * i
    for i in range(weight.size):
        if not 0.0 <= weight[i] < np.inf:
            return HEAVY + 8 * i
    return 0


@njit(cache=True, error_model="numpy")
def probabilities(scores, out):
    """``out[i] = P(0), P(1)`` of the log-odds ``scores[i]``, infinite ones included."""
    for i in range(scores.size):
        tail = math.exp(-abs(scores[i]))
        small, big = tail / (1.0 + tail), 1.0 / (1.0 + tail)
        out[i, 0] = small if scores[i] > 0.0 else big
        out[i, 1] = big if scores[i] > 0.0 else small
