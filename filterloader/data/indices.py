"""Indices: draws index batches from a sampler, remembers them until their rows arrive, and can begin in the middle."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import cached_property
from itertools import chain, islice
from typing import Any

import numpy as np
import torch
from torch.utils.data import (
    BatchSampler,
    DistributedSampler,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from filterloader.data.randomness import global_state

_FIRST = 64  # rows of the first group


class Indices:
    """A batch sampler for the inner ``DataLoader`` that remembers what it drew until the rows are there.

    sampler: the one to draw from. generators: those it may draw with. ordered: whether rows arrive in the order they
    were drawn. group: rows to ask for at once, by one array of numbers; 0: every draw by itself.

    Attributes: ``at_first_draw``, the random states before the first draw of this pass, or of the saved one that it
    goes on with; None before. ``placed``, the draw whose rows have found their place last. ``drawing``, whether the
    sampler is at work: an interrupt then may have ended it."""

    def __init__(self, sampler: Any, generators: list[torch.Generator], *, ordered: bool):
        self.sampler, self.generators, self.ordered = sampler, generators, ordered
        self.group = 0
        self.at_first_draw: list | None = None
        self.placed: Drawn | None = None
        self.drawing = False
        self._pass: Any = None
        self._pending: deque[Drawn] = deque()
        self._pass_over = 0
        self._left, self._next = 0, _FIRST  # draws that a sampler in groups still has; rows of the next group

    def start(self, pass_over: int = 0, states: list | None = None) -> None:
        """Let the next pass begin behind ``pass_over`` draws, with the random states noted before the first."""
        self._pass_over, self.at_first_draw = pass_over, states

    def __len__(self) -> int:
        return len(self.sampler)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_pass": None}

    def __iter__(self) -> _Drawing:
        self._pending.clear()
        self.placed, self.drawing = None, False
        self._left, self._next = len(self.sampler) if self.group else 0, _FIRST
        self._pass = _Drawing(self, iter(self.sampler))
        return self._pass

    def catch_up(self) -> None:
        """Draw what a saved pass had drawn now, not with the next row: the pass may be broken off before."""
        if self.at_first_draw is not None and not self._pass.begun:
            self._pass.begin()

    def begin(self, draws: Iterator) -> Iterator:
        """Just before the first draw, when samplers shuffle: note the random states, or bring back those of the saved
        pass. Returns what to draw from."""
        if self.at_first_draw is None:
            self.at_first_draw = [torch.get_rng_state(), *(g.get_state() for g in self.generators)]
            return draws
        for generator, state in zip(self.generators, self.at_first_draw[1:], strict=True):
            generator.set_state(state)
        self._left -= self._pass_over
        with global_state(self.at_first_draw[0]):
            drawn = list(islice(draws, max(self._pass_over, 1)))  # the first one shuffles
        return draws if self._pass_over else chain(drawn, draws)

    def draw(self, draws: Any) -> Any:
        """What to ask for next. Groups grow, so that the first batch is soon there; the last draw stays by itself:
        some samplers shuffle once more as they end, which must not happen before the loop has come that far."""
        drawn = Drawn([next(draws)])
        if self.group:
            rows = len(drawn[0])
            while rows < self._next and self._left - len(drawn) > 1:
                drawn.append(next(draws))
                rows += len(drawn[-1])
            self._left -= len(drawn)
            self._next = min(4 * self._next, self.group)
        self._pending.append(drawn)
        return self.asked(drawn)

    def asked(self, drawn: Drawn) -> Any:
        """How to ask for the rows of a group."""
        if self.group and drawn.numbers is not None:
            return drawn.numbers
        return drawn[0] if len(drawn) == 1 else drawn.listed()

    def pending(self, place: int = 0) -> Drawn | None:
        """The draw in this place of those whose rows are not placed yet; None where there are fewer."""
        if self._pending and self._pending[0] is self.placed:
            self._pending.popleft()
        return self._pending[place] if len(self._pending) > place else None

    def after(self, place: int, draws: Iterator) -> Any:
        """How to ask for the rows of the draw in this place; where it is not drawn yet, ``draws`` draws it."""
        if self.pending(place) is None:
            next(draws, None)
        drawn = self.pending(place)
        return None if drawn is None else self.asked(drawn)

    def ids_of(self, drawn: Drawn | None, n: int) -> np.ndarray | None:
        """Data set indices of the ``n`` rows of a group, int64 ``[n]``; None where the sampler draws no whole
        numbers, or groups overtake."""
        ids = drawn.numbers if self.ordered and drawn else None
        return None if ids is None or ids.shape != (n,) else ids


class Drawn(list):
    """The draws of a group."""

    @cached_property
    def numbers(self) -> np.ndarray | None:
        """All rows drawn, one after the other, int64 ``[n]``; None where they are no whole numbers."""
        numbers = np.asarray(self.listed())
        return numbers.astype(np.int64, copy=False) if numbers.dtype.kind in "iu" and numbers.ndim == 1 else None

    def listed(self) -> list:
        if isinstance(self[0], (np.ndarray, torch.Tensor)) and self[0].ndim:
            return [number for drawn in self for number in drawn.tolist()]
        return list(chain.from_iterable(self)) if isinstance(self[0], (list, tuple, range)) else [self[0]]


class _Drawing:
    """One pass over a sampler."""

    def __init__(self, indices: Indices, draws: Any):
        self.indices, self.draws, self.begun = indices, draws, False

    def __iter__(self) -> _Drawing:
        return self

    def begin(self) -> None:
        self.draws = self.indices.begin(self.draws)
        self.begun = True

    def __next__(self) -> Any:
        self.indices.drawing = True
        if not self.begun:
            self.begin()
        asked = self.indices.draw(self.draws)
        self.indices.drawing = False
        return asked


def draws_at_once(sampler: Any) -> bool:
    """Whether a sampler settles its order when it begins, so that drawing ahead changes nothing to be seen."""
    if isinstance(sampler, (list, tuple)):
        return all(isinstance(drawn, (list, tuple)) for drawn in sampler)
    if type(sampler) is BatchSampler:
        return not isinstance(sampler.sampler, BatchSampler) and draws_at_once(sampler.sampler)
    if type(sampler) is RandomSampler:
        return sampler.generator is None or (
            not sampler.replacement and sampler.num_samples <= len(sampler.data_source)
        )
    return type(sampler) in (SequentialSampler, SubsetRandomSampler, WeightedRandomSampler, DistributedSampler)
