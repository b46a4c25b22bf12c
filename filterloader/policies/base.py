"""Policy: what the loader asks of a decision rule, and what it may ask besides."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np

from filterloader.data.candidates import Candidates


class Policy(Protocol):
    """Two questions, one class. Any object with these four methods is a policy.

    A policy may also have, each optional:

    - ``gates_forward: bool = True``: whether ``screen`` can ever drop a candidate. Where it cannot, batches leave as the
      sampler made them.
    - ``gates_backward: bool = True``: whether ``judge`` can drop anything now. While it cannot, no decision waits for the
      losses, and those on a GPU are learnt from eight reports later, when they have arrived.
    - ``features: str = "auto"``: the kind of words it wants where the user names none.
    - ``needs_words: bool = True``: whether it reads ``candidates.bag``.
    - ``stage: str``, ``loss_threshold: float | None``, ``scalars() -> dict[str, float]``: shown in the ledger.
    - ``bind(seed)``: called once by the loader; a policy without a seed of its own takes this one.
    - ``begin_pass()``, ``end_pass()``: called around each pass over the stream; a pass that is broken off has no end.
    - ``granularities: tuple[str, ...]``: those it can decide at; a loader of another refuses it.
    - ``needs_index: bool = False``: whether it goes by ``example_ids`` as indices in the data set; a loader over a stream refuses it.
    - ``predicts_labels: bool = False``: whether it learns the label from the words, which then must not be crossed with it.

    And to look over the whole data set before a pass (``Surveying``, below):

    - ``surveys: bool``: whether it wants to, before the pass that begins now. Asked right after ``begin_pass()``, never in the
      middle of a pass; what the policy makes of it is part of its ``state_dict``, since a resumed pass is not surveyed again.
    - ``survey(blocks)``: called then, once.
    - ``survey_scores: bool = True``: whether the model scores the examples for it, which costs a forward pass each.
    - ``survey_returns: str``: what ``score_fn`` must return for it, for the error that says so.
    """

    def screen(self, candidates: Candidates) -> np.ndarray:
        """Before the forward pass: weights float32 ``[n]``, 0 = do not forward."""

    def judge(self, candidates: Candidates, losses: np.ndarray) -> np.ndarray:
        """After it: weights float32 ``[n]``, 0 = do not backward. losses: float32 ``[n]``, finite, >= 0. Learns from them."""

    def state_dict(self) -> dict: ...

    def load_state_dict(self, state: dict) -> None: ...


class Surveying(Policy, Protocol):
    """A policy that looks over the whole data set before a pass, when it wants to."""

    surveys: bool

    def survey(self, blocks: Iterable[tuple[Candidates, Any]]) -> None:
        """blocks: ``(candidates, scores)`` over the whole data set in its order, with ``blocks.examples``, how many there are, and
        ``blocks.rows``, their indices, which a sampler may limit (see ``filterloader.stages.survey.Survey``). candidates:
        ``example_ids`` are indices in the data set, ``bag`` is there where ``needs_words``. scores: what the loader's
        ``score_fn`` returned for them, CPU tensors with one row a candidate: a tensor or a tuple or dict of tensors; None
        where ``survey_scores`` is False. May be iterated several times, or not at all; each
        time reads, and scores, everything anew. An error leaves the policy as it was: the next pass surveys again."""


def everything(candidates: Candidates) -> np.ndarray:
    """Weights that keep every candidate as it is."""
    return np.ones(len(candidates), np.float32)


class _Completed:
    DEFAULTS = {"gates_forward": True, "gates_backward": True, "features": "auto", "needs_words": True, "needs_index": False,
                "predicts_labels": False, "granularities": ("example", "batch"), "stage": None, "loss_threshold": None,
                "surveys": False, "survey_scores": True, "survey_returns": "a tensor [batch, …], or a tuple, list or dict of them"}  # fmt: skip

    def __init__(self, policy):
        self.own = policy

    def __getattr__(self, name):
        own = self.__dict__["own"]
        if name in ("bind", "begin_pass", "end_pass"):
            return getattr(own, name, lambda *a: None)
        if name == "can_gate_backward":
            return getattr(type(own), "gates_backward", True) is not False
        if name == "scalars":
            return getattr(own, name, dict)
        return getattr(own, name, self.DEFAULTS[name]) if name in self.DEFAULTS else getattr(own, name)

    def __repr__(self):
        return repr(self.own)

    def __getstate__(self):
        return self.__dict__

    def __setstate__(self, state):
        self.__dict__.update(state)


def complete(policy):
    return _Completed(policy)
