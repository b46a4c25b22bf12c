"""Plan: which stages a loader needs, told from its policy and its arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch.utils.data import DataLoader

from filterloader.data.checks import integer
from filterloader.policies.base import may_gate_backward

_BATCHES = 8  # held back where examples are filtered, to group similar lengths


class Plan(NamedTuple):
    """The stages beside Read, Screen and Collate, and what they need to know.

    Attributes:
        regroups: batches of similar length are made before anything is decided.
        texts: what is decided on is text, and tokenized after.
        scores: a ``score_fn`` gives losses before batches are made.
        refills: what is left is put together anew.
        keeps_last: one kept batch is held back.
        batches: how many batches are held back to group similar lengths.
        size: examples a batch; None where batches differ.
        single: rows come one by one (``batch_size=None``).
    """

    regroups: bool
    texts: bool
    scores: bool
    refills: bool
    keeps_last: bool
    batches: int
    size: int | None
    single: bool

    @property
    def apart(self) -> bool:
        """Whether the batches of the sampler are taken apart."""
        return self.refills or self.regroups


def plan_of(
    policy: Any,
    reference: DataLoader,
    *,
    granularity: str,
    texts: bool,
    score_fn: Callable | None,
    buffer_batches: int | None,
) -> Plan:
    """The plan of a loader.

    Args:
        policy: complete, see ``policies.base.complete``.
        reference: a ``DataLoader`` of the user's arguments.
        granularity: ``"example"`` or ``"batch"``.
        texts: whether words are read from raw text.
        score_fn: the user's, or None.
        buffer_batches: the user's; None: 8 where examples are filtered, else 0.
    """
    by_example = granularity == "example"
    scores = score_fn is not None and may_gate_backward(policy)
    single = reference.batch_size is None and reference.batch_sampler is None
    if buffer_batches is None:
        buffer_batches = _BATCHES if by_example and (scores or policy.gates_forward) else 0
    batches = integer("buffer_batches", buffer_batches, least=0)
    size = getattr(reference.batch_sampler, "batch_size", None)
    return Plan(
        regroups=batches > 0 and not single and (not by_example or scores),
        texts=texts,
        scores=scores,
        refills=by_example and (policy.gates_forward or scores or batches > 0),
        keeps_last=not by_example and policy.gates_forward,
        batches=batches,
        size=1 if single else size if isinstance(size, int) else None,
        single=single,
    )
