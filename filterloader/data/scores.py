"""Scores: what a score function returned, as one loss an example."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from filterloader.data.candidates import Candidates

IGNORED = -100  # what torch's losses ignore


def losses_of(scores: Any, candidates: Candidates) -> np.ndarray:
    """What a ``score_fn`` returned as losses float32 ``[n]``, some perhaps not finite; logits become cross entropy
    with the labels.
    """
    n = len(candidates)
    if not isinstance(scores, torch.Tensor) or scores.shape[:1] != (n,) or scores.ndim > 2:
        got = list(scores.shape) if isinstance(scores, torch.Tensor) else type(scores).__name__
        raise ValueError(f"score_fn must return losses [{n}] or logits [{n}, classes] for this batch, got {got}")
    if scores.ndim == 2:
        if candidates.labels is None:
            raise ValueError(
                "score_fn returned logits, but the rows have no class label; return losses [batch] instead"
            )
        _check_classes(candidates.labels, scores.shape[1])
        labels = torch.from_numpy(candidates.labels).to(scores.device, non_blocking=True)
        scores = torch.nn.functional.cross_entropy(scores.float(), labels, reduction="none")
    return scores.detach().to("cpu", torch.float32).numpy()


def _check_classes(labels: np.ndarray, classes: int) -> None:
    if classes < 2:
        raise ValueError(
            f"score_fn returned shape [{len(labels)}, {classes}], which is neither losses nor logits; return losses as "
            f"[{len(labels)}]"
        )
    wrong = labels[((labels < 0) & (labels != IGNORED)) | (labels >= classes)]
    if wrong.size:
        raise ValueError(
            f"score_fn returned logits of {classes} classes, and an example has the label {wrong[0]}; labels must be "
            f"0 to {classes - 1}"
        )
