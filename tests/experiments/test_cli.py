"""The command line, called in process: what it prints, what it leaves behind, and what it says of bad input."""

import contextlib
import io
import json
import subprocess
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from filterloader import POLICIES
from filterloader.experiments import cli
from filterloader.experiments import tables as report
from tests.conftest import write_lines

TINY = ["--limit", "64", "--batch-size", "8", "--max-length", "16", "--seeds", "0", "--threads", "1"]


@pytest.fixture(scope="module", autouse=True)
def same_number_of_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def call(*arguments):
    """One command: ``code``, and what it wrote as ``out`` and ``err``."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = cli.main([str(argument) for argument in arguments])
        except SystemExit as stopped:  # argparse
            code = stopped.code
    return SimpleNamespace(code=code, out=out.getvalue(), err=err.getvalue())


def rows(n=120):
    rng = np.random.default_rng(0)
    words = {"good": ["good", "fine", "great", "lovely"], "poor": ["poor", "dull", "bad", "awful"]}
    both = ["a", "film", "plot", "the", "is"]
    labels = [["good", "poor"][i % 2] for i in range(n)]
    return [{"text": " ".join(rng.choice(words[label] + both, 8)), "label": label} for label in labels]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_lines(tmp_path_factory.mktemp("data") / "reviews.jsonl", rows())


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """One whole command, and the folder it wrote to."""
    folder = tmp_path_factory.mktemp("runs") / "new" / "out"
    ran = call("train", "--data", data, *TINY, "--option", "warmup=0.2", "--out", folder)
    return SimpleNamespace(**vars(ran), folder=folder)


def test_it_prints_three_policies_side_by_side(finished):
    assert finished.code == 0
    heading, *lines = finished.out.splitlines()
    assert [line.split()[0] for line in lines] == ["train_all", "three_stage", "random"]
    for column in ("policy", "accuracy %", "wall s", "T_norm", "modelled", "forwarded %", "backwarded %"):
        assert column in heading
    assert all(line.split()[1] == "1" for line in lines) and lines[0].split()[5] == "1.00"


def test_what_goes_on_meanwhile_is_said_on_stderr(finished):
    assert "reviews: 64 training and 12 test examples, 2 classes" in finished.err
    assert "95 % bootstrap interval" in finished.err and "Traceback" not in finished.err
    assert f"filterloader report {finished.folder}" in finished.err


def test_out_holds_ledgers_results_and_table(finished):
    names = sorted(path.name for path in finished.folder.iterdir())
    assert names == [
        "random-seed0.jsonl",
        "results.json",
        "table.txt",
        "three_stage-seed0.jsonl",
        "train_all-seed0.jsonl",
    ]
    assert (finished.folder / "table.txt").read_text() == finished.out
    results = json.loads((finished.folder / "results.json").read_text())
    assert results["task"] == "reviews" and len(results["untrained_accuracy"]) == 1
    by_name = {row["policy"]: row for row in results["rows"]}
    for run in report.find_runs(finished.folder):
        row = by_name[run.policy]
        assert run.settings["seed"] == 0 and run.end["seen"] == 64
        assert run.end["accuracy"] == row["accuracy"] and run.end["t_norm_measured"] == row["t_norm_measured"]
        assert run.end["forwarded"] / 64 == row["forwarded"]


def test_a_report_prints_the_table_again(finished):
    ran = call("report", finished.folder, "--no-pictures")
    assert ran.code == 0 and ran.err == ""
    lines = {line.split()[0]: line.split() for line in ran.out.splitlines()[1:]}
    ref = {line.split()[0]: line.split() for line in finished.out.splitlines()[1:]}
    assert {name: line[:6] for name, line in lines.items()} == {name: line[:6] for name, line in ref.items()}
    assert not list(finished.folder.glob("*.png"))


def test_a_report_draws_where_it_is_told(finished, tmp_path):
    ran = call("report", finished.folder, "--out", tmp_path / "pictures")
    assert ran.code == 0 and "train_all" in ran.out
    drawn = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert "accuracy.png" in drawn
    assert sorted(ran.err.splitlines()) == sorted(f"drawn: {tmp_path / 'pictures' / name}" for name in drawn)


def test_a_report_of_one_file(finished):
    ran = call("report", finished.folder / "random-seed0.jsonl", "--no-pictures")
    assert ran.code == 0 and [line.split()[0] for line in ran.out.splitlines()] == ["policy", "random"]


@pytest.mark.parametrize("policy", POLICIES)
def test_every_policy_runs_by_its_name_alone(data, policy):
    for warmup in (None, 1.0):
        assert isinstance(cli._configured(policy, [], warmup=warmup, epochs=3)(), POLICIES[policy])
    if policy in ("class_balanced", "autoassist", "infobatch", "selective_backprop"):
        ran = call("train", "--data", data, *TINY, "--policy", policy)
        assert ran.code == 0 and [line.split()[0] for line in ran.out.splitlines()[1:]] == [
            "train_all",
            policy,
            "random",
        ]


def test_the_help_names_every_policy():
    assert list(cli.NAMES) == list(POLICIES)  # told without importing them, so that a mistyped name is told at once
    assert f"{', '.join(POLICIES)} (default: three_stage)" in " ".join(call("train", "--help").out.split())


@pytest.mark.parametrize("policy, looks", [("selection_via_proxy", 0), ("static_el2n", 1), ("dynamic_el2n", 1)])
def test_policies_that_look_over_the_whole_data_set_first(data, tmp_path, policy, looks):
    ran = call("train", "--data", data, *TINY, "--epochs", 2, "--policy", policy, "--out", tmp_path)
    assert ran.code == 0 and [line.split()[0] for line in ran.out.splitlines()[1:]] == ["train_all", policy, "random"]
    assert "its looks over the whole data set" in ran.err
    scalars = report.read_run(tmp_path / f"{policy}-seed0.jsonl").end
    examples = scalars["seen"] // 2
    assert scalars["surveyed"] == looks * examples
    assert scalars["forwarded"] == round(0.3 * examples) + (examples if looks else round(0.3 * examples))


@pytest.mark.parametrize("policy, printed", [("train_all", ["train_all"]), ("random", ["train_all", "random"])])
def test_the_controls_are_not_run_twice(data, tmp_path, policy, printed):
    ran = call("train", "--data", data, *TINY, "--policy", policy, "--out", tmp_path)
    assert ran.code == 0 and [line.split()[0] for line in ran.out.splitlines()[1:]] == printed


def test_old_ledgers_of_a_folder_make_way_and_nothing_else(data, tmp_path):
    (tmp_path / "random-seed7.jsonl").write_text('{"event": "start", "run": {}}\n')
    (tmp_path / "train-seed7.jsonl").write_text('{"text": "my own data"}\n')
    (tmp_path / "mine.txt").write_text("keep\n")
    for _ in range(2):
        assert call("train", "--data", data, *TINY, "--policy", "train_all", "--out", tmp_path).code == 0
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["mine.txt", "results.json", "table.txt", "train-seed7.jsonl", "train_all-seed0.jsonl"]
    assert len(report.read_run(tmp_path / "train_all-seed0.jsonl").of("start")) == 1


def test_results_are_strict_json_where_something_could_not_be_measured(data, tmp_path):
    options = ["--policy", "fixed_threshold", "--option", "threshold=100"]
    assert call("train", "--data", data, *TINY, *options, "--out", tmp_path).code == 0
    text = (tmp_path / "results.json").read_text()
    assert "NaN" not in text and json.loads(text)["rows"][1]["t_norm_modelled"] is None


def test_whole_batches_two_seeds_two_epochs_and_a_pair_of_columns(tmp_path):
    lines = [{"question": row["text"], "sentence": row["text"][:9], "kind": row["label"]} for row in rows()]
    path = write_lines(tmp_path / "pairs.jsonl", lines)
    columns = ["--text", "question", "sentence", "--label", "kind"]
    more = ["--seeds", 0, 3, "--threads", 1, "--epochs", 2, "--granularity", "batch", "--policy", "auto_threshold"]
    ran = call("train", "--data", path, *TINY[:6], *columns, *more, "--out", tmp_path / "out")
    assert ran.code == 0 and [line.split()[1] for line in ran.out.splitlines()[1:]] == ["2", "2", "2"]
    ledger = report.read_run(tmp_path / "out" / "train_all-seed3.jsonl")
    assert ledger.end["seen"] == 128 and ledger.settings["seed"] == 3


def test_a_limit_draws_from_the_whole_file(tmp_path, monkeypatch):
    """A file sorted by label, as many are, must not leave one class only."""
    path = write_lines(tmp_path / "sorted.jsonl", sorted(rows(), key=lambda row: row["label"]))
    seen = {}

    def compare(make, train_rows, *_, **__):
        seen["labels"] = [row["label"] for row in train_rows]
        raise ValueError("that is enough")

    monkeypatch.setattr("filterloader.experiments.comparison.compare", compare)
    assert call("train", "--data", path, *TINY[2:], "--limit", 50).code == 2
    assert len(seen["labels"]) == 50 and 10 < sum(seen["labels"]) < 40


def test_what_is_left_out_of_the_data_is_noted(tmp_path):
    path = write_lines(tmp_path / "some.jsonl", [*rows(), {"text": "nobody knows", "label": None}])
    ran = call("train", "--data", path, *TINY, "--policy", "train_all")
    assert ran.code == 0 and "note: 1 row has no label and is left out: column 'label' of the train split" in ran.err


BAD = {
    "wrong text column": (["--text", "body"], "has no column 'body' for the text: its columns are text, label"),
    "wrong label column": (["--label", "kind"], r"has no column 'kind' for the label: its columns are text, label"),
    "three text columns": (["--text", "a", "b", "c"], "takes one column or a pair, got 3: a b c"),
    "unknown policy": (["--policy", "best"], "'best' is not known; choose one of train_all, random, .*three_stage"),
    "unknown option": (["--option", "cutof=0.3"], "'cutof=0.3' is no setting of three_stage.*one of warmup, .*cutoff"),
    "option without a value": (["--option", "cutoff"], "'cutoff' is no setting .*NAME=VALUE"),
    "option where there is none": (
        ["--policy", "train_all", "--option", "a=1"],
        "no setting of train_all: it has none",
    ),
    "option out of range": (["--option", "cutoff=3"], r"cutoff must be a number in \[0, 1\], got 3"),
    "option of another kind": (["--option", "warmup=half"], "warmup must be .*got 'half'"),
    "a number for a threshold that moves": (["--option", "threshold=0.3"], "must be a MovingAverageThreshold, got 0.3"),
    "a predictor that is none": (
        ["--option", "predictor=svm"],
        "predictor='svm' is no predictor; give None, 'bernoulli'",
    ),
    "bad rate": (["--lr", "0"], "argument --lr: '0' is no learning rate; give a number between 0 and 1"),
    "rate that is no number": (["--lr", "fast"], "argument --lr: 'fast' is no learning rate"),
    "bad count": (["--limit", "0"], "argument --limit: '0' is no whole number of at least 1"),
    "bad seed": (["--seeds", "-1"], "argument --seeds: .*-1|expected at least one argument"),
    "unknown granularity": (["--granularity", "token"], "invalid choice: 'token'.*example.*batch"),
    "no room for a word": (["--max-length", "2"], "max_length is 2: give at least 3"),
    "no such model": (["--model", "./no/where"], "no pretrained classifier at './no/where': give a folder with"),
}


def one_line(ran):
    """The one line of an error, argparse's usage left out."""
    assert ran.code == 2 and ran.out == ""
    lines = ran.err.splitlines()
    if lines[0].startswith("usage:"):
        lines = [line for line in lines[1:] if not line.startswith(" ")]
    assert len(lines) == 1, ran.err
    return lines[0]


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_told_in_one_line(data, case):
    arguments, message = BAD[case]
    line = one_line(call("train", "--data", data, *TINY, *arguments))
    assert line.startswith("filterloader train: error: ")
    with pytest.raises(ValueError, match=message):
        raise ValueError(line)


