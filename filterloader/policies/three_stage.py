"""ThreeStage: warm up, fit a predictor of the loss, then let it skip forward passes."""

from __future__ import annotations

import warnings

import numpy as np

from filterloader.data.candidates import Candidates
from filterloader.data.checks import check_same, paste, share, truth, whole
from filterloader.policies.base import everything
from filterloader.policies.parts.gate import Gate
from filterloader.policies.parts.threshold import MovingAverageThreshold, moving
from filterloader.policies.parts.warmup import Warmup
from filterloader.predictors.naive_bayes import BernoulliNB, MultinomialNB

_AUDITS_AWAITED = 4096
_UNTOLD, _UNTOLD_OF_A_PASS = (
    1000,
    (500, 4000),
)  # reports of the fit stage before its failure is told: unknown length; known, at least and at most
_AUDITS_NEEDED, _AUDIT_MEMORY = 16, 0.95  # audits before they can end the filter stage; weight of the past, an audit
_SETTINGS = ("warmup", "window", "alt", "margin", "threshold", "cutoff", "audit", "backward_gate", "in_sample")


class ThreeStage:
    """Multistage data filtering (Ouyang et al. 2022, §3.1).

    *Warm-up*: everything is trained on while the loss threshold forms. *Fit*: what has a loss below the threshold skips its
    backward pass, and every forwarded example teaches the predictor: bag of words in, ``loss > threshold`` out. *Filter*:
    the predictor is asked first, and what it calls low-loss skips the forward pass too; what it lets through is judged by its
    loss as before and goes on teaching it. Later passes stay in the filter stage.

    warmup: N0, a share of one pass (float), a count of examples (int) or None: until the loss has settled below what guessing
    costs, 1024 reports at most (also where the length of the stream is not known); take None where the model may be slow to
    begin to learn. window: W, reports that the gate to the filter stage looks at. alt: ALT, the predictor loss in nats at which
    the gate opens; None, the default, asks it to beat the entropy of its own labels by ``margin`` instead: measured on what the
    predictor has not learnt yet, the paper's .1 to .5 are out of reach on data like SST-2. Where the predictor does not earn
    the filter stage, the policy says so once: at the end of a pass, or after a quarter of a pass in the fit stage, yet no
    sooner than after 500 reports and no later than after 4000 (after 1000 where the length of the stream is not known).
    threshold: a ``MovingAverageThreshold``; None is the paper's (K = 8). predictor: anything with ``partial_fit`` and
    ``predict_proba`` over a ``Bag``; None is a calibrated ``MultinomialNB``, ``"bernoulli"`` the paper's model. cutoff: P(high
    loss) below which a candidate is skipped; lower it where too little gets through. A classifier's .5 skips so much that some
    runs forget what they no longer see, and lose more than they saved (benchmarks/README.md); .5 is the paper's. audit: chance
    that a candidate is let through although the predictor calls it low-loss, so that its mistakes are found out and counted;
    where the audited skips come to have high losses as often as all examples had when the filter stage began, the policy warms
    up again, and says so. 0 is the paper to the letter. backward_gate: False never skips a backward pass, so that no report
    waits for the losses. in_sample: measure the gate after the update, as the authors' script does (it passes on noise). seed:
    of the private random state; None takes the loader's.

    With a scalar report at example granularity every example of the batch gets the batch's mean as its loss. The predictor
    then learns which *batches* were hard: with 32 random examples a batch that is nearly no signal, and the gate will
    usually stay shut. Report per-example losses.
    """

    gates_forward = True
    needs_words = True

    def __init__(
        self,
        *,
        warmup: float | int | None = 0.1,
        window: int = 8,
        alt: float | None = None,
        margin: float = 0.02,
        threshold: MovingAverageThreshold | None = None,
        predictor=None,
        cutoff: float = 0.3,
        audit: float = 0.02,
        backward_gate: bool = True,
        in_sample: bool = False,
        seed: int | None = None,
    ):
        if not (predictor is None or predictor == "bernoulli" or hasattr(predictor, "predict_proba")):
            raise ValueError(
                f"predictor must be None, 'bernoulli' or have partial_fit and predict_proba, got {predictor!r}"
            )
        self.threshold = moving(threshold)
        self.predictor = predictor
        self.cutoff, self.audit = share("cutoff", cutoff), share("audit", audit)
        self.backward_gate, self.in_sample = truth("backward_gate", backward_gate), truth("in_sample", in_sample)
        self.seed = None if seed is None else whole("seed", seed, low=0)
        bernoulli = predictor == "bernoulli" or isinstance(predictor, BernoulliNB)
        self.features = (
            "tokens" if bernoulli else "auto"
        )  # a Bernoulli model is lost in a feature space far larger than its words
        self._predictor = None if predictor == "bernoulli" else predictor
        self._warmup = Warmup(warmup)
        self._gate = Gate(window, alt=alt, margin=margin)
        self.warmup, self.window = self._warmup.length, self._gate.window
        self.alt, self.margin = self._gate.alt, self._gate.margin
        self._rng = np.random.default_rng(self.seed)
        self._filtering = False
        self._told = self._told_back = False
        self._rate = 0.0  # share of high losses when the filter stage began
        self._skips = np.zeros(2)  # recent audits, and how many had a high loss
        self._audited: set[int] = set()  # places in the stream let through against the predictor, not yet reported
        self._counts = np.zeros(5)  # audits, audits with a high loss; both would skip, only threshold, only predictor

    @classmethod
    def reference_script(cls, **settings) -> ThreeStage:
        """The choices of the authors' published script where they differ from their paper: a Bernoulli model, a threshold
        over the last 128 example losses that counts the current batch and stands still after the warm-up, the gate measured
        on the batch just learnt (W = 8, ALT = 0.3), no audit. Use it with ``batch_size=8``."""
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
        return paste(self, *_SETTINGS, "predictor", "seed")

    @property
    def stage(self) -> str:
        return "filter" if self._filtering else "fit" if self._warmup.over else "warm-up"

    @property
    def gates_backward(self) -> bool:
        return self.backward_gate and self._warmup.over

    @property
    def loss_threshold(self) -> float | None:
        return self.threshold.value

    def bind(self, seed: int) -> None:
        if self.seed is None:
            self._rng = np.random.default_rng(seed)

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
                f"{self._gate.loss:.3f} nats, a gain of {self._gate.gain or 0.0:.1%} over guessing, and the gate asks for {goal}; "
                "until then no forward pass is skipped. Its words may say little about the loss here: try other features=, report "
                "per-example losses, or change alt= or margin=",
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
        examples = len(candidates) * candidates.merged
        self._warmup.observe(
            examples, candidates.total, self.threshold.settled, labels=candidates.labels, losses=losses
        )
        if self._warmup.over:
            self.threshold.end_warmup()
        if warming or threshold is None:
            return everything(candidates)
        self._learn(candidates, losses, threshold)
        return (losses >= threshold).astype(np.float32) if self.backward_gate else everything(candidates)

    def _learn(self, candidates: Candidates, losses: np.ndarray, threshold: float) -> None:
        y = losses > threshold
        proba = self._proba(candidates)
        self._model(candidates).partial_fit(candidates.bag, y)
        self._tally(candidates, y, proba < self.cutoff)
        self._gate.observe(self._proba(candidates) if self.in_sample else proba, y)
        if not self._filtering and self._gate.open:
            self._filtering, self._rate, self._skips = True, self._gate.rate, np.zeros(2)
        elif not self._filtering:
            n = len(candidates) * candidates.merged
            self._tell_if_unearned(
                _UNTOLD if candidates.total is None else np.clip(candidates.total / (4 * n), *_UNTOLD_OF_A_PASS)
            )
        elif self._skips[0] >= _AUDITS_NEEDED and self._skips[1] >= self._rate * self._skips[0]:
            self._start_over()

    def _start_over(self) -> None:
        """What is skipped has become as hard as everything was: the model forgets what it no longer sees. Warm up again."""
        if not self._told_back:
            self._told_back = True
            warnings.warn(
                f"back to the warm-up: {self._skips[1] / self._skips[0]:.0%} of the audited skips had a high loss, as many as among all "
                f"examples when the filter stage began ({self._rate:.0%}); the model forgets what it no longer sees. A lower cutoff= or a "
                "longer warmup= skips less",
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
        return self._model(candidates).predict_proba(candidates.bag)[:, 1]

    def _model(self, candidates: Candidates):
        if candidates.bag is None:
            raise ValueError(
                "ThreeStage reads the words of each example, and these rows hold none; give the loader tokenizer= and text=, "
                "or rows with input_ids, or choose a policy that reads no words (AutoThreshold, FixedThreshold, Random)"
            )
        if self._predictor is None:
            self._predictor = self._default(candidates.bag.n_features)
        return self._predictor

    def _default(self, n_features: int):
        return BernoulliNB(n_features) if self.predictor == "bernoulli" else MultinomialNB(n_features, calibrate=True)

    def scalars(self) -> dict[str, float]:
        """For the ledger. overlap: of what either the threshold or the predictor would have skipped in the fit stage, the share
        that both would (paper §5.3). false_skip_rate: share of audited candidates whose loss was high after all."""
        audits, wrong, both, only_threshold, only_predictor = self._counts.tolist()
        either = both + only_threshold + only_predictor
        return {
            "predictor_loss": self._gate.loss if self._gate.loss is not None else float("nan"),
            "overlap": both / either if either else float("nan"),
            "audited": audits,
            "false_skip_rate": wrong / audits if audits else float("nan"),
        }

    def state_dict(self) -> dict:
        return {
            "settings": paste(self, *_SETTINGS),
            "warmup": self._warmup.state_dict(),
            "threshold": self.threshold.state_dict(),
            "gate": self._gate.state_dict(),
            "predictor": None if self._predictor is None else _state_of(self._predictor),
            "rng": self._rng.bit_generator.state,
            "filtering": self._filtering,
            "told": [self._told, self._told_back],
            "rate": self._rate,
            "skips": self._skips.copy(),
            "audited": sorted(self._audited),
            "counts": self._counts.copy(),
        }

    def load_state_dict(self, state: dict) -> None:
        check_same("settings", state["settings"], paste(self, *_SETTINGS))
        if state["predictor"] is None and self.predictor not in (None, "bernoulli"):
            raise ValueError(
                f"the saved state holds nothing of predictor={self.predictor!r}; give it state_dict and load_state_dict"
            )
        self._warmup.load_state_dict(state["warmup"])
        self.threshold.load_state_dict(state["threshold"])
        self._gate.load_state_dict(state["gate"])
        if state["predictor"] is None and (self.predictor is None or self.predictor == "bernoulli"):
            self._predictor = None  # saved before it had seen a word
        elif state["predictor"] is not None:
            if self._predictor is None:
                self._predictor = self._default(int(state["predictor"]["n_features"]))
            self._predictor.load_state_dict(state["predictor"])
        self._rng.bit_generator.state = state["rng"]
        self._filtering, (self._told, self._told_back) = bool(state["filtering"]), state["told"]
        self._rate, self._skips = float(state["rate"]), np.array(state["skips"], float)
        self._audited, self._counts = set(state["audited"]), np.array(state["counts"], float)


def _state_of(predictor) -> dict:
    if not hasattr(predictor, "state_dict") or not hasattr(predictor, "load_state_dict"):
        raise ValueError(f"predictor={predictor!r} cannot be saved; give it state_dict and load_state_dict")
    return predictor.state_dict()
