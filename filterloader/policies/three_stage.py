"""ThreeStage: warm up, fit a predictor of the loss, then let it skip forward passes."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np

from filterloader.data.candidates import Candidates
from filterloader.data.checks import boolean, pasteable_repr, share
from filterloader.policies.base import everything, words_of
from filterloader.policies.parts.gate import Gate
from filterloader.policies.parts.seeded import Seeded
from filterloader.policies.parts.state import PART, array, generator, scalar
from filterloader.policies.parts.threshold import MovingAverageThreshold, moving
from filterloader.policies.parts.warmup import Warmup
from filterloader.predictors.base import Predictor, check_predictor
from filterloader.predictors.inputs import width_of
from filterloader.predictors.naive_bayes import BernoulliNB, MultinomialNB

_AUDITS_AWAITED = 4096
_UNTOLD = 1000  # reports of the fit stage before its failure is told, where the length of the stream is not known
_UNTOLD_OF_A_PASS = 500, 4000  # and where it is: at least and at most
_AUDITS_NEEDED, _AUDIT_MEMORY = 16, 0.95  # audits before they can end the filter stage; weight of the past, an audit


class ThreeStage(Seeded):
    """Multistage data filtering: warm up, fit a predictor of the loss, then let it skip forward passes.

    *Warm-up*: everything is trained on while the loss threshold forms. *Fit*: what has a loss below the threshold skips
    its backward pass, and every forwarded example teaches the predictor: bag of words in, ``loss > threshold`` out.
    *Filter*: the predictor is asked first, and what it calls low-loss skips the forward pass too; what it lets through
    is judged by its loss as before and goes on teaching it. Later passes stay in the filter stage.

    Where the predictor does not earn the filter stage, the policy says so once: at the end of a pass, or after a
    quarter of one in the fit stage (500 to 4000 reports; 1000 where the length of the stream is not known). With a
    scalar report at example granularity every example gets its batch's mean as its loss, which is nearly no signal:
    report per-example losses.

    Args:
        warmup (float, int or None): N0, a share of one pass (float; 0.1 by default), a count of examples (int) or None:
            until the loss has settled below what guessing costs, 1024 reports at most (so too where the length of the
            stream is not known). Take None where the model may be slow to begin to learn.
        window (int): W, reports that the gate to the filter stage looks at; 8 by default.
        alt (float): ALT, the predictor loss in nats at which the gate opens, above 0. None, the default, asks the
            predictor to beat the entropy of its own labels by ``margin``: the paper's .1 to .5 are out of reach on data
            like SST-2, when measured on what is not learnt yet.
        margin (float): share of that entropy, at least 0; .02 by default.
        threshold (MovingAverageThreshold): None, the default, is the paper's (K = 8).
        predictor (Predictor): see ``predictors.base``; None, the default, is a calibrated ``MultinomialNB``,
            ``"bernoulli"`` the paper's model.
        cutoff (float): P(high loss) below which a candidate is skipped; .3 by default. Lower it where too little gets
            through. .5 is the paper's; it skips so much that some runs forget what they no longer see.
        audit (float): chance that a candidate is let through although the predictor calls it low-loss, so that its
            mistakes are counted; .02 by default, 0 the paper's. Where audited skips come to have high losses as often
            as all examples had when the filter stage began, the policy warms up again, and says so.
        backward_gate (bool): False never skips a backward pass, so that no report waits for the losses; True by
            default.
        in_sample (bool): measure the gate after the update, as the authors' script does (it passes on noise); False by
            default.
        seed (int): of the private random state; None, the default, takes the loader's.

    Raises:
        ValueError: where rows hold no words.

    Example:
        >>> import torch
        >>> from filterloader import FilteringDataLoader, ThreeStage
        >>> rows = [{"input_ids": [i % 2, 2 + i % 3], "label": 0} for i in range(4000)]
        >>> policy = ThreeStage(warmup=100, seed=0)
        >>> loader = FilteringDataLoader(rows, batch_size=16, policy=policy)
        >>> for batch in loader:  # the loss is low where the first word is 0
        ...     _ = loader.hook.report(batch["input_ids"][:, 0].float())
        >>> policy.stage
        'filter'

    Source: Ouyang et al. 2022, arXiv 2207.14386, §3.1.
    """

    stages = ("warm-up", "fit", "filter")
    example_settings: ClassVar = {"warmup": 50, "audit": 0.2, "seed": 1}
    _settings = ("warmup", "window", "alt", "margin", "threshold", "cutoff", "audit", "backward_gate", "in_sample")
    _reads_itself = ("predictor",)
    _remembers: ClassVar = {
        "_rng": generator,
        "_warmup": PART,
        "threshold": PART,
        "_gate": PART,
        "_filtering": scalar(bool),
        "_told": scalar(bool),
        "_told_back": scalar(bool),
        "_rate": scalar(float),
        "_skips": array(float, 2),
        "_audited": lambda saved: set(array(np.int64)(saved).tolist()),
        "_counts": array(float, 5),
    }

    def __init__(
        self,
        *,
        warmup: float | int | None = 0.1,
        window: int = 8,
        alt: float | None = None,
        margin: float = 0.02,
        threshold: MovingAverageThreshold | None = None,
        predictor: Predictor | str | None = None,
        cutoff: float = 0.3,
        audit: float = 0.02,
        backward_gate: bool = True,
        in_sample: bool = False,
        seed: int | None = None,
    ):
        super().__init__(seed)
        self._own = predictor is None or (isinstance(predictor, str) and predictor == "bernoulli")  # built here
        self.predictor: Any = predictor if self._own else check_predictor(predictor)
        self.threshold = moving(threshold)
        self.cutoff, self.audit = share("cutoff", cutoff), share("audit", audit)
        self.backward_gate = boolean("backward_gate", backward_gate)
        self.in_sample = boolean("in_sample", in_sample)
        bernoulli = isinstance(predictor, (str, BernoulliNB))
        # a Bernoulli model is lost where few of the features can occur
        self.features = "tokens" if bernoulli else "auto"
        self._predictor: Any = None if self._own else predictor
        self._warmup = Warmup(warmup)
        self._gate = Gate(window, alt=alt, margin=margin)
        self.warmup, self.window = self._warmup.length, self._gate.window
        self.alt, self.margin = self._gate.alt, self._gate.margin
        self._filtering = False
        self._told = self._told_back = False
        self._rate = 0.0  # share of high losses when the filter stage began
        self._skips = np.zeros(2)  # recent audits, and how many had a high loss
        self._audited: set[int] = set()  # places in the stream let through against the predictor, not yet reported
        self._counts = np.zeros(5)  # audits, audits with a high loss; both would skip, only threshold, only predictor

    @classmethod
    def reference_script(cls, **settings: Any) -> ThreeStage:
        """The choices of the authors' published script where they differ from their paper: a Bernoulli model, a
        threshold over the last 128 example losses that counts the current batch and stands still after the warm-up, the
        gate measured on the batch just learnt (W = 8, ALT = 0.3), no audit. Use it with ``batch_size=8``."""
        threshold = MovingAverageThreshold(128, unit="example", include_current=True, frozen=True)
        script = {
            "threshold": threshold,
            "predictor": "bernoulli",
            "alt": 0.3,
            "in_sample": True,
            "cutoff": 0.5,
            "audit": 0.0,
        }
        return cls(**{**script, **settings})

    def __repr__(self) -> str:
        return pasteable_repr(self, *self._settings, "predictor", "seed")

    @property
    def stage(self) -> str:
        return "filter" if self._filtering else "fit" if self._warmup.over else "warm-up"

    @property
    def gates_backward(self) -> bool:
        return self.backward_gate and self._warmup.over

    @property
    def loss_threshold(self) -> float | None:
        return self.threshold.value

    def begin_pass(self) -> None:
        self._audited.clear()

    def end_pass(self) -> None:
        self._tell_if_unearned(self.window)

    def _tell_if_unearned(self, patience: float) -> None:
        """Say once that so many reports of the fit stage have not opened the gate."""
        if self.stage == "fit" and self._gate.reports >= patience and not self._told:
            self._told = True
            gain = f"a gain of {self.margin:.1%} over guessing, four standard errors, and both low and high losses"
            goal = gain if self.alt is None else f"a loss of {self.alt}"
            warnings.warn(
                f"the predictor has not earned the filter stage: after {self._gate.reports} reports its loss is "
                f"{self._gate.loss:.3f} nats, a gain of {self._gate.gain or 0.0:.1%} over guessing, and the gate asks "
                f"for {goal}; until then no forward pass is skipped. Its words may say little about the loss here: "
                "try other features=, report per-example losses, or change alt= or margin=",
                stacklevel=2,
            )

    def screen(self, candidates: Candidates) -> np.ndarray:
        self._model(candidates)  # says so where there are no words
        if not self._filtering:
            return everything(candidates)
        keep = self._proba(candidates) >= self.cutoff
        if self.audit:
            audited = ~keep & (self._rng.random(len(candidates)) < self.audit)
            self._audited.update(candidates.positions[audited].tolist())
            if len(self._audited) > _AUDITS_AWAITED:  # batches that were never reported
                self._audited = set(sorted(self._audited)[-_AUDITS_AWAITED // 2 :])
            keep |= audited
        return keep.astype(np.float32)

    def judge(self, candidates: Candidates, losses: np.ndarray) -> np.ndarray:
        threshold = self.threshold.observe(losses)
        warming = not self._warmup.over
        self._warmup.report(candidates, losses, self.threshold.settled)
        if self._warmup.over:
            self.threshold.end_warmup()
        if warming or threshold is None:
            return everything(candidates)
        self._learn(candidates, losses, threshold)
        return (losses >= threshold).astype(np.float32) if self.backward_gate else everything(candidates)

    def _learn(self, candidates: Candidates, losses: np.ndarray, threshold: float) -> None:
        y = losses > threshold
        proba = self._proba(candidates)
        self._model(candidates).partial_fit(words_of(candidates, "ThreeStage"), y)
        self._tally(candidates, y, proba < self.cutoff)
        self._gate.observe(self._proba(candidates) if self.in_sample else proba, y)
        if not self._filtering and self._gate.open:
            self._filtering, self._rate, self._skips = True, self._gate.rate, np.zeros(2)
        elif not self._filtering:
            reports = (candidates.total or 0) / (4 * len(candidates) * candidates.merged)  # in a quarter of a pass
            self._tell_if_unearned(_UNTOLD if candidates.total is None else np.clip(reports, *_UNTOLD_OF_A_PASS))
        elif self._skips[0] >= _AUDITS_NEEDED and self._skips[1] >= self._rate * self._skips[0]:
            self._start_over()

    def _start_over(self) -> None:
        """What is skipped has become as hard as everything was, so the model forgets it: warm up again."""
        if not self._told_back:
            self._told_back = True
            warnings.warn(
                f"back to the warm-up: {self._skips[1] / self._skips[0]:.0%} of the audited skips had a high loss, as "
                f"many as among all examples when the filter stage began ({self._rate:.0%}); the model forgets what "
                "it no longer sees. A lower cutoff= or a longer warmup= skips less",
                stacklevel=2,
            )
        self._filtering = False
        self.threshold.begin_warmup()
        self._warmup, self._gate = Warmup(self.warmup), Gate(self.window, alt=self.alt, margin=self.margin)

    def _tally(self, candidates: Candidates, y: np.ndarray, low: np.ndarray) -> None:
        if self._audited:
            audited = np.array([place in self._audited for place in candidates.positions.tolist()])
            self._audited.difference_update(candidates.positions[audited].tolist())
            outcome = np.array([audited.sum(), y[audited].sum()])
            self._counts[:2] += outcome
            self._skips = _AUDIT_MEMORY ** outcome[0] * self._skips + outcome
        if not self._filtering:
            self._counts[2:] += (low & ~y).sum(), (~low & ~y).sum(), (low & y).sum()

    def _proba(self, candidates: Candidates) -> np.ndarray:
        return self._model(candidates).predict_proba(words_of(candidates, "ThreeStage"))[:, 1]

    def _model(self, candidates: Candidates) -> Predictor:
        bag = words_of(candidates, "ThreeStage")
        if self._predictor is None:
            self._predictor = self._default(bag.n_features)
        return self._predictor

    def _default(self, n_features: int) -> Predictor:
        return BernoulliNB(n_features) if self.predictor == "bernoulli" else MultinomialNB(n_features, calibrate=True)

    def scalars(self) -> dict[str, float]:
        """For the ledger. overlap: of what either the threshold or the predictor would have skipped in the fit stage,
        the share that both would (paper §5.3). false_skip_rate: share of audited candidates whose loss was high after
        all."""
        audits, wrong, both, only_threshold, only_predictor = self._counts.tolist()
        either = both + only_threshold + only_predictor
        return {
            "predictor_loss": self._gate.loss if self._gate.loss is not None else float("nan"),
            "overlap": both / either if either else float("nan"),
            "audited": audits,
            "false_skip_rate": wrong / audits if audits else float("nan"),
        }

    def state_dict(self) -> dict:
        return {**super().state_dict(), "predictor": None if self._predictor is None else self._predictor.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        values, saved, predictor = self._read(state), state["predictor"], self._predictor
        if self._own:
            predictor = None if saved is None else self._default(width_of(saved))
        elif saved is None:
            raise ValueError(
                f"the saved state holds nothing of predictor={predictor!r}; it is of a policy with another"
            )
        if predictor is not None:
            predictor.load_state_dict(saved)
        self._take(values)
        self._predictor = predictor
