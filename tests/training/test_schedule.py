"""The learning rate by stream progress: transformers' schedules, whatever was filtered."""

import re
import warnings

import numpy as np
import pytest
import torch
import transformers

from filterloader import (
    AutoAssist,
    AutoThreshold,
    ClassBalanced,
    FilteringDataLoader,
    FixedThreshold,
    InfoBatch,
    Random,
    SelectiveBackprop,
    ThreeStage,
    TrainAll,
    get_scheduler,
    stream_schedule,
)
from tests.conftest import Stream, build, everywhere, losses_of, sentences, through_a_file

POLICIES = {
    "train_all": TrainAll,
    "random": lambda: Random(0.2),
    "fixed_threshold": lambda: FixedThreshold(0.5),
    "auto_threshold": AutoThreshold,
    "three_stage": lambda: ThreeStage(warmup=100, alt=10.0),
    "class_balanced": lambda: ClassBalanced(0.2),
    "autoassist": lambda: AutoAssist(warmup="paper", gamma=0.0),
    "infobatch": lambda: InfoBatch(epochs=None),
    "selective_backprop": SelectiveBackprop,
}


def optimizers(n=1, lr=0.1):
    return [torch.optim.AdamW([torch.zeros(2, requires_grad=True)], lr=lr) for _ in range(n)]


def rates(loader, optimizer, scheduler, epochs=1):
    """The rate after each batch, and the share of the stream consumed by then."""
    out, places = [], []
    for _ in range(epochs):
        for batch in loader:
            loader.hook.report(losses_of(batch))
            optimizer.step()
            scheduler.step()
            out.append(scheduler.get_last_lr()[0])
            places.append(loader.consumed)
    return out, places


