"""Randomness: the random states that a pass draws from, noted so that it can be repeated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.data import DataLoader


def generators_of(reference: DataLoader) -> list[torch.Generator]:
    """Every generator of the user's that a pass draws from, each once."""
    found = [reference.generator]
    holder: Any = reference.sampler if reference.batch_sampler is None else reference.batch_sampler
    while holder is not None:
        found.append(getattr(holder, "generator", None))
        holder = getattr(holder, "sampler", None)
    return list({id(g): g for g in found if isinstance(g, torch.Generator)}.values())


def states_of(reference: DataLoader, own_only: bool = False) -> list[torch.Tensor]:
    """The states of torch's global generator (not with own_only) and of the user's."""
    states = [generator.get_state() for generator in generators_of(reference)]
    return states if own_only else [torch.get_rng_state(), *states]


def set_states(reference: DataLoader, states: list[torch.Tensor]) -> None:
    """Bring back the states of the user's generators."""
    for generator, state in zip(generators_of(reference), states, strict=True):
        generator.set_state(state)


@contextmanager
def restored(reference: DataLoader, states: list[torch.Tensor]) -> Iterator[None]:
    """The random states of a saved pass: the user's generators go on from there, torch's global one is put back."""
    set_states(reference, states[1:])
    with global_state(states[0]):
        yield


@contextmanager
def global_state(state: torch.Tensor) -> Iterator[None]:
    """torch's global generator in this state, and afterwards in the one it had."""
    before = torch.get_rng_state()
    torch.set_rng_state(state)
    try:
        yield
    finally:
        torch.set_rng_state(before)
