"""Resume: a run that is stopped and taken up again is the run that never stopped."""

import datasets
import numpy as np
import pytest
import torch

from filterloader import (
    AutoAssist,
    AutoThreshold,
    ClassBalanced,
    DynamicEL2N,
    FilteringDataLoader,
    FixedThreshold,
    InfoBatch,
    Random,
    SelectionViaProxy,
    SelectiveBackprop,
    StaticEL2N,
    ThreeStage,
    TrainAll,
)
from tests.conftest import Stream, everywhere, losses_of, same, sentences, through_a_file, train

POLICIES = {
    "train_all": TrainAll,
    "random": lambda: Random(0.4),
    "fixed_threshold": lambda: FixedThreshold(0.5),
    "auto_threshold": AutoThreshold,
    "three_stage": lambda: ThreeStage(warmup=200),
    "reference_script": lambda: ThreeStage.reference_script(warmup=100),
    "class_balanced": lambda: ClassBalanced(0.4),
    "autoassist": lambda: AutoAssist(lr=1.0),
    "autoassist, paper": lambda: AutoAssist(warmup="paper"),
    "infobatch": lambda: InfoBatch(epochs=None),
    "selective_backprop": lambda: SelectiveBackprop(window=200, warmup=100),
    "selection_via_proxy": lambda: SelectionViaProxy(0.4, epochs=1),
    "static_el2n": lambda: StaticEL2N(0.4),
    "dynamic_el2n": lambda: DynamicEL2N(0.4, tau=0, smoothing=0.8, deviations=1.0),
}


def logits_of(batch):
    """What a half-trained model would say: surer of the label where the loss is low."""
    return torch.nn.functional.one_hot(batch["labels"], 2) * (2 - losses_of(batch))[:, None]


def build(tokenizer, policy, source, **kw):
    rows = sentences(1500)
    if source == "hf":
        data, kw = datasets.Dataset.from_list(rows), {"shuffle": True, **kw}
    elif source == "hf-stream":
        data = datasets.Dataset.from_list(rows).to_iterable_dataset(num_shards=4).shuffle(seed=3, buffer_size=100)
    elif source == "stream":
        data = Stream(rows)
    else:
        data, kw = rows, {"shuffle": True, **kw}
    made = POLICIES[policy]()
    if made.survey and made.survey_scores:
        kw["score_fn"] = logits_of
    return FilteringDataLoader(data, tokenizer=tokenizer, batch_size=16, policy=made, seed=5, **kw)


@pytest.mark.parametrize("policy, granularity", everywhere(POLICIES))
def test_mid_pass_for_every_policy(tokenizer, policy, granularity):
    whole = build(tokenizer, policy, "list", granularity=granularity)
    ref = train(whole) + train(whole)
    for stop in {0, 1, 7, 40, len(ref) - 1} & set(range(len(ref))):
        first = build(tokenizer, policy, "list", granularity=granularity)
        out, passes = [], 0
        iterator = iter(first)
        while len(out) < stop:
            step = train(first, 1, iterator)
            if not step:
                iterator, passes = iter(first), passes + 1
            out += step
        second = build(tokenizer, policy, "list", granularity=granularity)
        second.load_state_dict(through_a_file(first.state_dict()))
        while second.epoch < 2:
            out += train(second)
        same(ref, out)
        same_counts(whole, second)


def same_counts(left, right):
    a, b = left.ledger.scalars(), right.ledger.scalars()
    for name in (
        "seen",
        "screened_out",
        "surveyed",
        "forwarded",
        "backwarded",
        "reports",
        "tokens_seen",
        "tokens_forwarded",
    ):
        assert a[name] == b[name], name


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("source", ["list", "hf", "stream", "hf-stream"])
def test_every_source_with_workers(tokenizer, source, workers):
    def make():
        return build(tokenizer, "three_stage", source, num_workers=workers)

    ref = train(make())
    first = make()
    out = train(first, 21)
    state = through_a_file(first.state_dict())
    del first
    second = make()
    second.load_state_dict(state)
    same(ref, out + train(second))


def test_shuffling_by_the_global_random_state_resumes_too(tokenizer):
    def make():
        return FilteringDataLoader(
            sentences(400), tokenizer=tokenizer, batch_size=8, shuffle=True, policy=ThreeStage(seed=1, warmup=80)
        )

    torch.manual_seed(0)
    ref = train(make())
    torch.manual_seed(0)
    first = make()
    out = train(first, 9)
    state = first.state_dict()
    torch.manual_seed(123)
    before = torch.get_rng_state()
    second = make()
    second.load_state_dict(state)
    same(ref, out + train(second))
    assert torch.equal(before, torch.get_rng_state())


def test_persistent_workers_resume_in_the_second_pass(tokenizer):
    def make():
        return build(tokenizer, "three_stage", "list", num_workers=2, persistent_workers=True)

    whole = make()
    ref = [train(whole) for _ in range(3)]
    first = make()
    train(first)
    out = train(first, 5)
    second = make()
    second.load_state_dict(first.state_dict())
    same(ref[1], out + train(second))
    same(ref[2], train(second))


