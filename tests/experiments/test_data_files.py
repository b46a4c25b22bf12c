"""Reading labelled text: folders, files, splits, columns, labels, and what is wrong with them."""

import gzip
import json
from pathlib import Path

import datasets
import numpy as np
import pytest

from filterloader.experiments.data_files import load

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
ROWS = [{"text": f"row number {i}", "label": i % 2} for i in range(40)]


def write(path, rows):
    """Write rows in the way the ending of path says."""
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        datasets.Dataset.from_list(rows).to_parquet(path)
        return path
    if name.endswith((".csv", ".tsv")):
        mark = "," if name.endswith(".csv") else "\t"
        lines = [mark.join(rows[0])] + [mark.join("" if v is None else str(v) for v in row.values()) for row in rows]
        content = "\n".join(lines) + "\n"
    elif name.endswith(".json"):
        content = json.dumps(rows)
    else:
        content = "".join(json.dumps(row) + "\n" for row in rows)
    opened = gzip.open(path, "wt") if path.suffix == ".gz" else open(path, "w")
    with opened as file:
        file.write(content)
    return path


@pytest.mark.parametrize(
    "ending", ["jsonl", "jsonl.gz", "json", "json.gz", "csv", "csv.gz", "tsv", "tsv.gz", "parquet"]
)
def test_every_kind_of_file_reads_the_same(tmp_path, ending):
    task = load(write(tmp_path / f"mine.{ending}", ROWS))
    assert (task.name, task.text, task.label, task.classes) == ("mine", ("text",), "label", ("0", "1"))
    assert len(task.train) == 36 and len(task.test) == 4
    assert sorted([*task.train, *task.test], key=lambda row: int(row["text"].split()[-1])) == ROWS


@pytest.mark.parametrize(
    "files, test",
    [
        (["train", "validation", "test"], "test"),
        (["train", "dev"], "dev"),
        (["train", "val"], "val"),
        (["train_full", "test_small"], "test_small"),
    ],
)
def test_the_test_set_of_a_folder(tmp_path, files, test):
    for name in files:
        write(tmp_path / f"{name}.jsonl", [{"text": f"{name} {i}", "label": i % 2} for i in range(4)])
    (tmp_path / "README.md").write_text("not data")
    task = load(tmp_path)
    assert task.test["text"][0] == f"{test} 0" and task.train["text"][0].startswith("train")
    assert task.name == tmp_path.name


@pytest.mark.parametrize("hidden", [{"label": -1}, {"label": None}, {}])
def test_an_unlabelled_test_split_gives_way_to_validation(tmp_path, hidden):
    for name in ("train", "validation"):
        write(tmp_path / f"{name}.jsonl", [{"text": name, "label": i} for i in range(2)])
    write(tmp_path / "test.jsonl", [{"text": "test", **hidden}] * 3)
    assert load(tmp_path).test["text"][:] == ["validation"] * 2


def test_shards_are_read_in_order(tmp_path):
    write(tmp_path / "train-00001-of-00002.parquet", ROWS[20:])
    write(tmp_path / "train-00000-of-00002.parquet", ROWS[:20])
    write(tmp_path / "test.parquet", ROWS[:2])
    assert list(load(tmp_path).train) == ROWS


def test_the_split_is_stratified_seeded_and_leaves_global_state(tmp_path):
    file = write(
        tmp_path / "all.jsonl", [{"text": str(i), "label": "rare" if i < 10 else "common"} for i in range(100)]
    )
    state = np.random.get_state()[1].copy()
    task = load(file, test_share=0.2)
    assert np.bincount(task.test["label"]).tolist() == [18, 2]
    assert list(load(file, test_share=0.2).test) == list(task.test)
    assert list(load(file, test_share=0.2, seed=1).test) != list(task.test)
    assert (np.random.get_state()[1] == state).all()


def test_repeated_loads_see_changed_files_and_leave_nothing(tmp_path, monkeypatch):
    home = tmp_path / "home"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", home)
    file = write(tmp_path / "mine.csv", ROWS)
    load(file)
    write(file, [{"text": "new", "label": i} for i in (0, 1)] * 10)
    assert set(load(file).train["text"]) == {"new"}
    assert not home.exists()


