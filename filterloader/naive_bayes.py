"""Online naive Bayes: scikit-learn's two-class Bernoulli and multinomial models over ragged words, in microseconds."""

from __future__ import annotations

import math
from numbers import Integral, Real

import numpy as np

from filterloader.candidates import Bag
from filterloader.kernels import naive_bayes as kernel

VERSION = 1
NONE = np.empty(0)
INT32, INT64 = np.dtype(np.int32), np.dtype(np.int64)


class _NaiveBayes:
    """What the two models share: settings, validation, state."""

    _counts = True  # whether the number of times a word occurs in a row matters
    _columns = 2  # of the table

    def __init__(self, n_features, alpha=1.0, *, fit_prior=True, half_life=None, calibrate=False):
        self.n_features = _integer("n_features", n_features)
        self.alpha = _real("alpha", alpha, 1e-10)
        self.fit_prior = _flag("fit_prior", fit_prior)
        self.half_life = None if half_life is None else _real("half_life", half_life, 1e-10)
        self.calibrate = _flag("calibrate", calibrate)
        self._table = _aligned(self.n_features, self._columns)
        self._state = np.zeros(kernel.LAST + 1)
        self._state[kernel.ALPHA] = self.alpha
        self._state[kernel.FIT_PRIOR] = self.fit_prior
        self._state[kernel.PERIOD] = 0 if self.half_life is None else max(1, round(self.half_life / 4))
        self._state[kernel.CALIBRATE] = self.calibrate

    def __repr__(self):
        settings = ", ".join(f"{name}={value!r}" for name, value in self._settings().items() if name != "n_features")
        return f"{type(self).__name__}({self.n_features}, {settings})"

    def partial_fit(self, X, y, sample_weight=None):
        """Learn the rows of ``X`` in order; n rows at once are the same as n calls with one.

        X: a ``Bag``, a pair ``(ids, offsets)``, a scipy sparse or a dense matrix ``[n, n_features]`` of counts.
        y: 0 or 1, ``[n]``. sample_weight: finite, not negative, ``[n]``. Raises ValueError, having learnt nothing.
        """
        ids, offsets, values = self._rows(X)
        y = _vector("y", y, offsets.size - 1)
        weight = NONE if sample_weight is None else _vector("sample_weight", sample_weight, offsets.size - 1)
        bad = self._learn(ids, offsets, values, y, weight)
        if bad:
            raise ValueError(self._explain(bad, ids, offsets, y, weight))
        return self

    def decision_function(self, X):
        """log P(1 | x) - log P(0 | x), float64 ``[n]``: 0 before any data; calibrated where ``calibrate`` is set.

        Uncalibrated with ``fit_prior``, it is infinite while only one class has been seen.
        """
        ids, offsets, values = self._rows(X)
        scores = np.empty(offsets.size - 1)
        bad = self._score(ids, offsets, values, scores)
        if bad:
            raise ValueError(self._explain(bad, ids, offsets, NONE, NONE))
        return scores

    def predict_proba(self, X):
        """P(0 | x) and P(1 | x), float64 ``[n, 2]``."""
        scores = self.decision_function(X)
        out = np.empty((scores.size, 2))
        kernel.probabilities(scores, out)
        return out

    def predict(self, X):
        """The likelier class, int64 ``[n]``; 0 in a tie."""
        return (self.decision_function(X) > 0.0).astype(np.int64)

    def state_dict(self):
        """Settings, to check, and copies of all that was learnt: a flat dict of numbers and arrays."""
        return {"class": type(self).__name__, "version": VERSION, **self._settings()} | {
            "counts": self._table[:, :2].copy(),
            "scalars": self._state.copy(),
        }

    def load_state_dict(self, state):
        """Continue as the instance that gave ``state``; ValueError where its class, version or settings differ."""
        mine = self.state_dict()
        for name, value in mine.items():
            if name not in state:
                raise ValueError(f"state lacks {name!r}; give what state_dict() of a {type(self).__name__} returned")
            if not isinstance(value, np.ndarray):
                given, own, same = state[name], value, state[name] == value
            else:
                given, own = f"shape {np.shape(state[name])}", f"shape {value.shape}"
                same = name == "frequent" or given == own
            if not same:
                raise ValueError(
                    f"state has {name}={given!r}, this {type(self).__name__} has {own!r}; "
                    f"build it with the settings of the state"
                )
        self._table[:, :2] = state["counts"]
        self._table[:, 2:] = 0.0
        self._state[:] = state["scalars"]

    def __getstate__(self):
        return self.state_dict()

    def __setstate__(self, state):
        self.__init__(**{name: state[name] for name in ("n_features", "alpha", "fit_prior", "half_life", "calibrate")})
        self.load_state_dict(state)

    def _settings(self):
        names = ("n_features", "alpha", "fit_prior", "half_life", "calibrate")
        return {name: getattr(self, name) for name in names}

    def _rows(self, X):
        """X as int32 ids, int64 offsets and float64 counts (empty: ones, or of no interest)."""
        values = NONE
        if isinstance(X, tuple):
            if isinstance(X, Bag):
                ids, offsets, width = X
                if width != self.n_features:
                    raise ValueError(f"X has n_features={width}, this {type(self).__name__} {self.n_features}")
            elif len(X) == 2:
                ids, offsets = X
            else:
                raise ValueError(f"X is a tuple of {len(X)}; give a pair (ids, offsets), a Bag or a matrix")
            return _indices("ids", ids, INT32), _indices("offsets", offsets, INT64), values
        import scipy.sparse  # a fifth of the time to import this package, and a loader never needs it

        if not scipy.sparse.issparse(X):
            X = np.asarray(X)
        if X.ndim != 2 or X.shape[1] != self.n_features:
            raise ValueError(f"X has shape {X.shape}; give [n, {self.n_features}], or a ragged (ids, offsets)")
        if X.dtype.kind not in "biuf":
            raise ValueError(f"X has dtype {X.dtype}; give counts: bool, int or float")
        rows = scipy.sparse.csr_array(X, dtype=np.float64, copy=True)
        low, high = (rows.data.min(), rows.data.max()) if rows.data.size else (0.0, 0.0)
        if not (low >= 0.0 and high < math.inf):
            raise ValueError(f"X holds {low if not low >= 0.0 else high}; counts are finite and not negative")
        rows.sum_duplicates()
        rows.eliminate_zeros()
        if self._counts and not (rows.data == 1.0).all():
            values = rows.data
        return _indices("ids", rows.indices, INT32), _indices("offsets", rows.indptr, INT64), values

    def _explain(self, bad, ids, offsets, y, weight):
        at, what = divmod(bad, 8)
        if what == kernel.WORD:
            return f"ids[{at}] is {ids[at]}; allowed is 0 to {self.n_features - 1}: hash ids or raise n_features"
        if what == kernel.LABEL:
            return f"y[{at}] is {y[at]:g}; allowed is 0 or 1"
        if what == kernel.HEAVY:
            return f"sample_weight[{at}] is {weight[at]:g}; allowed is a finite number, not negative"
        wanted = {
            kernel.START: "it must be 0",
            kernel.END: f"it must be the number of ids, {ids.size}",
            kernel.ORDER: "it must not be below the one before",
        }
        return f"offsets[{at}] is {offsets[at]}; {wanted[what]}"


