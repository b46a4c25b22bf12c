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
    path.write_bytes(gzip.compress(content.encode()) if path.suffix == ".gz" else content.encode())
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
    with pytest.warns(UserWarning, match="the test split of .* has no labels and is not used"):
        assert load(tmp_path).test["text"][:] == ["validation"] * 2


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
        wrong([*ROWS, {"text": None, "label": 0}], "row 41 .* has no text", "mine.csv"),
        wrong([{"text": "x", "label": None}] * 9, "train split .* has no label in any of its 9 rows"),
        wrong([{"text": "x", "label": 0.5}, {"text": "x", "label": 1}], "type float and int: give strings or integers"),
        wrong([{"text": "x", "label": "1"}, {"text": "x", "label": 1}], "type int and str: give strings or integers"),
        wrong([{"text": "x", "label": True}, {"text": "x", "label": 1}], "type bool and int: give strings or integers"),
        wrong([{"text": "x", "label": {"a": [1]}}] * 9, "type dict: give strings or integers"),
        wrong([{"text": "x", "label": 1e400}] * 9, "type float: give strings or integers"),
        wrong([{"text": "x"}] * 9, "no column 'label' for the label: its columns are text", "mine.csv"),
        wrong([{"text": [["x"]], "label": 0}] * 9, r"row 1 .* holds \[\['x'\]\] in column 'text', no text"),
        wrong([{"text": "x", "label": 1}] * 9, "labels of .* are all 1: give at least two"),
        wrong([{"text": "x", "label": 0.5}] * 9, "type float: give strings or integers"),
        wrong([{"text": "x", "label": [1]}] * 9, "type list: give strings or integers"),
        wrong(
            [{"text": "x", "n": i, "label": i % 2} for i in range(9)],
            "row 1 .* holds 0 in column 'n', no text",
            text="n",
        ),
        wrong(ROWS[:2], "2 rows are too few to test on 0.1"),
        wrong(ROWS, "test_share is 1.5", test_share=1.5),
        wrong(ROWS, "limit is 0", limit=0),
    ],
)
def test_errors_name_what_is_wrong(tmp_path, rows, name, options, message):
    with pytest.raises(ValueError, match=message) as raised:
        load(write(tmp_path / name, rows), **options)
    assert "\n" not in str(raised.value)


def test_no_error_is_longer_than_can_be_read(tmp_path):
    names = [f"column number {i} " + "x" * 300 for i in range(300)]
    for rows, options in (
        ([dict.fromkeys(names, "x")], {}),
        ([{"text": "x", "label": f"{i} " * 9000} for i in range(9)] + [{"text": "x", "label": 1}], {}),
        ([{"text": "x", "label": "y" * 90_000}] * 9, {}),
        ([{"text": [["word"] * 90_000], "label": 0}] * 9, {}),
        (ROWS, {"label": "z" * 9000}),
        (ROWS, {"text": ("z" * 9000,)}),
    ):
        with pytest.raises(ValueError, match=r"\w") as raised:
            load(write(tmp_path / "mine.jsonl", rows), **options)
        assert len(str(raised.value)) <= 600 and "\n" not in str(raised.value)


ENDINGS = ("jsonl", "json", "csv", "csv.gz", "tsv", "parquet")
CHANGES = [(ending, change) for ending in ENDINGS for change in ("type", "missing")]
CHANGES += [(ending, "nested") for ending in ("jsonl", "json", "parquet")]


@pytest.mark.parametrize("ending, change", CHANGES)
def test_a_column_that_nobody_asked_for_does_not_matter(tmp_path, ending, change):
    last = {"type": "seen", "nested": {"deep": [{"er": 1}]}, "missing": None}[change]
    first = 1 if change == "type" and ending != "parquet" else None
    rows = [{"text": f"{i}", "label": "ab"[i % 2], "note": first if i < 2900 else last} for i in range(3000)]
    rows = [{**row, "text": f"row {row['text']}"} for row in rows]
    task = load(write(tmp_path / f"mine.{ending}", rows), text="text")
    assert len(task.train) + len(task.test) == 3000 and task.train.column_names == ["text", "label"]


NAMES = ["bad", "fair", "good", "never seen"]


