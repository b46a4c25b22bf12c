"""Which files are read for which split: shards, other files beside them, clones, saved folders, the hub."""

import json

import datasets
import pytest

from filterloader.experiments.data_files import load
from filterloader.experiments.splits import find_splits


def put(folder, *names, **columns):
    """Files of two rows each, whose text is the file's name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        rows = [{"text": name, "label": label, **columns} for label in (0, 1)]
        if name.endswith(".parquet"):
            datasets.Dataset.from_list(rows).to_parquet(folder / name)
        elif name.endswith("csv"):
            lines = ["text,label", *(f"{row['text']},{row['label']}" for row in rows)]
            (folder / name).write_text("\n".join(lines))
        else:
            (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def read(folder):
    """split -> names of the files that are read."""
    found = find_splits(str(folder))
    return {split: [name for part in parts for name in part.read("text")[::2]] for split, parts in found.items()}


@pytest.mark.parametrize(
    "names",
    [
        ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"],
        ["train-00000-of-00002-b42a775f407cee45.parquet", "train-00001-of-00002-0123456789abcdef.parquet"],
        ["train_1_of_2.csv", "train_2_of_2.csv"],
        ["train-1.jsonl", "train-2.jsonl", "train-10.jsonl"],
        ["train1.jsonl", "train2.jsonl"],
        ["train.part1.jsonl", "train.part2.jsonl"],
        ["train_small-1.jsonl", "train_small-2.jsonl"],
        ["train_full.jsonl"],
        ["Train.jsonl"],
        ["training.jsonl"],
    ],
)
def test_shards_are_read_in_the_order_of_their_numbers(tmp_path, names):
    assert read(put(tmp_path, *reversed(names))) == {"train": names}


@pytest.mark.parametrize(
    "names, said",
    [
        (["train.csv", "train_small.csv"], "train.csv is the train split; train_small.csv is not read"),
        (["train.csv", "train_a.csv", "train_b.csv"], "train.csv is the train split; train_a.csv, train_b.csv is not"),
    ],
)
def test_a_file_of_another_name_is_no_shard(tmp_path, names, said):
    with pytest.warns(UserWarning, match=said):
        assert read(put(tmp_path, *names)) == {"train": ["train.csv"]}


def test_of_several_test_sets_the_first_is_read_and_the_others_are_told(tmp_path):
    folder = put(tmp_path, "train.jsonl", "validation_mismatched.jsonl", "validation_matched.jsonl")
    with pytest.warns(
        UserWarning, match="validation_matched.jsonl is the validation split; validation_mis.* is not read"
    ):
        assert read(folder)["validation"] == ["validation_matched.jsonl"]


@pytest.mark.parametrize(
    "names, message",
    [
        (["train_a.csv", "train_b.csv"], "train_a.csv, train_b.csv are not shards of one train split"),
        (["train.csv", "train-1.csv"], "train-1.csv, train.csv are not shards of one train split"),
        (["train.csv", "train.jsonl"], "train.csv, train.jsonl are of several kinds"),
        (["train-1.csv", "train-01.csv"], "hold the same part of train twice"),
        (["train-00000-of-00002.csv"], "holds 1 of 2 files of the train split"),
        (["train-00000-of-00003.csv", "train-00002-of-00003.csv"], "holds 2 of 3 files of the train split"),
        (
            ["trainer.csv", "devices.csv", "valuable.jsonl", "my_train.csv"],
            "holds devices.csv, my_train.csv, trainer.csv",
        ),
        ([], "holds nothing: give one with train, validation or test files"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(tmp_path, names, message):
    with pytest.raises(ValueError, match=message) as raised:
        read(put(tmp_path, *names))
    assert len(str(raised.value)) <= 600


@pytest.mark.parametrize("validation", ["validation", "valid", "val", "dev"])
@pytest.mark.parametrize("test", ["test", "testing", "eval"])
def test_names_of_the_other_splits(tmp_path, validation, test):
    names = [f"train-1{'.jsonl'}", f"{validation}.jsonl", f"{test}-1.jsonl"]
    assert read(put(tmp_path, *names)) == dict(zip(("train", "validation", "test"), ([n] for n in names), strict=True))


def test_shards_may_differ_in_what_nobody_asked_for(tmp_path):
    put(tmp_path, "train1.jsonl")
    put(tmp_path, "train2.jsonl", more={"deep": 1})
    assert load(tmp_path, test_share=0.5).train.column_names == ["text", "label"]
    (tmp_path / "train3.jsonl").write_text('{"words": "x", "label": 0}\n')
    with pytest.raises(ValueError, match=r"train3.jsonl has no column 'text': its columns are words, label"):
        load(tmp_path)


def test_a_clone_from_the_hub_has_its_files_under_data(tmp_path):
    put(tmp_path / "data", "train-00000-of-00001.parquet", "test-00000-of-00001.parquet")
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    (tmp_path / ".gitattributes").write_text("*.parquet filter=lfs\n")
    assert read(tmp_path) == {"train": ["train-00000-of-00001.parquet"], "test": ["test-00000-of-00001.parquet"]}
    put(tmp_path, "train.jsonl")
    with pytest.raises(ValueError, match=r"holds splits, and so does its folder data: name .*/data, or move one away"):
        read(tmp_path)


def test_what_save_to_disk_wrote_is_read(tmp_path):
    rows = datasets.Dataset.from_list([{"text": f"row {i}", "label": i % 2, "n": {"deep": i}} for i in range(40)])
    rows.save_to_disk(tmp_path / "one")
    datasets.DatasetDict(train=rows, validation=rows.select(range(6))).save_to_disk(tmp_path / "both")
    assert len(load(tmp_path / "one").train) == 36 and load(tmp_path / "one").name == "one"
    assert (len(load(tmp_path / "both").train), len(load(tmp_path / "both").test)) == (40, 6)
    (tmp_path / "one" / "state.json").write_text("{}")
    with pytest.raises(ValueError, match=r"cannot read .* as what save_to_disk wrote: .+"):
        load(tmp_path / "one")


def test_splits_of_the_hub_are_found_by_their_names(monkeypatch):
    rows = datasets.Dataset.from_list([{"text": f"row {i}", "label": i % 2} for i in range(40)])
    there = datasets.DatasetDict(train=rows, test=rows.select([0]), test_extra=rows.select([1]), unlabeled=rows)
    monkeypatch.setattr(datasets, "load_dataset", lambda name, configuration: there)
    with pytest.warns(UserWarning, match="test is the test split; test_extra is not read"):
        task = load("some/set:de")
    assert task.name == "some/set:de" and (len(task.train), len(task.test)) == (40, 1)
    there["train"] = rows.select([])
    with pytest.raises(ValueError, match="some/set:de, split train has no rows"):
        load("some/set:de")
