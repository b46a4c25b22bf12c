"""What the tests of the accuracy-time table share: two tiny data sets, and a table filled with one of them."""

import json

import pytest

from benchmarks import accuracy_time
from benchmarks.table import command
from tests.conftest import sentences

ROWS = ["three_stage/example", "fixed_threshold/0.3", "train_all/frozen"]


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Two data sets whose labels are told by their words."""
    folder = tmp_path_factory.mktemp("data")
    for number, name in enumerate(("one", "two")):
        (folder / name).mkdir()
        for split, n, seed in (("train", 120, number), ("test", 40, 10 + number)):
            rows = [{"text": row["text"], "label": int("hard" in row["text"])} for row in sentences(n, seed, hard=0.4)]
            (folder / name / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def call(data, out, *more, datasets=("one",), seeds=("0",), policies=ROWS):
    where = [
        "--data",
        str(data),
        "--out",
        str(out),
        "--datasets",
        *datasets,
        "--seeds",
        *seeds,
        "--policies",
        *policies,
    ]
    how = ["--epochs", "2", "--threads", "1", "--precision", "fp32", "--device", "cpu"]
    return command.main(accuracy_time.TABLE, [*where, *how, *more])


@pytest.fixture(scope="session")
def finished(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("finished")
    assert call(data, out) == 0
    return out


def lines(out):
    return [json.loads(line) for line in (out / "cells.jsonl").read_text().splitlines()]


def names(cells):
    return [(cell["policy"], cell["budget"] if cell["controls"] is None else "=", cell["controls"]) for cell in cells]
