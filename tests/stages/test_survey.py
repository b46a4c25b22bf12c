"""The look over the whole data set: in its order, scored in batches of similar length, and unnoticed by the pass."""

import pickle
import random

import datasets
import numpy as np
import pytest
import torch
from torch.utils.data import IterableDataset, Subset, SubsetRandomSampler

from filterloader import (
    DynamicEL2N,
    FilteringDataLoader,
    FixedThreshold,
    InfoBatch,
    Random,
    SelectionViaProxy,
    StaticEL2N,
    TrainAll,
)
from filterloader.stages.survey import _joined
from tests.conftest import Clock, losses_of, sentences, train


class Looks(TrainAll):
    """Trains on everything and looks at everything before each pass; remembers what it saw."""

    def __init__(self, scores=True, words=False, passes=10):
        self.survey_scores, self.needs_words, self.passes = scores, words, passes
        self.seen, self.log = [], []

    @property
    def surveys(self):
        self.log.append("surveys")
        return len(self.seen) < self.passes

    def begin_pass(self):
        self.log.append("begin")

    def survey(self, blocks):
        self.seen.append(list(blocks))
        assert sum(len(candidates) for candidates, _ in self.seen[-1]) == blocks.examples

    def together(self, name="example_ids"):
        return np.concatenate([getattr(candidates, name) for candidates, _ in self.seen[-1]])


class Stream(IterableDataset):
    def __iter__(self):
        return iter(sentences(8))


def build(tokenizer, policy, data=None, **kw):
    kw = {"batch_size": 8, "shuffle": True, "seed": 0, "score_fn": losses_of, **kw}
    return FilteringDataLoader(sentences(300) if data is None else data, tokenizer=tokenizer, policy=policy, **kw)


@pytest.mark.parametrize("scores", [True, False])
@pytest.mark.parametrize("source", [list, datasets.Dataset.from_list, lambda rows: Subset(rows, range(len(rows)))])
def test_it_goes_over_the_whole_data_set_in_its_order(tokenizer, source, scores):
    policy, rows = Looks(scores, words=True), sentences(300)
    iter(build(tokenizer, policy, source(rows)))
    assert policy.together().tolist() == policy.together("positions").tolist() == list(range(300))
    assert policy.together("labels").tolist() == [row["label"] for row in rows]
    for candidates, found in policy.seen[-1]:
        assert candidates.indexed and candidates.total == 300
        assert (found is None) != scores
        for i, row in zip(
            candidates.example_ids, np.split(candidates.tokens.values, candidates.tokens.offsets[1:-1]), strict=True
        ):
            assert row.tolist() == tokenizer(rows[i]["text"])["input_ids"]
        assert candidates.bag.n_features > len(tokenizer)  # words crossed with the label: the default


def test_scores_belong_to_their_rows_although_the_model_saw_them_by_length(tokenizer):
    shapes = []

    def score(batch):
        assert not torch.is_grad_enabled()
        shapes.append(tuple(batch["input_ids"].shape))
        return losses_of(batch), {"length": batch["attention_mask"].sum(1), "ids": batch["input_ids"] - 1}

    policy, rows = Looks(), sentences(300)
    loader = build(tokenizer, policy, rows, score_fn=score)
    iter(loader)
    assert {n for n, _ in shapes} == {8, 4} and loader.ledger.scalars()["surveyed"] == 300
    padded = sum(n * width for n, width in shapes)
    real = 0
    for candidates, (losses, more) in policy.seen[-1]:
        lengths = [len(rows[i]["text"].split()) + 2 for i in candidates.example_ids]
        real += sum(lengths)
        assert more["length"].tolist() == lengths
        for i, loss, ids in zip(candidates.example_ids, losses, more["ids"], strict=True):
            own = tokenizer(rows[i]["text"])["input_ids"]
            assert ids[: len(own)].tolist() == [word - 1 for word in own] and set(ids[len(own) :].tolist()) <= {
                -1,
                -100,
            }
            assert loss == losses_of({"input_ids": torch.tensor([own])})
    assert padded < 1.15 * real


