"""Slow readable twin of kernels/words.py: words as strings, cut by what the Unicode database says of each character."""

import unicodedata
from itertools import pairwise


def kind(character):
    """What a character is: part of a word, a word alone, or nothing of a word."""
    code = ord(character)
    if 0xFE00 <= code <= 0xFE0F:
        return "separator"
    if code >= 0x10000:
        return "letter" if code < 0x1F000 else "alone" if 0x20000 <= code < 0x40000 else "separator"
    if unicodedata.category(character)[0] not in "LMN":
        return "separator"
    alone = [("々", "〇"), ("\u3040", "\u30ff"), ("\u31f0", "\u31ff"), ("\u3400", "\u4dbf"), ("\u4e00", "\u9fff"),
             ("\uf900", "\ufaff"), ("\uff66", "\uff9f")]  # fmt: skip
    return "alone" if any(first <= character <= last for first, last in alone) else "letter"


def words(data):
    """The words of UTF-8 bytes, ASCII in lower case; malformed bytes separate, as the replacement character does."""
    found, run = [], ""
    for character in data.decode("utf-8", "replace") + " ":
        what = kind(character)
        if what == "letter":
            run += character.lower() if character.isascii() else character
            continue
        found += [run] * (run != "") + [character] * (what == "alone")
        run = ""
    return found


def mix(h):
    h ^= h >> 16
    h = h * 0x21F0AAAD % 2**32
    h ^= h >> 15
    h = h * 0x735A2D97 % 2**32
    return h ^ (h >> 15)


def salt(label):
    return mix(mix(label % 2**32) ^ (label >> 32) % 2**32 ^ 0x5BD1E995)


def fnv1a(word):
    """32-bit FNV-1a, as published: xor a byte, multiply by the prime."""
    h = 2166136261
    for byte in word.encode():
        h = (h ^ byte) * 16777619 % 2**32
    return h


def bag(texts, label, n_features, bigrams):
    """The ids of one row: ``texts`` is the bytes of its one or two columns, ``label`` None where nothing is crossed."""
    hashes = []
    for text in texts:
        found = [fnv1a(word) for word in words(text)]
        hashes += found
        if bigrams:
            hashes += [(a * 0x297A2D39 + b) % 2**32 for a, b in pairwise(found)]
    return [mix(h ^ (0 if label is None else salt(label))) % n_features for h in hashes]
