"""Batch: taken wherever a tokenizer's batch is, and it keeps its id."""

import collections
import copy
import pickle
import subprocess
import sys
from collections.abc import Mapping

import pytest
import torch
from torch.utils.data._utils.pin_memory import pin_memory

from filterloader.data.batch import Batch

Pair = collections.namedtuple("Pair", "left right")


def made():
    columns = {"input_ids": torch.tensor([[2, 3], [2, 4]]), "labels": torch.tensor([0, 1])}
    return Batch(columns, batch_id=3, label_column="label")


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.fixture
def pinned(monkeypatch):
    """Page-locked memory where there is no accelerator: another tensor."""
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor, *_: tensor.clone())


MOVES = {
    "to": lambda batch: batch.to("cpu"),
    "to a device": lambda batch: batch.to(torch.device("cpu"), non_blocking=True),
    "copy": lambda batch: batch.copy(),
    "copy.copy": copy.copy,
    "copy.deepcopy": copy.deepcopy,
    "pickle": lambda batch: pickle.loads(pickle.dumps(batch)),
    "or": lambda batch: batch | {},
    "pin_memory": lambda batch: batch.pin_memory(),
    "torch's pin_memory": pin_memory,
}


@pytest.mark.parametrize("move", MOVES)
def test_the_id_and_the_labels_name_survive(move, pinned):
    batch = MOVES[move](made())
    assert type(batch) is Batch and (batch.batch_id, batch.label_column) == (3, "label")
    assert same(batch, made()) and torch.equal(batch["label"], batch["labels"])


def test_it_is_a_mapping_ready_for_a_model():
    def model(input_ids, labels):
        return input_ids, labels

    batch = made()
    assert isinstance(batch, Mapping) and isinstance(batch, dict)
    assert model(**batch)[0] is batch["input_ids"] and dict(batch).keys() == {"input_ids", "labels"}
    assert torch.equal(batch.pop("labels"), torch.tensor([0, 1])) and list(batch) == ["input_ids"]
    with pytest.raises(KeyError, match="label"):
        batch["label"]


def test_columns_are_attributes():
    batch = made()
    assert batch.input_ids is batch["input_ids"] and batch.label is batch.labels is batch["label"]
    with pytest.raises(AttributeError, match="no column 'pixels'; its columns: \\['input_ids', 'labels'\\]"):
        _ = batch.pixels
    assert not hasattr(Batch({"input_ids": 1}), "label") and getattr(batch, "pixels", None) is None


@pytest.mark.parametrize("label", [None, 0])
def test_a_label_column_may_have_any_name_or_none(label):
    batch = Batch({"labels": 1}, label_column=label)
    assert (label == 0) == (label is not None and batch[0] == 1)
    with pytest.raises(KeyError):
        batch[1]


def test_without_a_tensor_or_with_nested_ones():
    inner = {"a": torch.ones(2), "b": [torch.zeros(1), "text"]}
    batch = Batch({"nested": inner, "pair": Pair(torch.ones(1), None), "texts": ["a", "b"], "n": 3}, batch_id=1)
    moved = batch.to("meta")
    assert moved is batch and moved.batch_id == 1
    assert moved["nested"]["a"].is_meta and moved["nested"]["b"][0].is_meta and moved["nested"]["b"][1] == "text"
    assert type(moved["pair"]) is Pair and moved["pair"].left.is_meta and moved["texts"] == ["a", "b"]
    assert not inner["a"].is_meta  # what is nested is not ours to change


def test_a_dtype_is_no_device():
    with pytest.warns(UserWarning, match="moves to a device, not to torch.float16"):
        batch = made().to(torch.float16)
    assert same(batch, made())


def test_rebuilt_by_its_class_it_has_its_columns():
    batch = made()
    for rebuilt in (Batch(dict(batch)), Batch(list(batch.items())), Batch(collections.OrderedDict(batch))):
        assert same(rebuilt, batch) and rebuilt.batch_id is None
    assert len(Batch()) == len(Batch(None)) == 0


def test_it_behaves_like_a_tokenizers_own():
    encoding = pytest.importorskip("transformers").BatchEncoding(dict(made()))
    batch = made()
    assert type(batch.to("cpu")) is type(batch) and batch.to("cpu") is batch and encoding.to("cpu") is encoding
    assert list(batch) == list(encoding) and torch.equal(batch.input_ids, encoding.input_ids)
    public = {name for name in dir(encoding) if not name.startswith("_")}
    assert {"to", "keys", "values", "items", "get", "pop", "update", "copy"} <= public & set(dir(batch))


def test_it_does_without_transformers():
    code = "import sys, filterloader.data.batch; print('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