def test_different_widths_are_filled_up_by_kind():
    def part(n, width, dtype):
        return torch.ones(n, width, 2, dtype=dtype)

    for dtype, fill in ((torch.float16, 0), (torch.int64, -100), (torch.bool, False)):
        out = _joined([part(1, 3, dtype), part(2, 1, dtype)], torch.tensor([1, 0, 2]))
        assert out.dtype == dtype and out.shape == (3, 3, 2)
        assert (out[1] == 1).all() and (out[[0, 2], :1] == 1).all() and (out[[0, 2], 1:] == fill).all()


def test_rows_without_words_are_scored_as_they_come():
    policy = Looks()
    loader = FilteringDataLoader(
        [torch.tensor([float(i)]) for i in range(50)],
        batch_size=4,
        policy=policy,
        score_fn=lambda batch: batch[:, 0] * 2,
    )
    iter(loader)
    assert torch.cat([scores for _, scores in policy.seen[-1]]).tolist() == [2.0 * i for i in range(50)]


@pytest.mark.parametrize("batch_size", [None, 8])
def test_a_collate_function_gets_the_untouched_rows(tokenizer, batch_size):
    policy, rows = Looks(), sentences(20)
    kw = {
        "collate_fn": lambda given: given,
        "score_fn": lambda given: torch.tensor([row["idx"] for row in ([given] if batch_size is None else given)]),
    }
    iter(build(tokenizer, policy, rows, batch_size=batch_size, **kw))
    assert torch.cat([scores for _, scores in policy.seen[-1]]).tolist() == list(range(20))


def test_it_comes_right_after_begin_pass_and_never_in_the_middle_of_one(tokenizer):
    policy = Looks(passes=1)
    loader = build(tokenizer, policy)
    iterator = iter(loader)
    assert policy.log == ["begin", "surveys"]
    train(loader, 5, iterator)
    state = loader.state_dict()
    other = build(tokenizer, Looks())
    other.load_state_dict(state)
    assert train(other) and other.policy.log == []
    train(loader, iterator=iterator)
    train(loader)
    assert policy.log == ["begin", "surveys"] * 2 and len(policy.seen) == 1


@pytest.mark.parametrize("workers", [0, 2])
def test_the_pass_does_not_notice(tokenizer, workers):
    def run(policy):
        loader = build(tokenizer, policy, num_workers=workers)
        return [[batch["input_ids"].tolist() for batch, _ in train(loader)] for _ in range(2)]

    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    assert run(Looks()) == run(TrainAll())
    assert random.getstate() == before[0] and (np.random.get_state()[1] == before[1]).all()
    if workers == 0:
        assert torch.equal(torch.get_rng_state(), before[2])


def test_the_users_sampler_and_global_shuffling_go_on_as_they_would(tokenizer):
    def run(policy, **kw):
        torch.manual_seed(3)
        return [batch["input_ids"].tolist() for batch, _ in train(build(tokenizer, policy, seed=None, **kw))]

    def sampler():
        return SubsetRandomSampler(range(100), generator=torch.Generator().manual_seed(1))

    assert run(Looks()) == run(TrainAll())
    assert run(Looks(), sampler=sampler(), shuffle=None) == run(TrainAll(), sampler=sampler(), shuffle=None)


def test_its_time_and_its_forward_passes_are_in_the_ledger(tokenizer, monkeypatch):
    clock = Clock(monkeypatch)

    def score(batch):
        clock.turn(2)
        return losses_of(batch)

    loader = build(tokenizer, Looks(passes=1), sentences(64), batch_size=16, score_fn=score)
    for batch in loader:
        clock.turn(10)
        loss = loader.hook.report(losses_of(batch).requires_grad_())
        clock.turn(20)
        loss.backward()
    scalars = loader.ledger.scalars()
    assert (scalars["survey_s"], scalars["surveyed"], scalars["loader_s"]) == (8, 64, 0)
    assert scalars["wall_s"] == 8 + 40 + 80
    assert scalars["t_norm_measured"] == pytest.approx(128 / 120)
    assert scalars["t_norm_modelled"] == pytest.approx(1 + 10 / 30)
    other = build(tokenizer, Looks(passes=1))
    other.ledger.load_state_dict(loader.ledger.state_dict())
    here = {"epoch": 0, "progress": 0.0}  # where the other loader stands; the position is the loader's to bring back
    assert other.ledger.scalars() == pytest.approx({**scalars, **here}, nan_ok=True)


