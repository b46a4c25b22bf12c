"""The loader's benchmark: every question runs on a tiny corpus, and a planted error does not pass for a result."""

import json
from itertools import pairwise

import datasets
import numpy as np
import pytest
import torch

from benchmarks import loader_throughput, machine
from benchmarks import predictor_throughput as bench
from benchmarks.throughput import (
    clock,
    everything,
    filtering,
    gpu,
    prediction,
    profiling,
    screening,
    startup,
    stream,
    table,
    training,
)
from benchmarks.throughput.corpus import Corpus, corpora
from filterloader import FilteringDataLoader, TrainAll
from filterloader.experiments import models as encoder
from filterloader.stages.collate import Collator
from tests.conftest import sentences


@pytest.fixture(scope="module")
def corpus(tokenizer):
    rows = [{"text": row["text"], "label": row["label"]} for row in sentences(192)]
    return Corpus("tiny", datasets.Dataset.from_list(rows), tokenizer, 2)


@pytest.mark.parametrize("workers", [0, 2])
def test_everything(corpus, workers):
    for question in (everything.tokenized, everything.raw):
        (line,) = question(corpus, batch=16, workers=workers, repeats=1)
        assert line["checked"].startswith("12 batches equal") and len(line["rate"]) >= 2
        assert all(found["median"] > 0 and "met" in found for found in line["figures"].values())


class Shifted(Collator):
    def _pad(self, candidates):
        batch = super()._pad(candidates)
        batch["labels"] = batch["labels"] + int(candidates.positions[0] == 160)
        return batch


def test_one_wrong_label_in_one_batch_is_found(corpus, monkeypatch):
    monkeypatch.setattr("filterloader.loader.Collator", Shifted)
    with pytest.raises(AssertionError, match="batch 10: labels differs"):
        list(everything.tokenized(corpus, batch=16, workers=0, repeats=1))
    with pytest.raises(AssertionError, match="labels differs"):
        list(everything.raw(corpus, batch=16, workers=0, repeats=1))


def test_rows_in_another_order_or_lost_are_found(corpus):
    class Drawn(list):
        generator = torch.Generator()

    loader = FilteringDataLoader(
        corpus.tokenized, tokenizer=corpus.tokenizer, policy=TrainAll(), **everything.arguments(16, 0)
    )
    batches = Drawn(loader)
    everything.same_batches(batches, Drawn(batches))
    for wrong in ([batches[1], batches[0], *batches[2:]], batches[:-1]):
        with pytest.raises(AssertionError):
            everything.same_batches(batches, Drawn(wrong))
    with pytest.raises(AssertionError, match="2 rows against 1"):
        everything.same_rows([(1,), (2,)], [(1,)])
    with pytest.raises(AssertionError, match="rows differ"):
        everything.same_rows([(1,), (2,)], [(1,), (3,)])


def test_filtering(corpus):
    (line,) = filtering.kept_words(corpus, batch=8, repeats=1)
    assert 0.15 < line["kept"] < 0.25 and 0.1 < line["words kept"] < 0.3
    assert len(line["figures"]) == 2 and line["rate"]["ours"]["median"] > 0


def test_a_decision_that_differs_is_found(corpus, monkeypatch):
    policy = filtering.prepared(corpus)
    asked = filtering.TokensAndWords.__call__

    def forgetful(self, candidates):
        bag = asked(self, candidates)
        return bag._replace(ids=np.where(candidates.example_ids[0] % 2, bag.ids, 0).astype(np.int32))

    monkeypatch.setattr(filtering.TokensAndWords, "__call__", forgetful)
    with pytest.raises(AssertionError, match=r"decisions differ|rows against"):
        filtering.same_survivors(policy, *filtering.loaders(corpus, policy, 8))


def test_screening_and_prediction(corpus, monkeypatch):
    monkeypatch.setattr(screening, "_LEAST", 1)
    lines = list(screening.screened(corpus, repeats=1))
    assert len(lines) == 6 and all(line["figures"]["MB/s"]["median"] > 0 for line in lines)
    for name, value in (("WARM", 64), ("TIMED", 64), ("RIVER", 32)):
        monkeypatch.setattr(bench, name, value)
    lines = list(prediction.predicted(corpus, batch=32, repeats=1))
    assert len(lines) == 4 and all(
        {"times faster than scikit-learn", "times faster than scikit-learn from ids"} <= line["figures"].keys()
        for line in lines
    )


def test_views_of_arrow_find_each_row_wherever_it_lies(corpus):
    parts = [corpus.raw.select(range(start, stop)) for start, stop in ((0, 3), (3, 100), (100, 192))]
    chunked = Corpus("tiny", datasets.concatenate_datasets(parts), corpus.tokenizer, 2)
    seen = [bytes(text.values[a:b]).decode() for view in screening.views(chunked, 50) for text in view.texts
            for a, b in pairwise(text.offsets)]  # fmt: skip
    assert seen == corpus.texts


