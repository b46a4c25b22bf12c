"""Training: what does the loader cost a real training run, and does the time that filtering should save come true?

The gate to the filter stage is forced open after the first reports (``alt=100``): the question is what each stage
costs, and the default gate would not open on a slice this small.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch

from benchmarks.throughput.clock import figure, interleaved, record
from benchmarks.throughput.corpus import Corpus
from filterloader import ThreeStage, TrainAll
from filterloader.experiments import metrics
from filterloader.experiments import models as encoder
from filterloader.experiments import run as experiment
from filterloader.experiments.recipe import Recipe


def _three_stage(features: str | None = None, **settings: Any) -> ThreeStage:
    policy = ThreeStage(alt=100.0, seed=0, **settings)
    if features is not None:
        policy.features = features
    return policy


# name: granularity, policy, and the run on everything to compare with
RUNS: dict[str, tuple[str, Callable[[], Any], str | None]] = {
    "TrainAll": ("example", TrainAll, None),
    "three stages, raw text": ("example", _three_stage, "TrainAll"),
    "three stages, words": ("example", partial(_three_stage, "words*label"), "TrainAll"),
    "three stages, words, forward gate only": (
        "example",
        partial(_three_stage, "words*label", backward_gate=False),
        "TrainAll",
    ),
    "TrainAll, batch granularity": ("batch", TrainAll, None),
    "three stages, batch granularity": ("batch", _three_stage, "TrainAll, batch granularity"),
}


def fresh_model(corpus: Corpus, model: str | None, device: str) -> Any:
    """The pretrained encoder with a new head; without a folder, a small one with random weights."""
    if model is None:
        made = encoder.small_encoder(len(corpus.tokenizer), corpus.classes, max_length=128)
    else:
        made = encoder.pretrained(model, corpus.classes)[1]
    return made.to(device)


def trained(
    corpus: Corpus, model: str | None, *, batch: int, repeats: int, device: str = "cpu", runs: dict | None = None
) -> Iterator[dict]:
    """One pass of each of ``runs``: the loader's share of the time, and the measured over the modelled T_norm."""
    runs = RUNS if runs is None else runs
    fresh, rows = fresh_model(corpus, model, device), corpus.raw
    scalars: dict[str, list[dict]] = {name: [] for name in runs}

    def run(name: str, rows: Any) -> dict:
        granularity, policy, _ = runs[name]
        recipe = Recipe(text="text", batch_size=batch, granularity=granularity)
        with torch.random.fork_rng():
            torch.random.manual_seed(0)
            wall, loader = experiment.train(copy.deepcopy(fresh), corpus.tokenizer, rows, policy(), recipe, seed=0)
        return loader.ledger.scalars() | {"run_s": wall}

    for name in runs:
        run(name, rows.select(range(min(8 * batch, len(rows)))))
    times = interleaved({name: lambda name=name: scalars[name].append(run(name, rows)) for name in runs}, repeats)
    for name, (_, _, whole) in runs.items():
        consistent(name, scalars[name], len(rows), everything=whole is None)
        last = scalars[name][-1]
        kept = ("forwarded_share", "backwarded_share", "alpha_b", "alpha_fb")
        alike = f"{len(times[name])} runs counted alike; what was seen is what was forwarded and what was skipped"
        yield record(
            f"training run, {name}",
            corpus,
            batch=batch,
            rows=len(rows),
            unit="s",
            checked=alike,
            rate={"ours": figure([own["run_s"] for own in scalars[name]])},
            figures=figures(scalars[name], scalars[whole] if whole else None),
            shares={key: round(last[key], 4) for key in kept},
        )


def figures(own: list[dict], whole: list[dict] | None) -> dict[str, dict]:
    """Of the runs of one policy, turn by turn; whole: those on everything.

    Modelled: the paper's formula with the shares of the filtered run and the time of a forward and a backward pass in
    the run on everything. The paper counts a skipped backward pass as saved though its batch is run back for the
    others; "as run" does not.
    """
    shares = [100 * s["overhead_s"] / (s["forward_s"] + s["backward_s"]) for s in own]
    found = {"overhead, % of model time": figure(shares, most=1)}
    found["overhead, % of the run"] = figure([100 * s["overhead_s"] / s["run_s"] for s in own])
    if whole is None:
        return found
    pairs = list(zip(own, whole, strict=True))
    measured = [a["run_s"] / b["run_s"] for a, b in pairs]
    modelled = [metrics.modelled_t_norm(a["alpha_b"], a["alpha_fb"], b["t_f"], b["t_b"]) for a, b in pairs]
    as_run = [metrics.modelled_t_norm(_only_forward(a), a["alpha_fb"], b["t_f"], b["t_b"]) for a, b in pairs]
    return found | {
        "T_norm measured": figure(measured),
        "T_norm modelled": figure(modelled),
        "T_norm measured / modelled": figure([a / b for a, b in zip(measured, modelled, strict=True)], most=1.05),
        "T_norm measured / modelled as run": figure([a / b for a, b in zip(measured, as_run, strict=True)]),
    }


def _only_forward(scalars: dict) -> float:
    """Share of what was seen that was in no batch that was run back."""
    return max(scalars["forwarded"] - scalars["examples_run_back"], 0) / scalars["seen"]


def consistent(name: str, scalars: list[dict], rows: int, *, everything: bool) -> None:
    """Repeats of a run decide alike, and nothing is lost, or AssertionError."""
    counts = [
        {key: one[key] for key in ("seen", "screened_out", "forwarded", "backwarded", "reports")} for one in scalars
    ]
    assert all(count == counts[0] for count in counts), f"{name}: repeats differ: {counts}"
    first = counts[0]
    assert first["seen"] == rows == first["screened_out"] + first["forwarded"], f"{name}: {rows} rows, but {first}"
    assert not everything or first["backwarded"] == rows, f"{name}: {rows} rows, but {first}"
