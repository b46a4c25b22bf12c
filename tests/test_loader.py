"""The loader against torch's own: with TrainAll it yields what a DataLoader would have yielded, from any source."""

import copy
import inspect

import datasets
import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from transformers import DataCollatorWithPadding

from filterloader import ClassBalanced, FilteringDataLoader, FixedThreshold, Random, ThreeStage, TrainAll
from tests.conftest import Rows, Stream, losses_of, sentences, train


def equal(left, right):
    if isinstance(left, torch.Tensor):
        return isinstance(right, torch.Tensor) and left.dtype == right.dtype and torch.equal(left, right)
    if hasattr(left, "keys"):
        return set(left) == set(right) and all(equal(left[k], right[k]) for k in left)
    if isinstance(left, (list, tuple)):
        return type(left) is type(right) and len(left) == len(right) and all(map(equal, left, right))
    return left == right


def same_batches(ref, comp, passes=2):
    assert len(ref) == len(comp)
    for _ in range(passes):
        left, right = list(ref), list(comp)
        assert len(left) == len(right)
        assert all(map(equal, left, right))


def text_collate(tokenizer):
    def collate(rows):
        batch = tokenizer([row["text"] for row in rows], padding=True, truncation=True, return_tensors="pt")
        return {**batch, "labels": torch.tensor([row["label"] for row in rows])}

    return collate


