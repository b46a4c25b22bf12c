"""UTF-8: columns of text as ragged bytes, and back."""

from __future__ import annotations

from typing import Any

import numpy as np

from filterloader.data.candidates import Ragged
from filterloader.data.values import RowError


def encode(texts: list[str], name: Any = "text") -> Ragged:
    """The UTF-8 bytes of each text.

    Args:
        texts: ``n`` strings.
        name: of their column, for errors.

    Returns:
        Values uint8, read-only, offsets int64 ``[n + 1]`` from 0.

    Raises:
        RowError: a text is of another type, or holds a lone surrogate, which no UTF-8 stands for.
    """
    import pyarrow

    try:
        array = pyarrow.array(texts, pyarrow.large_string())
    except (UnicodeEncodeError, pyarrow.ArrowException):
        array = None
    if array is None or array.null_count:
        raise _what_is_wrong(texts, name)
    return of_arrow(array)


def of_arrow(array: Any) -> Ragged:
    """The texts of an Arrow array of strings; the bytes are not copied."""
    import pyarrow

    kind = np.int64 if pyarrow.types.is_large_string(array.type) else np.int32
    _, offsets, data = array.buffers()
    if not len(array):
        return Ragged(np.zeros(0, np.uint8), np.zeros(1, np.int64))
    offsets = np.frombuffer(offsets, kind)[array.offset : array.offset + len(array) + 1].astype(np.int64, copy=False)
    return Ragged(np.frombuffer(data, np.uint8, offsets[-1]) if offsets[-1] else np.zeros(0, np.uint8), offsets)


def decode(texts: Ragged) -> list[str]:
    """The texts that the bytes stand for. Raises ValueError where they are no UTF-8."""
    import pyarrow

    values, offsets = (np.ascontiguousarray(array) for array in texts.compact())
    array = pyarrow.LargeStringArray.from_buffers(
        offsets.size - 1, pyarrow.py_buffer(offsets), pyarrow.py_buffer(values)
    )
    try:
        return array.to_numpy(zero_copy_only=False).tolist()
    except (UnicodeDecodeError, pyarrow.ArrowException) as error:
        raise ValueError(f"the bytes of a text are no UTF-8: {error}; read the file with its own encoding") from None


def no_text(name: Any, value: Any, place: int, n: int) -> RowError:
    """The error for what is no string in a column of text."""
    what = f"text column {name!r} must hold strings to tokenize, got {type(value).__name__} ({value!r:.60})"
    return RowError(what, "name the column of raw text with text=, or clean the data", place, n)


def _what_is_wrong(texts: list, name: Any) -> ValueError:
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            return no_text(name, text, place, len(texts))
        try:
            text.encode()
        except UnicodeEncodeError as error:
            what = (
                f"text column {name!r} holds {text[error.start]!r} at character {error.start}, half of a surrogate "
                "pair, which cannot be UTF-8,"
            )
            advice = "clean the text, for example with text.encode('utf-8', 'replace').decode()"
            return RowError(what, advice, place, len(texts))
    return ValueError(f"the texts of column {name!r} cannot be UTF-8, first {texts[0]!r:.60}; give a list of strings")
