"""Compiled naive Bayes: two classes, raw counts only, no logarithm per word and no pass over the vocabulary.

A table row holds what one word needs, side by side: its count in class 0, its count in class 1 and, for Bernoulli, the
number of the last row that held it. The logarithm of a product is taken once a row, so learning takes none.
Everything that is not per word lives in one float64 vector, ``state``, at the places named below.
"""

import math

import numpy as np
from numba import njit
from numpy.polynomial import Chebyshev, Polynomial

from filterloader.kernels.inputs import find_bad

# Bernoulli: words rarer than RARE in a class enter the sum over the vocabulary, log(1 - x / n), through a polynomial in
# x / n, thus through the sums of their powers; it is off by less than 5e-13 times the words a row.
DEGREE, RARE = 6, 1.0 / 24.0
SERIES = Chebyshev.interpolate(lambda r: np.log1p(-r) / r, DEGREE - 1, [0.0, RARE]).convert(kind=Polynomial).coef

ALPHA, FIT_PRIOR, PERIOD, CALIBRATE = 0, 1, 2, 3  # settings; PERIOD: examples between two forgettings, 0 for never
SEEN, STAMP = 4, 5  # examples learnt; rows stamped
COUNT, TOTAL = 6, 8  # one a class: weight of the rows; weight of the words (multinomial)
CUT, SIFTED, LENGTH, POWERS = 10, 12, 14, 16  # one a class (Bernoulli): rare means count <= CUT; rows + alpha when that
SLOPE = POWERS + 2 * DEGREE  # was set; number of frequent words; sums of the powers 1..DEGREE of the rare counts
BIAS, CURVE, WEIGHT, SIZES = SLOPE + 1, SLOPE + 2, SLOPE + 5, SLOPE + 6  # calibration: curvature (3), weight, |scores|
LAST = SIZES

DECAY = 2.0**-0.25  # one forgetting; four of them are a half-life
MEMORY, BRIEF = 0.999, 0.99  # calibration: what is kept of the past, an example, and of the size of past scores
RIDGE, LIMIT, STRIDE = 1.0, 8.0, 1.0  # calibration: curvature added, largest standardised score, largest step
TINY = 1e-200  # a product smaller than this becomes a logarithm


@njit(cache=True, error_model="numpy")
def log_prior(state):
    """log P(1) - log P(0): infinite while only one class has been seen, 0 while none has."""
    n0, n1 = state[COUNT], state[COUNT + 1]
    if state[FIT_PRIOR] == 0.0 or n0 == n1:
        return 0.0
    if n0 == 0.0:
        return np.inf
    if n1 == 0.0:
        return -np.inf
    return math.log(n1 / n0)


@njit(cache=True, error_model="numpy")
def standardise(state, score):
    """A raw score over the running mean size of scores; 0 while that, or the score, says nothing."""
    if state[SIZES] == 0.0 or not math.isfinite(score):
        return 0.0
    return max(-LIMIT, min(LIMIT, score * state[WEIGHT] / state[SIZES]))


@njit(cache=True, error_model="numpy")
def calibrated(state, score):
    """The log-odds a raw score stands for: the score itself without calibration."""
    if state[CALIBRATE] == 0.0:
        return score
    return state[BIAS] + state[SLOPE] * standardise(state, score)


@njit(cache=True, error_model="numpy")
def calibrate(state, score, label, weight):
    """One recursive Newton step of the logistic regression of the label on the standardised score."""
    z = standardise(state, score)
    odds = state[BIAS] + state[SLOPE] * z
    tail = math.exp(-abs(odds))
    p = (1.0 if odds >= 0.0 else tail) / (1.0 + tail)
    bend, pull = weight * tail / (1.0 + tail) ** 2, weight * (label - p)
    state[CURVE] = MEMORY * state[CURVE] + bend * z * z
    state[CURVE + 1] = MEMORY * state[CURVE + 1] + bend * z
    state[CURVE + 2] = MEMORY * state[CURVE + 2] + bend
    zz, z1, one = state[CURVE] + RIDGE, state[CURVE + 1], state[CURVE + 2] + RIDGE
    scale = pull / (zz * one - z1 * z1)
    state[SLOPE] += max(-STRIDE, min(STRIDE, scale * (one * z - z1)))
    state[BIAS] += max(-STRIDE, min(STRIDE, scale * (zz - z1 * z)))
    if math.isfinite(score):
        state[WEIGHT] = BRIEF * state[WEIGHT] + weight
        state[SIZES] = BRIEF * state[SIZES] + weight * abs(score)


@njit(cache=True, error_model="numpy")
def forget(table, state):
    """All counts times DECAY."""
    for f in range(table.shape[0]):
        table[f, 0] *= DECAY
        table[f, 1] *= DECAY
    for i in range(COUNT, TOTAL + 2):
        state[i] *= DECAY