def test_takes_every_argument_of_a_dataloader_with_its_default():
    ours, theirs = (inspect.signature(kind.__init__).parameters for kind in (FilteringDataLoader, DataLoader))
    for name, parameter in theirs.items():
        assert name in ours, name
        assert ours[name].default == parameter.default, name
    positional = [p.name for p in theirs.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert list(ours)[: len(positional)] == positional


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("source", [list, Rows, datasets.Dataset.from_list])
def test_train_all_equals_a_dataloader_on_raw_text(tokenizer, source, drop_last, workers):
    data = source(sentences(101))
    kw = {"batch_size": 8, "shuffle": True, "drop_last": drop_last, "num_workers": workers}
    ref = DataLoader(data, collate_fn=text_collate(tokenizer), generator=torch.Generator().manual_seed(3), **kw)
    comp = FilteringDataLoader(
        data, tokenizer=tokenizer, policy=TrainAll(), generator=torch.Generator().manual_seed(3), **kw
    )
    same_batches(ref, comp)


def test_equals_a_dataloader_under_the_global_seed(tokenizer):
    rows = sentences(50)
    torch.manual_seed(7)
    ref = list(DataLoader(rows, batch_size=8, shuffle=True, collate_fn=text_collate(tokenizer)))
    torch.manual_seed(7)
    comp = list(FilteringDataLoader(rows, batch_size=8, shuffle=True, tokenizer=tokenizer, policy=TrainAll()))
    assert all(map(equal, ref, comp))


@pytest.mark.parametrize("source", ["list", "hf", "torch"])
def test_tokenized_rows_equal_the_padding_collator(tokenizer, source):
    rows = [{**tokenizer(row["text"]), "label": row["label"], "idx": row["idx"]} for row in sentences(60)]
    data = rows if source == "list" else datasets.Dataset.from_list(rows)
    data = data.with_format("torch") if source == "torch" else data
    ref = DataLoader(data, batch_size=7, collate_fn=DataCollatorWithPadding(tokenizer))
    same_batches(ref, FilteringDataLoader(data, batch_size=7, tokenizer=tokenizer, policy=TrainAll()))
    same_batches(ref, FilteringDataLoader(data, batch_size=7, policy=TrainAll()))


def test_left_padding_and_other_pad_ids_follow_the_tokenizer(tokenizer):
    import copy

    left = copy.deepcopy(tokenizer)
    left.padding_side, left.pad_token = "left", "[UNK]"
    rows = sentences(20)
    ref = DataLoader(rows, batch_size=6, collate_fn=text_collate(left))
    same_batches(ref, FilteringDataLoader(rows, batch_size=6, tokenizer=left, policy=TrainAll()))


def test_pairs_and_truncation(tokenizer):
    import copy

    short = copy.deepcopy(tokenizer)
    short.model_max_length = 9
    rows = [
        {"question": a["text"], "sentence": b["text"], "label": a["label"]}
        for a, b in zip(sentences(30), sentences(30, 1), strict=True)
    ]

    def collate(batch):
        out = short(
            [r["question"] for r in batch],
            [r["sentence"] for r in batch],
            padding=True,
            truncation=True,
            return_tensors="pt",
        )
        return {**out, "labels": torch.tensor([r["label"] for r in batch])}

    ref = DataLoader(rows, batch_size=4, collate_fn=collate)
    same_batches(
        ref, FilteringDataLoader(rows, batch_size=4, tokenizer=short, text=("question", "sentence"), policy=TrainAll())
    )
    same_batches(
        ref, FilteringDataLoader(rows, batch_size=4, tokenizer=short, text=["question", "sentence"], policy=TrainAll())
    )


@pytest.mark.parametrize(
    "rows",
    [
        [{"x": torch.tensor([1.0, i]), "y": i} for i in range(10)],
        [(torch.tensor([float(i)]), i % 2) for i in range(10)],
        [torch.tensor([float(i), 0.0]) for i in range(10)],
        list(range(10)),
        [{"name": f"row {i}", "value": i / 2} for i in range(10)],
        [np.arange(3) + i for i in range(10)],
    ],
    ids=["dicts", "tuples", "tensors", "numbers", "strings", "arrays"],
)
@pytest.mark.parametrize("batch_size", [3, None])
def test_rows_without_text_go_through_torch_untouched(rows, batch_size):
    same_batches(
        DataLoader(rows, batch_size=batch_size), FilteringDataLoader(rows, batch_size=batch_size, policy=TrainAll())
    )


def test_a_two_column_hf_batch_arrives_as_columns():
    data = datasets.Dataset.from_dict({"input_ids": [[1, 2], [3], [4, 5, 6]], "labels": [0, 1, 0]})
    (batch,) = FilteringDataLoader(data, batch_size=3, policy=TrainAll())
    assert batch["input_ids"].tolist() == [[1, 2, 0], [3, 0, 0], [4, 5, 6]]
    assert batch["labels"].tolist() == [0, 1, 0]


@pytest.mark.parametrize("workers", [0, 2])
def test_the_users_collate_function_collates_the_untouched_rows(tokenizer, workers):
    rows = sentences(40)
    collate = text_collate(tokenizer)
    ref = DataLoader(rows, batch_size=8, collate_fn=collate)
    same_batches(
        ref, FilteringDataLoader(rows, batch_size=8, collate_fn=collate, policy=TrainAll(), num_workers=workers)
    )
    seen = []

    def spy(batch):
        seen.extend(batch)
        return collate(batch)

    loader = FilteringDataLoader(rows, batch_size=8, collate_fn=spy, tokenizer=tokenizer, policy=Random(0.5, seed=0))
    yielded = sum(len(batch["labels"]) for batch in loader)
    assert len(seen) == yielded and all(row in rows and "text" in row for row in seen)


def test_samplers_and_batch_samplers():
    rows = [{"input_ids": [i], "label": 0} for i in range(20)]
    for kw in (
        {"sampler": range(19, -1, -1), "batch_size": 4},
        {"batch_sampler": BatchSampler(SequentialSampler(rows), 6, drop_last=True)},
        {"batch_sampler": [[0, 1, 2], [5], [7, 8]]},
    ):
        ref = DataLoader(rows, collate_fn=DataCollator, **kw)
        same_batches(ref, FilteringDataLoader(rows, collate_fn=DataCollator, policy=TrainAll(), **kw))
    for make in (
        lambda g: SubsetRandomSampler(range(10), generator=g),
        lambda g: WeightedRandomSampler([1.0] * 20, 15, generator=g),
    ):
        ref = DataLoader(rows, batch_size=4, collate_fn=DataCollator, sampler=make(torch.Generator().manual_seed(0)))
        comp = FilteringDataLoader(
            rows,
            batch_size=4,
            sampler=make(torch.Generator().manual_seed(0)),
            collate_fn=DataCollator,
            policy=TrainAll(),
        )
        same_batches(ref, comp)


def DataCollator(rows):
    return {"ids": torch.tensor([row["input_ids"][0] for row in rows])}


@pytest.mark.parametrize("workers", [0, 2])
def test_streams(tokenizer, workers):
    rows = sentences(50)
    for data in (Stream(rows), datasets.Dataset.from_list(rows).to_iterable_dataset(num_shards=2)):
        kw = {"batch_size": 8, "num_workers": workers}
        ref = list(DataLoader(data, collate_fn=text_collate(tokenizer), **kw))
        comp = list(FilteringDataLoader(data, tokenizer=tokenizer, policy=TrainAll(), **kw))
        assert len(ref) == len(comp) and all(map(equal, ref, comp))


@pytest.mark.parametrize("granularity", ["example", "batch"])
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("workers", [0, 2])
def test_filtered_examples_are_never_doubled_and_batches_are_dense(tokenizer, granularity, drop_last, workers):
    rows = [{**tokenizer(row["text"]), "label": row["label"], "idx": row["idx"]} for row in sentences(500)]
    loader = FilteringDataLoader(
        rows,
        batch_size=16,
        shuffle=True,
        policy=Random(0.5),
        seed=1,
        granularity=granularity,
        drop_last=drop_last,
        num_workers=workers,
    )
    batches = [batch["idx"].tolist() for batch in loader]
    seen = [i for batch in batches for i in batch]
    assert len(seen) == len(set(seen)) and 150 < len(seen) < 350
    whole = batches if drop_last else batches[:-1]
    if granularity == "example":
        assert all(len(batch) == 16 for batch in whole)
    s = loader.ledger.scalars()
    assert s["seen"] == (496 if drop_last and granularity == "batch" else 500)
    dropped = s["seen"] - s["screened_out"] - s["forwarded"]
    assert 0 <= dropped < 16 if drop_last else dropped == 0
    assert len(batches) <= len(loader)


def test_everything_kept_comes_out_once_in_similar_lengths(tokenizer):
    rows = [{**tokenizer(row["text"]), "label": row["label"], "idx": row["idx"]} for row in sentences(400)]
    loader = FilteringDataLoader(rows, batch_size=16, policy=TrainAll(), buffer_batches=8)
    batches = list(loader)
    assert sorted(i for batch in batches for i in batch["idx"].tolist()) == list(range(400))
    bucketed = sum(batch["input_ids"].numel() for batch in batches)
    plain = sum(batch["input_ids"].numel() for batch in FilteringDataLoader(rows, batch_size=16, policy=TrainAll()))
    assert bucketed < 0.85 * plain


def test_labels_by_their_own_name_too(tokenizer):
    rows = [{"text": "easy1 easy2", "stars": i % 3} for i in range(4)]
    (batch,) = FilteringDataLoader(rows, batch_size=4, tokenizer=tokenizer, label="stars", policy=TrainAll())
    assert batch["stars"] is batch["labels"] and "stars" not in batch
    with pytest.raises(KeyError):
        batch["label"]


def test_labels_of_other_kinds(tokenizer):
    def one(label):
        rows = [{"text": "easy1", "label": value} for value in label]
        return next(iter(FilteringDataLoader(rows, batch_size=len(label), tokenizer=tokenizer)))["labels"]

    assert one([0.5, 1.5]).dtype == torch.float32
    assert one([[1.0, 0.0], [0.0, 1.0]]).shape == (2, 2)
    assert one([True, False]).dtype == torch.int64
    rows = [{"input_ids": [1, 2, 3], "labels": [5, 6, 7]}, {"input_ids": [1], "labels": [5]}]
    (batch,) = FilteringDataLoader(rows, batch_size=2, policy=TrainAll())
    assert batch["labels"].tolist() == [[5, 6, 7], [5, -100, -100]]


def test_score_fn_judges_before_the_refill(tokenizer):
    scored = []

    def score(batch):
        assert not torch.is_grad_enabled()
        scored.append(len(batch["labels"]))
        return losses_of(batch)

    loader = FilteringDataLoader(
        sentences(320), tokenizer=tokenizer, batch_size=16, policy=FixedThreshold(1.0), score_fn=score
    )
    out = train(loader)
    assert sum(scored) == 320
    assert all((losses_of(batch) >= 1).all() for batch, _ in out)
    assert all(len(batch["labels"]) == 16 for batch, _ in out[:-1])
    assert all(loss == pytest.approx(float(losses_of(batch).mean())) for batch, loss in out)
    with pytest.raises(ValueError, match=r"losses \[8\] or logits \[8, classes\].*\[3\]"):
        next(
            iter(
                FilteringDataLoader(
                    sentences(8),
                    tokenizer=tokenizer,
                    batch_size=8,
                    policy=FixedThreshold(1.0),
                    score_fn=lambda b: torch.zeros(3),
                )
            )
        )


def test_logits_from_score_fn_become_cross_entropy(tokenizer):
    loader = FilteringDataLoader(
        sentences(64),
        tokenizer=tokenizer,
        batch_size=8,
        policy=FixedThreshold(1.0),
        score_fn=lambda b: torch.tensor([[0.0, 5.0]]).repeat(len(b["labels"]), 1),
    )
    kept = [label for batch in loader for label in batch["labels"].tolist()]
    assert kept and set(kept) == {0}


def test_progress_len_and_epoch(tokenizer):
    loader = FilteringDataLoader(sentences(100), tokenizer=tokenizer, batch_size=8, policy=ThreeStage(warmup=16))
    assert loader.progress == 0.0 and len(loader) == 13
    for epoch in range(2):
        last = 0.0
        for batch in loader:
            loader.hook.report(losses_of(batch))
            assert last <= loader.progress <= 1.0
            last = loader.progress
        assert loader.progress == 1.0 and loader.epoch == epoch + 1
    assert loader.consumed == 200
    with pytest.raises(TypeError):
        len(FilteringDataLoader(Stream(sentences(4)), tokenizer=tokenizer))


def test_a_new_pass_makes_the_old_iterator_stale(tokenizer):
    loader = FilteringDataLoader(sentences(40), tokenizer=tokenizer, batch_size=8)
    old = iter(loader)
    next(old)
    new = iter(loader)
    with pytest.raises(ValueError, match="stale"):
        next(old)
    assert len(list(new)) == 5


def test_no_global_random_state_is_touched(tokenizer):
    loader = FilteringDataLoader(
        sentences(64), tokenizer=tokenizer, batch_size=8, shuffle=True, seed=0, policy=ThreeStage(warmup=8)
    )
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    train(loader)
    assert (before[0] == np.random.get_state()[1]).all() and torch.equal(before[1], torch.get_rng_state())


@pytest.mark.parametrize("policy", [lambda: Random(0.5), lambda: ThreeStage(warmup=100)])
def test_one_seed_one_run(tokenizer, policy):
    def run(seed):
        loader = FilteringDataLoader(
            sentences(600), tokenizer=tokenizer, batch_size=8, shuffle=True, seed=seed, policy=policy()
        )
        return [batch["input_ids"].tolist() for batch, _ in train(loader)]

    assert run(1) == run(1) != run(2)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"dataset": {"train": [1]}}, TypeError, r"keys \['train'\].*dataset\['train'\]"),
        ({"dataset": DataLoader([1])}, TypeError, "is a DataLoader"),
        ({"granularity": "sentence"}, ValueError, "'sentence'.*'example' or 'batch'"),
        ({"features": "bigrams"}, ValueError, "'bigrams'.*'tokens'"),
        ({"tokenizer": "bert-base"}, TypeError, "got str"),
        ({"seed": -1}, ValueError, "seed.*-1"),
        ({"score_fn": 3}, TypeError, "score_fn.*int"),
        ({"score_fn": len, "granularity": "batch"}, ValueError, "granularity='example'"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"shuffle": True, "sampler": [0]}, ValueError, "mutually exclusive"),
        ({"buffer_batches": -2}, ValueError, "buffer_batches.*-2"),
        ({"total_examples": 0}, ValueError, "total_examples.*0"),
    ],
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        FilteringDataLoader(**{"dataset": [{"text": "a"}], **arguments})


