"""The contract that every policy keeps: checks that take a function that makes one, and its granularity."""

import copy
import pickle
import random

import numpy as np
import pytest
import torch

import filterloader
from filterloader.data.portable import pack, unpack
from tests.conftest import through_a_file
from tests.zoo import block, border, steps


def answers_are_one_finite_weight_a_candidate(make, granularity):
    policy = make()
    for i in range(120):
        border(policy, i)
        candidates, losses = block(i, granularity=granularity)
        for weights in (policy.screen(candidates), policy.judge(candidates, losses)):
            assert isinstance(weights, np.ndarray) and weights.dtype == np.float32
            assert weights.shape == (len(candidates),)
            assert np.isfinite(weights).all() and (weights >= 0).all()


def gates_that_are_shut_for_good_keep_everything(make, granularity):
    policy = make()
    kind = type(policy)
    for screened, judged, *_ in steps(policy, granularity):
        assert kind.gates_forward is not False or min(screened) == 1
        assert kind.gates_backward is not False or min(judged, default=1) == 1


def stages_are_told_beforehand_and_come_in_their_order(make, granularity):
    policy = make()
    seen = list(dict.fromkeys(stage for *_, stage, _ in steps(policy, granularity)))
    assert seen == [stage for stage in policy.stages if stage in seen] if policy.stages else seen == [None]


def scalars_are_numbers(make, granularity):
    policy = make()
    steps(policy, granularity, stop=20)
    assert all(isinstance(name, str) and isinstance(value, float) for name, value in policy.scalars().items())


def inputs_stay_untouched(make, granularity):
    policy = make()
    for i in range(120):
        border(policy, i)
        candidates, losses = block(i, granularity=granularity)
        before = copy.deepcopy((candidates.state_dict(), losses))
        losses.flags.writeable = False
        policy.screen(candidates)
        policy.judge(candidates, losses)
        np.testing.assert_equal((candidates.state_dict(), losses), before)


def answers_are_not_views_of_what_a_policy_keeps(make, granularity):
    ref, comp = make(), make()
    for i in range(120):
        border(ref, i), border(comp, i)
        candidates, losses = block(i, granularity=granularity)
        for a, b in (
            (ref.screen(candidates), comp.screen(candidates)),
            (ref.judge(candidates, losses), comp.judge(candidates, losses)),
        ):
            assert a.tolist() == b.tolist()
            b[:] = -1
        losses[:] = 1e9


def seeded_runs_repeat(make, granularity):
    assert steps(make(), granularity) == steps(make(), granularity)


def a_state_in_mid_run_goes_on_identically(make, granularity):
    for stop in (0, 1, 3, 40, 80):
        ref, comp = make(), make()
        steps(ref, granularity, 0, stop)
        comp.load_state_dict(unpack(through_a_file(pack(ref.state_dict()))))
        assert steps(comp, granularity, stop) == steps(ref, granularity, stop)


def a_state_is_a_snapshot(make, granularity):
    policy = make()
    steps(policy, granularity, 0, 60)
    state = policy.state_dict()
    ref = copy.deepcopy(state)
    steps(policy, granularity, 60)
    np.testing.assert_equal(state, ref)


def a_used_policy_can_go_back(make, granularity):
    for stop in (0, 60):
        policy = make()
        steps(policy, granularity, 0, stop)
        state = unpack(through_a_file(pack(policy.state_dict())))
        ref = steps(policy, granularity, stop)
        policy.load_state_dict(state)
        assert steps(policy, granularity, stop) == ref


def a_state_survives_its_own_round_trip(make, granularity):
    ref, comp = make(), make()
    steps(ref, granularity, 0, 60)
    state = ref.state_dict()
    comp.load_state_dict(unpack(through_a_file(pack(state))))
    np.testing.assert_equal(comp.state_dict(), state)


def a_wrong_state_is_refused_and_changes_nothing(make, granularity):
    policy, other = make(), make()
    steps(other, granularity, 0, 90)
    steps(policy, granularity, 0, 60)
    before = copy.deepcopy(policy.state_dict())
    for wrong in (None, [], {}, "state", *damaged(other.state_dict())):
        with pytest.raises(ValueError, match=r"state|settings"):
            policy.load_state_dict(wrong)
        np.testing.assert_equal(policy.state_dict(), before)


def damaged(state):
    """The state without each of its entries, and with nonsense in its place, at any depth."""
    for key, value in state.items():
        yield {name: other for name, other in state.items() if name != key}
        yield {**state, key: "nonsense"}
        if isinstance(value, np.ndarray):
            yield {**state, key: np.array([value, value])}
        elif isinstance(value, dict) and key != "rng":
            yield from ({**state, key: part} for part in damaged(value))


def a_pickle_goes_on_identically(make, granularity):
    policy = make()
    steps(policy, granularity, 0, 60)
    other = pickle.loads(pickle.dumps(policy))
    assert repr(other) == repr(policy)
    assert steps(other, granularity, 60) == steps(policy, granularity, 60)


def global_random_states_stay_untouched(make, granularity):
    before = np.random.get_state(), torch.get_rng_state().tolist(), random.getstate()
    policy = make()
    steps(policy, granularity)
    pickle.loads(pickle.dumps(policy)).load_state_dict(policy.state_dict())
    np.testing.assert_equal((np.random.get_state(), torch.get_rng_state().tolist(), random.getstate()), before)


def the_repr_can_be_pasted_back(make, granularity):
    policy = make()
    known = {public: getattr(filterloader, public) for public in filterloader.__all__}
    own = {type(thing).__name__: type(thing) for thing in (policy, getattr(policy, "predictor", None))}
    again = eval(repr(policy), known | own)
    assert type(again) is type(policy) and repr(again) == repr(policy)
    again.load_state_dict(policy.state_dict())
    assert steps(again, granularity) == steps(policy, granularity)


CHECKS = [
    answers_are_one_finite_weight_a_candidate,
    gates_that_are_shut_for_good_keep_everything,
    stages_are_told_beforehand_and_come_in_their_order,
    scalars_are_numbers,
    inputs_stay_untouched,
    answers_are_not_views_of_what_a_policy_keeps,
    seeded_runs_repeat,
    a_state_in_mid_run_goes_on_identically,
    a_state_is_a_snapshot,
    a_used_policy_can_go_back,
    a_state_survives_its_own_round_trip,
    a_wrong_state_is_refused_and_changes_nothing,
    a_pickle_goes_on_identically,
    global_random_states_stay_untouched,
    the_repr_can_be_pasted_back,
]
