"""Survey: a look over the whole data set before a pass, for policies that choose from all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sized
from typing import Any

import numpy as np
import torch

from filterloader.data.candidates import Candidates
from filterloader.data.scores import IGNORED
from filterloader.data.source import Source
from filterloader.feedback.ledger import Ledger
from filterloader.policies.registry import fitting

_ROWS = 1024  # read at once where nothing is scored
_BATCHES = 8  # read at once where the model scores: enough to find batches of similar length


class Survey:
    """The whole data set in blocks of ``(candidates, scores)``, in data-set order: what ``policy.survey`` gets. Of a
    data set from which a ``SubsetRandomSampler`` (any sampler with ``indices``) draws a part, that part.

    Each iteration reads the rows anew; a survey that is not iterated costs nothing. Sampler, generators and random
    states of a pass stay as they are. candidates: ``example_ids`` are the indices in the data set (``indexed``),
    ``bag`` is there where the policy needs words. scores: what ``score_fn`` returned for these rows, on the CPU: a
    tensor ``[n, …]``, or a tuple, list or dict of them; None where the policy has ``survey_scores = False``. The
    model sees batches of the loader's batch size, of similar length; where they were padded to different widths, the
    narrower ones are filled up: whole numbers with -100, others with 0.

    ``score_fn`` runs without gradients and is called with the batch alone. Whether the model is in evaluation mode
    meanwhile (no dropout), and on which device the batch belongs, is up to ``score_fn``.

    Attributes: ``examples``, how many there are; ``rows``, int64 ``[examples]``, their indices in the data set, rising;
    ``length``, of the data set.
    """

    def __init__(
        self,
        policy: Any,
        source: Source,
        collate: Callable,
        *,
        features: Callable | None,
        finish: Callable[[Candidates], Candidates],
        score_fn: Callable | None,
        size: int | None,
        ledger: Ledger,
    ):
        self.policy, self.ledger = policy, ledger
        self._source, self._collate, self._features = source, collate, features
        self._finish, self._size = finish, size or 32
        self._score_fn: Any = score_fn

    @property
    def length(self) -> int:
        return len(self._source.reference.dataset)

    @property
    def rows(self) -> np.ndarray:
        drawn = _drawn_from(self._source)
        if drawn is None:
            return np.arange(self.length)
        drawn = np.asarray(drawn, np.int64)
        return np.unique(np.where(drawn < 0, drawn + self.length, drawn))

    @property
    def examples(self) -> int:
        return self.length if _drawn_from(self._source) is None else len(self.rows)

    def before_pass(self) -> None:
        """Let the policy look, if it wants to before this pass; its time is ``survey_s`` in the ledger."""
        if not self.policy.surveys or not self.examples:
            return
        self.ledger.enter("survey")
        try:
            self.policy.survey(self)
        finally:
            self.ledger.leave(None)

    def __iter__(self) -> Iterator[tuple[Candidates, Any]]:
        scoring = self.policy.survey_scores
        if scoring and self._score_fn is None:
            raise ValueError(_no_score_fn(self.policy))
        source, rows = self._source.aside(), self.rows
        at_once = _BATCHES * self._size if scoring else _ROWS
        for start in range(0, len(rows), at_once):
            index = rows[start : start + at_once]
            block = source.read(index).placed(start, index, len(rows))
            if self._features is not None:
                block.bag = self._features(block)
            yield block, self._score(block) if scoring else None

    def _score(self, block: Candidates) -> Any:
        block = self._finish(block)
        lengths = block.lengths
        order = np.arange(len(block)) if lengths is None else np.argsort(lengths, kind="stable")
        parts = []
        for at in range(0, len(block), self._size):
            batch = block.take(order[at : at + self._size])
            with torch.no_grad():
                parts.append(_arrived(self._score_fn(self._collate(batch)), len(batch)))
        self.ledger.count(surveyed=len(block))
        return _joined(parts, torch.from_numpy(np.argsort(order)))


def check(policy: Any, source: Source, *, features: Any, score_fn: Any) -> None:
    """Raise ValueError where a policy needs what this loader cannot give it."""
    name, surveys = policy.name, policy.survey is not None
    if surveys or policy.needs_index:
        if source.streaming:
            raise ValueError(
                f"{name} needs examples by index, and an iterable data set has none; give it as rows by number (a "
                f"list, a map-style Dataset, a datasets.Dataset), or choose a policy "
                f"for streams: {fitting(streams=True)}"
            )
        if source.reference.num_workers and not source.reference.in_order:
            raise ValueError(
                f"{name} needs examples by index, and in_order=False with workers loses which is which; use "
                f"in_order=True, or choose a policy that needs no index: {fitting(streams=True)}"
            )
    if surveys and not hasattr(source.reference.dataset, "__len__"):
        raise ValueError(f"{name} needs to know how many examples there are; give the data set a __len__")
    if surveys and policy.survey_scores and score_fn is None:
        raise ValueError(_no_score_fn(policy))
    crossed = getattr(features, "label", False) in (None, True)  # None: wherever there is a label
    if policy.predicts_labels and crossed:
        raise ValueError(
            f"{name} predicts the label from the words, and features={features!r} tells it "
            "the label; leave features= out"
        )


def _drawn_from(source: Source) -> Sized | None:
    """The indices that a sampler is limited to, None where it is to none."""
    given = source.reference
    sampler = given.sampler if given.batch_sampler is None else getattr(given.batch_sampler, "sampler", None)
    indices = getattr(sampler, "indices", None)
    return indices if isinstance(indices, Sized) else None


def _no_score_fn(policy: Any) -> str:
    wanted = policy.survey_returns
    return (
        f"{policy.name} looks over the whole data set with the model; give the loader score_fn=, a function of a batch "
        f"that returns {wanted} (called without gradients; switching dropout off is up to it)"
    )


def _arrived(scores: Any, n: int) -> Any:
    """What a ``score_fn`` returned for ``n`` rows, on the CPU."""
    if isinstance(scores, torch.Tensor):
        if scores.shape[:1] != (n,):
            raise ValueError(
                f"score_fn must return one row for each of the {n} examples of its batch, got shape "
                f"{list(scores.shape)}"
            )
        return scores.detach().to("cpu")
    if isinstance(scores, Mapping) and scores:
        return {name: _arrived(part, n) for name, part in scores.items()}
    if isinstance(scores, (tuple, list)) and scores:
        return tuple(_arrived(part, n) for part in scores)
    raise ValueError(f"score_fn must return a tensor, or a tuple, list or dict of tensors, got {type(scores).__name__}")


def _joined(parts: list, order: torch.Tensor) -> Any:
    """The scores of several batches as one, their rows in ``order``."""
    first = parts[0]
    if isinstance(first, dict):
        return {name: _joined([part[name] for part in parts], order) for name in first}
    if isinstance(first, tuple):
        return tuple(_joined([part[i] for part in parts], order) for i in range(len(first)))
    shape = [max(sizes) for sizes in zip(*(part.shape[1:] for part in parts), strict=True)]
    if all(list(part.shape[1:]) == shape for part in parts):
        return torch.cat(parts)[order]
    fill = 0 if first.is_floating_point() or first.dtype == torch.bool else IGNORED
    out, at = torch.full([len(order), *shape], fill, dtype=first.dtype), 0
    for part in parts:
        where = (slice(at, at + len(part)), *map(slice, part.shape[1:]))
        out[where] = part
        at += len(part)
    return out[order]
