"""Inputs: what an online model is given, words and labels and weights and states, checked and as plain arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from filterloader.data.candidates import Bag
from filterloader.data.checks import integer
from filterloader.kernels import inputs as kernel

NONE = np.empty(0)
INT32, INT64 = np.dtype(np.int32), np.dtype(np.int64)


def read(X: Any, model: str, n_features: int, *, counts: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X as int32 ids, int64 offsets and float64 counts (empty: ones, or of no interest as ``counts`` is False).

    X: a ``Bag``, a pair ``(ids, offsets)``, a scipy sparse or a dense matrix ``[n, n_features]`` of counts. model: the
    name of who asks. Raises ValueError; what ``kernels.inputs.find_bad`` finds is not looked for here.
    """
    values = NONE
    if isinstance(X, tuple):
        if isinstance(X, Bag):
            ids, offsets, width = X
            if width != n_features:
                raise ValueError(f"X has n_features={width}, this {model} {n_features}")
        elif len(X) == 2:
            ids, offsets = X
        else:
            raise ValueError(f"X is a tuple of {len(X)}; give a pair (ids, offsets), a Bag or a matrix")
        return indices("ids", ids, INT32), indices("offsets", offsets, INT64), values
    import scipy.sparse  # only where a matrix is given

    if not scipy.sparse.issparse(X):
        X = np.asarray(X)
    if X.ndim != 2 or X.shape[1] != n_features:
        raise ValueError(f"X has shape {X.shape}; give [n, {n_features}], or a ragged (ids, offsets)")
    if X.dtype.kind not in "biuf":
        raise ValueError(f"X has dtype {X.dtype}; give counts: bool, int or float")
    rows = scipy.sparse.csr_array(X, dtype=np.float64, copy=True)
    low, high = (rows.data.min(), rows.data.max()) if rows.data.size else (0.0, 0.0)
    if not (low >= 0.0 and high < math.inf):
        raise ValueError(f"X holds {low if not low >= 0.0 else high}; counts are finite and not negative")
    rows.sum_duplicates()
    rows.eliminate_zeros()
    if counts and not (rows.data == 1.0).all():
        values = rows.data
    return indices("ids", rows.indices, INT32), indices("offsets", rows.indptr, INT64), values


def explain(
    bad: int, n_features: int, ids: np.ndarray, offsets: np.ndarray, y: np.ndarray = NONE, weight: np.ndarray = NONE
) -> str:
    """What ``find_bad`` found, in words."""
    at, what = divmod(bad, 8)
    if what == kernel.WORD:
        return f"ids[{at}] is {ids[at]}; allowed is 0 to {n_features - 1}: hash ids or raise n_features"
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


def probabilities(scores: np.ndarray) -> np.ndarray:
    """P(0) and P(1) of log-odds float64 ``[n]``, float64 ``[n, 2]``."""
    out = np.empty((scores.size, 2))
    kernel.probabilities(scores, out)
    return out


def width(value: Any, name: str = "n_features") -> int:
    """A number of features, checked."""
    return integer(name, value, most=np.iinfo(np.int32).max)


def width_of(state: Any) -> int:
    """The number of features of a saved model; raises ValueError where ``state`` is none."""
    if not isinstance(state, Mapping) or "n_features" not in state:
        raise ValueError(f"this is no state of a predictor: {state!r:.60}; give what state_dict() returned")
    return width(state["n_features"], "n_features of the state")


def check_state(model: str, mine: dict, state: Any, *, free: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """The arrays of ``state``; raises ValueError where it is none that ``model``, whose own state is ``mine``, can go
    on with.

    free: arrays whose length may differ.
    """
    if not isinstance(state, Mapping):
        raise ValueError(f"this is no state of a {model}: {state!r:.60}; give what state_dict() returned")
    arrays = {}
    for name, value in mine.items():
        if name not in state:
            raise ValueError(f"state lacks {name!r}; give what state_dict() of a {model} returned")
        if not isinstance(value, np.ndarray):
            given, own, same = state[name], value, type(state[name]) is type(value) and state[name] == value
        else:
            arrays[name] = found = np.asarray(state[name])
            given, own = f"shape {found.shape}", f"shape {value.shape}"
            same = found.ndim == value.ndim and (name in free or found.shape == value.shape)
            if found.dtype.kind != value.dtype.kind:
                given, own, same = f"dtype {found.dtype}", f"dtype {value.dtype}", False
        if not same:
            raise ValueError(
                f"state has {name}={given!r:.80}, this {model} has {own!r}; build it with the settings of the state"
            )
    return arrays


def indices(name: str, array: Any, dtype: np.dtype) -> np.ndarray:
    """A contiguous one-dimensional array of the integers given; given so already, it is not copied."""
    array = np.asarray(array)
    if array.dtype is dtype and array.ndim == 1 and array.flags.c_contiguous and array.size:
        return array
    if (array.dtype.kind not in "iu" and array.size) or array.ndim != 1:
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


def vector(name: str, array: Any, n: int) -> np.ndarray:
    """Contiguous float64 ``[n]``."""
    array = np.asarray(array)
    if array.shape != (n,):
        raise ValueError(f"{name} has shape {array.shape}; X has {n} rows, give one number for each")
    if array.dtype.kind not in "biuf" and n:
        raise ValueError(f"{name} has dtype {array.dtype}, first {array[0]!r}; give bool, int or float")
    return np.ascontiguousarray(array, np.float64)
