"""Kernels over Arrow buffers: rows gathered from the chunks of a column, wherever in memory each chunk lies."""

import numpy as np
from numba import carray, njit, types
from numba.extending import intrinsic, overload

_C_TYPES = {
    np.dtype(kind): np.ctypeslib.as_ctypes_type(kind)
    for kind in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8")
}


def at(address, size, like):
    """The ``size`` numbers of the dtype of ``like`` that begin at ``address``, as an array, not copied."""
    return np.ctypeslib.as_array((_C_TYPES[like.dtype] * int(size)).from_address(int(address))) if size else like


@intrinsic
def _pointer(typing, address, like):
    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(like.dtype)(address, like), generate


@overload(at)
def _at(address, size, like):
    return lambda address, size, like: carray(_pointer(address, like), size)


@njit(cache=True, nogil=True)
def locate(index, starts, chunks, rows):
    """In which chunk each row ``index`` lies, and where in it. starts: first row of each chunk, and the end."""
    for i in range(index.size):
        low, high = 0, starts.size - 1
        while high - low > 1:
            middle = (low + high) // 2
            if starts[middle] <= index[i]:
                low = middle
            else:
                high = middle
        chunks[i] = low
        rows[i] = index[i] - starts[low]


@njit(cache=True, nogil=True)
def gather_numbers(chunks, rows, addresses, lengths, like, out):
    """Numbers of fixed width: ``out[i]`` is row ``rows[i]`` of chunk ``chunks[i]``."""
    for i in range(rows.size):
        chunk = chunks[i]
        out[i] = at(addresses[chunk], lengths[chunk], like)[rows[i]]


@njit(cache=True, nogil=True)
def gather_lists(chunks, rows, ends, lengths, values, sizes, end_like, like):
    """Lists or strings as ``(values, offsets)``. ends, values: addresses of each chunk's offsets and values; lengths, sizes: how
    many of each there are; end_like, like: empty arrays of their dtypes."""
    offsets = np.empty(rows.size + 1, np.int64)
    offsets[0] = 0
    for i in range(rows.size):
        chunk = chunks[i]
        marks = at(ends[chunk], lengths[chunk] + 1, end_like)
        offsets[i + 1] = offsets[i] + marks[rows[i] + 1] - marks[rows[i]]
    out = np.empty(offsets[rows.size], like.dtype)
    for i in range(rows.size):
        chunk = chunks[i]
        start = at(ends[chunk], lengths[chunk] + 1, end_like)[rows[i]]
        target = out[offsets[i] : offsets[i + 1]]
        source = at(values[chunk], sizes[chunk], like)[start : start + target.size]
        for j in range(target.size):
            target[j] = source[j]
    return out, offsets