@pytest.mark.parametrize(
    "columns, text",
    [
        (["text"], ("text",)),
        (["text", "text_pair"], ("text", "text_pair")),
        (["idx", "sentence"], ("sentence",)),
        (["sentence1", "sentence2"], ("sentence1", "sentence2")),
        (["question", "sentence"], ("question", "sentence")),
        (["question1", "question2"], ("question1", "question2")),
        (["premise", "hypothesis"], ("premise", "hypothesis")),
        (["review"], ("review",)),
    ],
)
def test_text_columns_are_inferred(tmp_path, columns, text):
    rows = [{**{name: i if name == "idx" else f"{name} {i}" for name in columns}, "label": i % 2} for i in range(10)]
    task = load(write(tmp_path / "mine.jsonl", rows), test_share=0.2)
    assert task.text == text and task.train.column_names == [*text, "label"]


def test_named_columns_and_token_lists(tmp_path):
    rows = [{"words": ["a", str(i)], "other": "x", "intent": "go" if i % 2 else "come"} for i in range(10)]
    task = load(write(tmp_path / "mine.jsonl", rows), text="words", label="intent", test_share=0.2)
    assert task.text == ("words",) and task.train["words"][0].startswith("a ")
    assert task.classes == ("come", "go")


@pytest.mark.parametrize(
    "labels, classes",
    [
        ([3, 7, 3, 7], ("3", "7")),
        ([-1, 1, -1, 1], ("-1", "1")),
        ([10, 9, 10, 9], ("9", "10")),
        ([True, False, True, False], ("False", "True")),
        ([1.0, 2.0, 1.0, 2.0], ("1", "2")),
        (["b", "a", "b", "a"], ("a", "b")),
    ],
)
def test_labels_become_ids_in_order(tmp_path, labels, classes):
    rows = [{"text": str(i), "label": value} for i, value in enumerate(labels)]
    write(tmp_path / "train.jsonl", rows)
    write(tmp_path / "test.jsonl", rows)
    task = load(tmp_path)
    assert task.classes == classes
    assert [task.classes[i] for i in task.train["label"]] == [
        str(int(v) if isinstance(v, float) else v) for v in labels
    ]


def test_a_class_of_test_only_has_an_id(tmp_path):
    write(tmp_path / "train.jsonl", [{"text": "a", "label": "x"}, {"text": "b", "label": "z"}])
    write(tmp_path / "test.jsonl", [{"text": "c", "label": "y"}])
    task = load(tmp_path)
    assert task.classes == ("x", "y", "z") and task.test["label"][:] == [1]


def test_class_names_of_a_parquet_file_are_kept(tmp_path):
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    datasets.Dataset.from_list(ROWS, features=features).to_parquet(tmp_path / "mine.parquet")
    assert load(tmp_path / "mine.parquet").classes == ("bad", "good")


def test_words_that_look_missing_are_text(tmp_path):
    rows = [{"text": text, "label": i % 2} for i, text in enumerate(["NA", "None", "null", "nan"] * 3)]
    task = load(write(tmp_path / "mine.csv", rows))
    assert set(task.train["text"]) == {"NA", "None", "null", "nan"}


def test_quotes_in_tsv_are_plain(tmp_path):
    rows = [{"text": f'he said "no {i}', "label": i % 2} for i in range(20)]
    assert load(write(tmp_path / "mine.tsv", rows)).train["text"][0].startswith('he said "no')


def test_limit_draws_rows_of_both(tmp_path):
    task = load(write(tmp_path / "mine.jsonl", ROWS), test_share=0.5, limit=5)
    assert len(task.train) == len(task.test) == 5 and len(set(task.train["text"])) == 5


def wrong(rows, message, name="mine.jsonl", **options):
    return pytest.param(rows, name, options, message, id=message[:40])


