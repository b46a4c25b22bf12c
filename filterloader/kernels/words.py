"""Kernels over UTF-8: find the words of ragged texts and hash them, without decoding a string.

A word is hashed by 32-bit FNV-1a over its bytes, then mixed. All arithmetic is int64 and stays below 2**63, so nothing
wraps.
"""

import numpy as np
from numba import njit

# What a character is; for ASCII letters and digits the table holds their lower case instead.
SEPARATOR, LETTER, ALONE = 0, 1, 2
SEED, PRIME, LOW = 0x811C9DC5, 0x01000193, 0xFFFFFFFF


@njit(cache=True)
def mix(h):
    """A 32-bit hash with every bit spread over all others."""
    h ^= h >> 16
    h = (h * 0x21F0AAAD) & LOW
    h ^= h >> 15
    h = (h * 0x735A2D97) & LOW
    return h ^ (h >> 15)


@njit(cache=True)
def salt(label):
    """What tells the words of one label from those of another."""
    return mix(mix(label & LOW) ^ ((label >> 32) & LOW) ^ 0x5BD1E995)


@njit(cache=True)
def character(values, at, stop, table):
    """Kind and length in bytes of the character, not ASCII, at ``at``; a byte of malformed UTF-8 separates."""
    lead = np.int64(values[at])
    size = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    if lead < 0xC2 or lead > 0xF4 or at + size > stop:
        return SEPARATOR, 1
    code = lead & (0x7F >> size)
    for j in range(at + 1, at + size):
        byte = np.int64(values[j])
        if byte & 0xC0 != 0x80:
            return SEPARATOR, 1
        code = code << 6 | (byte & 0x3F)
    if size < 4:
        return (SEPARATOR, 1) if size == 3 and code < 0x800 else (np.int64(table[code]), size)
    if code < 0x10000 or code > 0x10FFFF:
        return SEPARATOR, 1
    if code < 0x20000:
        return SEPARATOR if code >= 0x1F000 else LETTER, size
    return ALONE if code < 0x40000 else SEPARATOR, size


@njit(cache=True)
def scan(values, start, stop, table, raw, at):
    """Write the hash of each word of one text to ``raw[at:]``; returns where they end. It spoils one place more."""
    h, inside, j = SEED, 0, start
    while j < stop:
        byte = np.int64(values[j])
        if byte < 0x80:  # without a branch on the end of a word, which no processor can guess
            folded = np.int64(table[byte])
            raw[at] = h
            at += inside & (folded == 0)
            inside = 1 if folded else 0
            h = ((h ^ folded) * PRIME) & LOW if folded else SEED
            j += 1
            continue
        kind, size = character(values, j, stop, table)
        if kind != LETTER:
            raw[at] = h
            at += inside
            h, inside = SEED, 0
        if kind != SEPARATOR:
            for k in range(j, j + size):
                h = ((h ^ np.int64(values[k])) * PRIME) & LOW
            inside = 1
        if kind == ALONE:
            raw[at] = h
            at += 1
            h, inside = SEED, 0
        j += size
    raw[at] = h
    return at + inside


@njit(cache=True)
def neighbours(raw, start, stop):
    """Write the hash of each two neighbouring words of ``raw[start:stop]`` behind them; returns where these end."""
    for j in range(start, stop - 1):
        raw[stop + j - start] = (np.int64(raw[j]) * 0x297A2D39 + np.int64(raw[j + 1])) & LOW
    return max(stop, 2 * stop - start - 1)


@njit(cache=True)
def hash_words(values, offsets, more, more_offsets, labels, table, mask, bigrams):
    """Words of each row as ids in ``[0, mask]`` and their offsets: those of the text, then those of the second.

    ``more_offsets`` may be empty: no second column. After the words of a text come its bigrams, where wanted.
    ``labels`` (may be empty) are crossed.
    """
    n, pair = offsets.size - 1, more_offsets.size > 0
    most = n + (offsets[n] - offsets[0]) // 2  # two words need a byte between them or a character of three bytes
    if pair:
        most += n + (more_offsets[n] - more_offsets[0]) // 2
    raw = np.empty((2 if bigrams else 1) * most + 1, np.uint32)
    bounds = np.empty(n + 1, np.int64)
    bounds[0] = at = 0
    for i in range(n):
        first = at
        at = scan(values, offsets[i], offsets[i + 1], table, raw, at)
        if bigrams:
            at = neighbours(raw, first, at)
        if pair:
            first = at
            at = scan(more, more_offsets[i], more_offsets[i + 1], table, raw, at)
            if bigrams:
                at = neighbours(raw, first, at)
        bounds[i + 1] = at
    ids = np.empty(at, np.int32)
    for i in range(n):
        other = salt(labels[i]) if labels.size else 0
        for j in range(bounds[i], bounds[i + 1]):
            ids[j] = mix(np.int64(raw[j]) ^ other) & mask
    return ids, bounds
