"""Slow readable NumPy twins of the compiled kernels, one section a kernel file."""

import math
from itertools import pairwise

import numpy as np

# --- kernels/rows.py: rows are dense vectors of counts


def dense(ids, offsets, n_features, values=None):
    """A ragged bag as a matrix of counts."""
    out = np.zeros((len(offsets) - 1, n_features))
    for i in range(len(out)):
        for j in range(offsets[i], offsets[i + 1]):
            out[i, ids[j]] += 1.0 if values is None else values[j]
    return out


def find_bad(ids, offsets, n_features, y, weight):
    """The first thing wrong, as ``8 * position + what``."""
    rules = [
        (1, np.array([offsets[0] == 0])),
        (2, np.append(np.ones(len(offsets) - 1, bool), offsets[-1] == len(ids))),
        (3, np.append(True, np.diff(offsets) >= 0)),
        (4, (ids >= 0) & (ids < n_features)),
        (5, np.isin(y, (0.0, 1.0))),
        (6, np.isfinite(weight) & (weight >= 0.0)),
    ]
    for what, good in rules:
        if not good.all():
            return what + 8 * int(np.argmin(good))
    return 0


def probabilities(scores):
    """P(0) and P(1) of log-odds."""
    with np.errstate(over="ignore"):
        return np.stack([1.0 / (1.0 + np.exp(scores)), 1.0 / (1.0 + np.exp(-scores))], axis=1)


# --- kernels/logistic.py: the weights as they are, all of them shrunk at every step


class Logistic:
    """The whole model over dense rows ``[n, n_features]``, ``group`` of them a step."""

    def __init__(self, n_features, lr, l2, fit_intercept):
        self.lr, self.l2, self.fit_intercept = lr, l2, fit_intercept
        self.w, self.b = np.zeros(n_features), 0.0

    def learn(self, x, y, weight, group):
        for at in range(0, len(y), group):
            part = slice(at, at + group)
            gap = weight[part] * (probabilities(x[part] @ self.w + self.b)[:, 1] - y[part])
            rate = self.lr / len(gap)
            self.w = self.w - rate * (gap @ x[part] + self.l2 * self.w)
            self.b -= rate * gap.sum() * self.fit_intercept


# --- kernels/naive_bayes.py: rows are dense vectors of counts, classes an axis, formulas as in the textbook


def log_prior(rows, fit_prior):
    """log P(1) - log P(0) from the weight of the rows of each class."""
    if not fit_prior or rows[0] == rows[1]:
        return 0.0
    with np.errstate(divide="ignore"):
        return np.log(rows[1]) - np.log(rows[0])


def power_sums(counts, degree):
    """sum(x), sum(x**2), ... over the words."""
    return np.array([np.sum(counts**k) for k in range(1, degree + 1)])


def absence(words, rows, alpha):
    """log P(no word at all) in one class: the sum over the vocabulary of log(1 - p)."""
    return np.sum(np.log(rows - words + alpha) - np.log(rows + 2.0 * alpha))


def bernoulli_row(words, rows, alpha, x):
    """Log-odds of the words present: the sum of log(p / (1 - p)), class 1 less class 0."""
    return np.diff(np.log((words + alpha) / (rows[:, None] - words + alpha)) @ (x > 0.0))[0]


def multinomial_row(words, alpha, x):
    """Log-odds of the counts before the totals are divided by."""
    return np.diff(np.log(words + alpha) @ x)[0]


def length_odds(words, alpha):
    """What each word of a row takes from the multinomial log-odds."""
    return np.diff(np.log((words + alpha).sum(axis=1)))[0]


