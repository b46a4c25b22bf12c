"""Startup: how long until the package is imported, and until the first batch, with the kernels compiled before and
without?

Each answer comes from an interpreter of its own. Ours are compiled into a folder of their own, empty at first.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.throughput.clock import figure, record
from benchmarks.throughput.corpus import Corpus, quiet

ROWS = 2000

_IMPORT = """
import json, time
start = time.perf_counter()
import torch
middle = time.perf_counter()
import filterloader
bare = time.perf_counter()
from filterloader import FilteringDataLoader, ThreeStage
print(json.dumps({"torch": middle - start, "filterloader": bare - middle, "used": time.perf_counter() - middle}))
"""

_BATCH = """
import json, sys, time
import datasets, torch, transformers
rows = datasets.load_from_disk(sys.argv[1])
tokenizer = transformers.AutoTokenizer.from_pretrained(sys.argv[2])
tokenizer("awake")
start = time.perf_counter()
from filterloader import FilteringDataLoader, ThreeStage
policy = ThreeStage(warmup=0, window=1, alt=100.0)
loader = FilteringDataLoader(rows, 32, tokenizer=tokenizer, features="words", policy=policy, seed=0)
batches = iter(loader)
first = next(batches)
middle = time.perf_counter()
report = lambda batch: loader.hook.report(batch["input_ids"].sum(dim=1) % 5 / 2.0)
report(first)
for _, batch in zip(range(9), batches):
    report(batch)
stop = time.perf_counter()
assert loader.policy.stage == "filter", loader.policy.stage
print(json.dumps({"first": middle - start, "ten": stop - start, "rows": first["input_ids"].tolist()}))
"""


def started(corpus: Corpus, *, repeats: int, cold: int = 1) -> Iterator[dict]:
    """Import, and the first batches of three stages over words; cold: how many starts with nothing compiled."""
    imports = [_fresh(_IMPORT) for _ in range(repeats)]
    yield _line(
        "import filterloader, torch imported before",
        corpus,
        {
            "s": figure([one["filterloader"] for one in imports], most=0.3),
            "s with FilteringDataLoader and ThreeStage": figure([one["used"] for one in imports], most=0.3),
            "s for torch itself": figure([one["torch"] for one in imports]),
        },
        "each in a fresh interpreter",
    )
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        with quiet():
            corpus.head(ROWS).raw.save_to_disk(str(folder / "rows"))
        corpus.tokenizer.save_pretrained(str(folder / "tokenizer"))
        given = (str(folder / "rows"), str(folder / "tokenizer"))
        first = [_fresh(_BATCH, *given, NUMBA_CACHE_DIR=str(folder / f"cache{i}")) for i in range(cold)]
        later = [_fresh(_BATCH, *given, NUMBA_CACHE_DIR=str(folder / "cache0")) for _ in range(repeats)]
    assert all(one["rows"] == first[0]["rows"] for one in first + later), "first batches differ"
    for name, runs, aim in (("kernels compiled before", later, 2), ("nothing compiled", first, None)):
        yield _line(
            f"import filterloader to the first batch, {name}",
            corpus,
            {
                "s": figure([one["first"] for one in runs], most=aim),
                "s to the tenth, all kernels used": figure([one["ten"] for one in runs]),
            },
            "the same first batch each time",
        )


def _line(work: str, corpus: Corpus, figures: dict, checked: str) -> dict:
    return record(work, corpus, batch=32, rows=ROWS, unit="s", rate={}, figures=figures, checked=checked)


def _fresh(code: str, *arguments: str, **environment: str) -> dict:
    """What a program printed last, run by an interpreter of its own that finds the same packages."""
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": path, "HF_DATASETS_DISABLE_PROGRESS_BARS": "1", **environment},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"a fresh interpreter failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])
