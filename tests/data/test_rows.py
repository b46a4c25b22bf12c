"""Rows as people have them: every kind becomes the batch it should, or an error that says what is wrong with it."""

import datasets
import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, SequentialSampler

from filterloader import FilteringDataLoader, ThreeStage, TrainAll
from tests.conftest import sentences
from tests.test_loader import equal


def only(rows, **kw):
    (batch,) = FilteringDataLoader(rows, **{"batch_size": len(rows), "policy": TrainAll(), **kw})
    return batch


def test_fractions_in_a_list_stay_fractions():
    labels = only([{"input_ids": [1, 2], "label": [1, 0.5]}, {"input_ids": [1], "label": [0, 0.7]}])["labels"]
    assert labels.dtype == torch.float32 and labels.tolist() == [[1, 0.5], [0, pytest.approx(0.7)]]


def test_boxes_of_one_shape_and_of_several():
    rows = [{"input_ids": [1, 2], "box": [[1, 2], [3, 4]]}, {"input_ids": [1, 2], "box": [[5, 6], [7, 8]]}]
    assert only(rows)["box"].shape == (2, 2, 2)
    rows[1]["box"] = [[5, 6]]
    with pytest.raises(ValueError, match=r"column 'box'.*shapes.*collate_fn"):
        only(rows)


def test_without_a_label_column_labels_are_a_column_like_any_other():
    batch = only([{"input_ids": [1, 2], "labels": [1, 2]}, {"input_ids": [3], "labels": [3]}], label=None)
    assert batch["labels"].tolist() == [[1, 2], [3, -100]]


class Batches(IterableDataset):
    def __iter__(self):
        for i in range(5):
            yield {"input_ids": torch.arange(8).view(2, 4) + i, "labels": torch.tensor([0, 1])}


def test_batches_that_the_data_set_makes_itself():
    ref, comp = (
        list(DataLoader(Batches(), batch_size=None)),
        list(FilteringDataLoader(Batches(), batch_size=None, policy=TrainAll())),
    )
    assert len(ref) == len(comp) and all(map(equal, ref, comp))
    data = datasets.Dataset.from_dict({"input_ids": [[i, i] for i in range(10)], "labels": [0] * 10}).with_format(
        "torch"
    )
    how = {"batch_size": None, "sampler": BatchSampler(SequentialSampler(data), 4, drop_last=False)}
    assert all(map(equal, DataLoader(data, **how), FilteringDataLoader(data, policy=TrainAll(), **how)))


@pytest.mark.parametrize(
    "rows", [[{"a": 1, "label": 0}, {"a": 2}], [{"a": 1, "label": 0}, None], [{"a": 1}, {"a": 2, "label": "x"}]]
)
def test_a_collate_function_may_take_rows_as_odd_as_it_likes(rows):
    assert only(rows, collate_fn=len) == 2


def test_an_empty_batch_of_a_batch_sampler():
    rows = [{"a": i} for i in range(3)]
    how = {"batch_sampler": [[0, 1], [], [2]], "collate_fn": len}
    assert list(FilteringDataLoader(rows, policy=TrainAll(), **how)) == [2, 0, 1]


@pytest.mark.parametrize(
    "rows, message",
    [
        (
            [{"text": "easy1", "label": 0}, {"text": "easy1", "label": None}],
            r"labels must be numbers, got None in column 'label', in row 1 of the data set; map each class",
        ),
        ([{"text": "easy1", "label": 0}, {"text": "easy1", "label": "x"}], "labels must be numbers, got 'x'"),
        (
            [{"input_ids": [1], "idx": 0}, {"input_ids": [1]}],
            "column 'idx' is missing in row 1 of the data set; give every row the same columns",
        ),
        ([{"input_ids": "abc"}], "input_ids must hold a list of whole numbers"),
    ],
)
def test_rows_that_do_not_fit(tokenizer, rows, message):
    with pytest.raises(ValueError, match=message):
        only(rows, tokenizer=tokenizer)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        ({"dataset": "/path/data"}, TypeError, "dataset is '/path/data'"),
        ({"dataset": None}, TypeError, "dataset is None"),
        ({"dataset": (i for i in range(3))}, TypeError, "generator.*make it a list"),
        ({"policy": "three_stage"}, TypeError, r"'three_stage' has no screen.*ThreeStage\(\)"),
        ({"policy": ThreeStage}, TypeError, "is a class, not an instance"),
        ({"text": ("a", "b", "c")}, ValueError, "one column or a pair.*got 3"),
        ({"label": ["label"]}, TypeError, r"label must be the name of one column or None, got \['label'\]"),
    ],
)
def test_arguments_that_do_not_fit(arguments, error, message):
    with pytest.raises(error, match=message):
        FilteringDataLoader(**{"dataset": [{"text": "a"}], **arguments})


def test_numpy_and_torch_rows_make_the_same_batches(tokenizer):
    rows = [{**tokenizer(row["text"]), "label": row["label"]} for row in sentences(30)]
    ref = list(FilteringDataLoader(rows, batch_size=7, policy=TrainAll()))
    for make in (torch.tensor, np.array):
        comp = FilteringDataLoader(
            [{k: make(v) for k, v in row.items()} for row in rows], batch_size=7, policy=TrainAll()
        )
        assert all(map(equal, ref, comp))
