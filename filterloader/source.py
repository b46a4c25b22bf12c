"""Source: reads the stream in blocks of candidates through a torch ``DataLoader``, and can go on in the middle of a pass."""

from __future__ import annotations

from collections import Counter, deque
from contextlib import contextmanager
from copy import copy
from typing import Any

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, IterableDataset

from filterloader.candidates import Candidates
from filterloader.reader import Passed, Reader
from filterloader.settings import check_same

_BLOCK = 128  # candidates read at once before a refill: enough to tokenize in one call, few enough to decide late


class Source:
    """Blocks of candidates, each told where in the stream it stands.

    reference: a ``DataLoader`` built from the user's arguments, never iterated: it holds what they mean. reader: its collate
    function here. whole: a refill follows, so that blocks need not be batches: they are larger than small batches, and the
    last one is read even where ``drop_last`` is set (the refill drops it).
    """

    def __init__(self, reference: DataLoader, reader: Reader, *, whole: bool, total: int | None):
        self.reference, self.reader, self.whole = reference, reader, whole
        self.streaming = isinstance(reference.dataset, IterableDataset)
        self._given_total = total is not None
        self.total = total if total is not None else _length(reference, whole)
        overtaking = reference.num_workers > 0 and not reference.in_order
        self._indices = None if self.streaming else _Indices(self._index_sampler(), _generators(reference), ordered=not overtaking)
        self._loader: DataLoader | None = None
        self._blocks_iter: Any = None
        self._resume: dict | None = None
        self._at_start: list | None = None
        self._clear()

    def _clear(self) -> None:
        self.rows = 0  # examples of this pass that were read
        self._blocks = 0
        self._by_worker: Counter = Counter()

    def start(self) -> None:
        """Begin a pass, or go on with the one that ``load_state_dict`` brought."""
        resume, self._resume = self._resume, None
        self._clear()
        if resume is None:
            self.reader.restart({})
            self._at_start = _random_states(self.reference)
            self._blocks_iter = iter(self._inner())
            return
        self.rows, self._blocks, self._by_worker = resume["rows"], resume["blocks"], Counter(dict(resume["by_worker"]))
        self._at_start = resume["at_start"]
        self._loader = None  # workers that live on know nothing of the blocks to pass over
        self.reader.restart(self._by_worker if self.streaming else {})
        if not self.streaming:
            self._indices.resume(self._blocks, resume["at_first_draw"])
        with _restored(self.reference, self._at_start):
            self._blocks_iter = iter(self._inner())

    def __next__(self) -> Candidates:
        block = next(self._blocks_iter)
        while isinstance(block, Passed):
            block = next(self._blocks_iter)
        self._blocks += 1
        self._by_worker[block.worker] += 1
        block.placed(self.rows, self._indices.ids_of(block) if self._indices is not None else None, self.total)
        self.rows += len(block)
        return block

    def finish(self) -> None:
        """The stream is read to its end: its length is known now."""
        if not self._given_total:
            self.total = self.rows
        if self.streaming and self.reader.passed:
            self._loader = None
        self._blocks_iter = None

    def read(self, indices: np.ndarray) -> Candidates:
        """The rows of a map-style data set with these numbers, in that order, not placed. A pass that is under way does not
        notice: no sampler, no generator, no random state has a part in it."""
        dataset, indices = self.reference.dataset, [int(i) for i in indices]
        many = getattr(dataset, "__getitems__", None)
        return self.reader.read(many(indices) if callable(many) else [dataset[i] for i in indices])

    def aside(self) -> Source:
        """The same rows, to be read beside a pass: with their payload, whatever the pass makes of its own."""
        beside = copy(self)
        beside.reader = copy(self.reader)
        beside.reader.collate_here = beside.reader.single = False
        return beside

    def _inner(self) -> DataLoader:
        if self._loader is None:
            given = self.reference
            how = {"dataset": given.dataset, "collate_fn": self.reader, "generator": given.generator, "timeout": given.timeout,
                   "num_workers": given.num_workers, "worker_init_fn": given.worker_init_fn, "in_order": given.in_order,
                   "multiprocessing_context": given.multiprocessing_context, "prefetch_factor": given.prefetch_factor,
                   "persistent_workers": given.persistent_workers}  # fmt: skip
            if self.streaming:
                last = {} if given.batch_size is None else {"drop_last": given.drop_last and not self.whole}
                self._loader = DataLoader(**how, batch_size=self._block_size(), **last)
            elif given.batch_sampler is None:
                self._loader = DataLoader(**how, batch_size=None, sampler=self._indices)
            else:
                self._loader = DataLoader(**how, batch_sampler=self._indices)
        return self._loader

    def _index_sampler(self):
        sampler = self.reference.batch_sampler
        if sampler is None:
            return self.reference.sampler
        if self.whole and self.reference.batch_size is not None:
            return BatchSampler(sampler.sampler, self._block_size(), drop_last=False)
        return sampler

    def _block_size(self) -> int | None:
        size = self.reference.batch_size
        return size if size is None or not self.whole else size * max(_BLOCK // size, 1)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_loader": None, "_blocks_iter": None}

    def state_dict(self) -> dict:
        if self._resume is not None:  # loaded and not begun
            return dict(self._resume)
        if not self.streaming and not self._indices.ordered:
            raise ValueError(
                "in_order=False with workers hands out blocks in an order that cannot be repeated, so this loader cannot be saved; "
                "use in_order=True"
            )
        return {
            "length": None if self.streaming else len(self.reference.dataset),
            "num_workers": self.reference.num_workers,
            "rows": self.rows,
            "blocks": self._blocks,
            "by_worker": sorted(self._by_worker.items()),
            "total": self.total,
            "at_start": self._at_start,
            "at_first_draw": None if self._indices is None else self._indices.at_first_draw,
            "now": _random_states(self.reference, own_only=True),
        }

    def load_state_dict(self, state: dict, *, running: bool) -> None:
        """running: whether the saved pass was under way, so that ``start`` goes on with it."""
        check_same("streaming", state["length"] is None, self.streaming)
        if not self.streaming:
            check_same("data set length", state["length"], len(self.reference.dataset))
        check_same("generators", len(state["now"]), len(_generators(self.reference)))
        if self.streaming:
            check_same("num_workers (which rows of a stream come when depends on it)", state["num_workers"], self.reference.num_workers)
        self.total = state["total"]
        self._blocks_iter, self._loader = None, None
        self._resume = dict(state) if running else None
        self.rows = state["rows"]
        if not running:
            _set_random_states(self.reference, state["now"])


class _Indices:
    """Draws index batches from a sampler, remembers them until their block arrives, and can begin in the middle."""

    def __init__(self, sampler: Any, generators: list[torch.Generator], *, ordered: bool):
        self.sampler, self.generators, self.ordered = sampler, generators, ordered
        self.at_first_draw: list | None = None
        self._drawn: deque = deque()
        self._pass_over, self._states = 0, None

    def resume(self, blocks: int, states: list | None) -> None:
        self._pass_over, self._states = blocks, states

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> _Drawing:
        self._drawn.clear()
        self.at_first_draw = None
        return _Drawing(self, iter(self.sampler))

    def begin(self, draws: Any) -> None:
        """Just before the first draw, when samplers shuffle: note the random states, or bring back those of the saved pass."""
        if self._states is None:
            self.at_first_draw = [torch.get_rng_state(), *(g.get_state() for g in self.generators)]
            return
        self.at_first_draw, states = self._states, self._states
        for generator, state in zip(self.generators, states[1:], strict=True):
            generator.set_state(state)
        over, self._pass_over, self._states = self._pass_over, 0, None
        with _global_state(states[0]):
            for _ in range(over):
                next(draws, None)

    def ids_of(self, block: Candidates) -> np.ndarray | None:
        """Data set indices of a block, int64 ``[n]``; None where the sampler draws no whole numbers, or blocks overtake."""
        if not self._drawn:
            return None
        drawn = self._drawn.popleft()
        if not self.ordered:
            return None
        ids = np.asarray(drawn if isinstance(drawn, (list, tuple)) else [drawn])
        return ids.astype(np.int64) if ids.dtype.kind in "iu" and ids.shape == (len(block),) else None

    def note(self, drawn: Any) -> None:
        self._drawn.append(drawn)


class _Drawing:
    """One pass over a sampler."""

    def __init__(self, indices: _Indices, draws: Any):
        self.indices, self.draws, self.begun = indices, draws, False

    def __iter__(self) -> _Drawing:
        return self

    def __next__(self) -> Any:
        if not self.begun:
            self.begun = True
            self.indices.begin(self.draws)
        drawn = next(self.draws)
        self.indices.note(drawn)
        return drawn


def _length(reference: DataLoader, whole: bool) -> int | None:
    """Examples that one pass reads, where that is known."""
    if isinstance(reference.batch_sampler, (list, tuple)):
        return sum(map(len, reference.batch_sampler))
    sized = reference.dataset
    if not isinstance(sized, IterableDataset):
        sized = reference.sampler if reference.batch_sampler is None else getattr(reference.batch_sampler, "sampler", None)
    try:
        length = len(sized)
    except (TypeError, NotImplementedError):
        return None
    dropping = reference.drop_last or getattr(reference.batch_sampler, "drop_last", False)
    size = getattr(reference.batch_sampler, "batch_size", None)
    return length - length % size if dropping and size and not (whole and reference.batch_size is not None) else length


def _generators(reference: DataLoader) -> list[torch.Generator]:
    """Every generator of the user's that a pass draws from, each once."""
    found, holder = [reference.generator], reference.sampler if reference.batch_sampler is None else reference.batch_sampler
    while holder is not None:
        found.append(getattr(holder, "generator", None))
        holder = getattr(holder, "sampler", None)
    return list({id(g): g for g in found if isinstance(g, torch.Generator)}.values())


def _random_states(reference: DataLoader, own_only: bool = False) -> list:
    states = [generator.get_state() for generator in _generators(reference)]
    return states if own_only else [torch.get_rng_state(), *states]


def _set_random_states(reference: DataLoader, states: list) -> None:
    for generator, state in zip(_generators(reference), states, strict=True):
        generator.set_state(state)


@contextmanager
def _restored(reference: DataLoader, states: list):
    """The random states of a saved pass: the user's generators keep going from there, torch's global one is put back."""
    _set_random_states(reference, states[1:])
    with _global_state(states[0]):
        yield


@contextmanager
def _global_state(state: torch.Tensor):
    before = torch.get_rng_state()
    torch.set_rng_state(state)
    try:
        yield
    finally:
        torch.set_rng_state(before)
