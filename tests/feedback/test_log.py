"""What the ledger writes down: JSON lines that a report reads back."""

import json

import numpy as np
import pytest
import torch

from filterloader import FixedThreshold, Random, ThreeStage
from filterloader.experiments import tables as report
from filterloader.feedback.ledger import Ledger
from tests.conftest import losses_of, train
from tests.feedback.test_ledger import build


def test_the_log_of_a_run_is_read_back(tokenizer, tmp_path):
    loader = build(tokenizer, ThreeStage(warmup=200))
    loader.ledger.log_to(tmp_path / "new" / "run.jsonl", policy="three_stage", seed=5)
    train(loader)
    loader.ledger.note("eval", accuracy=0.875)
    loader.ledger.end(accuracy=0.9)
    run = report.read_run(tmp_path / "new" / "run.jsonl")
    assert run.settings == {"policy": "three_stage", "seed": 5} and run.note is None
    assert [line["stage"] for line in run.of("stage")] == ["warm-up", "fit", "filter"]
    assert [line["position"] for line in run.of("stage")] == [place for _, place in loader.ledger.stages]
    assert run.of("eval")[0]["accuracy"] == 0.875
    scalars = loader.ledger.scalars()
    reports = run.of("report")
    assert len(reports) == scalars["reports"] // 10
    assert [line["position"] for line in reports] == sorted(line["position"] for line in reports)
    assert all(0 <= line["kept"] <= 1 and 0 <= line["trained"] <= 1 for line in reports if line["kept"] is not None)
    assert run.end["accuracy"] == 0.9 and run.end["seen"] == 1000
    assert all(run.end[name] == scalars[name] for name in ("forwarded", "backwarded", "tokens_forwarded", "alpha_b"))


def test_a_line_holds_the_means_since_the_line_before(tokenizer, tmp_path):
    loader = build(tokenizer, FixedThreshold(0.5))
    loader.ledger.every = 4
    loader.ledger.log_to(tmp_path / "run.jsonl")
    out = train(loader)
    lines = report.read_run(tmp_path / "run.jsonl").of("report")
    assert len(lines) == len(out) // 4
    for i, line in enumerate(lines):
        window = [losses_of(batch) for batch, _ in out[4 * i : 4 * i + 4]]
        assert line["loss"] == pytest.approx(np.mean([float(losses.mean()) for losses in window]), rel=1e-6)
        assert line["trained"] == pytest.approx(float((torch.cat(window) >= 0.5).float().mean()), rel=1e-6)
        assert (line["kept"], line["threshold"], line["epoch"]) == (1.0, 0.5, 0)


def test_lines_know_what_a_score_function_dropped(tokenizer, tmp_path):
    loader = build(tokenizer, FixedThreshold(0.5), 4000, score_fn=losses_of)
    loader.ledger.log_to(tmp_path / "run.jsonl")
    train(loader)
    lines = [line for line in report.read_run(tmp_path / "run.jsonl").of("report") if line["kept"] is not None]
    share = loader.ledger.scalars()["backwarded_share"]
    assert np.mean([line["trained"] for line in lines]) == pytest.approx(share, abs=0.05)
    assert {line["kept"] for line in lines} == {1.0}  # all were forwarded, in the score function


def test_every_line_is_strict_json_whatever_it_is_given(tmp_path):
    ledger = Ledger()
    ledger.log_to(tmp_path / "run.jsonl", policy=Random(0.5), folder=tmp_path)
    ledger.note(
        "eval",
        a=float("nan"),
        b=[np.inf, 1.5],
        c={"d": np.float32(0.5)},
        e=torch.tensor(0.25),
        f=np.arange(2),
        g=(True, None, "x"),
    )
    ledger.end()

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    start, note, end = [
        json.loads(line, parse_constant=refuse) for line in (tmp_path / "run.jsonl").read_text().splitlines()
    ]
    assert start["run"] == {"policy": "Random(keep=0.5, seed=None)", "folder": str(tmp_path)}
    assert {name: note[name] for name in "abcefg"} == {
        "a": None, "b": [None, 1.5], "c": {"d": 0.5}, "e": 0.25, "f": [0, 1], "g": [True, None, "x"],
    }  # fmt: skip
    assert end["scalars"]["t_norm_modelled"] is None


def test_without_log_to_nothing_is_written(tokenizer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loader = build(tokenizer, Random(0.5))
    train(loader)
    loader.ledger.note("eval", accuracy=0.5)
    loader.ledger.end()
    assert not list(tmp_path.iterdir())
