"""What the ledger counts, against sums made by hand, what it says of them, and when it warns."""

import json
import pickle
import warnings
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from filterloader import (
    AutoAssist,
    AutoThreshold,
    ClassBalanced,
    FixedThreshold,
    InfoBatch,
    Random,
    SelectiveBackprop,
    ThreeStage,
    TrainAll,
)
from filterloader.data.candidates import Bag, Candidates, Ragged
from filterloader.feedback.clock import duration
from filterloader.feedback.ledger import Ledger
from tests import conftest
from tests.conftest import everywhere, losses_of, sentences, train

POLICIES = {
    "train_all": TrainAll,
    "random": lambda: Random(0.4),
    "fixed_threshold": lambda: FixedThreshold(0.5),
    "auto_threshold": AutoThreshold,
    "three_stage": lambda: ThreeStage(warmup=200),
    "class_balanced": lambda: ClassBalanced(0.4),
    "autoassist": lambda: AutoAssist(warmup="paper"),
    "infobatch": lambda: InfoBatch(epochs=None),
    "selective_backprop": SelectiveBackprop,
}


def build(tokenizer, policy, n=1000, **kw):
    return conftest.build(tokenizer, policy, n, **{"seed": 5, "shuffle": True, **kw})


def may_warn(policy, granularity):
    """The mean of 16 losses follows no words: over batches, ThreeStage says that it never filtered."""
    if (policy, granularity) == ("three_stage", "batch"):
        return pytest.warns(UserWarning, match="the predictor has not earned the filter stage")
    return nullcontext()


def some(lengths, labels=None):
    """Candidates of these lengths."""
    offsets = np.append(0, np.cumsum(lengths)).astype(np.int64)
    ids = np.zeros(offsets[-1], np.int32)
    return Candidates(len(lengths), tokens=Ragged(ids, offsets), bag=Bag(ids, offsets, 10), labels=labels).placed(
        0, None, None
    )


def run_by_hand(tokenizer, clock, policy, **kw):
    loader = build(tokenizer, policy, **kw)
    for batch in loader:
        clock.turn(1)
        if loader.hook.report(losses_of(batch)) is not None:
            clock.turn(2)
    return loader.ledger


# -- counts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy, granularity", everywhere(POLICIES))
def test_counts_add_up_at_the_end_of_a_pass(tokenizer, policy, granularity):
    loader = build(tokenizer, POLICIES[policy](), granularity=granularity)
    with may_warn(policy, granularity):
        out = train(loader)
    n = loader.ledger.scalars()
    sizes = [batch["input_ids"].shape[0] for batch, _ in out]
    trained = [size for size, (_, loss) in zip(sizes, out, strict=True) if loss is not None]
    assert n["seen"] == 1000 == n["screened_out"] + n["forwarded"]
    assert n["forwarded"] == sum(sizes) and n["batches"] == n["reports"] == len(out)
    assert n["backwarded"] <= n["examples_run_back"] == sum(trained)
    assert n["unreported"] == n["nonfinite"] == n["scored"] == 0
    assert n["forwarded_share"] == n["forwarded"] / 1000 and n["backwarded_share"] == n["backwarded"] / 1000
    assert n["alpha_fb"] == n["screened_out"] / 1000 and n["alpha_b"] == (n["forwarded"] - n["backwarded"]) / 1000


@pytest.mark.parametrize("policy, granularity", everywhere(POLICIES))
def test_tokens_are_counted_without_padding(tokenizer, policy, granularity):
    loader = build(tokenizer, POLICIES[policy](), granularity=granularity)
    with may_warn(policy, granularity):
        out = train(loader)
    n = loader.ledger.scalars()
    tokens = [int(batch["attention_mask"].sum()) for batch, _ in out]
    assert n["tokens_seen"] == sum(len(row["text"].split()) + 2 for row in sentences(1000))
    assert n["tokens_seen"] == n["tokens_screened_out"] + n["tokens_forwarded"]
    assert n["tokens_forwarded"] == sum(tokens)
    assert n["tokens_run_back"] == sum(count for count, (_, loss) in zip(tokens, out, strict=True) if loss is not None)
    assert n["tokens_backwarded"] <= n["tokens_run_back"]