def test_a_state_between_yield_and_report_keeps_the_batch_waiting(tokenizer):
    first = build(tokenizer, "three_stage", "list")
    ref = build(tokenizer, "three_stage", "list")
    expected = train(ref, 30)
    iterator = iter(first)
    out = train(first, 20, iterator)
    batch = next(iterator)
    state = first.state_dict()
    second = build(tokenizer, "three_stage", "list")
    second.load_state_dict(state)
    loss = second.hook.report(losses_of(batch), batch_id=batch.batch_id)
    out.append((dict(batch), None if loss is None else float(loss)))
    same(expected, out + train(second, 9))


def test_a_state_saved_before_the_first_batch_after_loading(tokenizer):
    first = build(tokenizer, "three_stage", "list")
    out = train(first, 12)
    ref = train(build(tokenizer, "three_stage", "list"))
    second = build(tokenizer, "three_stage", "list")
    second.load_state_dict(first.state_dict())
    third = build(tokenizer, "three_stage", "list")
    third.load_state_dict(second.state_dict())
    same(ref, out + train(third))


def test_a_state_between_iter_and_the_first_batch_of_a_later_pass(tokenizer):
    first = build(tokenizer, "random", "list")
    train(first)
    iterator = iter(first)
    second = build(tokenizer, "random", "list")
    second.load_state_dict(first.state_dict())
    same(train(first, iterator=iterator), train(second))


def test_a_refused_state_changes_nothing(tokenizer):
    first = build(tokenizer, "three_stage", "list")
    train(first, 40)
    state = first.state_dict()
    ref = build(tokenizer, "three_stage", "list")
    for broken in (
        {k: v for k, v in state.items() if k != "hook"},
        {**state, "chain": {**state["chain"], "source": {**state["chain"]["source"], "batch_size": 3}}},
    ):
        other = build(tokenizer, "three_stage", "list")
        with pytest.raises(ValueError, match=r"not complete|batch_size=3"):
            other.load_state_dict(broken)
        same(train(ref, 5), train(other, 5))
        ref = build(tokenizer, "three_stage", "list")
    with pytest.raises(ValueError, match=r"data set length=1500.*=10"):
        FilteringDataLoader(sentences(10), tokenizer=tokenizer, batch_size=16, shuffle=True, seed=5).load_state_dict(
            state
        )


def test_blocks_that_overtake_cannot_be_saved(tokenizer):
    loader = build(tokenizer, "random", "list", num_workers=2, in_order=False)
    train(loader, 2)
    with pytest.raises(ValueError, match="in_order=False"):
        loader.state_dict()


def test_a_state_is_a_snapshot(tokenizer):
    loader = build(tokenizer, "three_stage", "list")
    iterator = iter(loader)
    train(loader, 25, iterator)
    state = loader.state_dict()
    ref = through_a_file(state)
    train(loader, 10, iterator)
    assert repr(ref) == repr(through_a_file(state))


def test_the_last_batch_was_handed_out(tokenizer):
    first = build(tokenizer, "three_stage", "list")
    n = len(train(build(tokenizer, "three_stage", "list")))
    train(first, n)
    second = build(tokenizer, "three_stage", "list")
    second.load_state_dict(first.state_dict())
    assert train(second) == []
    assert second.epoch == 1 and second.progress == 1.0
    assert train(second)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"granularity": "batch"}, "granularity='example'.*granularity='batch'"),
        ({"policy": "random"}, "policy='ThreeStage'.*policy='Random'"),
        ({"batch_size": 8}, "batch_size=16.*batch_size=8"),
        ({"version": 99}, "state version=99"),
    ],
)
def test_a_state_of_something_else_is_refused(tokenizer, change, message):
    loader = build(tokenizer, "three_stage", "list")
    train(loader, 3)
    state = loader.state_dict()
    state.update({k: v for k, v in change.items() if k == "version"})
    kw = {"granularity": change.get("granularity", "example")}
    other = FilteringDataLoader(
        sentences(10),
        tokenizer=tokenizer,
        batch_size=change.get("batch_size", 16),
        policy=POLICIES[change.get("policy", "three_stage")](),
        **kw,
    )
    with pytest.raises(ValueError, match=message):
        other.load_state_dict(state)


def test_a_stream_read_by_another_number_of_workers_is_refused(tokenizer):
    first = build(tokenizer, "random", "stream", num_workers=2)
    train(first, 2)
    with pytest.raises(ValueError, match=r"num_workers.*=2.*=0"):
        build(tokenizer, "random", "stream").load_state_dict(first.state_dict())


def test_a_map_style_pass_may_go_on_with_other_workers(tokenizer):
    ref = train(build(tokenizer, "three_stage", "list"))
    first = build(tokenizer, "three_stage", "list", num_workers=2)
    out = train(first, 11)
    second = build(tokenizer, "three_stage", "list", num_workers=0)
    second.load_state_dict(first.state_dict())
    same(ref, out + train(second))


def test_no_state_at_all_is_refused(tokenizer):
    with pytest.raises(ValueError, match="no state of a FilteringDataLoader"):
        build(tokenizer, "random", "list").load_state_dict({"model": np.zeros(1)})
