"""EL2N: how far a model's probabilities are from the label; a score of how much an example still has to teach."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from filterloader.data.candidates import Candidates
from filterloader.data.checks import choice
from filterloader.data.scores import IGNORED, losses_of

JOINT = ("norm", "sum", "mean")


def returns(score: str, joint: str | None) -> str:
    """What a ``score_fn`` must return, in words."""
    if score == "loss":
        return "losses [batch] or logits [batch, classes]"
    if joint is None:
        return "logits [batch, classes], or scores [batch]"
    return (
        "(intent logits [batch, classes], slot logits [batch, tokens, slots], slot labels [batch, tokens], -100 on "
        "all but first subwords), or scores [batch]"
    )


def el2n(logits: torch.Tensor, labels: Any) -> np.ndarray:
    """``‖softmax(logits) - onehot(label)‖₂`` of each example (Paul et al. 2021), float32 ``[n]``, in [0, √2].

    logits: ``[n, C]``, C at least 2. labels: whole numbers in ``[0, C)``, ``[n]``. Raises ValueError for what does not
    fit.
    """
    return _errors(logits, labels, 2, "").sqrt().float().numpy()


def joint_el2n(
    intent_logits: torch.Tensor, intent_labels: Any, slot_logits: torch.Tensor, slot_labels: Any, kind: str = "norm"
) -> np.ndarray:
    """The EL2N of an intent, e, joined with those of its slots, e_t (Attendu and Corbeil 2023), float32 ``[n]``.

    kind: ``"norm"``: ``√(e² + Σ e_t²)``; ``"sum"``: ``e + Σ e_t``; ``"mean"``: ``(e + mean e_t) / 2`` (without any
    slot, ``e / 2``). intent_logits ``[n, C]``, intent_labels ``[n]``, slot_logits ``[n, T, S]``, slot_labels ``[n,
    T]``: -100 where a token is no slot of its own (special tokens, padding, all but the first subword of a word).
    """
    choice("joint", kind, JOINT)
    intent = _errors(intent_logits, intent_labels, 2, "intent ")
    slots = _errors(slot_logits, slot_labels, 3, "slot ")
    if len(slots) != len(intent):
        raise ValueError(f"there are {len(intent)} intents and {len(slots)} rows of slots; give both for each example")
    if kind == "norm":
        return (intent + slots.sum(dim=1)).sqrt().float().numpy()
    total = slots.sqrt().sum(dim=1)
    if kind == "sum":
        return (intent.sqrt() + total).float().numpy()
    count = (torch.as_tensor(slot_labels).cpu() != IGNORED).sum(dim=1).clamp(min=1)
    return ((intent.sqrt() + total / count) / 2).float().numpy()


def scores_of(scores: Any, candidates: Candidates, *, score: str = "el2n", joint: str | None = None) -> np.ndarray:
    """What a ``score_fn`` returned for these candidates as one score each, float32 ``[n]``, some perhaps not finite.

    A tensor ``[n]`` holds the scores themselves, high where an example still has much to teach. Else see
    ``returns``; with ``joint``, intent labels are the class labels of the rows, or a fourth tensor ``[n]``.
    """
    if isinstance(scores, torch.Tensor) and scores.ndim == 1 and score == "el2n":
        return scores.float().numpy()
    if joint is not None:
        if not isinstance(scores, tuple) or len(scores) not in (3, 4):
            raise ValueError(
                f"with joint={joint!r}, score_fn must return {returns(score, joint)}; got {_shape(scores)}"
            )
        intents = scores[3] if len(scores) == 4 else _class_labels(candidates)
        return joint_el2n(scores[0], intents, scores[1], scores[2], joint)
    if score == "loss":
        return losses_of(scores, candidates)
    if not isinstance(scores, torch.Tensor) or scores.ndim != 2:
        raise ValueError(f"score_fn must return {returns(score, joint)}, got {_shape(scores)}")
    return el2n(scores, _class_labels(candidates))


def check_joint(joint: Any) -> str | None:
    """``joint`` where it is None or one of ``JOINT``; else raises ValueError."""
    return choice("joint", joint, (None, *JOINT))


def _errors(logits: torch.Tensor, labels: Any, ndim: int, what: str) -> torch.Tensor:
    """Squared distance of each prediction from its label, float64 ``[…]``; 0 where it is ignored (slots only)."""
    logits, labels = logits.detach().cpu(), torch.as_tensor(labels).cpu()
    if logits.ndim != ndim or logits.shape[:-1] != labels.shape or logits.shape[-1] < 2:
        raise ValueError(
            f"{what}logits of shape {list(logits.shape)} do not fit {what}labels of shape {list(labels.shape)}: one "
            "row of at least two classes for each label"
        )
    if labels.is_floating_point():
        raise ValueError(f"{what}labels must be whole numbers, got {labels.dtype}")
    labels = labels.long()
    ignored = labels == IGNORED if ndim == 3 else torch.zeros_like(labels, dtype=torch.bool)
    wild = ~ignored & ((labels < 0) | (labels >= logits.shape[-1]))
    if wild.any():
        raise ValueError(f"{what}label {labels[wild][0]} is none of the {logits.shape[-1]} classes of the {what}logits")
    gaps = torch.softmax(logits.double(), dim=-1)
    index = labels.masked_fill(ignored, 0).unsqueeze(-1)
    gaps.scatter_add_(-1, index, torch.full_like(gaps[..., :1], -1.0))
    return gaps.square().sum(dim=-1).masked_fill(ignored, 0.0)


def _class_labels(candidates: Candidates) -> np.ndarray:
    if candidates.labels is None:
        raise ValueError(
            "EL2N needs one whole-number class label a row, and these rows have none: name the column with label=, "
            "return scores [batch] from score_fn, or, with joint=, return the intent labels [batch] as a fourth "
            "tensor"
        )
    return candidates.labels


def _shape(scores: Any) -> str:
    if isinstance(scores, torch.Tensor):
        return f"a tensor of shape {list(scores.shape)}"
    return f"{type(scores).__name__} of {len(scores)}" if hasattr(scores, "__len__") else type(scores).__name__
