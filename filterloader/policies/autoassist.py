"""AutoAssist: a logistic assistant guesses what is worth a forward pass, and lets a share of the rest through."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from filterloader.data.candidates import Bag, Candidates
from filterloader.data.checks import choice, real, share
from filterloader.policies.base import everything, words_of
from filterloader.policies.parts.seeded import Seeded
from filterloader.policies.parts.state import array, generator, scalar
from filterloader.predictors.inputs import width_of
from filterloader.predictors.logistic import LogisticRegression

WARMUPS = ("text", "paper")
_CLASSES = 4096  # weights for labels; classes beyond them share
_LOSS_MEMORY, _CONFIDENCE_MEMORY = 0.75, 0.95


class AutoAssist(Seeded):
    """Forward with probability ``floor + (1 - floor) * P(high loss)``, as an online logistic regression guesses it.

    The assistant reads how often each word occurs and has a weight for each label: ``P = sigmoid(w·x + u[y])``. Every
    report of ``B`` losses is one gradient step of ``lr / B`` with target ``loss > running mean``, the running mean
    being ``S / n`` after ``S <- .75 S + .25 * sum(losses)`` and ``n <- .75 n + .25 B``. It learns from what was
    forwarded, and skips no backward pass. A scalar report credits every example with the mean of its batch, and the
    target is then the same for all of them.

    Left open by the source, and chosen here: the running mean counts the report that is held against it (as in the
    authors' code); weights begin at 0; there is no bias but ``u``. Where there is no class label, the words alone
    decide.

    Args:
        gamma (float): share let through whatever the assistant says, in [0, 1]: .5, the default, for text; .3 for
            images.
        warmup (str): ``"text"``, the default and the authors' variant for translation: the first pass that brings a
            report keeps everything, then ``floor = max(gamma, 1 - confidence)``, with ``c <- .95 c + .05 * accuracy`` a
            report, from 0, of how often the assistant was right before it learnt. ``"paper"``: ``floor = gamma`` from
            the start.
        lr (float): of the assistant, above 0; .01 by default, which learns over thousands of reports (for translation:
            1.0).
        l2 (float): of the assistant, at least 0 and ``lr * l2`` below 1; 1e-3 by default.
        seed (int): of the private random state; None, the default, takes the loader's.

    Raises:
        ValueError: where rows hold no words.

    Example:
        >>> from filterloader import AutoAssist, FilteringDataLoader
        >>> rows = [{"input_ids": [i % 7, 3], "label": i % 2} for i in range(100)]
        >>> loader = FilteringDataLoader(rows, batch_size=10, policy=AutoAssist(gamma=0.3, warmup="paper", seed=0))
        >>> 4 <= sum(1 for batch in loader) <= 9
        True

    Source: Zhang, Yu and Dhillon 2019, "AutoAssist: A Framework to Accelerate Training of Deep Neural Networks",
    NeurIPS 32, arXiv 1905.03381.
    """

    gates_backward = False
    features = "tokens"  # the label has weights of its own
    stages = ("warm-up", "filter")
    example_settings: ClassVar = {"lr": 1.0, "seed": 1}
    _settings = ("gamma", "warmup", "lr", "l2")
    _reads_itself = ("assistant",)
    _remembers: ClassVar = {
        "_rng": generator,
        "_passes": scalar(int),
        "_reported": scalar(bool),
        "_losses": array(float, 2),
        "_confidence": scalar(float),
        "_screened": array(np.int64, 2),
    }

    def __init__(
        self, *, gamma: float = 0.5, warmup: str = "text", lr: float = 0.01, l2: float = 1e-3, seed: int | None = None
    ):
        super().__init__(seed)
        self.gamma, self.warmup = share("gamma", gamma), choice("warmup", warmup, WARMUPS)
        self.lr, self.l2 = real("lr", lr, above=0), real("l2", l2, least=0)
        if self.lr * self.l2 >= 1:
            raise ValueError(f"lr * l2 must be below 1, or a step overshoots; got lr={lr!r}, l2={l2!r}")
        self._assistant: LogisticRegression | None = None
        self._passes = 0  # before this one, of those that brought a report
        self._reported = False  # whether this one has
        self._losses = np.zeros(2)  # S and n
        self._confidence = 0.0
        self._screened = np.zeros(2, np.int64)  # asked, accepted

    @property
    def stage(self) -> str:
        return "warm-up" if self.warmup == "text" and not self._passes else "filter"

    @property
    def loss_threshold(self) -> float | None:
        """The running mean of losses; None before the first report."""
        return float(self._losses[0] / self._losses[1]) if self._losses[1] else None

    @property
    def floor(self) -> float:
        """Probability of being let through whatever the assistant says."""
        if self.stage == "warm-up":
            return 1.0
        return self.gamma if self.warmup == "paper" else max(self.gamma, 1.0 - self._confidence)

    def begin_pass(self) -> None:
        self._passes += self._reported
        self._reported = False

    def screen(self, candidates: Candidates) -> np.ndarray:
        X = _words_and_label(candidates)
        if self.stage == "warm-up":
            keep = everything(candidates)
        else:
            chance = self.floor + (1.0 - self.floor) * self._model(X).predict_proba(X)[:, 1]
            keep = (self._rng.random(len(candidates)) < chance).astype(np.float32)
        self._screened += len(candidates), int(keep.sum())
        return keep

    def judge(self, candidates: Candidates, losses: np.ndarray) -> np.ndarray:
        X = _words_and_label(candidates)
        self._reported = True
        here = np.array([losses.sum(dtype=np.float64), losses.size])
        self._losses = _LOSS_MEMORY * self._losses + (1 - _LOSS_MEMORY) * here
        high = losses > np.float32(self.loss_threshold)
        model = self._model(X)
        right = (model.predict(X) == high).mean()
        self._confidence = _CONFIDENCE_MEMORY * self._confidence + (1 - _CONFIDENCE_MEMORY) * float(right)
        model.partial_fit(X, high)
        return everything(candidates)

    def _model(self, X: Bag) -> LogisticRegression:
        if self._assistant is None:
            self._assistant = self._fresh(X.n_features)
        return self._assistant

    def _fresh(self, n_features: int) -> LogisticRegression:
        return LogisticRegression(n_features, lr=self.lr, l2=self.l2, fit_intercept=False, step="call")

    def scalars(self) -> dict[str, float]:
        """For the ledger. confidence: running share of right guesses. acceptance: share of all candidates let through
        so far. floor: see the class."""
        asked, accepted = self._screened.tolist()
        return {
            "confidence": self._confidence,
            "acceptance": accepted / asked if asked else float("nan"),
            "floor": self.floor,
        }

    def state_dict(self) -> dict:
        return {**super().state_dict(), "assistant": None if self._assistant is None else self._assistant.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        values, assistant = self._read(state), None
        if state["assistant"] is not None:
            assistant = self._fresh(width_of(state["assistant"]))
            assistant.load_state_dict(state["assistant"])
        self._take(values)
        self._assistant = assistant


def _words_and_label(candidates: Candidates) -> Bag:
    """The bag of each candidate with its label as one word more, past the others."""
    bag = words_of(candidates, "AutoAssist")
    if candidates.labels is None:
        return bag._replace(n_features=bag.n_features + _CLASSES)
    labels = bag.n_features + candidates.labels % _CLASSES
    ids = np.insert(bag.ids, bag.offsets[1:], labels.astype(np.int32))
    return Bag(ids, bag.offsets + np.arange(bag.offsets.size), bag.n_features + _CLASSES)