@pytest.mark.parametrize(
    "rows, arguments, message",
    [
        ([{"sentence": "easy1", "label": 0}], {}, r"text='text' names no column.*\['label', 'sentence'\]"),
        ([{"text": "easy1", "label": 0}], {"label": "stars"}, r"label='stars' names no column.*\['label', 'text'\]"),
        ([{"text": None, "label": 0}], {}, "must hold strings.*NoneType.*row 0 of the data set"),
        (
            [{"text": "bad \ud83d x", "label": 0}],
            {},
            r"'text' holds '\\ud83d' at character 4, half of a surrogate pair.* in row 0",
        ),
        ([{"input_ids": [1.9, 2.0], "label": 0}], {}, "input_ids must hold a list of whole numbers"),
        ([{"text": "easy1", "label": "pos"}], {}, "labels must be numbers, got 'pos'"),
        ([{"text": "easy1", "label": None}], {}, "labels must be numbers, got None"),
    ],
)
def test_rows_that_do_not_fit(tokenizer, rows, arguments, message):
    with pytest.raises(ValueError, match=message):
        list(FilteringDataLoader(rows, tokenizer=tokenizer, **arguments))


def test_words_asked_of_rows_without_text():
    with pytest.raises(ValueError, match=r"reads the words.*AutoThreshold"):
        list(FilteringDataLoader([torch.ones(2)], policy=ThreeStage()))


