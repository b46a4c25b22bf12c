"""Passes that are broken off, interrupted, shared out or drawn with a shared generator, as a DataLoader does."""

import copy
import multiprocessing
import pickle

import datasets
import numpy as np
import pytest
import torch
from datasets.distributed import split_dataset_by_node
from torch.utils.data import DataLoader

from filterloader import AutoThreshold, FilteringDataLoader, Random, ThreeStage, TrainAll
from filterloader.data.columns import ArrowTable
from tests.conftest import sentences


def made(n):
    return datasets.Dataset.from_dict({"input_ids": [[i] for i in range(n)], "label": [0] * n})


def ids(batch):
    return batch["input_ids"].flatten().tolist()


def plain(rows):
    return {"input_ids": torch.tensor([row["input_ids"] for row in rows])}


@pytest.mark.parametrize("n", [500, 512, 3000])
def test_a_shared_generator_is_drawn_from_when_a_dataloader_would(n):
    ours = FilteringDataLoader(made(n), 4, shuffle=True, policy=TrainAll(), generator=torch.Generator().manual_seed(0))
    theirs = DataLoader(made(n), 4, shuffle=True, collate_fn=plain, generator=torch.Generator().manual_seed(0))
    for stop in (1, 40, 10**6, 3):
        left, right = iter(ours), iter(theirs)
        for _ in range(stop):
            a, b = next(left, None), next(right, None)
            assert (a is None) == (b is None)
            if a is None:
                break
            assert ids(a) == ids(b)
            assert torch.equal(ours.generator.get_state(), theirs.generator.get_state())


@pytest.mark.parametrize("rows", [1500, 2100])
def test_workers_that_overtake_lose_nothing(rows):
    loader = FilteringDataLoader(made(rows), 16, num_workers=2, in_order=False, policy=Random(1.0))
    assert sorted(i for batch in loader for i in ids(batch)) == list(range(rows))


@pytest.mark.parametrize("world", [2, 3])
def test_a_stream_split_among_ranks_gives_each_its_own_rows(world):
    for rank in range(world):
        stream = split_dataset_by_node(made(300).to_iterable_dataset(num_shards=4), rank=rank, world_size=world)
        ours = [i for batch in FilteringDataLoader(stream, 16, policy=TrainAll()) for i in ids(batch)]
        assert ours == [i for batch in DataLoader(stream, 16, collate_fn=plain) for i in ids(batch)]


def test_a_loop_that_breaks_off_keeps_no_workers():
    loader = FilteringDataLoader(made(500), 8, num_workers=1, policy=TrainAll())
    before = len(multiprocessing.active_children())
    for _ in loader:
        break
    assert len(multiprocessing.active_children()) == before
    state = loader.state_dict()
    again = FilteringDataLoader(made(500), 8, num_workers=1, policy=TrainAll())
    again.load_state_dict(state)
    assert ids(next(iter(again))) == list(range(8, 16))


def test_an_interrupt_while_reading_loses_nothing(monkeypatch):
    loader = FilteringDataLoader(made(3000), 16, policy=TrainAll())
    iterator, out, reads = iter(loader), [], []
    read = loader._reader.read

    def interrupted(rows):
        reads.append(len(reads))
        if len(reads) == 3:
            raise KeyboardInterrupt
        return read(rows)

    monkeypatch.setattr(loader._reader, "read", interrupted)
    while True:
        try:
            out += ids(next(iterator))
        except KeyboardInterrupt:
            continue
        except StopIteration:
            break
    assert out == list(range(3000))


def test_special_tokens_in_the_text_are_split_where_the_tokenizer_splits_them(tokenizer):
    try:
        tokenizer.split_special_tokens = True
        batch = next(iter(FilteringDataLoader([{"text": "easy1 [SEP] easy2"}], tokenizer=tokenizer, policy=TrainAll())))
        assert batch["input_ids"].tolist() == [tokenizer("easy1 [SEP] easy2")["input_ids"]]
    finally:
        tokenizer.split_special_tokens = False


def test_lists_of_strings_are_no_column_wherever_the_empty_ones_stand():
    rows = [{"input_ids": [1], "tags": [], "label": 0}, {"input_ids": [1], "tags": ["a"], "label": 0}]
    for order in (rows, rows[::-1]):
        assert set(next(iter(FilteringDataLoader(order, 2, policy=TrainAll())))) == {
            "input_ids",
            "attention_mask",
            "labels",
        }


def test_a_text_column_that_is_not_there_is_named(tokenizer):
    data = datasets.Dataset.from_list([{**tokenizer(row["text"]), **row} for row in sentences(20)])
    with pytest.raises(ValueError, match="text='txt' names no column"):
        next(iter(FilteringDataLoader(data, 4, text="txt", features="words")))


def test_a_bad_row_in_a_group_and_an_interrupt_keep_the_order(monkeypatch):
    data = datasets.Dataset.from_list([{"input_ids": [i + 1], "label": 0} for i in range(64)])
    original, calls = ArrowTable.gather, []

    def gather(self, index, names):
        if len(np.asarray(index)) > 8:
            raise ValueError("a bad row in the group")
        calls.append(index)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(self, index, names)

    monkeypatch.setattr(ArrowTable, "gather", gather)
    iterator, out = iter(FilteringDataLoader(data, batch_size=8, policy=TrainAll())), []
    while True:
        try:
            out.append(next(iterator)["input_ids"][0].item())
        except KeyboardInterrupt:
            continue
        except StopIteration:
            break
    assert out == list(range(1, 65, 8))


def test_a_stream_goes_on_where_its_own_state_says(tokenizer):
    def stream():
        return datasets.Dataset.from_list(sentences(100)).to_iterable_dataset(num_shards=2)

    begun = stream()
    iterator = iter(begun)
    for _ in range(37):
        next(iterator)
    taken_up = stream()
    taken_up.load_state_dict(begun.state_dict())
    loader = FilteringDataLoader(taken_up, 8, tokenizer=tokenizer, policy=TrainAll())
    assert sum(len(batch["labels"]) for batch in loader) == 63


@pytest.mark.parametrize(
    "settings",
    [
        {"policy": TrainAll()},
        {"policy": AutoThreshold()},
        {"policy": Random(0.5, seed=1), "granularity": "batch"},
        {"policy": Random(0.5, seed=1), "granularity": "batch", "buffer_batches": 3},
        {"policy": ThreeStage(), "features": "words"},
    ],
)
def test_a_copy_does_the_same(tokenizer, settings):
    loader = FilteringDataLoader(sentences(100), 8, tokenizer=tokenizer, **settings)
    sent, copied = pickle.loads(pickle.dumps(loader)), copy.deepcopy(loader)
    expected = [batch["input_ids"].tolist() for batch in loader]
    assert (
        [batch["input_ids"].tolist() for batch in sent] == [batch["input_ids"].tolist() for batch in copied] == expected
    )
