"""A training loop killed at any moment, and begun again from its last checkpoint, ends where it would have ended."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.machines.differences import difference

SOURCES = ("list", "arrow", "workers", "stream", "arrow stream")
ROOT = Path(__file__).parent.parent


def killed(folder, kills, *sources):
    """What ``tests.machines.killed`` brought, by source."""
    log = folder / "errors"
    with log.open("wb") as errors:  # no pipe: workers of a process that was killed would hold it open
        subprocess.run(
            [sys.executable, "-m", "tests.machines.killed", str(folder), str(kills), *sources],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=errors,
            check=False,
        )
    told = log.read_text(errors="replace")[-1500:]
    return {s: torch.load(folder / f"{s}.pt") if (folder / f"{s}.pt").exists() else told for s in sources}, told


def check(result, told, at_least):
    assert isinstance(result, dict), f"the runs did not end:\n{result}"
    whole, broken = result["runs"]
    assert whole is not None and broken is not None, f"a run failed, exit codes {result['ends']}:\n{told}"
    assert result["killed"] >= at_least
    ids = [step[0] for step in whole["trace"]], [step[0] for step in broken["trace"]]
    first = next((i for i, (a, b) in enumerate(zip(*ids, strict=False)) if a != b), None)
    assert first is None, (
        f"killed {result['killed']} times, the rows part at step {first}: {ids[0][first]} | {ids[1][first]}"
    )
    for part in ("trace", "counts", "net"):
        found = difference(whole[part], broken[part])
        assert found is None, f"killed {result['killed']} times: never stopped | killed: {part}{found}"


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    return killed(tmp_path_factory.mktemp("killed"), 5, *SOURCES)


@pytest.mark.parametrize("source", SOURCES)
def test_killed_five_times(five, source):
    results, told = five
    check(results[source], told, at_least=2)


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
def test_killed_fifty_times(tmp_path, source):
    results, told = killed(tmp_path, 50, source)
    check(results[source], told, at_least=10)