def test_a_tokenizer_without_padding(tokenizer):
    import copy

    bare = copy.deepcopy(tokenizer)
    bare.pad_token = None
    assert len(list(FilteringDataLoader(sentences(2), tokenizer=bare))) == 2
    with pytest.raises(ValueError, match=r"no padding token.*batch_size=1"):
        next(iter(FilteringDataLoader(sentences(8), 8, tokenizer=bare)))


def test_spawned_workers(tokenizer):
    rows = sentences(24)
    kw = {"batch_size": 8, "tokenizer": tokenizer, "policy": TrainAll()}
    ref = list(FilteringDataLoader(rows, **kw))
    comp = list(FilteringDataLoader(rows, num_workers=1, multiprocessing_context="spawn", **kw))
    assert all(map(equal, ref, comp))


def test_a_strange_policy_answer_is_named(tokenizer):
    class Odd(TrainAll):
        def screen(self, candidates):
            return np.array([-1.0] * len(candidates))

    with pytest.raises(ValueError, match=r"Odd.screen must return one finite weight"):
        list(FilteringDataLoader(sentences(4), tokenizer=tokenizer, policy=Odd()))


def test_weights_of_the_screening_reach_the_loss(tokenizer):
    class Half(TrainAll):
        gates_forward = True

        def screen(self, candidates):
            return np.where(candidates.labels == 0, 0.0, 2.0)

    loader = FilteringDataLoader(sentences(40), tokenizer=tokenizer, batch_size=4, policy=Half())
    for batch in loader:
        assert (batch["labels"] == 1).all()
        assert float(loader.hook.report(torch.ones(len(batch["labels"])))) == 2.0


def test_a_tokenizer_that_knows_no_attention_mask_gets_none(tokenizer):
    other = copy.deepcopy(tokenizer)
    other.model_input_names = ["input_ids"]
    assert "attention_mask" not in next(iter(FilteringDataLoader(sentences(8), 4, tokenizer=other, policy=TrainAll())))


@pytest.mark.parametrize("policy", [lambda: Random(0.2, seed=1), lambda: ClassBalanced(0.2, seed=1)])
def test_words_tokenize_survivors_only_whatever_the_policy_reads(tokenizer, policy, monkeypatch):
    loader, tokenized = (
        FilteringDataLoader(sentences(400), 8, tokenizer=tokenizer, policy=policy(), features="words"),
        [],
    )
    original = loader._reader.encoder
    monkeypatch.setattr(loader._reader, "encoder", lambda texts: tokenized.append(len(texts[0])) or original(texts))
    kept = sum(len(batch["labels"]) for batch in loader)
    assert sum(tokenized) == kept < 200