class BernoulliNB(_NaiveBayes):
    """Naive Bayes on which words are present: ``sklearn.naive_bayes.BernoulliNB(binarize=0.0)`` for classes 0 and 1.

    n_features: width of the feature space. alpha: additive smoothing. fit_prior: learn P(y), else both are 1/2.
    half_life: every ``half_life / 4`` examples (rounded, at least 1) all counts shrink by ``2**-0.25``; None: never.
    calibrate: pass scores through a logistic learnt on the scores of rows not yet learnt (Platt 1999, online), so that
    probabilities mean what they say; it forgets over about 1000 examples.
    """

    _counts = False
    _columns = 4

    def __init__(self, n_features, alpha=1.0, *, fit_prior=True, half_life=None, calibrate=False):
        super().__init__(n_features, alpha, fit_prior=fit_prior, half_life=half_life, calibrate=calibrate)
        self._frequent = np.zeros((2, self.n_features + 1), np.int32)

    def _learn(self, ids, offsets, values, y, weight):
        return kernel.bernoulli_learn(self._table, self._state, self._frequent, ids, offsets, y, weight)

    def _score(self, ids, offsets, values, scores):
        return kernel.bernoulli_scores(self._table, self._state, self._frequent, ids, offsets, scores)

    def state_dict(self):
        """Settings, to check, and copies of all that was learnt: a flat dict of numbers and arrays."""
        lengths = self._state[kernel.LENGTH : kernel.LENGTH + 2].astype(int)
        return super().state_dict() | {"frequent": np.concatenate([f[:n] for f, n in zip(self._frequent, lengths)])}

    def load_state_dict(self, state):
        """Continue as the instance that gave ``state``; ValueError where its class, version or settings differ."""
        super().load_state_dict(state)
        first, second = self._state[kernel.LENGTH : kernel.LENGTH + 2].astype(int)
        self._frequent[0, :first] = state["frequent"][:first]
        self._frequent[1, :second] = state["frequent"][first : first + second]


