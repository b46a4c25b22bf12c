"""Seeded: a policy that draws at random, from a private random state."""

from __future__ import annotations

import numpy as np

from filterloader.data.checks import integer, pasteable_repr
from filterloader.policies.base import Policy
from filterloader.policies.parts.state import Stateful


class Seeded(Stateful, Policy):
    """A policy with a private random state, ``_rng``; its own seed, else the loader's, begins it."""

    def __init__(self, seed: int | None):
        self.seed = None if seed is None else integer("seed", seed, least=0)
        self._rng = np.random.default_rng(self.seed)

    def __repr__(self) -> str:
        return pasteable_repr(self, *self._settings, "seed")

    def bind(self, seed: int) -> None:
        """Take the loader's seed where there is none of its own."""
        if self.seed is None:
            self._rng = np.random.default_rng(seed)
