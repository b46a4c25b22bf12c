"""Predictor: what keeps the protocol is one, whoever wrote it; the three of the library, and a toy."""

import numpy as np
import pytest

from filterloader import BernoulliNB, LogisticRegression, MultinomialNB, Predictor, ThreeStage
from filterloader.predictors.base import QUESTIONS, check_predictor
from tests.policies import contract
from tests.zoo import GRANULARITIES, WORDS, block, steps


class Toy:
    """P(high) of a row is the mean over its words of how often each came with 1."""

    def __init__(self):
        self.counts = np.ones((2, WORDS))

    def __repr__(self):
        return "Toy()"

    def partial_fit(self, X, y):
        for i, label in enumerate(y):
            np.add.at(self.counts[int(label)], X.ids[X.offsets[i] : X.offsets[i + 1]], 1)

    def predict_proba(self, X):
        shares = self.counts[1] / self.counts.sum(axis=0)
        high = np.array([shares[row].mean() if row.size else 0.5 for row in np.split(X.ids, X.offsets[1:-1])])
        return np.stack([1 - high, high], axis=1)

    def decision_function(self, X):
        proba = self.predict_proba(X)
        return np.log(proba[:, 1] / proba[:, 0])

    def state_dict(self):
        return {"counts": self.counts.copy()}

    def load_state_dict(self, state):
        if not isinstance(state, dict) or np.shape(state.get("counts")) != self.counts.shape:
            raise ValueError("this is no state of a Toy")
        self.counts = np.array(state["counts"], float)


MAKE = {
    "toy": Toy,
    "bernoulli": lambda: BernoulliNB(WORDS),
    "multinomial": lambda: MultinomialNB(WORDS, calibrate=True),
    "logistic": lambda: LogisticRegression(WORDS, lr=0.5),
}
every = pytest.mark.parametrize("name", MAKE)


def taught(model, n=20):
    for i in range(n):
        candidates, losses = block(i)
        model.partial_fit(candidates.bag, losses > 1)
    return model


@every
def test_it_learns_and_its_two_answers_agree(name):
    model, (candidates, losses) = taught(MAKE[name]()), block(99, 200)
    proba, odds = model.predict_proba(candidates.bag), model.decision_function(candidates.bag)
    assert proba.shape == (200, 2) and odds.shape == (200,)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    np.testing.assert_allclose(np.log(proba[:, 1] / proba[:, 0]), odds, rtol=1e-6, atol=1e-6)
    assert ((proba[:, 1] > 0.5) == (losses > 1)).mean() > 0.9


@every
def test_a_state_goes_on_and_is_a_copy(name):
    ref, comp, bag = taught(MAKE[name]()), MAKE[name](), block(99)[0].bag
    comp.load_state_dict(ref.state_dict())
    state = ref.state_dict()
    taught(ref, 2), taught(comp, 2)
    assert ref.predict_proba(bag).tolist() == comp.predict_proba(bag).tolist()
    again = MAKE[name]()
    again.load_state_dict(state)
    assert again.predict_proba(bag).tolist() != ref.predict_proba(bag).tolist()


@every
def test_a_wrong_state_is_refused_and_changes_nothing(name):
    model = taught(MAKE[name]())
    before = model.state_dict()
    for wrong in (None, {}, "state", *contract.damaged(taught(MAKE[name](), 3).state_dict())):
        with pytest.raises(ValueError, match="state"):
            model.load_state_dict(wrong)
        np.testing.assert_equal(model.state_dict(), before)


@every
@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_three_stage_takes_it_and_keeps_the_contract(name, granularity):
    def make():
        return ThreeStage(warmup=50, predictor=MAKE[name](), alt=0.69, window=4, audit=0.1, seed=1)

    assert {stage for *_, stage, _ in steps(make(), granularity)} == {"warm-up", "fit", "filter"}
    for check in contract.CHECKS if name == "toy" else contract.CHECKS[:2]:
        check(make, granularity)


@pytest.mark.parametrize("lacking", QUESTIONS)
def test_what_is_missing_is_told_at_construction(lacking):
    half = type("Half", (), {name: len for name in QUESTIONS if name != lacking})()
    with pytest.raises(ValueError, match=f"has no {lacking}; give None, 'bernoulli', or an object as MultinomialNB"):
        ThreeStage(predictor=half)


@pytest.mark.parametrize(
    "given, message", [(BernoulliNB, "is a class, not an instance"), (3, "predictor=3 is no predictor")]
)
def test_what_is_no_predictor_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        check_predictor(given)


def test_the_protocol_is_public_and_says_the_same():
    assert [name for name in vars(Predictor) if not name.startswith("_")] == list(QUESTIONS)