def test_a_pass_that_is_broken_off_does_not_lend_its_time_to_a_survey(tokenizer, monkeypatch):
    clock = Clock(monkeypatch)

    class Slow(Looks):
        def survey(self, blocks):
            clock.turn(7)

    loader = build(tokenizer, Slow(scores=False))
    loader.hook.report(losses_of(next(iter(loader))))
    clock.turn(3)
    next(iter(loader))
    assert loader.ledger.scalars()["survey_s"] == 14 and loader.ledger.scalars()["backward_s"] == 3


def test_an_error_in_a_survey_leaves_the_loader_between_passes(tokenizer):
    broken = [True]

    def score(batch):
        if broken[0]:
            raise RuntimeError("mine")
        return losses_of(batch)

    loader = build(tokenizer, Looks(), score_fn=score)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="mine"):
            iter(loader)
        assert (loader.consumed, loader.progress, loader.epoch) == (0, 0.0, 0)
    loader.state_dict()
    broken[0] = False
    assert sum(len(batch["labels"]) for batch in loader) == 300 and loader.consumed == 300


def test_an_empty_data_set_is_not_looked_at(tokenizer):
    policy = Looks()
    assert list(build(tokenizer, policy, [], shuffle=None)) == [] and policy.seen == []


def test_a_loader_that_looks_pickles(tokenizer):
    loader = build(tokenizer, Looks())
    train(loader, 3)
    copy = pickle.loads(pickle.dumps(loader))
    iter(copy)
    assert copy._survey.policy is copy.policy and len(copy.policy.seen) == 2


@pytest.mark.parametrize(
    "policy, arguments, message",
    [
        (
            Looks(),
            {"score_fn": None},
            r"Looks looks over .* score_fn=, a function of a batch that returns a tensor \[batch, …\]",
        ),
        (
            Looks(),
            {"data": Stream(), "shuffle": None},
            "Looks needs examples by index.*iterable.*AutoThreshold.*ThreeStage",
        ),
    ],
)
def test_what_a_loader_cannot_look_at_is_refused_at_once(tokenizer, policy, arguments, message):
    with pytest.raises(ValueError, match=message):
        build(tokenizer, policy, **arguments)


def test_a_policy_that_wants_scores_only_later_is_told_then(tokenizer):
    policy = Looks(scores=False)
    loader = build(tokenizer, policy, score_fn=None)
    train(loader)
    policy.survey_scores = True
    with pytest.raises(ValueError, match="score_fn="):
        iter(loader)


@pytest.mark.parametrize(
    "returned, message",
    [
        (lambda batch: torch.zeros(3), r"one row for each of the 8 examples of its batch, got shape \[3\]"),
        (lambda batch: torch.zeros(()), r"got shape \[\]"),
        (lambda batch: [1.0] * 8, "a tensor, or a tuple, list or dict of tensors, got float"),
        (lambda batch: None, "got NoneType"),
        (lambda batch: (), "got tuple"),
    ],
)
def test_scores_of_another_shape_are_refused(tokenizer, returned, message):
    with pytest.raises(ValueError, match=message):
        iter(build(tokenizer, Looks(), score_fn=returned))


