"""Tokenize: turns the texts of what was let through into tokens, many in one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from filterloader.data.candidates import Candidates, Decided
from filterloader.stages.stage import Stage


class Tokenize(Stage):
    """From texts to tokens, where the policy decided by the words of the texts: what it dropped is never tokenized.

    Args:
        source: gives what was decided on.
        tokenized: makes the same candidates with tokens in place of texts.
    """

    def __init__(self, source: Any, tokenized: Callable[[Candidates], Candidates]):
        super().__init__(source)
        self.tokenized = tokenized

    def work(self, taken: Decided) -> None:
        payload = self.tokenized(taken.payload)
        asked = payload if taken.asked is taken.payload else taken.asked
        self.item, self.taken = Decided(asked, payload, taken.screened), None
