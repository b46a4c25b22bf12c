"""Saving and loading, any number of times at any places, leaves a run as it would have been had it never stopped."""

import os

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.machines.differences import difference, stop_clocks
from tests.machines.loops import REPORTS, STOPS, Script, demand_same, run
from tests.machines.setups import MAP_STYLE, POLICY_NAMES, SAMPLERS, SOURCES, Setup, policy_of

FEW = int(os.environ.get("FILTERLOADER_EXAMPLES", "40"))
MANY = 20 * FEW
QUICK = {
    "derandomize": True,
    "database": None,
    "deadline": None,
    "phases": (Phase.generate,),  # the setup is in the message; shrinking costs a minute and tells little more
    "suppress_health_check": list(HealthCheck),
}


@pytest.fixture(autouse=True)
def still_clocks(monkeypatch, tokenizer):
    monkeypatch.setattr(Setup, "tokenizer", tokenizer)
    stop_clocks(monkeypatch)


def here_and_there(*how):
    """Stops in the first, the second and the third block that is read, at the ends of passes and in the next one."""
    return dict.fromkeys((0, 1, 2, 3, 4, 5, 10, 11, 15, 16, 20, 21, 22, 30, 31), how)


def places(policy):
    return [g for g in ("example", "batch") if g in getattr(policy_of(policy), "granularities", ("example", "batch"))]


EVERY_POLICY = [(policy, granularity) for policy in POLICY_NAMES for granularity in places(policy)]


# -- every step is a stop ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["fresh", "same", "rewind"])
@pytest.mark.parametrize("policy, granularity", EVERY_POLICY)
def test_stopped_after_every_step(policy, granularity, how):
    setup = Setup(policy=policy, granularity=granularity)
    demand_same(setup, Script(), here_and_there(how))


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("source", MAP_STYLE)
def test_stopped_after_every_step_for_every_sampler(source, sampler):
    for policy in ("random", "train_all") if source in ("list", "arrow") else ("random",):
        setup = Setup(source=source, sampler=sampler, policy=policy)
        demand_same(setup, Script(passes=(None, 3, None)), here_and_there("fresh"))


@pytest.mark.parametrize("extra", [
    {}, {"granularity": "batch"}, {"granularity": "batch", "buffer_batches": 3}, {"score": True}, {"buffer_batches": 0},
    {"buffer_batches": 3}, {"score": True, "buffer_batches": 3}, {"drop_last": True}, {"collate": True},
    {"features": "words"}, {"features": "words", "collate": True},
], ids=lambda extra: ", ".join(f"{n}={v}" for n, v in extra.items()) or "plain")  # fmt: skip
@pytest.mark.parametrize("source", SOURCES)
def test_stopped_after_every_step_for_every_chain(source, extra):
    for policy in ("three_stage", "train_all") if source in ("list", "torch stream") else ("three_stage",):
        setup = Setup(source=source, policy=policy, **extra)
        if setup.fits():
            demand_same(setup, Script(), here_and_there("fresh, iterate"))


@pytest.mark.parametrize("reports", REPORTS)
@pytest.mark.parametrize("granularity", ["example", "batch"])
def test_stopped_while_reports_are_late_or_missing(reports, granularity):
    script = Script(passes=(None, 4, None), reports=reports)
    demand_same(Setup(granularity=granularity), script, here_and_there("fresh", "same, iterate"))


# -- the states themselves ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["fresh", "rewind", "same, iterate"])
@pytest.mark.parametrize("source", SOURCES)
def test_a_state_is_the_same_once_it_is_loaded(source, how):
    """Nothing read, nothing moved: what is saved now is what was loaded; and later both runs save the same."""
    for policy in ("autoassist", "train_all"):
        script = Script(passes=(None, 3, None), reports="late")
        demand_same(Setup(source=source, policy=policy), script, here_and_there(how), states=True)


@pytest.mark.parametrize("policy, granularity", EVERY_POLICY)
def test_a_state_is_the_same_for_every_policy(policy, granularity):
    setup = Setup(policy=policy, granularity=granularity)
    demand_same(setup, Script(), here_and_there("fresh", "same, iterate"), states=True)


@pytest.mark.parametrize("source", SOURCES)
def test_saving_changes_nothing(source):
    for policy in ("three_stage", "train_all"):
        setup = Setup(source=source, policy=policy)
        want, got = run(setup, Script()), run(setup, Script(), save_at=range(100))
        assert difference(want.trace, got.trace) is None


# -- two workers, which are slow to start ------------------------------------------------------------------------------


@pytest.mark.parametrize("setup", [
    Setup("list"), Setup("arrow", policy="random", persistent=True), Setup("torch stream", policy="train_all"),
    Setup("arrow stream", persistent=True),
], ids=repr)  # fmt: skip
def test_stopped_with_two_workers(setup):
    setup = Setup(**{**vars(setup), "workers": 2})
    stops = {0: ("fresh",), 3: ("fresh", "fresh"), 4: ("fresh",), 7: ("same, iterate", "fresh")}
    demand_same(setup, Script(passes=(6, None)), stops)


# -- anything ----------------------------------------------------------------------------------------------------------


def setups(workers):
    return st.builds(
        Setup,
        source=st.sampled_from(SOURCES),
        policy=st.sampled_from(POLICY_NAMES),
        sampler=st.sampled_from(SAMPLERS),
        granularity=st.sampled_from(["example", "batch"]),
        workers=st.just(workers),
        persistent=st.booleans() if workers else st.just(False),
        buffer_batches=st.sampled_from([None, 0, 3]),
        drop_last=st.booleans(),
        score=st.booleans(),
        collate=st.booleans(),
        features=st.sampled_from([None, "tokens", "words", "words*label"]),
        total=st.booleans(),
    ).filter(Setup.fits)


def scripts(longest):
    one = st.none() | st.integers(1, 9)
    return st.builds(
        Script, passes=st.lists(one, min_size=1, max_size=longest).map(tuple), reports=st.sampled_from(REPORTS)
    )


def chains(most):
    """Stops by the number of steps before them, several in a row among them."""
    one = st.lists(st.sampled_from(STOPS), min_size=1, max_size=3).map(tuple)
    return st.dictionaries(st.integers(0, 45), one, min_size=1, max_size=most)


@settings(max_examples=FEW, **QUICK)
@given(setup=setups(0), script=scripts(3), stops=chains(12))
def test_any_chain_of_stops(setup, script, stops):
    demand_same(setup, script, stops)


@pytest.mark.slow
@settings(max_examples=MANY, **QUICK)
@given(setup=setups(0), script=scripts(4), stops=chains(25))
def test_any_long_chain_of_stops(setup, script, stops):
    demand_same(setup, script, stops)


@pytest.mark.slow
@settings(max_examples=FEW, **QUICK)
@given(setup=setups(2), script=scripts(2), stops=chains(6))
def test_any_chain_of_stops_with_two_workers(setup, script, stops):
    demand_same(setup, script, stops)