def declared(path, labels):
    """Rows of these labels as a Parquet file, or as a folder that save_to_disk made, which declares ``NAMES``."""
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=NAMES)})
    rows = datasets.Dataset.from_dict({"text": [f"row {i}" for i in range(len(labels))], "label": labels}, features)
    rows.to_parquet(path) if path.suffix else rows.save_to_disk(path)
    return path


@pytest.mark.parametrize("name", ["mine.parquet", "mine"])
@pytest.mark.parametrize("missing", [-1, None])
def test_declared_classes_keep_names_and_numbers_and_rows_without_a_label_are_counted(tmp_path, name, missing):
    labels = [missing if i % 12 == 5 else i % 3 for i in range(120)]
    with pytest.warns(UserWarning, match="10 rows have no label and are left out: .*first is row 6 of 120"):
        task = load(declared(tmp_path / name, labels))
    assert list(task.classes) == NAMES and len(task.train) + len(task.test) == 110
    for row in [*task.train, *task.test]:
        assert labels[int(row["text"].split()[1])] == row["label"]


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "tsv", "parquet"])
@pytest.mark.parametrize("labels", [[0, 1], ["no", "yes"]])
def test_rows_without_a_label_are_left_out_with_a_count_whatever_holds_them(tmp_path, ending, labels):
    rows = [{"text": f"row {i}", "label": labels[i % 2] if i % 10 else None} for i in range(40)]
    with pytest.warns(UserWarning, match="4 rows have no label and are left out: .*first is row 1 of 40"):
        task = load(write(tmp_path / f"mine.{ending}", rows))
    assert len(task.train) + len(task.test) == 36 and task.classes == tuple(map(str, labels))


def test_minus_one_without_declared_classes_is_a_class_and_that_is_said(tmp_path):
    rows = [{"text": f"row {i}", "label": i % 4 - 1} for i in range(40)]
    with pytest.warns(UserWarning, match="its label -1, beside 0, 1, 2, is taken for one"):
        assert load(write(tmp_path / "mine.csv", rows)).classes == ("-1", "0", "1", "2")


def test_labels_are_checked_against_the_declared_classes(tmp_path):
    declared(tmp_path / "train.parquet", [0, 1, 2] * 9)
    write(tmp_path / "test.jsonl", [{"text": "x", "label": "good"}, {"text": "x", "label": "odd"}])
    with pytest.raises(ValueError, match="of type int and str"):
        load(tmp_path)
    write(tmp_path / "test.jsonl", [{"text": "x", "label": 2}, {"text": "x", "label": 4}])
    with pytest.raises(
        ValueError, match=r"hold 4, none of the 4 classes that it declares .bad, fair, good, never seen"
    ):
        load(tmp_path)
    write(tmp_path / "test.jsonl", [{"text": "x", "label": 2}])
    task = load(tmp_path)
    assert list(task.classes) == NAMES and task.test["label"][:] == [2]
    other = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["good", "bad"])})
    (tmp_path / "test.jsonl").unlink()
    datasets.Dataset.from_list([{"text": "x", "label": 0}], features=other).to_parquet(tmp_path / "test.parquet")
    with pytest.raises(ValueError, match=r"declare different classes .bad, fair.* and good, bad"):
        load(tmp_path)


def test_huge_numbers_are_labels_like_any_other(tmp_path):
    for ending in ("jsonl", "csv"):
        rows = [{"text": f"row {i}", "label": 10**30 + i % 2} for i in range(40)]
        assert load(write(tmp_path / f"mine.{ending}", rows)).classes == (str(10**30), str(10**30 + 1))


def test_a_text_column_with_an_unusual_name_is_told(tmp_path):
    rows = [{"id": i, "label": i % 2, "body": f"row {i}"} for i in range(40)]
    for ending in ("jsonl", "csv", "parquet"):
        with pytest.warns(UserWarning, match="column 'body' .* is taken for the text"):
            assert load(write(tmp_path / f"mine.{ending}", rows)).text == ("body",)


def test_a_test_split_without_the_text_column(tmp_path):
    write(tmp_path / "train.jsonl", ROWS)
    write(tmp_path / "test.jsonl", [{"words": "x", "label": 1}])
    with pytest.raises(ValueError, match=r"the test split .* has no column 'text': its columns are words, label"):
        load(tmp_path)


@pytest.mark.parametrize("data", ["./none", "/none/at/all", "none.jsonl", "nobody-has-this"])
def test_what_is_not_there(data, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match=r"does not exist|no path here") as raised:
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