def test_training(corpus, monkeypatch):
    small = encoder.small_encoder(len(corpus.tokenizer), 2, hidden=8, layers=1, heads=2)
    monkeypatch.setattr(training, "fresh_model", lambda *_: small)
    lines = list(training.trained(corpus.head(96), None, batch=8, repeats=2))
    assert [line["work"].removeprefix("training run, ") for line in lines] == list(training.RUNS)
    assert all("overhead, % of model time" in line["figures"] for line in lines)
    assert sum("T_norm measured / modelled" in line["figures"] for line in lines) == 4
    shares = lines[2]["shares"]
    assert shares["forwarded_share"] + shares["alpha_fb"] == 1


def test_runs_that_differ_or_lose_rows_are_found():
    counts = {"seen": 10, "screened_out": 4, "forwarded": 6, "backwarded": 6, "reports": 3}
    training.consistent("x", [counts, dict(counts)], 10, everything=False)
    for wrong, everything_ in (
        ([counts, counts | {"forwarded": 5}], False),
        ([counts | {"forwarded": 5}], False),
        ([counts], True),
    ):
        with pytest.raises(AssertionError):
            training.consistent("x", wrong, 10, everything=everything_)


def test_stream(corpus):
    lines = list(stream.lengthened(corpus, batch=16, repeats=1, lengths=(200, 600)))
    assert [line["rows"] for line in lines] == [200, 600] * 2
    assert all("ns a row" in line["figures"] for line in lines)


def test_startup_runs_in_a_fresh_interpreter():
    assert startup._fresh(startup._IMPORT)["filterloader"] > 0
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        startup._fresh("1 / 0")


def test_busy_time_counts_what_overlaps_once():
    assert gpu.union([(0, 2), (1, 3), (5, 6), (5, 5.5)]) == 4
    assert gpu.union([]) == 0


def test_figures():
    assert clock.figure([3, 1, 2], least=2) == {"median": 2, "low": 1, "high": 3, "aim": ">= 2", "met": True}
    assert clock.figure([1.06], most=1.05)["met"] is False
    times = {"ours": [1.0, 2.0], "theirs": [3.0, 4.0]}
    assert clock.times_faster(times, "ours", {"theirs": 30}) == {
        "times faster than theirs": clock.figure([3, 2], least=30)
    }
    turns = []
    clock.interleaved({"a": lambda: turns.append("a"), "b": lambda: turns.append("b")}, 2)
    assert turns == ["a", "b", "b", "a"]
    with machine.Memory() as memory:
        held = np.ones(4_000_000)
    assert memory.grown is None or (memory.grown >= 25 and held.size)


def test_the_command_prints_its_table_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(machine, "settle_threads", lambda threads: None)
    out, data = tmp_path / "out.jsonl", tmp_path / "set"
    data.mkdir()
    (data / "train.jsonl").write_text(
        "".join(json.dumps({"sentence": row["text"], "label": row["label"]}) + "\n" for row in sentences(100))
    )
    monkeypatch.setattr(
        "sys.argv",
        [
            "x",
            "--data",
            str(data),
            "--rows",
            "64",
            "--repeats",
            "1",
            "--batches",
            "16",
            "--workers",
            "0",
            "--only",
            "tokenized",
            "filter",
            "gpu",
            "--out",
            str(out),
        ],
    )
    loader_throughput.main()
    shown = capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["x", "--markdown", str(out)])
    loader_throughput.main()
    again = capsys.readouterr().out
    assert again.strip() and shown.endswith(again) and "| TrainAll, tokenized | set | 16 |" in again
    assert "Not run: GPU training" in again
    head, *lines = map(json.loads, out.read_text().splitlines())
    assert head["torch"] and head["date"] and head["data"]["set"]["rows"] == 64 and len(lines) == 3


def test_profile(corpus):
    found = list(profiling.profiles(corpus, 16))
    assert [batches for _, batches, _ in found[:2]] == [12, 12]
    assert all(len(rows) == profiling.TOP and rows[0]["share"] > 0 for _, _, rows in found)
    assert "| own time % |" in "\n".join(table.profile(*found[0]))


def test_without_data_there_are_docstrings():
    (corpus,) = corpora(None, None, 50)
    assert (
        len(corpus) == 50
        and corpus.bytes == sum(len(text.encode()) for text in corpus.texts)
        and corpus.labels.shape == (50,)
    )


def test_the_predictors_command_prints_and_keeps_its_figures(tmp_path, monkeypatch, capsys):
    for name, value in (("WARM", 64), ("TIMED", 64), ("RIVER", 32), ("SIZES", (8,)), ("LEAST", (1,))):
        monkeypatch.setattr(bench, name, value)
    monkeypatch.setattr(bench, "corpora", lambda *_: corpora(None, None, 100))
    monkeypatch.setattr("sys.argv", ["x", "--repeats", "1", "--out", str(tmp_path / "out.jsonl")])
    bench.main()
    head, *lines = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    assert head["data"] == "docstrings" and head["n_features"] > 100 and len(lines) == 4
    assert "scikit-learn from ids" in capsys.readouterr().out