def test_what_a_threshold_leaves_out_of_a_batch_is_not_backwarded_yet_was_run(tokenizer):
    loader = build(tokenizer, FixedThreshold(0.5))
    out = train(loader)
    n = loader.ledger.scalars()
    high = [losses_of(batch) >= 0.5 for batch, _ in out]
    assert n["backwarded"] == sum(int(keep.sum()) for keep in high)
    assert n["tokens_backwarded"] == sum(
        int(batch["attention_mask"][keep].sum()) for (batch, _), keep in zip(out, high, strict=True)
    )
    assert n["examples_run_back"] == sum(len(keep) for keep in high if keep.any())


def test_a_batch_that_stands_for_many_counts_as_many():
    ledger = Ledger()
    whole = some([3, 4, 5]).as_one()
    ledger.screened(whole, np.array([False]))
    ledger.screened(whole, np.array([True]))
    ledger.handed_out(whole)
    ledger.judged(whole, np.ones(1, np.float32), 0.5)
    n = ledger.scalars()
    assert (n["seen"], n["screened_out"], n["forwarded"], n["backwarded"], n["examples_run_back"]) == (6, 3, 3, 3, 3)
    assert (n["tokens_seen"], n["tokens_screened_out"], n["tokens_forwarded"], n["tokens_backwarded"]) == (
        24,
        12,
        12,
        12,
    )


def test_batches_never_reported_are_counted_when_the_pass_is_broken_off(tokenizer):
    loader = build(tokenizer, TrainAll())
    iterator = iter(loader)
    batches = [next(iterator) for _ in range(3)]
    loader.hook.report(losses_of(batches[0]), batches[0])
    iter(loader)
    assert loader.ledger.scalars()["unreported"] == 2


def test_losses_that_are_no_numbers_are_counted_and_not_backwarded(tokenizer):
    loader = build(tokenizer, TrainAll())
    batch = next(iter(loader))
    losses = losses_of(batch)
    losses[:3] = torch.tensor([float("nan"), float("inf"), -float("inf")])
    with pytest.warns(UserWarning, match="3 reported losses are NaN or infinite"):
        loader.hook.report(losses)
    assert loader.ledger.scalars()["nonfinite"] == 3 and loader.ledger.scalars()["backwarded"] == 13


def test_rows_without_words_have_no_tokens():
    ledger = Ledger()
    bare = Candidates(4).placed(0, None, None)
    ledger.screened(bare, np.ones(4, bool))
    ledger.handed_out(bare)
    assert ledger.scalars()["tokens_seen"] == 0 and ledger.scalars()["seen"] == 4


# -- what comes out --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("batches", [0, 1, 30])
def test_scalars_are_a_flat_dict_of_numbers(tokenizer, policy, batches):
    loader = build(tokenizer, POLICIES[policy]())
    train(loader, batches)
    scalars = loader.ledger.scalars()
    assert all(isinstance(name, str) and type(value) in (int, float) for name, value in scalars.items())
    assert ("predictor_loss" in scalars) == (policy == "three_stage")


def test_the_summary_says_what_a_person_wants_to_know(tokenizer, clock):
    loader = build(tokenizer, ThreeStage(warmup=200))
    assert loader.ledger.summary() == "kept 100 % · trained 0 %"
    for batch in loader:
        clock.turn(30)
        if loader.hook.report(losses_of(batch)) is not None:
            clock.turn(90)
    scalars = loader.ledger.scalars()
    kept, trained = 100 * scalars["forwarded_share"], 100 * scalars["backwarded_share"]
    minutes, seconds = divmod(int(scalars["saved_s"]), 60)
    saved = f"{minutes}m{seconds:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"
    assert loader.ledger.summary() == f"kept {kept:.0f} % · trained {trained:.0f} % · stage filter · saved ~{saved}"


def test_the_summary_counts_what_a_score_function_drops_as_not_kept(tokenizer):
    loader = build(tokenizer, FixedThreshold(0.5), score_fn=losses_of)
    train(loader)
    scalars = loader.ledger.scalars()
    share = scalars["backwarded_share"]
    assert 0.2 < share < 0.4 and scalars["forwarded_share"] == 1 and scalars["forwarded"] == 1000 * share
    assert loader.ledger.summary().startswith(f"kept {100 * share:.0f} % · trained {100 * share:.0f} %")


