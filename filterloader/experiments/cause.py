"""Cause: the message in a chain of exceptions that says most to a user, cut to a length that can be read."""

from __future__ import annotations

_EMPTY = "An error occurred while generating the dataset"  # what datasets wraps every error of its readers in
_LONGEST = 240


def cause(error: BaseException) -> str:
    """The message nearest to the top that says something of its own, in one line of at most 240 characters.

    What lies deeper is what a library tried last, and seldom what went wrong. A message of one word, such as that of a
    KeyError, comes with the name of its kind.
    """
    link: BaseException | None = error
    while link is not None:
        words = str(link).removeprefix(_EMPTY).split()
        if words:
            return cut(" ".join(words) if len(words) > 1 else f"{type(link).__name__}: {words[0]}", _LONGEST)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return type(error).__name__


def cut(text: str, longest: int) -> str:
    """The text, its end cut off and marked where it is longer than ``longest`` characters."""
    return text if len(text) <= longest else text[: longest - 1] + "…"