class MultinomialNB(_NaiveBayes):
    """Naive Bayes on how often words occur: ``sklearn.naive_bayes.MultinomialNB`` for classes 0 and 1.

    The settings are those of ``BernoulliNB``.
    """

    def _learn(self, ids, offsets, values, y, weight):
        return kernel.multinomial_learn(self._table, self._state, ids, offsets, values, y, weight)

    def _score(self, ids, offsets, values, scores):
        return kernel.multinomial_scores(self._table, self._state, ids, offsets, values, scores)


def _aligned(n, columns):
    """Zeros float64 ``[n, columns]`` that begin a cache line, so that no row straddles two."""
    block = np.zeros(n * columns + 8)
    skip = -block.ctypes.data % 64 // 8
    return block[skip : skip + n * columns].reshape(n, columns)


def _indices(name, array, dtype):
    """A contiguous one-dimensional array of the integers given; given so already, it is not copied."""
    array = np.asarray(array)
    if array.dtype is dtype and array.ndim == 1 and array.flags.c_contiguous and array.size:
        return array
    if array.dtype.kind not in "iu" and array.size or array.ndim != 1:
        raise ValueError(f"{name} is {array.dtype} of shape {array.shape}; give integers in one dimension")
    if name == "offsets" and array.size == 0:
        raise ValueError("offsets is empty; give [n + 1] numbers, [0] for no rows")
    if array.dtype.itemsize > dtype.itemsize or array.dtype.kind == "u":
        most = np.iinfo(dtype).max
        wild = (array > most) | (array < 0)
        if wild.any():
            at = int(wild.argmax())
            raise ValueError(f"{name}[{at}] is {array[at]}; allowed is 0 to {most}")
    return np.ascontiguousarray(array, dtype)


def _vector(name, array, n):
    """Contiguous float64 ``[n]``."""
    array = np.asarray(array)
    if array.shape != (n,):
        raise ValueError(f"{name} has shape {array.shape}; X has {n} rows, give one number for each")
    if array.dtype.kind not in "biuf" and n:
        raise ValueError(f"{name} has dtype {array.dtype}, first {array[0]!r}; give bool, int or float")
    return np.ascontiguousarray(array, np.float64)


def _integer(name, value):
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} is {value!r}; give an integer")
    if not 1 <= value <= np.iinfo(np.int32).max:
        raise ValueError(f"{name} is {value}; allowed is 1 to {np.iinfo(np.int32).max}")
    return int(value)


def _real(name, value, least):
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} is {value!r}; give a number")
    if not least <= value < math.inf:
        raise ValueError(f"{name} is {value}; allowed is a finite number, at least {least}")
    return float(value)


def _flag(name, value):
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} is {value!r}; give True or False")
    return bool(value)