@pytest.mark.parametrize(
    "seconds, text", [(0, "0s"), (59.9, "59s"), (60, "1m00s"), (3599, "59m59s"), (3600, "1h00m"), (90061, "25h01m")]
)
def test_a_clock_for_people(seconds, text):
    assert duration(seconds) == text


def test_a_stage_is_noted_where_it_begins(tokenizer):
    loader = build(tokenizer, ThreeStage(warmup=200))
    train(loader)
    train(loader)
    names, places = zip(*loader.ledger.stages, strict=True)
    assert names == ("warm-up", "fit", "filter")
    assert 0 < places[0] < places[1] < places[2] < 1000


def test_a_policy_without_stages_has_none(tokenizer):
    loader = build(tokenizer, Random(0.5))
    train(loader)
    assert loader.ledger.stages == []


# -- warnings --------------------------------------------------------------------------------------------------------


def test_dropping_nearly_everything_warns_once_with_share_window_and_what_to_change():
    ledger, rng = Ledger(Random(0.001, seed=0)), np.random.default_rng(0)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(1000):
            block = some([2] * 32)
            ledger.screened(block, rng.random(32) < 0.001)
    assert len(told) == 1
    message = str(told[0].message)
    assert "nearly everything: it kept 0." in message and "% of the last 4096 candidates" in message
    assert "Random(keep=0.001, seed=0)" in message and "keep= keeps more" in message


def test_dropping_nearly_everything_warns_in_a_loader(tokenizer):
    loader = build(tokenizer, Random(0.001), 5000, batch_size=32)
    with pytest.warns(UserWarning, match=r"it kept 0\.\d\d% of the last 4096 candidates.*Random\(keep=0\.001") as told:
        train(loader)
        train(loader)
    assert len(told) == 1


@pytest.mark.parametrize("stage, tells", [("filter", True), ("fit", False)])
def test_dropping_nearly_nothing_warns_in_the_filter_stage_only(stage, tells):
    class Policy:
        def __init__(self):
            self.stage = stage

        def __repr__(self):
            return "Policy(cutoff=0.1)"

    ledger = Ledger(Policy())
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(300):
            ledger.screened(some([2] * 32), np.ones(32, bool))
    assert [("nearly nothing: it kept 100.00% of the last 4096" in str(one.message)) for one in told] == [True] * tells


@pytest.mark.parametrize("policy", ["train_all", "fixed_threshold"])
def test_a_policy_that_cannot_filter_is_not_told_that_it_does_not(tokenizer, policy):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(build(tokenizer, POLICIES[policy](), 5000, batch_size=64))


# -- state -----------------------------------------------------------------------------------------------------------


def test_a_state_goes_on_as_if_never_saved(tokenizer, clock):
    ref = run_by_hand(tokenizer, clock, ThreeStage(warmup=200))
    comp = Ledger(ref.policy, ref.position)
    comp.load_state_dict(pickle.loads(pickle.dumps(ref.state_dict())))
    assert comp.scalars() == ref.scalars() and comp.summary() == ref.summary() and comp.stages == ref.stages
    clock.turn(1000)  # the time between saving and going on is nobody's
    for ledger in (ref, comp):
        ledger.enter("loader")
        clock.turn(1)
        ledger.leave("loader")
        ledger.screened(some([3, 4]), np.array([True, False]))
    assert comp.scalars() == ref.scalars()


def test_a_state_remembers_that_it_warned():
    def drop(ledger, blocks):
        for _ in range(blocks):
            ledger.screened(some([2] * 32), np.zeros(32, bool))

    ref = Ledger(Random(0.001))
    drop(ref, 100)
    halfway = ref.state_dict()
    with pytest.warns(UserWarning, match="nearly everything"):
        drop(ref, 28)
    told, untold = Ledger(ref.policy), Ledger(ref.policy)
    told.load_state_dict(ref.state_dict())
    untold.load_state_dict(halfway)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drop(told, 300)
        drop(untold, 27)
    with pytest.warns(UserWarning, match="the last 4096 candidates"):
        drop(untold, 1)


def test_a_state_is_a_snapshot(tokenizer):
    loader = build(tokenizer, ThreeStage(warmup=200))
    iterator = iter(loader)
    train(loader, 5, iterator)
    state = loader.ledger.state_dict()
    ref = json.dumps(state)
    train(loader, 30, iterator)
    assert json.dumps(state) == ref
