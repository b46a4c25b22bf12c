"""Read by column and in groups, or row by row: the same batches, decisions and states."""

import datasets
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset, RandomSampler, SequentialSampler, WeightedRandomSampler

from filterloader import FilteringDataLoader, Random, ThreeStage, TrainAll
from filterloader.data.columns import ArrowRows
from filterloader.data.groups import GroupsAhead
from filterloader.data.indices import Indices, draws_at_once
from tests.conftest import losses_of, same, sentences, through_a_file, train
from tests.test_loader import equal


class Plain(Dataset):
    """The same rows, but nobody knows what they are made of."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[int(i)]


def tokenized(tokenizer, n=300, **extra):
    rows = sentences(n)
    return datasets.Dataset.from_list(
        [{**tokenizer(row["text"]), **row, **{k: f(i) for k, f in extra.items()}} for i, row in enumerate(rows)]
    )


def both(made, *, passes=2, policy=TrainAll, **how):
    """Batches read by column, and row by row: lists, a pass each."""
    by_column, by_row = (FilteringDataLoader(data, policy=policy(), **how) for data in (made, Plain(made)))
    for _ in range(passes):
        left, right = list(by_column), list(by_row)
        assert isinstance(by_column._source._rows, ArrowRows) and not isinstance(by_row._source._rows, ArrowRows)
        assert len(left) == len(right) > 3 and all(map(equal, left, right))
    return by_column, by_row


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["tokenized", "torch", "raw", "pair", "words"])
@pytest.mark.parametrize("policy", [TrainAll, lambda: Random(0.5), lambda: ThreeStage(warmup=50)])
def test_columns_and_rows_make_the_same_batches(tokenizer, kind, workers, policy):
    made = tokenized(tokenizer, real=lambda i: [i / 2, 1.0], number=lambda i: i / 3)
    if kind in ("raw", "pair", "words"):
        made = made.select_columns(["text", "label"]).add_column("other", made["text"][::-1])
    if kind == "torch":
        made = made.with_format("torch")
    text, features = ("text", "other") if kind == "pair" else "text", "words*label" if kind == "words" else None
    how = {"batch_size": 16, "shuffle": True, "tokenizer": tokenizer, "num_workers": workers, "seed": 3}
    both(made, passes=1 if workers else 2, policy=policy, text=text, features=features, **how)


@pytest.mark.parametrize("how", [
    {"drop_last": True}, {"batch_size": 1}, {"batch_size": 250}, {"sampler": WeightedRandomSampler([1.0] * 300, 200)},
    {"batch_sampler": [[0, 5], [7, 7, -1], [2], [3]]}, {"granularity": "batch"}, {"label": None}, {"label": "idx"},
])  # fmt: skip
def test_every_way_to_draw(tokenizer, how):
    torch.manual_seed(0)
    how = {"batch_size": 16, **how} if "batch_sampler" not in how else how
    made = tokenized(tokenizer)
    by_column, by_row = (FilteringDataLoader(data, policy=TrainAll(), **how) for data in (made, Plain(made)))
    left, right = [list(iter(loader)) for loader in (by_column, by_row) if torch.manual_seed(0)]
    assert len(left) == len(right) and all(map(equal, left, right))


def test_what_columns_cannot_hold_is_read_by_row(tokenizer):
    nested = tokenized(tokenizer, 20, box=lambda i: [[i, 1], [2, 3]])
    batch = next(iter(loader := FilteringDataLoader(nested, 4, policy=TrainAll())))
    assert batch["box"].shape == (4, 2, 2) and not isinstance(loader._source._rows, ArrowRows)
    for how in ({"collate_fn": len}, {"worker_init_fn": print}, {"batch_size": None}):
        list(loader := FilteringDataLoader(tokenized(tokenizer, 20), policy=TrainAll(), **how))
        assert not isinstance(loader._source._rows, ArrowRows)
    with pytest.raises(ValueError, match="labels must be numbers"):
        next(iter(FilteringDataLoader(tokenized(tokenizer, 20, kind=lambda i: "x"), label="kind", policy=TrainAll())))
    with pytest.raises(ValueError, match="label='lable' names no column"):
        next(iter(FilteringDataLoader(tokenized(tokenizer, 20), label="lable", policy=TrainAll())))
    with pytest.raises(ValueError, match="input_ids must hold a list of whole numbers"):
        next(iter(FilteringDataLoader(datasets.Dataset.from_dict({"input_ids": [1, 2]}), policy=TrainAll())))


class Losing(Random):
    def __init__(self):
        super().__init__(1.0)
        self.seen = []

    def judge(self, candidates, losses):
        self.seen += zip(candidates.example_ids.tolist(), candidates.positions.tolist(), strict=True)
        return super().judge(candidates, losses)


@pytest.mark.parametrize("workers", [0, 2])
def test_rows_that_fail_in_the_middle_take_only_their_own_batch_with_them(tokenizer, workers):
    rows = sentences(200)
    rows[37] = {"text": None, "label": 0}
    loader = FilteringDataLoader(
        rows, 8, tokenizer=tokenizer, policy=Losing(), granularity="batch", num_workers=workers
    )
    iterator, failed, seen = iter(loader), 0, []
    while True:
        try:
            batch = next(iterator)
        except ValueError as error:
            assert "must hold strings" in str(error)
            failed += 1
            continue
        except StopIteration:
            break
        loader.hook.report(losses_of(batch).mean(), batch)
        seen.append(len(batch["labels"]))
    assert failed == 1 and len(seen) == 24
    assert [i for i, _ in loader.policy.seen] == [i for i in range(0, 200, 8) if i != 32]


def test_blocks_that_overtake_are_whole_batches(tokenizer):
    made = tokenized(tokenizer, 1100)
    batches = list(FilteringDataLoader(made, 16, num_workers=2, in_order=False, policy=TrainAll()))
    assert sorted(len(batch["labels"]) for batch in batches) == [12, *[16] * 68]
    assert sorted(i for batch in batches for i in batch["idx"].tolist()) == list(range(1100))


def test_samplers_that_could_notice_are_not_drawn_ahead():
    rows = sentences(20)
    drawn = []

    class Watching(torch.utils.data.Sampler):
        def __iter__(self):
            for i in range(20):
                drawn.append(i)
                yield i

        def __len__(self):
            return 20

    iterator = iter(
        FilteringDataLoader([{"input_ids": [i]} for i in range(20)], 2, sampler=Watching(), policy=TrainAll())
    )
    next(iterator)
    assert drawn == [0, 1]
    assert (
        draws_at_once(SequentialSampler(rows)) and draws_at_once(RandomSampler(rows)) and draws_at_once([[1, 2], (3,)])
    )
    assert not draws_at_once(RandomSampler(rows, replacement=True, generator=torch.Generator())) and not draws_at_once(
        Watching()
    )
    assert not draws_at_once([torch.tensor([1, 2])])


@pytest.mark.parametrize("features", ["auto", "words*label"])
@pytest.mark.parametrize("policy", [TrainAll, lambda: Random(0.3), lambda: ThreeStage(warmup=100)])
def test_a_thread_that_reads_ahead_changes_nothing(tokenizer, monkeypatch, policy, features):
    made = datasets.Dataset.from_list(sentences(3000))
    how = {"batch_size": 16, "shuffle": True, "tokenizer": tokenizer, "features": features}
    torch.manual_seed(1)
    ref = train(FilteringDataLoader(made, policy=policy(), seed=4, **how))
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    ahead = FilteringDataLoader(made, policy=policy(), seed=4, **how)
    same(ref, train(ahead))
    assert isinstance(ahead._source.open(None), GroupsAhead) == (ahead._reader.reads != "texts")
    resumed = FilteringDataLoader(made, policy=policy(), seed=4, **how)
    out = train(resumed, 20)
    state, resumed = through_a_file(resumed.state_dict()), FilteringDataLoader(made, policy=policy(), seed=4, **how)
    resumed.load_state_dict(state)
    same(ref, out + train(resumed))


def test_a_thread_raises_in_turn_and_ends():
    indices = Indices([[1], [2], [0], [4]], [], ordered=True)
    groups, out = GroupsAhead(iter(indices), lambda drawn: 8 // drawn[0], indices), []
    while True:
        try:
            group = groups.next()
        except ZeroDivisionError:
            groups.give_up()
            group = "no"
        if group is None:
            break
        out.append(group)
        indices.placed, groups.item = indices.pending(), None
    assert out == [8, 4, "no", 2] and groups.next() is None


class Hidden(IterableDataset):
    """The same stream, but nobody knows what it is made of."""

    def __init__(self, stream):
        self.stream = stream

    def __iter__(self):
        return iter(self.stream)

    def set_epoch(self, epoch):
        self.stream.set_epoch(epoch)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["tokenized", "torch", "raw", "words", "shuffled", "drop_last", "nulls"])
@pytest.mark.parametrize("policy", [TrainAll, lambda: Random(0.5)])
def test_streams_by_column_and_by_row(tokenizer, kind, workers, policy):
    made = tokenized(tokenizer, 331)
    if kind in ("raw", "words", "nulls"):
        made = made.select_columns(["text", "label"])
    if kind == "nulls":
        made = made.add_column("hole", [None if i % 50 == 3 else 1 for i in range(331)])
    stream = made.to_iterable_dataset(num_shards=4)
    if kind == "shuffled":
        stream = stream.shuffle(seed=1, buffer_size=50)
    if kind == "torch":
        stream = stream.with_format("torch")
    how = {"tokenizer": tokenizer, "batch_size": 16, "num_workers": workers, "seed": 3}
    how |= {"drop_last": kind == "drop_last", "features": "words*label" if kind == "words" else None}
    by_column, by_row = (FilteringDataLoader(data, policy=policy(), **how) for data in (stream, Hidden(stream)))
    for epoch in range(1 if workers else 2):
        left, right = [], []
        for loader, out in ((by_column, left), (by_row, right)):
            loader.set_epoch(epoch)
            out += loader
        assert by_column._source._rows is not stream and by_row._source._rows.dataset is by_row.dataset
        assert len(left) == len(right) > 3 and all(map(equal, left, right))


@pytest.mark.parametrize("source", ["columns", "rows", "stream"])
@pytest.mark.parametrize("granularity", ["example", "batch"])
def test_words_decide_before_anything_is_tokenized(tokenizer, source, granularity, monkeypatch):
    made = datasets.Dataset.from_list(sentences(4000, hard=0.2))
    data = made if source == "columns" else made.to_list() if source == "rows" else made.to_iterable_dataset()
    how = {"tokenizer": tokenizer, "batch_size": 16, "features": "words", "granularity": granularity, "seed": 0}

    def build():
        return FilteringDataLoader(data, policy=ThreeStage(warmup=200, cutoff=0.5), **how)

    loader, encoded = build(), []
    whole = loader._reader.encoder
    monkeypatch.setattr(loader._reader, "encoder", lambda texts: encoded.append(len(texts[0])) or whole(texts))
    ref = train(loader)
    scalars = loader.ledger.scalars()
    assert sum(encoded) == scalars["forwarded"] == scalars["seen"] - scalars["screened_out"]
    if granularity == "example":
        assert scalars["screened_out"] > 1000
    for stop in (3, len(ref) // 2, len(ref) - 2):
        first, second = build(), build()
        out = train(first, stop)
        second.load_state_dict(through_a_file(first.state_dict()))
        same(ref, out + train(second))


def test_words_need_text():
    rows = [{"input_ids": [1, 2], "label": 0}] * 4
    with pytest.raises(ValueError, match="hold none; choose features='tokens'"):
        next(iter(FilteringDataLoader(rows, 2, features="words")))


def test_words_beside_tokens_and_beside_a_collate_function(tokenizer):
    made = tokenized(tokenizer)
    batch = next(iter(FilteringDataLoader(made, 8, features="words*label")))
    assert set(batch) == {"input_ids", "attention_mask", "idx", "labels"}
    batch = next(
        iter(
            FilteringDataLoader(
                made, 8, features="words", text="text", collate_fn=lambda rows: [row["text"] for row in rows]
            )
        )
    )
    assert len(batch) == 8 and isinstance(batch[0], str)


def test_truth_values_stay_so_and_label_classes(tokenizer):
    made = tokenized(tokenizer, 64, sure=lambda i: i % 3 == 0).map(lambda row: {"label": row["label"] == 1})
    for data in (made, Plain(made)):
        batch = next(iter(FilteringDataLoader(data, 8, tokenizer=tokenizer, policy=TrainAll())))
        assert batch["sure"].tolist() == [i % 3 == 0 for i in range(8)] and batch["sure"].dtype == torch.bool
        assert batch["labels"].dtype == torch.int64