@pytest.mark.parametrize("name", ["linear", "cosine", "constant_with_warmup", "constant", "polynomial"])
@pytest.mark.parametrize("epochs", [1, 3])
@pytest.mark.parametrize("warmup", [0.0, 0.1])
def test_training_on_everything_is_transformers_schedule_step_for_step(tokenizer, name, epochs, warmup):
    ours, theirs = optimizers(2)
    loader = build(tokenizer, TrainAll())
    steps = epochs * len(loader)
    scheduler = stream_schedule(name, ours, loader, epochs=epochs, warmup_ratio=warmup)
    reference = transformers.get_scheduler(name, theirs, round(warmup * steps), steps)
    assert scheduler.get_last_lr() == pytest.approx(reference.get_last_lr())
    ref = []
    for _ in range(steps):
        theirs.step()
        reference.step()
        ref.append(reference.get_last_lr()[0])
    comp, _ = rates(loader, ours, scheduler, epochs)
    np.testing.assert_allclose(comp, ref, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("policy, granularity", everywhere(POLICIES))
@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_a_filtered_run_ends_at_zero(tokenizer, name, policy, granularity):
    (optimizer,) = optimizers()
    loader = build(tokenizer, POLICIES[policy](), granularity=granularity)
    scheduler = stream_schedule(name, optimizer, loader, epochs=2)
    comp, places = rates(loader, optimizer, scheduler, 2)
    scheduler.step()
    assert scheduler.get_last_lr()[0] == pytest.approx(0.0, abs=1e-9) and loader.consumed == 1280
    if places[-1] == 1280:  # the last batch reached the end of the stream
        assert comp[-1] == pytest.approx(0.0, abs=1e-9)
    assert max(comp) <= 0.1


def test_a_filtered_run_spans_the_same_stream_in_fewer_steps(tokenizer):
    (optimizer,) = optimizers()
    loader = build(tokenizer, Random(0.2), 3200, buffer_batches=1)
    comp, places = rates(loader, optimizer, stream_schedule("linear", optimizer, loader, warmup_ratio=0.0))
    assert len(comp) < 0.3 * len(loader)
    np.testing.assert_allclose(comp, 0.1 * (1 - np.array(places) / 3200), atol=1e-6)


def test_the_last_steps_go_down_to_zero(tokenizer):
    (optimizer,) = optimizers()
    loader = build(tokenizer, TrainAll(), 160)
    comp, _ = rates(loader, optimizer, stream_schedule("linear", optimizer, loader, warmup_ratio=0.0))
    assert comp[-3:] == pytest.approx([0.02, 0.01, 0.0], abs=1e-9)


def test_rates_rise_over_the_warm_up_and_fall_after_it(tokenizer):
    (optimizer,) = optimizers()
    loader = build(tokenizer, TrainAll(), 1600)
    scheduler = stream_schedule("linear", optimizer, loader, warmup_ratio=0.25)
    assert scheduler.get_last_lr() == [0.0]
    comp, _ = rates(loader, optimizer, scheduler)
    assert int(np.argmax(comp)) == 24 and comp[24] == pytest.approx(0.1)
    assert comp[:25] == sorted(comp[:25]) and comp[24:] == sorted(comp[24:], reverse=True)


def test_each_parameter_group_keeps_its_own_peak(tokenizer):
    groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": lr} for lr in (0.1, 0.4)]
    optimizer = torch.optim.SGD(groups, lr=0.2)
    loader = build(tokenizer, TrainAll(), 160)
    scheduler = stream_schedule("linear", optimizer, loader, warmup_ratio=0.0)
    iterator = iter(loader)
    for _ in range(5):
        loader.hook.report(losses_of(next(iterator)))
        optimizer.step()
        scheduler.step()
    assert scheduler.get_last_lr() == pytest.approx([0.05, 0.2])


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("policy, granularity", everywhere(POLICIES))
def test_progress_is_monotone_from_0_to_1(tokenizer, policy, granularity, drop_last):
    loader = build(tokenizer, POLICIES[policy](), 650, granularity=granularity, drop_last=drop_last)
    assert loader.progress == 0.0
    for epoch in range(2):
        seen = [0.0]
        for batch in loader:
            seen.append(loader.progress)
            loader.hook.report(losses_of(batch))
            seen.append(loader.progress)
        seen.append(loader.progress)
        assert seen == sorted(seen) and seen[1] >= 0.0 and seen[-1] == 1.0
        examples = (
            640
            if drop_last
            and (
                granularity == "batch"
                or policy in ("train_all", "fixed_threshold", "auto_threshold", "selective_backprop")
            )
            else 650
        )
        assert examples * (epoch + 1) <= loader.consumed <= 650 * (epoch + 1)


def test_progress_counts_what_was_filtered_and_not_what_waits(tokenizer):
    loader = build(tokenizer, Random(0.5), 6400, buffer_batches=1)
    iterator = iter(loader)
    while loader.progress < 0.5:
        batch = next(iterator)
        loader.hook.report(losses_of(batch))
    assert loader.ledger.scalars()["forwarded"] < 0.6 * loader.consumed
    assert loader.consumed == round(loader.progress * 6400) <= loader.ledger.scalars()["seen"]


def test_a_stream_of_unknown_length_needs_its_examples_named(tokenizer):
    (optimizer,) = optimizers()
    loader = FilteringDataLoader(Stream(sentences(320)), tokenizer=tokenizer, batch_size=16, policy=TrainAll())
    with pytest.raises(ValueError, match="length of this stream is not known; pass total_examples="):
        stream_schedule("linear", optimizer, loader)
    scheduler = stream_schedule("linear", optimizer, loader, warmup_ratio=0.0, total_examples=320)
    comp, _ = rates(loader, optimizer, scheduler)
    assert comp == pytest.approx(np.linspace(0.095, 0.0, 20), abs=1e-6)


def test_a_loader_that_was_told_its_length_is_enough(tokenizer):
    (optimizer,) = optimizers()
    loader = FilteringDataLoader(
        Stream(sentences(320)), tokenizer=tokenizer, batch_size=16, policy=TrainAll(), total_examples=320
    )
    comp, _ = rates(loader, optimizer, stream_schedule("linear", optimizer, loader, warmup_ratio=0.0))
    assert comp == pytest.approx(np.linspace(0.095, 0.0, 20), abs=1e-6)


def test_a_stream_longer_than_said_stays_at_the_end(tokenizer):
    (optimizer,) = optimizers()
    loader = FilteringDataLoader(Stream(sentences(320)), tokenizer=tokenizer, batch_size=16, policy=TrainAll())
    scheduler = stream_schedule("linear", optimizer, loader, warmup_ratio=0.0, total_examples=160)
    with pytest.warns(
        UserWarning, match="at the end of its schedule, 160 examples, and the run goes on; .* total_examp"
    ):
        comp, _ = rates(loader, optimizer, scheduler)
    assert comp[10:] == [0.0] * 10


def test_a_pass_broken_off_has_consumed_what_it_had_consumed(tokenizer):
    loader = build(tokenizer, Random(0.5), 1000)
    iterator = iter(loader)
    next(iterator)
    place = loader.consumed
    iter(loader)
    assert loader.consumed == place


@pytest.mark.parametrize("steps", [10, 25])
def test_passes_that_are_cut_short_end_at_zero_where_their_examples_are_named(tokenizer, steps):
    (optimizer,) = optimizers()
    loader = build(tokenizer, TrainAll())
    scheduler = stream_schedule("linear", optimizer, loader, epochs=2, warmup_ratio=0.0, total_examples=16 * steps)
    for _ in range(2):
        for number, _batch in enumerate(loader, 1):
            optimizer.step()
            scheduler.step()
            if number == steps:
                break
    assert scheduler.get_last_lr() == [0.0] and loader.consumed == 2 * 16 * steps


def test_a_pass_broken_off_counts_with_what_it_consumed_and_a_run_behind_its_end_is_told_once(tokenizer, recwarn):
    (optimizer,) = optimizers()
    loader = build(tokenizer, TrainAll())
    scheduler = stream_schedule("linear", optimizer, loader, epochs=2, warmup_ratio=0.0)
    next(iter(loader))
    comp, _ = rates(loader, optimizer, scheduler, 2)
    told = [one for one in recwarn if "at the end of its schedule" in str(one.message)]
    assert len(told) == 1 and told[0].filename == __file__
    assert comp[-3:] == pytest.approx([0.1 / 80, 0.0, 0.0])


def test_a_state_of_a_schedule_is_numbers_and_brings_nothing_of_its_loader(tokenizer):
    optimizer, other = optimizers(2)
    loader = build(tokenizer, TrainAll())
    state = stream_schedule("linear", optimizer, loader).state_dict()
    assert through_a_file(state) == state
    again = stream_schedule("linear", other, fresh := build(tokenizer, TrainAll()), warmup_ratio=0.0)
    again.load_state_dict(state)
    rates(fresh, other, again)
    assert again.get_last_lr() == [0.0]


@pytest.mark.parametrize(
    "settings, told",
    [
        ({"epochs": 2}, r"get_scheduler .* write stream_schedule\(…\) with the same arguments$"),
        ({"warmup": 0.5}, r"get_scheduler .* write stream_schedule\(…\) .*, warmup_ratio= instead of warmup=$"),
        ({"warmup_ratio": 0.5}, r"get_scheduler .* write stream_schedule\(…\) with the same arguments$"),
    ],
)
def test_the_old_name_works_and_says_the_new_one_once(tokenizer, recwarn, settings, told):
    one, two = optimizers(2)
    loader, fresh = build(tokenizer, TrainAll()), build(tokenizer, TrainAll())
    old = get_scheduler("linear", one, loader, **settings)
    (warning,) = recwarn.list
    assert warning.category is DeprecationWarning and warning.filename == __file__
    assert re.search(told, str(warning.message))
    settings = {{"warmup": "warmup_ratio"}.get(name, name): value for name, value in settings.items()}
    new = stream_schedule("linear", two, fresh, **settings)
    assert rates(loader, one, old) == rates(fresh, two, new)


def test_the_old_word_for_the_warm_up_is_taken_and_the_new_one_said(tokenizer):
    (optimizer,) = optimizers()
    with pytest.warns(DeprecationWarning, match=r"warmup= of a schedule .* write warmup_ratio=0\.25"):
        scheduler = stream_schedule("linear", optimizer, build(tokenizer, TrainAll()), warmup=0.25)
    assert scheduler.get_last_lr() == [0.0]
    with pytest.raises(ValueError, match="not give both"), pytest.warns(DeprecationWarning, match="warmup="):
        stream_schedule("linear", optimizer, build(tokenizer, TrainAll()), warmup=0.25, warmup_ratio=0.1)


def test_a_resumed_run_goes_on_with_the_rate(tokenizer):
    def start():
        (optimizer,) = optimizers()
        loader = build(tokenizer, ThreeStage(warmup=100))
        return loader, optimizer, stream_schedule("cosine", optimizer, loader, epochs=2)

    ref, _ = rates(*start(), 2)
    loader, optimizer, scheduler = start()
    iterator, comp = iter(loader), []
    for _ in range(7):
        loader.hook.report(losses_of(next(iterator)))
        optimizer.step()
        scheduler.step()
        comp.append(scheduler.get_last_lr()[0])
    states = loader.state_dict(), optimizer.state_dict(), scheduler.state_dict()
    loader, optimizer, scheduler = start()
    for part, state in zip((loader, optimizer, scheduler), states, strict=True):
        part.load_state_dict(state)
    comp += rates(loader, optimizer, scheduler, 2)[0]
    assert comp == ref


def test_a_first_batch_that_is_skipped_is_no_reason_for_a_warning(tokenizer):
    (optimizer,) = optimizers()
    loader = build(tokenizer, FixedThreshold(99.0), 64)
    scheduler = stream_schedule("linear", optimizer, loader)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for batch in loader:
            assert loader.hook.report(losses_of(batch)) is None
            scheduler.step()
    assert scheduler.get_last_lr() == [0.0]


def test_settings_reach_the_schedule(tokenizer):
    one, two = optimizers(2)
    loader = build(tokenizer, TrainAll(), 160)
    scheduler = stream_schedule("cosine", one, loader, warmup_ratio=0.0, num_cycles=1.0)
    reference = transformers.get_scheduler("cosine", two, 0, 10, scheduler_specific_kwargs={"num_cycles": 1.0})
    comp, _ = rates(loader, one, scheduler)
    ref = []
    for _ in range(10):
        two.step()
        reference.step()
        ref += reference.get_last_lr()
    np.testing.assert_allclose(comp, ref, atol=1e-6)


@pytest.mark.parametrize("name", ["linaer", "", "OneCycle"])
def test_an_unknown_name_lists_those_there_are(tokenizer, name):
    (optimizer,) = optimizers()
    with pytest.raises(
        ValueError, match=f"schedule '{name}' is not known; choose one of linear, cosine, .*constant_with_warmup"
    ):
        stream_schedule(name, optimizer, build(tokenizer, TrainAll(), 32))


@pytest.mark.parametrize(
    "name, settings, message",
    [
        (
            "reduce_lr_on_plateau",
            {},
            "schedule 'reduce_lr_on_plateau' is no function of progress; choose e.g. 'linear'",
        ),
        ("linear", {"epochs": 0}, "epochs must be a whole number of at least 1, got 0"),
        ("linear", {"warmup_ratio": 6}, r"warmup_ratio must be a number in \[0, 1\], got 6"),
        ("linear", {"total_examples": 0}, "total_examples must be a whole number of at least 1, got 0"),
        ("cosine", {"cycles": 2}, "schedule 'cosine' does not take these settings: .*cycles"),
    ],
)
def test_bad_settings(tokenizer, name, settings, message):
    (optimizer,) = optimizers()
    with pytest.raises(ValueError, match=message):
        stream_schedule(name, optimizer, build(tokenizer, TrainAll(), 32), **settings)


def test_every_schedule_of_transformers_works_or_says_why_not(tokenizer):
    needed = {
        "cosine_with_min_lr": {"min_lr": 0.01},
        "cosine_warmup_with_min_lr": {"min_lr": 0.01},
        "warmup_stable_decay": {"num_decay_steps": 20_000},
    }
    works = []
    for kind in transformers.SchedulerType:
        (optimizer,) = optimizers()
        loader = build(tokenizer, TrainAll(), 64)
        try:
            scheduler = stream_schedule(kind.value, optimizer, loader, **needed.get(kind.value, {}))
        except ValueError as error:
            assert repr(kind.value) in str(error)
            continue
        works.append(kind.value)
        comp, _ = rates(loader, optimizer, scheduler)
        assert np.isfinite(comp).all() and 0 <= min(comp) <= max(comp) <= 0.1 + 1e-9
    assert {
        "linear",
        "cosine",
        "cosine_with_restarts",
        "polynomial",
        "constant",
        "constant_with_warmup",
        "inverse_sqrt",
    } <= set(works)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "how",
    [{"granularity": "batch"}, {"drop_last": True}, {"batch_size": None}, {"granularity": "batch", "drop_last": True}],
)
def test_the_last_batch_is_trained_at_the_end_of_the_schedule(tokenizer, how, seed):
    loader = build(tokenizer, Random(0.1, seed=seed), 1000, **how)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = stream_schedule("linear", optimizer, loader)
    batches = 0
    for _ in loader:
        optimizer.step()
        scheduler.step()
        batches += 1
    assert batches == 0 or scheduler.get_last_lr() == [0.0]


def test_a_batch_sampler_that_knows_its_batches_and_one_that_does_not(tokenizer):
    batches = [[i, i + 1] for i in range(0, 100, 2)]
    loader = FilteringDataLoader(sentences(1000), tokenizer=tokenizer, batch_sampler=batches, policy=TrainAll())
    assert loader.total_examples == 100
    loader = FilteringDataLoader(sentences(1000), tokenizer=tokenizer, batch_sampler=Lazy(batches), policy=TrainAll())
    with pytest.raises(ValueError, match="total_examples="):
        stream_schedule("linear", torch.optim.SGD([torch.zeros(1)], lr=1.0), loader)
    list(loader)
    assert loader.total_examples == loader.consumed == 100


class Lazy:
    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)
