"""UTF-8: columns of text as ragged bytes, and back."""

from __future__ import annotations

import numpy as np

from filterloader.data.candidates import Ragged


def encode(texts: list[str]) -> Ragged:
    """The UTF-8 bytes of each text: values uint8, read-only, offsets int64 ``[n + 1]`` from 0. Raises ValueError for what is no
    text: other types, and lone surrogates, which no UTF-8 stands for."""
    import pyarrow

    try:
        array = pyarrow.array(texts, pyarrow.large_string())
    except (UnicodeEncodeError, pyarrow.ArrowException):
        array = None
    if array is None or array.null_count:
        raise ValueError(_what_is_wrong(texts))
    _, offsets, values = array.buffers()
    offsets = np.frombuffer(offsets, np.int64, len(texts) + 1) if texts else np.zeros(1, np.int64)
    return Ragged(np.frombuffer(values, np.uint8, offsets[-1]) if offsets[-1] else np.zeros(0, np.uint8), offsets)


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


def _what_is_wrong(texts: list) -> str:
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            return f"text {i} is {text!r:.60}, a {type(text).__name__}; give strings"
        try:
            text.encode()
        except UnicodeEncodeError as error:
            return (
                f"text {i} holds {text[error.start]!r} at character {error.start}, half of a surrogate pair, which cannot be "
                "UTF-8; clean the text, for example with text.encode('utf-8', 'replace').decode()"
            )
    return f"the texts cannot be UTF-8, first {texts[0]!r:.60}; give a list of strings"
