"""Kernels over ragged arrays: gather rows, pad them to a rectangle, cross words with labels."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def take_rows(values, offsets, index):
    """The rows ``index`` of a ragged array, in that order, as a new ``(values, offsets)``."""
    out_offsets = np.empty(index.size + 1, np.int64)
    out_offsets[0] = 0
    for i in range(index.size):
        row = index[i]
        out_offsets[i + 1] = out_offsets[i] + offsets[row + 1] - offsets[row]
    out = np.empty(out_offsets[index.size], values.dtype)
    for i in range(index.size):
        target = out[out_offsets[i] : out_offsets[i + 1]]
        source = values[offsets[index[i]] : offsets[index[i] + 1]]
        for j in range(target.size):
            target[j] = source[j]
    return out, out_offsets


@njit(cache=True)
def longest(offsets):
    """Length of the longest row."""
    most = 0
    for i in range(offsets.size - 1):
        most = max(most, offsets[i + 1] - offsets[i])
    return most


@njit(cache=True)
def pad_rows(values, offsets, out, fill, left):
    """Write each ragged row into its row of ``out``, at its left or right end, and ``fill`` into the rest."""
    width = out.shape[1]
    for i in range(offsets.size - 1):
        start = offsets[i]
        length = offsets[i + 1] - start
        at = width - length if left else 0
        row = out[i]
        row[:at] = fill
        row[at + length :] = fill
        target, source = row[at : at + length], values[start : start + length]
        for j in range(target.size):  # a loop over slices becomes vector code, one over offsets does not
            target[j] = source[j]


@njit(cache=True)
def mask_rows(offsets, out, left):
    """1 where a padded row holds a value, else 0."""
    width = out.shape[1]
    for i in range(offsets.size - 1):
        length = offsets[i + 1] - offsets[i]
        at = width - length if left else 0
        for j in range(width):
            out[i, j] = 1 if at <= j < at + length else 0


@njit(cache=True)
def cross_labels(ids, offsets, labels, stride, n_features):
    """Word ids crossed with their row's label, as int32 ids: ``(id + label * stride) mod n_features``."""
    out = np.empty(ids.size, np.int32)
    for i in range(offsets.size - 1):
        shift = labels[i] * stride
        for j in range(offsets[i], offsets[i + 1]):
            out[j] = (ids[j] + shift) % n_features
    return out


@njit(cache=True)
def fold(ids, n_features):
    """Word ids folded into ``[0, n_features)``, as int32."""
    out = np.empty(ids.size, np.int32)
    for j in range(ids.size):
        out[j] = ids[j] % n_features
    return out
