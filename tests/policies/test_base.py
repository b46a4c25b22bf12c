"""Policy: each question has its default, and any object with four methods is completed by them."""

import copy
import pickle

import numpy as np
import pytest

from filterloader import POLICIES, FilteringDataLoader, Policy, StaticEL2N, ThreeStage
from filterloader.policies.base import complete, everything, may_gate_backward, words_of
from tests.zoo import MAKE, block

QUESTIONS = [
    name for name in vars(Policy) if not name.startswith("_") and name not in ("name", "example", "example_settings")
]


class Duck:
    """The least that is a policy."""

    def screen(self, candidates):
        return everything(candidates)

    def judge(self, candidates, losses):
        return (losses > 1).astype(np.float32)

    def state_dict(self):
        return {"of": "duck"}

    def load_state_dict(self, state):
        self.loaded = state


class Kept(Policy):
    """The least that derives from Policy."""

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


def test_a_policy_is_complete():
    for make in MAKE.values():
        policy = make()
        assert complete(policy) is policy


def test_an_object_is_asked_for_what_it_has_and_lacks_nothing():
    policy, kept = complete(Duck()), Kept()
    assert isinstance(policy, Policy) and complete(policy) is policy
    for name in QUESTIONS:
        if name in ("screen", "judge", "state_dict", "load_state_dict"):
            continue
        left, right = getattr(policy, name), getattr(kept, name)
        assert (
            (left(1) if name == "bind" else left()) == (right(1) if name == "bind" else right())
            if callable(left)
            else left == right
        )
    candidates, losses = block(0)
    assert policy.screen(candidates).all() and policy.judge(candidates, losses).tolist() == (losses > 1).tolist()
    policy.load_state_dict(policy.state_dict())
    assert policy.given.loaded == {"of": "duck"}


def test_changes_of_the_object_show_at_once():
    duck = Duck()
    policy = complete(duck)
    for name in QUESTIONS:
        mark = object()
        setattr(duck, name, mark)
        assert getattr(policy, name) is mark
        delattr(duck, name)
        assert getattr(policy, name) is not mark
    assert policy.name == "Duck" and repr(policy) == repr(duck)


def test_a_completed_object_can_be_copied_and_pickled():
    duck = Duck()
    duck.stage = "odd"
    for again in (copy.deepcopy(complete(duck)), pickle.loads(pickle.dumps(complete(duck)))):
        assert again.stage == "odd" and again.given is not duck and again.loss_threshold is None


@pytest.mark.parametrize(
    "given, message",
    [
        (ThreeStage, "is a class, not an instance; pass a policy such as ThreeStage"),
        (3, "policy=3 has no screen, judge, state_dict, load_state_dict; pass a policy such as"),
        (type("Half", (), {"screen": len, "judge": len})(), "has no state_dict, load_state_dict"),
        (None, "policy=None has no screen"),
    ],
)
def test_what_is_no_policy_is_refused_with_what_it_lacks(given, message):
    with pytest.raises(TypeError, match=message):
        complete(given)


def test_a_policy_that_cannot_be_saved_is_refused_when_it_is_made():
    with pytest.raises(TypeError, match="abstract method"):
        type("Forgetful", (Policy,), {})()


def test_the_defaults_filter_nothing():
    rows = [{"input_ids": [i]} for i in range(10)]
    assert [len(batch["input_ids"]) for batch in FilteringDataLoader(rows, batch_size=4, policy=Kept())] == [4, 4, 2]


@pytest.mark.parametrize("judges, gate", [(False, False), (True, True), (True, property(lambda self: False))])
def test_a_gate_is_shut_for_good_where_the_class_says_so(judges, gate):
    assert may_gate_backward(type("Mine", (Kept,), {"gates_backward": gate})()) is judges
    assert may_gate_backward(complete(type("Mine", (Duck,), {"gates_backward": gate})())) is judges
    assert may_gate_backward(complete(Duck()))


def test_words_are_there_or_the_error_names_the_policy_and_those_that_need_none():
    candidates = block(0)[0]
    assert words_of(candidates, "Mine") is candidates.bag
    with pytest.raises(ValueError, match=r"Mine reads the words .*choose .*\(Random, .* or SelectiveBackprop\)"):
        words_of(block(0, words=False)[0], "Mine")


def test_only_policies_that_survey_have_a_survey():
    assert [name for name, kind in POLICIES.items() if kind.survey] == [
        "selection_via_proxy",
        "static_el2n",
        "dynamic_el2n",
    ]
    assert StaticEL2N(0.5).surveys is False and Kept().survey is None
