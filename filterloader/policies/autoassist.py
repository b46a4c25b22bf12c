"""AutoAssist: a logistic assistant guesses which examples are worth a forward pass, and lets a share of the others through."""

from __future__ import annotations

import numpy as np

from filterloader.data.candidates import Bag, Candidates
from filterloader.data.checks import check_same, paste, real, share, whole
from filterloader.policies.base import everything
from filterloader.predictors.logistic import LogisticRegression

WARMUPS = ("text", "paper")
_CLASSES = 4096  # weights for labels; classes beyond them share
_LOSS_MEMORY, _CONFIDENCE_MEMORY = 0.75, 0.95
_SETTINGS = ("gamma", "warmup", "lr", "l2")


class AutoAssist:
    """Forward with probability ``floor + (1 - floor) * P(high loss)`` (Zhang, Yu, Dhillon 2019, "AutoAssist: A Framework to
    Accelerate Training of Deep Neural Networks", NeurIPS 32; arXiv 1905.03381).

    The assistant is a logistic regression on how often each word occurs, with a weight for each label: ``P = sigmoid(w·x +
    u[y])``. Every report of ``B`` losses is one gradient step of ``lr / B`` with target ``loss > running mean``, the running
    mean being ``S / n`` after ``S <- .75 S + .25 * sum(losses)`` and ``n <- .75 n + .25 B``. It learns from nothing but what
    was forwarded, and never skips a backward pass.

    gamma: the share that is let through whatever the assistant says: .5 for text, .3 for images in the source. warmup:
    ``"text"``, the authors' variant for translation: the first pass keeps everything (so one pass alone skips nothing; one without a
    report does not count), then
    ``floor = max(gamma, 1 - confidence)``, the confidence being a running mean of how often the assistant was right before it
    learnt: ``c <- .95 c + .05 * accuracy`` a report, from 0. ``"paper"``, the algorithm of the paper: ``floor = gamma`` from the
    start. lr, l2: of the assistant; a step moves the weight of a word by at most ``lr`` times its mean count in the batch, so
    that by the defaults it learns over thousands of reports (the authors' code for translation takes ``lr=1.0``). seed: of the private random state; None takes
    the loader's.

    Left open by the source, and chosen here: the running mean counts the report that is held against it (as in the authors'
    code); weights begin at 0; there is no bias but ``u``. Where candidates have no class label, a batch for one, the words
    alone decide. A scalar report credits every example with the mean of its batch, and the target is then the same for all of them.

    Raises ValueError where rows hold no words.
    """

    gates_forward = True
    gates_backward = False
    needs_words = True
    features = "tokens"  # the label has weights of its own

    def __init__(
        self, *, gamma: float = 0.5, warmup: str = "text", lr: float = 0.01, l2: float = 1e-3, seed: int | None = None
    ):
        self.gamma = share("gamma", gamma)
        if warmup not in WARMUPS:
            raise ValueError(f"warmup must be one of {', '.join(map(repr, WARMUPS))}, got {warmup!r}")
        self.warmup = warmup
        self.lr, self.l2 = real("lr", lr), real("l2", l2)
        if not (self.lr > 0 and self.l2 >= 0 and self.lr * self.l2 < 1):
            raise ValueError(f"lr must be above 0, l2 at least 0 and lr * l2 below 1, got lr={lr!r}, l2={l2!r}")
        self.seed = None if seed is None else whole("seed", seed, low=0)
        self._rng = np.random.default_rng(self.seed)
        self._assistant: LogisticRegression | None = None
        self._passes = 0  # before this one, of those that brought a report
        self._reported = False  # whether this one has
        self._losses = np.zeros(2)  # S and n
        self._confidence = 0.0
        self._screened = np.zeros(2, np.int64)  # asked, accepted

    def __repr__(self) -> str:
        return paste(self, *_SETTINGS, "seed")

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

    def bind(self, seed: int) -> None:
        if self.seed is None:
            self._rng = np.random.default_rng(seed)

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
        """For the ledger. confidence: running share of right guesses. acceptance: share of all candidates let through so far.
        floor: see the class."""
        asked, accepted = self._screened.tolist()
        return {
            "confidence": self._confidence,
            "acceptance": accepted / asked if asked else float("nan"),
            "floor": self.floor,
        }

    def state_dict(self) -> dict:
        return {
            "settings": paste(self, *_SETTINGS),
            "rng": self._rng.bit_generator.state,
            "assistant": None if self._assistant is None else self._assistant.state_dict(),
            "passes": self._passes,
            "reported": self._reported,
            "losses": self._losses.copy(),
            "confidence": self._confidence,
            "screened": self._screened.copy(),
        }

    def load_state_dict(self, state: dict) -> None:
        check_same("settings", state["settings"], paste(self, *_SETTINGS))
        saved, assistant = state["assistant"], None
        if saved is not None:
            assistant = self._fresh(int(saved["n_features"]))
            assistant.load_state_dict(saved)
        passes, reported, confidence = int(state["passes"]), bool(state["reported"]), float(state["confidence"])
        losses, screened = np.array(state["losses"], float), np.array(state["screened"], np.int64)
        self._rng.bit_generator.state = state["rng"]
        self._assistant, self._losses, self._confidence, self._screened = assistant, losses, confidence, screened
        self._passes, self._reported = passes, reported


def _words_and_label(candidates: Candidates) -> Bag:
    """The bag of each candidate with its label as one word more, past the others."""
    bag = candidates.bag
    if bag is None:
        raise ValueError(
            "AutoAssist reads the words of each example, and these rows hold none; give the loader tokenizer= and text=, or rows "
            "with input_ids, or choose a policy that reads no words (AutoThreshold, FixedThreshold, Random)"
        )
    if candidates.labels is None:
        return bag._replace(n_features=bag.n_features + _CLASSES)
    labels = bag.n_features + candidates.labels % _CLASSES
    ids = np.insert(bag.ids, bag.offsets[1:], labels.astype(np.int32))
    return Bag(ids, bag.offsets + np.arange(bag.offsets.size), bag.n_features + _CLASSES)