@pytest.mark.parametrize(
    "name, content, message",
    [
        (
            "none.jsonl",
            None,
            "none.jsonl does not exist: give a folder, a .jsonl, .json, .csv, .tsv, .parquet file or a hub name",
        ),
        ("empty.jsonl", b"", "empty.jsonl is empty: give a file with rows"),
        ("header.csv", b"text,label\n", "header.csv has no rows"),
        ("one.jsonl", b'{"text": "a b", "label": 1}\n', "are all 1: give at least two classes"),
        ("rows.doc", b"text,label\na,1\n", "rows.doc does not end in .jsonl, .json, .csv, .tsv, .parquet"),
    ],
)
def test_bad_data_is_told_in_one_line(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert message in one_line(call("train", "--data", tmp_path / name, *TINY))


def test_columns_without_data_are_refused():
    assert "give --data, or leave them out" in one_line(call("train", "--text", "sentence", *TINY))
    assert "give --data, or leave them out" in one_line(call("train", "--label", "kind", *TINY))


@pytest.mark.parametrize("below", [False, True])
def test_out_that_is_a_file_is_refused_before_anything_runs(data, tmp_path, below):
    (tmp_path / "taken").write_text("mine\n")
    out = tmp_path / "taken" / "sub" if below else tmp_path / "taken"
    line = call("train", "--data", data, *TINY, "--out", out)
    assert line.code == 2 and "Traceback" not in line.err and str(out) in line.err.splitlines()[-1]
    assert (tmp_path / "taken").read_text() == "mine\n"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["nowhere"], "nowhere is not a file: give the .jsonl that a ledger wrote"),
        (["."], "no .jsonl file in .: give files or folders of runs"),
        (["data.jsonl"], "data.jsonl:1 is .*as a ledger writes it"),
        ([], "the following arguments are required: RUN"),
    ],
)
def test_a_report_of_what_is_no_run_is_told_in_one_line(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    if arguments == ["data.jsonl"]:
        write_lines(tmp_path / "data.jsonl", rows(3))
    with pytest.raises(ValueError, match=message):
        raise ValueError(one_line(call("report", *arguments)))


def test_a_report_drawn_into_a_file_is_refused(finished, tmp_path):
    (tmp_path / "taken").write_text("mine\n")
    ran = call("report", finished.folder, "--out", tmp_path / "taken")
    assert ran.code == 2 and len(ran.err.splitlines()) == 1 and "taken" in ran.err


@pytest.mark.parametrize("arguments", [[], ["tarin"]])
def test_a_missing_or_unknown_command_is_told_in_one_line(arguments):
    assert "train" in one_line(call(*arguments))


def test_an_interrupt_is_no_traceback(data, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("filterloader.experiments.comparison.compare", interrupt)
    ran = call("train", "--data", data, *TINY)
    assert ran.code == 130 and ran.err.splitlines()[-1] == "interrupted"


def test_warnings_are_notes_while_a_command_runs_and_warnings_again_after_it(data, monkeypatch):
    def warn(*_, **__):
        warnings.warn("the words say little", stacklevel=2)
        raise ValueError("that is enough")

    before = warnings.showwarning
    monkeypatch.setattr("filterloader.experiments.comparison.compare", warn)
    ran = call("train", "--data", data, *TINY)
    assert ran.err.splitlines()[-2:] == ["note: the words say little", "filterloader train: error: that is enough"]
    assert warnings.showwarning is before


@pytest.mark.parametrize("value, noted", [("1", True), ("1.0", False)])
def test_a_warm_up_of_one_example_is_noted_once(data, monkeypatch, value, noted):
    def stop(*_, **__):
        raise ValueError("that is enough")

    monkeypatch.setattr("filterloader.experiments.comparison.compare", stop)
    ran = call("train", "--data", data, *TINY, "--option", f"warmup={value}")
    assert ran.err.count("note: warmup=1 is one example; to warm up for the whole of a pass, write warmup=1.0") == noted


@pytest.mark.parametrize("command", [[], ["train"], ["report"]])
def test_help_works_as_a_module(command):
    ran = subprocess.run(
        [sys.executable, "-m", "filterloader.experiments.cli", *command, "--help"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0 and ran.stderr == "" and ran.stdout.startswith("usage: filterloader")


def test_without_data_it_learns_from_documentation():
    ran = call("train", *TINY[2:], "--limit", 200, "--epochs", 1, "--option", "warmup=0.2")
    assert ran.code == 0 and "documentation sentences: " in ran.err
    assert [line.split()[0] for line in ran.out.splitlines()[1:]] == ["train_all", "three_stage", "random"]


def test_a_granularity_that_the_policy_cannot_decide_at_is_refused_before_anything_is_read():
    ran = call("train", "--data", "nowhere.csv", "--policy", "class_balanced", "--granularity", "batch")
    assert ran.code == 2 and "nowhere" in ran.err  # what is named first is looked for first
    ran = call("train", "--policy", "class_balanced", "--granularity", "batch")
    assert ran.code == 2 and "granularity='example'" in ran.err and "examples, " not in ran.err
