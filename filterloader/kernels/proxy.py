"""Kernels of the proxy model: mean embeddings of words and pairs of words, gradient steps, greedy k-centres."""

import math

import numpy as np
from numba import njit

STEP = 116_003_821  # spreads pairs of words over their table


@njit(cache=True)
def embed_row(ids, words, pairs, out):
    """The mean of these words' rows, and of each two neighbours' (hashed) where ``pairs`` has any; returns how many."""
    out[:] = 0.0
    count = ids.size
    for j in range(ids.size):
        for d in range(out.size):
            out[d] += words[ids[j], d]
    if pairs.shape[0]:
        count += max(ids.size - 1, 0)
        for j in range(1, ids.size):
            pair = (np.int64(ids[j - 1]) * STEP + ids[j]) % pairs.shape[0]
            for d in range(out.size):
                out[d] += pairs[pair, d]
    if count:
        out /= count
    return count


@njit(cache=True)
def embed(ids, offsets, words, pairs, out):
    """``out[i]`` = the mean embedding of row ``i``, zeros for an empty one."""
    mean = np.zeros(out.shape[1])
    for i in range(out.shape[0]):
        embed_row(ids[offsets[i] : offsets[i + 1]], words, pairs, mean)
        out[i] = mean


@njit(cache=True)
def learn(ids, offsets, classes, order, words, pairs, heads, rates):
    """One pass of gradient descent on the cross entropy, a row a step, in ``order``; the rate goes evenly from
    ``rates[0]`` to ``rates[1]``. Returns which rows were right just before they were learnt (a tie is the first
    class's)."""
    right = np.zeros(order.size, np.bool_)
    mean, pull = np.zeros(words.shape[1]), np.zeros(words.shape[1])
    odds = np.zeros(heads.shape[0])
    for step in range(order.size):
        row = order[step]
        own = ids[offsets[row] : offsets[row + 1]]
        count = embed_row(own, words, pairs, mean)
        for c in range(odds.size):
            odds[c] = 0.0
            for d in range(mean.size):
                odds[c] += heads[c, d] * mean[d]
        right[row] = np.argmax(odds) == classes[row]
        odds -= odds.max()
        total = 0.0
        for c in range(odds.size):
            odds[c] = math.exp(odds[c])
            total += odds[c]
        rate = rates[0] + (rates[1] - rates[0]) * step / order.size
        pull[:] = 0.0
        for c in range(odds.size):
            by = rate * ((1.0 if c == classes[row] else 0.0) - odds[c] / total)
            for d in range(mean.size):
                pull[d] += by * heads[c, d]
                heads[c, d] += by * mean[d]
        if not count:
            continue
        pull /= count
        for j in range(own.size):
            for d in range(pull.size):
                words[own[j], d] += pull[d]
        if pairs.shape[0]:
            for j in range(1, own.size):
                pair = (np.int64(own[j - 1]) * STEP + own[j]) % pairs.shape[0]
                for d in range(pull.size):
                    pairs[pair, d] += pull[d]
    return right


@njit(cache=True)
def farthest_first(points, k):
    """``k`` different rows of ``points``: the first, then always the one farthest from its nearest chosen one (a tie is
    the first's)."""
    chosen = np.empty(k, np.int64)
    nearest = np.full(points.shape[0], np.inf)
    centre = 0
    for j in range(k):
        chosen[j] = centre
        nearest[centre] = -1.0
        following, farthest = centre, -1.0
        for i in range(points.shape[0]):
            if nearest[i] < 0.0:
                continue
            distance = 0.0
            for d in range(points.shape[1]):
                gap = np.float64(points[i, d]) - points[centre, d]
                distance += gap * gap
            nearest[i] = min(nearest[i], distance)
            if nearest[i] > farthest:
                following, farthest = i, nearest[i]
        centre = following
    return chosen
