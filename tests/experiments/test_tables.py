"""Reading ledgers back, and the tables made of them."""

import json

import pytest

from filterloader.experiments import tables as report
from filterloader.feedback.ledger import Ledger
from tests.conftest import run_lines, write_lines


@pytest.fixture
def folder(tmp_path):
    """Four runs of three policies; one of them was killed."""
    for seed in range(2):
        write_lines(tmp_path / "runs" / f"three-{seed}.jsonl", run_lines(seed=seed, accuracy=0.9 + 0.02 * seed))
    write_lines(tmp_path / "runs" / "deep" / "all.jsonl", run_lines("train_all", wall=200.0))
    write_lines(tmp_path / "runs" / "deep" / "killed.jsonl", run_lines("random", finished=False))
    return tmp_path / "runs"


def test_a_run_is_read_whole(tmp_path):
    run = report.read_run(write_lines(tmp_path / "a.jsonl", run_lines(granularity="batch")))
    assert (run.policy, run.settings["granularity"], run.note) == ("three_stage", "batch", None)
    assert [stage["stage"] for stage in run.of("stage")] == ["warm-up", "fit", "filter"]
    assert len(run.of("report")) == 50
    assert run.end["accuracy"] == 0.9 and run.end["seen"] == 1000 and run.end["wall_s"] == 100
    assert "agot" not in run.end


def test_what_the_ledger_writes_is_read(tmp_path):
    ledger = Ledger()
    ledger.log_to(tmp_path / "a.jsonl", policy="train_all", seed=3)
    ledger.note("eval", accuracy=0.5)
    ledger.end(accuracy=0.75)
    run = report.read_run(tmp_path / "a.jsonl")
    assert run.policy == "train_all" and run.of("eval")[0]["accuracy"] == 0.5 and run.end["accuracy"] == 0.75
    assert "0.75" not in report.table(report.summarise([run])) and "75.00" in report.table(report.summarise([run]))


def test_a_half_written_last_line_is_skipped_with_a_note(tmp_path):
    path = write_lines(tmp_path / "a.jsonl", run_lines(finished=False))
    whole = len(path.read_text().splitlines())
    path.write_text(path.read_text() + '{"event": "report", "ti')
    run = report.read_run(path)
    assert len(run.events) == whole and run.end == {}
    assert run.note == f"{path}:{whole + 1} is half written and was skipped"


def test_a_resumed_run_goes_on_where_it_was_killed(tmp_path):
    path = write_lines(tmp_path / "a.jsonl", run_lines(wall=50.0, finished=False))
    resumed = "".join(json.dumps(line) + "\n" for line in run_lines(wall=30.0))
    path.write_text(path.read_text() + '{"event": "rep' + resumed)
    run = report.read_run(path)
    assert "half written" in run.note
    times = [event["time"] for event in run.of("report")]
    assert times == sorted(times) and times[-1] == 80
    assert run.end["accuracy"] == 0.9


def test_a_run_that_was_resumed_but_not_finished_has_no_end(tmp_path):
    assert report.read_run(write_lines(tmp_path / "a.jsonl", run_lines() + run_lines(finished=False))).end == {}


@pytest.mark.parametrize(
    "content, message",
    [
        ("", "a.jsonl is empty"),
        ("hello\n", 'a.jsonl:1 is \'hello\': expected a line with "event": "start"'),
        ('{"text": "a", "label": 0}\n', "a.jsonl:1 is .*start"),
        ('{"event": "eval", "time": 1}\n', "a.jsonl:1 is .*start"),
        ('{"event": "start", "run": {}}\n\n{"event": "re\n{"event": "end"}\n', "a.jsonl:3 is .*JSON object with an"),
        ('{"event": "start", "run": {}}\n[1]\n', r"a.jsonl:2 is '\[1\]'"),
    ],
)
def test_what_is_no_run(tmp_path, content, message):
    (tmp_path / "a.jsonl").write_text(content)
    with pytest.raises(ValueError, match=message):
        report.read_run(tmp_path / "a.jsonl")


def test_runs_are_found_once_in_files_and_folders(folder):
    names = [run.path.name for run in report.find_runs([folder, folder / "three-0.jsonl"])]
    assert names == ["all.jsonl", "killed.jsonl", "three-0.jsonl", "three-1.jsonl"]
    assert [run.path.name for run in report.find_runs(folder / "three-0.jsonl")] == ["three-0.jsonl"]


def test_nothing_found_says_where(tmp_path):
    with pytest.raises(ValueError, match=f"no .jsonl file in {tmp_path}: give files or folders"):
        report.find_runs([tmp_path])
    with pytest.raises(ValueError, match=r"none.jsonl is not a file"):
        report.find_runs([tmp_path / "none.jsonl"])


def test_summary_is_the_mean_over_seeds(folder):
    rows = {row["policy"]: row for row in report.summarise(report.find_runs([folder]))}
    three = rows["three_stage"]
    assert three["seeds"] == 2
    assert (three["accuracy_low"], three["accuracy"], three["accuracy_high"]) == pytest.approx((0.9, 0.91, 0.92))
    assert (three["forwarded"], three["backwarded"], three["t_norm_measured"]) == (0.4, 0.25, 0.5)
    assert three["agot"] is None
    assert rows["train_all"]["accuracy_low"] == pytest.approx(0.88)
    assert rows["random"]["seeds"] == "0 of 1 finished" and rows["random"]["accuracy"] is None


def test_a_sweep_is_not_averaged(tmp_path):
    for threshold in (0.1, 0.5):
        for seed in range(2):
            lines = run_lines("fixed", seed, threshold=threshold, granularity="batch")
            write_lines(tmp_path / f"{threshold}-{seed}.jsonl", lines)
    found = report.groups(report.find_runs([tmp_path]))
    assert {name: len(runs) for name, runs in found.items()} == {"fixed threshold=0.1": 2, "fixed threshold=0.5": 2}


def test_table_is_aligned_and_writes_nulls_as_dashes(folder):
    lines = report.table(report.summarise(report.find_runs([folder]))).splitlines()
    assert lines[0].split("  ")[0] == "policy" and "T_norm" in lines[0] and "AGOT" not in lines[0]
    assert lines[1].startswith("train_all") and "90.00 (88.0-91.0)" in lines[1]
    assert lines[2].split()[:2] == ["random", "0"] and lines[2].split()[-3:] == ["-", "-", "-"]
    assert lines[0].endswith("backwarded %") and lines[3].endswith("25.0") and len(lines[0]) == len(lines[3])


def test_table_takes_any_rows_and_columns():
    rows = [{"name": "a", "n": 3, "x": 0.123456}, {"name": "bcd", "n": None, "x": float("nan")}]
    assert report.table(rows).splitlines() == ["name  n       x", "a     3  0.1235", "bcd   -       -"]
    assert report.table(rows, ["n", "missing"]).splitlines() == ["n  missing", "3  -", "-  -"]
    assert report.table([], ["policy"]) == "policy"
