"""Compiled logistic regression: gradient steps that touch only the words at hand.

The weights are stored over one common scale, ``w = scale * stored``: the shrinking of all of them, which L2 asks of
every step, is then one multiplication. Everything that is not per word lives in one float64 vector, ``state``, at the
places named below.
"""

import math

import numpy as np
from numba import njit

from filterloader.kernels.inputs import find_bad

LR, L2, FIT_INTERCEPT = 0, 1, 2  # settings
SCALE, INTERCEPT = 3, 4
LAST = INTERCEPT

SMALL = 1e-9  # a scale below this is multiplied into the weights


@njit(cache=True, error_model="numpy")
def row_score(stored, state, ids, values, start, stop):
    """Log-odds of one row (``values`` may be empty: ones)."""
    total = 0.0
    if values.size:
        for j in range(start, stop):
            total += values[j] * stored[ids[j]]
    else:
        for j in range(start, stop):
            total += stored[ids[j]]
    return state[SCALE] * total + state[INTERCEPT]


@njit(cache=True, error_model="numpy")
def scores(stored, state, ids, offsets, values, out):
    """Log-odds of every row into ``out``; returns what ``find_bad`` finds."""
    bad = find_bad(ids, offsets, stored.size, out[:0], out[:0])
    if bad:
        return bad
    for i in range(out.size):
        out[i] = row_score(stored, state, ids, values, offsets[i], offsets[i + 1])
    return 0


@njit(cache=True, error_model="numpy")
def sigmoid(score):
    """1 / (1 + exp(-score)), exact in both tails."""
    tail = math.exp(-abs(score))
    return (1.0 if score >= 0.0 else tail) / (1.0 + tail)


@njit(cache=True, error_model="numpy")
def shrink(stored, state, factor):
    """All weights but the intercept times ``factor``, above 0."""
    state[SCALE] *= factor
    if state[SCALE] < SMALL:
        for f in range(stored.size):
            stored[f] *= state[SCALE]
        state[SCALE] = 1.0


@njit(cache=True, error_model="numpy")
def learn(stored, state, ids, offsets, values, y, weight, group):
    """One gradient step for each ``group`` of rows, in order (``weight`` and ``values`` may be empty: ones); returns
    what ``find_bad`` finds."""
    bad = find_bad(ids, offsets, stored.size, y, weight)
    if bad:
        return bad
    pulls = np.empty(min(group, y.size))
    for first in range(0, y.size, group):
        last = min(first + group, y.size)
        rate = state[LR] / (last - first)
        for i in range(first, last):
            p = sigmoid(row_score(stored, state, ids, values, offsets[i], offsets[i + 1]))
            pulls[i - first] = rate * (weight[i] if weight.size else 1.0) * (y[i] - p)
        shrink(stored, state, 1.0 - rate * state[L2])
        for i in range(first, last):
            pull = pulls[i - first] / state[SCALE]
            for j in range(offsets[i], offsets[i + 1]):
                stored[ids[j]] += pull * values[j] if values.size else pull
            if state[FIT_INTERCEPT]:
                state[INTERCEPT] += pulls[i - first]
    return 0
