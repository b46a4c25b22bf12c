"""Random: keeps each candidate with one fixed chance; the control that every table needs."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from filterloader.data.candidates import Candidates
from filterloader.data.checks import share
from filterloader.policies.parts.seeded import Seeded
from filterloader.policies.parts.state import generator


class Random(Seeded):
    """Keep a random share of the stream: the control that any filter has to beat.

    Args:
        keep (float): chance of each candidate, in (0, 1].
        seed (int): of the private random state; None, the default, takes the loader's.

    Example:
        >>> from filterloader import FilteringDataLoader, Random
        >>> loader = FilteringDataLoader([{"input_ids": [1]}] * 1000, batch_size=10, policy=Random(0.3, seed=0))
        >>> 250 < sum(len(batch["input_ids"]) for batch in loader) < 350
        True

    Source: Ouyang et al. 2022, arXiv 2207.14386, Table 5 ("random, same share skipped").
    """

    gates_backward = False
    needs_words = False
    example_settings: ClassVar = {"keep": 0.4, "seed": 1}
    _settings = ("keep",)
    _remembers: ClassVar = {"_rng": generator}

    def __init__(self, keep: float, *, seed: int | None = None):
        super().__init__(seed)
        self.keep = share("keep", keep, zero=False)

    def screen(self, candidates: Candidates) -> np.ndarray:
        return (self._rng.random(len(candidates)) < self.keep).astype(np.float32)