@pytest.mark.parametrize(
    "make",
    [lambda: StaticEL2N(0.2, after=0), lambda: DynamicEL2N(0.2, tau=0), lambda: SelectionViaProxy(0.2, epochs=1)],
)
def test_what_a_sampler_leaves_out_is_neither_scored_nor_chosen_nor_counted(tokenizer, make):
    policy = make()
    drawn = SubsetRandomSampler(range(100, 200), generator=torch.Generator().manual_seed(1))
    taken, scored = [], []

    def score(batch):
        scored.append(len(batch["labels"]))
        return torch.nn.functional.one_hot(batch["labels"], 2).float()

    loader = build(tokenizer, policy, sampler=drawn, shuffle=None, score_fn=score)
    loader.policy.screen = lambda candidates, real=policy.screen: (
        taken.append(candidates.example_ids) or real(candidates)
    )
    for _ in range(2):
        assert sum(len(batch["labels"]) for batch in loader) == 20
    assert sum(scored) in (0, 100) or isinstance(policy, DynamicEL2N)
    assert (
        np.flatnonzero(policy._selection.chosen).min() >= 100 and np.flatnonzero(policy._selection.chosen).max() < 200
    )


def test_a_pass_of_which_nothing_is_kept_says_so(tokenizer):
    loader = FilteringDataLoader(sentences(40), 30, tokenizer=tokenizer, policy=Random(0.1, seed=1), drop_last=True)
    with pytest.warns(UserWarning, match="handed out nothing: of its 40 examples.*drop_last"):
        assert list(loader) == []


class Strict(torch.utils.data.Dataset):
    """Takes nothing for a row number but Python's own, nothing for several but a list."""

    def __len__(self):
        return 32

    def __getitem__(self, i):
        assert type(i) is int, type(i)
        return {"input_ids": [i + 1], "label": i % 2}


class StrictMany(Strict):
    def __getitems__(self, many):
        assert type(many) is list
        return [self[i] for i in many]


@pytest.mark.parametrize("kind", [Strict, StrictMany])
def test_rows_are_asked_for_as_a_sampler_asks(kind):
    policy = Looks(passes=1)
    loader = FilteringDataLoader(kind(), 8, policy=policy, score_fn=lambda batch: torch.zeros(len(batch["labels"])))
    assert sum(len(batch["labels"]) for batch in loader) == 32
    assert policy.together().tolist() == list(range(32))


@pytest.mark.parametrize(
    "batches",
    [
        np.array_split(np.arange(64)[::-1], 8),
        list(torch.arange(64).flip(0).split(8)),
        [list(range(i, i - 8, -1)) for i in range(63, 0, -8)],
        [range(i, i + 8) for i in range(0, 64, 8)],
    ],
    ids=["arrays", "tensors", "lists", "ranges"],
)
@pytest.mark.parametrize("policy", [lambda: DynamicEL2N(0.5), lambda: InfoBatch(epochs=None)])
def test_batch_samplers_of_arrays_and_tensors_have_indices_too(batches, policy):
    rows = [{"input_ids": [i + 1], "label": i % 2} for i in range(64)]
    loader = FilteringDataLoader(
        rows,
        batch_sampler=batches,
        policy=policy(),
        score_fn=lambda batch: torch.zeros(len(batch["labels"]), 2),
        seed=0,
    )
    counts = []
    for _ in range(2):
        counts.append(0)
        for batch in loader:
            counts[-1] += len(batch["labels"])
            loader.hook.report(batch["labels"].float() + batch["input_ids"][:, 0] / 100)
    assert counts[0] == 64 and 16 <= counts[1] <= 56


def test_examples_without_an_index_are_refused_before_a_whole_pass_is_spent():
    class Named(torch.utils.data.Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, name):
            return {"input_ids": [1], "label": 0}

    loader = FilteringDataLoader(
        Named(), sampler=list("abcd"), batch_size=2, policy=DynamicEL2N(0.5), score_fn=lambda batch: torch.zeros(2, 2)
    )
    with pytest.raises(ValueError, match="DynamicEL2N needs examples by index"):
        next(iter(loader))


def test_a_scored_loader_scores_the_batches_of_a_sampler_without_a_size():
    sizes = []

    def score(batch):
        sizes.append(len(batch["labels"]))
        return torch.ones(len(batch["labels"]))

    batches = [list(range(i, i + 16)) for i in range(0, 64, 16)]
    rows = [{"input_ids": [i + 1], "label": i % 2} for i in range(64)]
    list(FilteringDataLoader(rows, batch_sampler=batches, policy=FixedThreshold(0.5), score_fn=score))
    assert sizes == [16, 16, 16, 16]
