"""Predictor: what a policy asks of an online model that learns a label of 0 or 1 from a bag of words."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from filterloader.data.candidates import Bag

QUESTIONS = ("partial_fit", "decision_function", "predict_proba", "state_dict", "load_state_dict")


class Predictor(Protocol):
    """Any object with these five methods; the first three are scikit-learn's. ``X``: a ragged ``Bag`` of n rows."""

    def partial_fit(self, X: Bag, y: np.ndarray) -> Any:
        """Learn the rows of ``X`` in order. y: bool ``[n]``, whether the loss was high."""

    def decision_function(self, X: Bag) -> np.ndarray:
        """log P(1 | x) - log P(0 | x), float ``[n]``."""

    def predict_proba(self, X: Bag) -> np.ndarray:
        """P(0 | x) and P(1 | x), float ``[n, 2]``."""

    def state_dict(self) -> dict:
        """All that was learnt, as plain containers and arrays."""

    def load_state_dict(self, state: dict) -> None:
        """Go on as the one that gave ``state``; raises ValueError, and changes nothing, where it does not fit."""


def check_predictor(predictor: Any) -> Predictor:
    """``predictor`` itself; raises ValueError that names what it lacks to be a ``Predictor``."""
    missing = [name for name in QUESTIONS if not callable(getattr(predictor, name, None))]
    if isinstance(predictor, type):
        lacks = "is a class, not an instance"
    elif missing:
        lacks = f"has no {', '.join(missing)}" if len(missing) < len(QUESTIONS) else "is no predictor"
    else:
        return predictor
    raise ValueError(
        f"predictor={predictor!r:.80} {lacks}; give None, 'bernoulli', or an object as MultinomialNB(n) is, with "
        f"{', '.join(QUESTIONS)}"
    )
