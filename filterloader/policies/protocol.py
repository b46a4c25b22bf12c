"""Policy: what the loader asks of a decision rule, and what it may ask besides."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from filterloader.candidates import Candidates


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
    - ``begin_pass()``, ``end_pass()``: called around each pass over the stream.
    """

    def screen(self, candidates: Candidates) -> np.ndarray:
        """Before the forward pass: weights float32 ``[n]``, 0 = do not forward."""

    def judge(self, candidates: Candidates, losses: np.ndarray) -> np.ndarray:
        """After it: weights float32 ``[n]``, 0 = do not backward. losses: float32 ``[n]``, finite, >= 0. Learns from them."""

    def state_dict(self) -> dict: ...

    def load_state_dict(self, state: dict) -> None: ...


def everything(candidates: Candidates) -> np.ndarray:
    """Weights that keep every candidate as it is."""
    return np.ones(len(candidates), np.float32)