@njit(cache=True, error_model="numpy")
def span(low, high):
    """How many factors between ``low`` and ``high`` may be multiplied, and two such products divided, in float64."""
    bottom, top = math.frexp(low)[1] - 1, math.frexp(high)[1]
    return 1000 // max(1, top, -bottom, top - bottom)


@njit(cache=True, error_model="numpy")
def length_odds(table, state):
    """What one more word, whichever, takes from the multinomial log-odds."""
    smooth = state[ALPHA] * table.shape[0]
    return math.log((state[TOTAL + 1] + smooth) / (state[TOTAL] + smooth))


@njit(cache=True, error_model="numpy")
def multinomial_span(state):
    """How many words ``multinomial_row`` may take to a logarithm."""
    return span(state[ALPHA], state[TOTAL] + state[TOTAL + 1] + state[ALPHA])


@njit(cache=True, error_model="numpy")
def bernoulli_span(state):
    """How many words ``bernoulli_row`` may take to a logarithm."""
    alpha = state[ALPHA]
    return span(alpha * alpha, (state[COUNT] + alpha) * (state[COUNT + 1] + alpha))


@njit(cache=True, error_model="numpy")
def multinomial_row(table, state, ids, start, stop, many):
    """Log-odds of the words of one row, each counted once, ``many`` to a logarithm, before ``length_odds``."""
    alpha, total = state[ALPHA], 0.0
    for first in range(start, stop, many):
        up, down = 1.0, 1.0
        for j in range(first, min(first + many, stop)):
            f = ids[j]
            up *= table[f, 1] + alpha
            down *= table[f, 0] + alpha
        total += math.log(up / down)
    return total


@njit(cache=True, error_model="numpy")
def counted_row(table, state, ids, values, start, stop):
    """Log-odds of the words of one row, each counted by its value, before ``length_odds``."""
    alpha, total = state[ALPHA], 0.0
    for j in range(start, stop):
        total += values[j] * math.log((table[ids[j], 1] + alpha) / (table[ids[j], 0] + alpha))
    return total


@njit(cache=True, error_model="numpy")
def multinomial_scores(table, state, ids, offsets, values, out):
    """Log-odds of every row into ``out``; returns what ``find_bad`` finds."""
    bad = find_bad(ids, offsets, table.shape[0], out[:0], out[:0])
    if bad:
        return bad
    prior, each, many = log_prior(state), length_odds(table, state), multinomial_span(state)
    for i in range(out.size):
        start, stop = offsets[i], offsets[i + 1]
        if values.size:
            words, length = counted_row(table, state, ids, values, start, stop), values[start:stop].sum()
        else:
            words, length = multinomial_row(table, state, ids, start, stop, many), float(stop - start)
        out[i] = calibrated(state, prior + words - length * each)
    return 0


@njit(cache=True, error_model="numpy")
def multinomial_learn(table, state, ids, offsets, values, y, weight):
    """Learn every row in order (``weight`` and ``values`` may be empty: ones); returns what ``find_bad`` finds."""
    bad = find_bad(ids, offsets, table.shape[0], y, weight)
    if bad:
        return bad
    for i in range(y.size):
        start, stop, c = offsets[i], offsets[i + 1], int(y[i])
        w = weight[i] if weight.size else 1.0
        length = values[start:stop].sum() if values.size else float(stop - start)
        if w > 0.0 and state[CALIBRATE]:
            if values.size:
                words = counted_row(table, state, ids, values, start, stop)
            else:
                words = multinomial_row(table, state, ids, start, stop, multinomial_span(state))
            calibrate(state, log_prior(state) + words - length * length_odds(table, state), y[i], w)
        state[COUNT + c] += w
        state[TOTAL + c] += w * length
        for j in range(start, stop):
            table[ids[j], c] += w * values[j] if values.size else w
        state[SEEN] += 1.0
        if state[PERIOD] and state[SEEN] % state[PERIOD] == 0.0:
            forget(table, state)
    return 0


@njit(cache=True, error_model="numpy")
def move(state, c, old, new):
    """The power sums of class c after the count of a rare word went from ``old`` to ``new``, 0 for none."""
    before, after = 1.0, 1.0
    for k in range(POWERS + c * DEGREE, POWERS + (c + 1) * DEGREE):
        before *= old
        after *= new
        state[k] += after - before


@njit(cache=True, error_model="numpy")
def sift(table, state, frequent, c):
    """Set what is rare in class c by the rows seen; frequent words that no longer are move to the power sums."""
    state[SIFTED + c] = state[COUNT + c] + state[ALPHA]
    state[CUT + c] = RARE * state[SIFTED + c]
    kept = 0
    for i in range(int(state[LENGTH + c])):
        f = frequent[c, i]
        if table[f, c] > state[CUT + c]:
            frequent[c, kept] = f
            kept += 1
        else:
            move(state, c, 0.0, table[f, c])
    state[LENGTH + c] = kept


