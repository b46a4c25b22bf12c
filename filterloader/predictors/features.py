"""Features: what counts as a word when the predictor looks at a candidate."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from filterloader.data.candidates import Bag, Candidates
from filterloader.data.checks import boolean, choice, integer, pasteable_repr
from filterloader.kernels import ragged, words

FEATURES = ("auto", "tokens", "tokens*label", "words", "words*label", "words+bigrams", "words+bigrams*label")
CROSSED = 2**18
_UNKNOWN_VOCABULARY = 65_537


def features_of(given: str | Callable[[Candidates], Any], *, vocabulary: int | None) -> Callable[[Candidates], Any]:
    """The callable that makes bags of words: ``given`` itself, or what its name, one of ``FEATURES``, stands for.

    vocabulary: number of token ids, for ``TokenFeatures`` that do not say; None where not known. Raises ValueError for
    any other name.
    """
    if type(given) is TokenFeatures and given.vocabulary is None:
        return TokenFeatures(label=given.label, vocabulary=vocabulary or None)
    if callable(given):
        return given
    choice("features", given, FEATURES, otherwise=", or give TokenFeatures, WordFeatures or a callable")
    if given.startswith("words"):
        return WordFeatures(label=given.endswith("*label"), bigrams="+bigrams" in given)
    crossed = {"auto": None, "tokens": False, "tokens*label": True}[given]
    return TokenFeatures(label=crossed, vocabulary=vocabulary or None)


class TokenFeatures:
    """Token ids as words, crossed with the label of the example where there is one.

    Crossing tells "great" in a positive review from "great" in a negative one; the label is known before the forward
    pass. Word ``w`` of class ``c`` becomes ``(w + c · vocabulary) mod 2**18``, so small vocabularies never collide.
    Uncrossed, there are as many features as token ids: a Bernoulli model counts every absent word, so features that
    cannot occur hurt.

    Args:
        label (bool or None): cross with the class label: always (``"tokens*label"``), never (``"tokens"``), or, None,
            the default, where every example has one (``"auto"``).
        vocabulary (int): number of token ids; None, the default, takes the tokenizer's (2**16 + 1 where there is none).

    Example:
        >>> from filterloader import FilteringDataLoader, ThreeStage, TokenFeatures
        >>> rows = [{"input_ids": [1, 2]}]
        >>> FilteringDataLoader(rows, policy=ThreeStage(), features=TokenFeatures(label=False)).features
        TokenFeatures(label=False, vocabulary=None)
    """

    reads = "tokens"

    def __init__(self, *, label: bool | None = None, vocabulary: int | None = None):
        self.label = None if label is None else boolean("label", label)
        self.vocabulary = None if vocabulary is None else integer("vocabulary", vocabulary)

    def __repr__(self) -> str:
        return pasteable_repr(self, "label", "vocabulary")

    def __call__(self, candidates: Candidates) -> Bag | None:
        """The bag of words of each candidate; None where the rows hold no text."""
        tokens, stride = candidates.tokens, self.vocabulary or _UNKNOWN_VOCABULARY
        if tokens is None:
            return None
        if self.label and candidates.labels is None:
            raise ValueError(
                "features='tokens*label' needs one integer class label an example, and these rows have none; "
                "name the label column with label=, or choose features='tokens'"
            )
        if self.label is False or candidates.labels is None:
            return Bag(ragged.fold(tokens.values, stride), tokens.offsets, stride)
        labels = np.ascontiguousarray(candidates.labels)
        crossed = ragged.cross_labels(tokens.values, tokens.offsets, labels, stride, CROSSED)
        return Bag(crossed, tokens.offsets, CROSSED)


class WordFeatures:
    """Words hashed straight out of UTF-8 text, before anything is tokenized.

    A word is a longest run of letters, digits and marks (Unicode categories L, N, M, as Python's ``unicodedata`` has
    them); ASCII is taken in lower case. A Chinese character, or a Japanese kana, is a word of its own. Everything else
    separates: spaces, punctuation, symbols, emoji, variation selectors, private use, malformed bytes. Beyond the basic
    plane nothing is looked up: below U+1F000 are letters, below U+20000 symbols, below U+40000 Chinese characters. The
    words of a pair of texts make one bag, whichever text they are in.

    Args:
        label (bool): the same word in an example of another class is another feature (``"words*label"``); False by
            default.
        bigrams (bool): also each two neighbouring words of a text (``"words+bigrams"``); False by default.
        n_features (int): width of the feature space, a power of two up to 2**30, 2**18 by default; words that collide
            are one.

    Example:
        >>> from filterloader import WordFeatures
        >>> WordFeatures(bigrams=True)
        WordFeatures(label=False, bigrams=True, n_features=262144)

    Source: FNV-1a, mixed, as the hash of a word (``kernels.words``); Weinberger et al. 2009, arXiv 0902.2206, for
    hashing features.
    """

    reads = "texts"

    def __init__(self, *, label: bool = False, bigrams: bool = False, n_features: int = 2**18):
        self.label, self.bigrams = boolean("label", label), boolean("bigrams", bigrams)
        self.n_features = integer("n_features", n_features)
        if self.n_features & (self.n_features - 1) or self.n_features > 2**30:
            raise ValueError(f"n_features must be a power of two up to 2**30, got {n_features!r}")

    def __repr__(self) -> str:
        return pasteable_repr(self, "label", "bigrams", "n_features")

    def __call__(self, candidates: Candidates) -> Bag:
        """The bag of words of each candidate; raises ValueError without raw text, or a class label to cross with."""
        plain = "words+bigrams" if self.bigrams else "words"
        name = f"features='{plain}*label'" if self.label else f"features='{plain}'"
        if candidates.texts is None:
            raise ValueError(f"{name} reads raw text, and these rows hold none; choose features='tokens'")
        if self.label and candidates.labels is None:
            raise ValueError(
                f"{name} needs one integer class label an example, and these rows have none; "
                f"name the label column with label=, or choose features='{plain}'"
            )
        texts = [_read_only(array) for text in candidates.texts for array in text]
        second = texts[2:] or [texts[0], _NONE]
        labels = _read_only(np.asarray(candidates.labels, np.int64)) if self.label else _NONE
        given: list[Any] = [*texts[:2], *second, labels, characters(), self.n_features - 1, self.bigrams]
        ids, offsets = words.hash_words(*given)
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
    return _read_only(table)


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


def _read_only(array: np.ndarray) -> np.ndarray:
    """A contiguous read-only view: as buffers of Arrow are, so that one compiled kernel serves all."""
    array = np.ascontiguousarray(array).view()
    array.flags.writeable = False
    return array


_NONE = _read_only(np.zeros(0, np.int64))
