"""Features: what counts as a word when the predictor looks at a candidate."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from filterloader.data.candidates import Bag, Candidates
from filterloader.data.checks import paste, whole
from filterloader.kernels import ragged, words

TOKENS = ("auto", "tokens", "tokens*label")
FEATURES = (*TOKENS, "words", "words*label", "words+bigrams", "words+bigrams*label")
CROSSED = 2**18
_UNKNOWN_VOCABULARY = 65_537


def features_of(given: str | Callable[[Candidates], Any], *, vocabulary: int | None) -> Callable[[Candidates], Any]:
    """The callable that makes bags of words: ``given`` itself, or what its name, one of ``FEATURES``, stands for.

    vocabulary: number of token ids, None where not known. Raises ValueError for any other name.
    """
    if callable(given):
        return given
    if given not in FEATURES:
        raise ValueError(
            f"features={given!r} is not known; choose one of {', '.join(map(repr, FEATURES))}, or give a callable"
        )
    if given in TOKENS:
        return TokenFeatures(given, vocabulary=vocabulary)
    return WordFeatures(label=given.endswith("*label"), bigrams="+bigrams" in given)


class TokenFeatures:
    """Token ids as words, optionally crossed with the label of the example.

    Crossing tells "great" in a positive review from "great" in a negative one; the label is known before the forward pass,
    and on SST-2 crossing is the largest single gain of any feature. ``"auto"`` crosses where every example has one class
    label. Word ``w`` of class ``c`` becomes ``(w + c · vocabulary) mod 2**18``, so small vocabularies never collide. Uncrossed,
    there are as many features as token ids: a Bernoulli model counts every absent word, so features that cannot occur hurt.

    kind: one of ``TOKENS``. vocabulary: number of token ids, None (2**16 + 1 are assumed) where not known.
    """

    reads = "tokens"

    def __init__(self, kind: str = "auto", *, vocabulary: int | None = None):
        if kind not in TOKENS:
            raise ValueError(f"features={kind!r} is not known; choose one of {', '.join(map(repr, TOKENS))}")
        self.kind = kind
        self.stride = vocabulary or _UNKNOWN_VOCABULARY

    def __repr__(self) -> str:
        return f"TokenFeatures({self.kind!r}, vocabulary={self.stride})"

    def __call__(self, candidates: Candidates) -> Bag | None:
        """The bag of words of each candidate; None where the rows hold no text."""
        tokens = candidates.tokens
        if tokens is None:
            return None
        if self.kind == "tokens*label" and candidates.labels is None:
            raise ValueError(
                "features='tokens*label' needs one integer class label an example, and these rows have none; "
                "name the label column with label=, or choose features='tokens'"
            )
        if self.kind == "tokens" or candidates.labels is None:
            return Bag(ragged.fold(tokens.values, self.stride), tokens.offsets, self.stride)
        labels = np.ascontiguousarray(candidates.labels)
        return Bag(
            ragged.cross_labels(tokens.values, tokens.offsets, labels, self.stride, CROSSED), tokens.offsets, CROSSED
        )


class WordFeatures:
    """Words hashed straight out of UTF-8 text, before anything is tokenized.

    A word is a longest run of letters, digits and marks (Unicode categories L, N, M, as Python's ``unicodedata`` has them);
    ASCII is taken in lower case. A Chinese character, or a Japanese kana, is a word of its own. Everything else separates:
    spaces, punctuation, symbols, emoji, variation selectors, private use, malformed bytes. Beyond the basic plane nothing is
    looked up: below U+1F000 are letters, below U+20000 symbols, below U+40000 Chinese characters. The words of a pair of texts
    make one bag, whichever text they are in.

    label: the same word in an example of another class is another feature (see ``TokenFeatures``). bigrams: also each two
    neighbouring words of a text. n_features: width of the feature space, a power of two up to 2**30; words that collide are one.
    """

    reads = "texts"

    def __init__(self, *, label: bool = False, bigrams: bool = False, n_features: int = 2**18):
        for name, value in (("label", label), ("bigrams", bigrams)):
            if not isinstance(value, bool):
                raise ValueError(f"{name} must be True or False, got {value!r}")
        self.label, self.bigrams, self.n_features = label, bigrams, whole("n_features", n_features)
        if self.n_features & (self.n_features - 1) or self.n_features > 2**30:
            raise ValueError(f"n_features must be a power of two up to 2**30, got {n_features!r}")

    def __repr__(self) -> str:
        return paste(self, "label", "bigrams", "n_features")

    def __call__(self, candidates: Candidates) -> Bag:
        """The bag of words of each candidate. Raises ValueError where there is no raw text, or no class label to cross with."""
        plain = "words+bigrams" if self.bigrams else "words"
        name = f"features='{plain}*label'" if self.label else f"features='{plain}'"
        if candidates.texts is None:
            raise ValueError(f"{name} reads raw text, and these rows hold none; choose features='tokens'")
        if self.label and candidates.labels is None:
            raise ValueError(
                f"{name} needs one integer class label an example, and these rows have none; "
                f"name the label column with label=, or choose features='{plain}'"
            )
        texts = [_still(array) for text in candidates.texts for array in text]
        second = texts[2:] or [texts[0], _NONE]
        labels = _still(np.asarray(candidates.labels, np.int64)) if self.label else _NONE
        ids, offsets = words.hash_words(*texts[:2], *second, labels, characters(), self.n_features - 1, self.bigrams)
        return Bag(ids, offsets, self.n_features)


@cache
def characters() -> np.ndarray:
    """What each code point of the basic plane is to ``kernels.words``, uint8 ``[65536]``: see the constants there."""
    table = np.array([unicodedata.category(chr(code))[0] in "LMN" for code in range(1 << 16)], np.uint8)
    for first, last in _ALONE:
        table[first : last + 1] *= words.ALONE
    table[0xFE00:0xFE10] = words.SEPARATOR  # variation selectors
    for code in range(128):
        table[code] *= ord(chr(code).lower())
    return _still(table)


# 々〆〇, kana, kana extensions, ideographs (extension A, common, compatibility), half-width kana
_ALONE = (
    (0x3005, 0x3007),
    (0x3040, 0x30FF),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),
)


def _still(array: np.ndarray) -> np.ndarray:
    """A contiguous read-only view: as buffers of Arrow are, so that one compiled kernel serves all."""
    array = np.ascontiguousarray(array).view()
    array.flags.writeable = False
    return array


_NONE = _still(np.zeros(0, np.int64))