@pytest.mark.parametrize(
    "rows, name, options, message",
    [
        wrong(ROWS, "no column 'class' for the label: its columns are text, label", label="class"),
        wrong(ROWS, "no column 'body' for the text: its columns are text, label", text="body"),
        wrong(ROWS, "'label' is both text and label", text="label"),
        wrong(ROWS, "text names 3 columns", text=("a", "b", "c")),
        wrong([{"a": "x", "b": "y", "label": 0}], "cannot tell which of the columns a, b, label"),
        wrong([*ROWS, {"text": None, "label": 0}], "row 41 of the train split .* has no text in column 'text'"),
        wrong([*ROWS, {"text": "x", "label": None}], "row 41 .* has no label in column 'label'"),
        wrong([*ROWS, {"text": None, "label": 0}], "row 41 .* has no text", "mine.csv"),
        wrong([*ROWS, {"text": "x", "label": None}], "row 41 .* has no label", "mine.csv"),
        wrong([{"text": "x", "label": 1}] * 9, "labels of .* are all 1: give at least two"),
        wrong([{"text": "x", "label": 0.5}] * 9, "type float: give strings or integers"),
        wrong([{"text": "x", "label": [1]}] * 9, "type list: give strings or integers"),
        wrong([{"text": "x", "n": i, "label": i % 2} for i in range(9)], "'n' .* holds .*int64", text="n"),
        wrong(ROWS[:2], "2 rows are too few to test on 0.1"),
        wrong(ROWS, "test_share is 1.5", test_share=1.5),
        wrong(ROWS, "limit is 0", limit=0),
    ],
)
def test_errors_name_what_is_wrong(tmp_path, rows, name, options, message):
    with pytest.raises(ValueError, match=message) as raised:
        load(write(tmp_path / name, rows), **options)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("mine.jsonl", "", "is empty"),
        ("mine.csv", "text,label\n", "no rows"),
        ("mine.txt", "x", "does not end in .jsonl, .json, .csv, .tsv, .parquet"),
        (
            "mine.jsonl",
            '{"text": "a", "label": 0}\nnot json\n',
            "cannot read .* as jsonl: JSON parse error: Invalid value. in row 1",
        ),
        ("mine.csv", "text,label\na,0\nb,1,2\n", "cannot read .* as csv: .*Expected 2 fields in line 3, saw 3"),
        ("mine.parquet", "not parquet", "cannot read .* as parquet"),
        ("mine.csv.gz", "not gzip", "cannot read .*csv"),
    ],
)
def test_unreadable_files(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message) as raised:
        load(tmp_path / name)
    assert "\n" not in str(raised.value)


def test_files_of_one_split_with_other_columns(tmp_path):
    write(tmp_path / "train1.jsonl", ROWS)
    write(tmp_path / "train2.jsonl", [{**row, "more": 1} for row in ROWS])
    with pytest.raises(
        ValueError, match="train1.jsonl, .*train2.jsonl as jsonl: .*more: int64.*column names"
    ) as raised:
        load(tmp_path)
    assert "\n" not in str(raised.value)


def test_folders_without_data(tmp_path):
    with pytest.raises(ValueError, match="holds nothing: give one with train, validation or test files"):
        load(tmp_path)
    write(tmp_path / "test.jsonl", ROWS)
    with pytest.raises(ValueError, match="has test but no train split"):
        load(tmp_path)
    write(tmp_path / "train.jsonl", ROWS)
    write(tmp_path / "train.csv", ROWS)
    with pytest.raises(ValueError, match="train.csv, train.jsonl are of several kinds"):
        load(tmp_path)


def test_a_test_split_without_the_text_column(tmp_path):
    write(tmp_path / "train.jsonl", ROWS)
    write(tmp_path / "test.jsonl", [{"words": "x", "label": 1}])
    with pytest.raises(ValueError, match="the test split .* has no column 'text': its columns are words, label"):
        load(tmp_path)


@pytest.mark.parametrize("data", ["./none", "/none/at/all", "none.jsonl", "nobody-has-this"])
def test_what_is_not_there(data, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="does not exist|no path here") as raised:
        load(data)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "name", ["sst2", "qnli", "qqp", "ag_news", "atis", "snips", "amazon_multidomain", "yelp_sentences"]
)
def test_benchmark_sets(name):
    if not (SHARED / name).is_dir():
        pytest.skip(f"the benchmark set {name} is not in {SHARED}")
    joint = {"label": "intent"} if name in ("atis", "snips") else {}
    task = load(SHARED / name, limit=50, **joint)
    assert len(task.train) == len(task.test) == 50
    assert len(task.text) == (2 if name in ("qnli", "qqp") else 1)
    assert len(task.classes) == {"ag_news": 4, "atis": 25, "snips": 7}.get(name, 2)