@njit(cache=True, error_model="numpy")
def resift(table, state, frequent):
    """Sort the words of both classes into rare and frequent from nothing but their counts."""
    for c in range(2):
        state[POWERS + c * DEGREE : POWERS + (c + 1) * DEGREE] = 0.0
        kept = 0
        for f in range(table.shape[0]):
            if table[f, c] > 0.0:
                frequent[c, kept] = f
                kept += 1
        state[LENGTH + c] = kept
        sift(table, state, frequent, c)


@njit(cache=True, error_model="numpy")
def absence(table, state, frequent, c):
    """log P(no word at all | c): the sum over the vocabulary of log(1 - p), in time of the frequent words."""
    count, alpha = state[COUNT + c], state[ALPHA]
    inverse = 1.0 / (count + alpha)
    total, product = -table.shape[0] * math.log1p(alpha * inverse), 1.0
    for i in range(int(state[LENGTH + c])):
        product *= (count - table[frequent[c, i], c] + alpha) * inverse
        if product < TINY:
            total += math.log(product)
            product = 1.0
    power = 1.0
    for k in range(DEGREE):
        power *= inverse
        total += SERIES[k] * power * state[POWERS + c * DEGREE + k]
    return total + math.log(product)


@njit(cache=True, error_model="numpy")
def bernoulli_row(table, state, ids, start, stop, many):
    """Log-odds of the distinct words of one row, ``many`` to a logarithm, before the prior and the two ``absence``."""
    n0, n1, alpha = state[COUNT], state[COUNT + 1], state[ALPHA]
    state[STAMP] += 1.0
    stamp = state[STAMP]
    total = 0.0
    for first in range(start, stop, many):
        up, down = 1.0, 1.0
        for j in range(first, min(first + many, stop)):
            f = ids[j]
            x0, x1 = table[f, 0], table[f, 1]
            pro, contra = (x1 + alpha) * (n0 - x0 + alpha), (x0 + alpha) * (n1 - x1 + alpha)
            new = table[f, 2] != stamp
            table[f, 2] = stamp
            up *= pro if new else 1.0
            down *= contra if new else 1.0
        total += math.log(up / down)
    return total


@njit(cache=True, error_model="numpy")
def bernoulli_scores(table, state, frequent, ids, offsets, out):
    """Log-odds of every row into ``out``; returns what ``find_bad`` finds."""
    bad = find_bad(ids, offsets, table.shape[0], out[:0], out[:0])
    if bad:
        return bad
    none = log_prior(state) + absence(table, state, frequent, 1) - absence(table, state, frequent, 0)
    many = bernoulli_span(state)
    for i in range(out.size):
        out[i] = calibrated(state, none + bernoulli_row(table, state, ids, offsets[i], offsets[i + 1], many))
    return 0


@njit(cache=True, error_model="numpy")
def bernoulli_count(table, state, frequent, ids, start, stop, c, w):
    """Add one row of class c and weight w to the counts, the power sums and the list of frequent words."""
    state[COUNT + c] += w
    state[STAMP] += 1.0
    stamp, cut, length = state[STAMP], state[CUT + c], int(state[LENGTH + c])
    for j in range(start, stop):  # without a branch: which words are frequent, or repeated, no processor can guess
        f = ids[j]
        gain = w if table[f, 2] != stamp else 0.0
        table[f, 2] = stamp
        old = table[f, c]
        new = old + gain
        table[f, c] = new
        move(state, c, old * (old <= cut), new * (new <= cut))
        frequent[c, length] = f
        length += (old <= cut) & (new > cut)
    state[LENGTH + c] = length


@njit(cache=True, error_model="numpy")
def bernoulli_learn(table, state, frequent, ids, offsets, y, weight):
    """Learn every row in order (``weight`` may be empty: ones); returns what ``find_bad`` finds."""
    bad = find_bad(ids, offsets, table.shape[0], y, weight)
    if bad:
        return bad
    none0, none1 = 0.0, 0.0
    if state[CALIBRATE]:
        none0, none1 = absence(table, state, frequent, 0), absence(table, state, frequent, 1)
    for i in range(y.size):
        start, stop, c = offsets[i], offsets[i + 1], int(y[i])
        w = weight[i] if weight.size else 1.0
        if w > 0.0 and state[CALIBRATE]:
            words = bernoulli_row(table, state, ids, start, stop, bernoulli_span(state))
            calibrate(state, log_prior(state) + none1 - none0 + words, y[i], w)
        if w > 0.0:
            bernoulli_count(table, state, frequent, ids, start, stop, c, w)
            if state[COUNT + c] + state[ALPHA] >= 2.0 * state[SIFTED + c]:
                sift(table, state, frequent, c)
        state[SEEN] += 1.0
        forgotten = state[PERIOD] > 0.0 and state[SEEN] % state[PERIOD] == 0.0
        if forgotten:
            forget(table, state)
            resift(table, state, frequent)
        if state[CALIBRATE] and (c == 0 or forgotten):
            none0 = absence(table, state, frequent, 0)
        if state[CALIBRATE] and (c == 1 or forgotten):
            none1 = absence(table, state, frequent, 1)
    return 0