class NaiveBayes:
    """The whole model: scores with ``score``, learns with ``learn``, one dense row at a time."""

    def __init__(self, bernoulli, n_features, alpha=1.0, fit_prior=True, half_life=None, calibrate=False):
        self.bernoulli, self.alpha, self.fit_prior, self.calibrate = bernoulli, alpha, fit_prior, calibrate
        self.period = max(1, round(half_life / 4)) if half_life else 0
        self.words, self.rows, self.seen = np.zeros((2, n_features)), np.zeros(2), 0
        self.line, self.curve, self.weight, self.sizes = np.zeros(2), np.zeros((2, 2)), 0.0, 0.0

    def raw(self, x):
        prior = log_prior(self.rows, self.fit_prior)
        if self.bernoulli:
            nothing = [absence(words, rows, self.alpha) for words, rows in zip(self.words, self.rows, strict=True)]
            return prior + nothing[1] - nothing[0] + bernoulli_row(self.words, self.rows, self.alpha, x)
        return prior + multinomial_row(self.words, self.alpha, x) - x.sum() * length_odds(self.words, self.alpha)

    def standardise(self, raw):
        if self.sizes == 0.0 or not math.isfinite(raw):
            return np.array([0.0, 1.0])
        return np.array([np.clip(raw * self.weight / self.sizes, -8.0, 8.0), 1.0])

    def score(self, x):
        return self.standardise(self.raw(x)) @ self.line if self.calibrate else self.raw(x)

    def learn(self, x, y, weight=1.0):
        if self.calibrate and weight > 0.0:
            raw = self.raw(x)
            z = self.standardise(raw)
            p = 1.0 / (1.0 + np.exp(-z @ self.line))
            self.curve = 0.999 * self.curve + weight * p * (1.0 - p) * np.outer(z, z)
            step = np.linalg.solve(self.curve + np.eye(2), weight * (y - p) * z)
            self.line = self.line + np.clip(step, -1.0, 1.0)
            if math.isfinite(raw):
                self.weight, self.sizes = 0.99 * self.weight + weight, 0.99 * self.sizes + weight * abs(raw)
        self.words[y] += weight * ((x > 0.0) if self.bernoulli else x)
        self.rows[y] += weight
        self.seen += 1
        if self.period and self.seen % self.period == 0:
            self.words *= 2.0**-0.25
            self.rows *= 2.0**-0.25


# --- kernels/ragged.py: rows as lists of arrays


def take_rows(values, offsets, index):
    rows = [values[offsets[i] : offsets[i + 1]] for i in index]
    return np.concatenate([np.zeros(0, values.dtype), *rows]), np.cumsum([0, *map(len, rows)])


def longest(offsets):
    return max(np.diff(offsets), default=0)


def pad_rows(values, offsets, out, fill, left):
    out[:] = fill
    for padded, row in zip(out, np.split(values, offsets[1:-1]), strict=True):
        padded[len(padded) - len(row) if left else 0 :][: len(row)] = row


def mask_rows(offsets, out, left):
    pad_rows(np.ones(offsets[-1], int), offsets, out, 0, left)


def cross_labels(ids, offsets, labels, stride, n_features):
    return (ids + np.repeat(labels, np.diff(offsets)) * stride) % n_features


def fold(ids, n_features):
    return ids % n_features


# --- kernels/proxy.py: a row is a list of embeddings, the gradient as in the textbook


def embeddings(ids, words, pairs):
    """The rows of the tables that a row of words means, as views."""
    own = [(words, i) for i in ids.tolist()]
    if len(pairs):
        own += [(pairs, (a * 116_003_821 + b) % len(pairs)) for a, b in pairwise(ids.tolist())]
    return own


def embed(ids, offsets, words, pairs):
    """Mean embeddings."""
    rows = [embeddings(row, words, pairs) for row in np.split(ids, offsets[1:-1])]
    return np.array([np.mean([t[i] for t, i in row], axis=0) if row else np.zeros(words.shape[1]) for row in rows])


def learn(ids, offsets, classes, order, words, pairs, heads, rates):
    """Gradient descent on the cross entropy of softmax(heads @ mean), one row a step."""
    right = np.zeros(len(order), bool)
    for rate, row in zip(np.linspace(*rates, len(order), endpoint=False), order, strict=True):
        own = embeddings(ids[offsets[row] : offsets[row + 1]], words, pairs)
        mean = np.mean([t[i] for t, i in own], axis=0, dtype=np.float64) if own else np.zeros(words.shape[1])
        odds = heads.astype(np.float64) @ mean
        right[row] = odds.argmax() == classes[row]
        error = np.exp(odds - odds.max()) / np.exp(odds - odds.max()).sum() - np.eye(len(odds))[classes[row]]
        pull = heads.astype(np.float64).T @ error
        heads -= (rate * np.outer(error, mean)).astype(heads.dtype)
        for table, i in own:
            table[i] -= (rate * pull / len(own)).astype(table.dtype)
    return right


def farthest_first(points, k):
    chosen = [0]
    while len(chosen) < k:
        distances = np.linalg.norm(points[:, None] - points[chosen][None], axis=-1).min(axis=1)
        distances[chosen] = -1
        chosen.append(int(distances.argmax()))
    return np.array(chosen)


def count_kept(weights):
    good = all(np.isfinite(weight) and weight >= 0 for weight in weights)
    return sum(weight > 0 for weight in weights) if good else -1
