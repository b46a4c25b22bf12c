"""Comparison: training on everything, under a policy, and on a random share that costs as much time, side by side."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from filterloader.experiments import metrics, run, tables
from filterloader.experiments.recipe import Recipe
from filterloader.policies import POLICIES

CONTROL = "random"
BASELINE = "train_all"


class Comparison(NamedTuple):
    """What came out; printed, it is a table.

    results: one a run, seed by seed. untrained: accuracy of the model before training, a seed each.
    """

    results: list[run.Result]
    untrained: list[float]

    def rows(self) -> list[dict[str, Any]]:
        """One row a policy, means over seeds; the interval is a bootstrap over seeds and test examples."""
        full = [result for result in self.results if result.policy == BASELINE]
        base, top = float(np.mean(self.untrained)), float(np.mean([result.accuracy for result in full]))
        table = []
        for name in dict.fromkeys(result.policy for result in self.results):
            own = [result for result in self.results if result.policy == name]
            accuracy, low, high = metrics.accuracy_interval(np.stack([result.correct for result in own]))
            t_norm = float(np.mean([one.wall_s / whole.wall_s for one, whole in zip(own, full, strict=True)]))
            row = {"policy": name, "seeds": len(own), "accuracy": accuracy, "accuracy_low": low, "accuracy_high": high}
            row |= {"wall_s": float(np.mean([result.wall_s for result in own])), "t_norm_measured": t_norm}
            for key, scalar in (
                ("t_norm_modelled", "t_norm_modelled"),
                ("forwarded", "forwarded_share"),
                ("backwarded", "backwarded_share"),
            ):
                row[key] = float(np.mean([result.scalars[scalar] for result in own]))
            table.append({**row, "agot": _agot(accuracy, base, top, t_norm)})
        return table

    def __str__(self) -> str:
        return tables.table(self.rows())


def compare(
    make: Callable[[int], tuple[Any, Any]],
    train_rows: Sequence[dict[str, Any]],
    test_rows: Sequence[dict[str, Any]],
    policy: Callable[[], Any],
    recipe: Recipe,
    *,
    seeds: Sequence[int] = (0,),
    out: Path | None = None,
    bars: bool = False,
) -> Comparison:
    """Train a classifier on everything, under a policy, and on a random share that costs as much time.

    All runs of a seed begin with the same model and share one recipe. torch's global random state stays as it is.

    Args:
        make: seed -> ``(tokenizer, untrained model)``, a sequence classifier of transformers.
        train_rows: dicts with the columns that the recipe names, or a ``datasets.Dataset``.
        test_rows: the same, to be tested on.
        policy: makes a new policy at each call; a class will do.
        recipe: what all runs share.
        seeds: one run of everything for each.
        out: a folder for the ledgers, ``POLICY-seedSEED.jsonl``; None for none.
        bars: whether to show progress.

    Returns: the runs; print it, or ask it for its ``rows()``.

    Example:
        >>> from filterloader import ThreeStage
        >>> from filterloader.experiments import Recipe, compare
        >>> from filterloader.experiments.models import small_encoder, wordpiece
        >>> rows = [{"text": text, "label": i % 2} for i, text in enumerate(["a good film", "a dull film"] * 40)]
        >>> tokenizer = wordpiece(row["text"] for row in rows)
        >>> def make(seed):
        ...     return tokenizer, small_encoder(len(tokenizer), ["good", "dull"], hidden=16, layers=1, seed=seed)
        >>> found = compare(make, rows[:64], rows[64:], lambda: ThreeStage(warmup=0.5), Recipe("text", batch_size=8))
        >>> [row["policy"] for row in found.rows()]
        ['train_all', 'three_stage', 'random']

    Source: the equal-budget control of online data filtering, table 5, here at equal measured time.
    """
    train_rows, test_rows = list(train_rows), list(test_rows)
    _warm_up(*make(seeds[0]), train_rows[:64], recipe, policy())
    found = Comparison([], [])
    for seed in seeds:
        results, base = _one_seed(*make(seed), train_rows, test_rows, policy, recipe, seed, out, bars)
        found.results.extend(results)
        found.untrained.append(base)
    return found


def _one_seed(
    tokenizer, fresh, train_rows, test_rows, policy, recipe, seed, out, bars
) -> tuple[list[run.Result], float]:
    """The results of a seed, and the accuracy of the model before training."""
    fresh.to("cuda" if torch.cuda.is_available() else "cpu")
    base = float(run.correct(fresh, tokenizer, test_rows, recipe).mean())
    results: list[run.Result] = []

    def go(chosen) -> None:
        name = run.name_of(chosen)
        log = None if out is None else out / f"{name}-seed{seed}.jsonl"
        how = {"seed": seed, "log": log, "bar": f"{name:<11} seed {seed}" if bars else None}
        result, loader = run.run(fresh, tokenizer, chosen, train_rows, test_rows, recipe, **how)
        results.append(result)
        _end(loader.ledger, result, results[0], base)

    go(POLICIES[BASELINE]())
    chosen = policy()
    if run.name_of(chosen) != BASELINE:
        go(chosen)
    if run.name_of(chosen) not in (BASELINE, CONTROL):
        go(POLICIES[CONTROL](min(results[-1].wall_s / results[0].wall_s, 1.0)))
    return results, base


def _end(ledger, result: run.Result, full: run.Result, base: float) -> None:
    """Write a run's last line. full: the run on everything. base: accuracy before training."""
    t_norm, (_, low, high) = result.wall_s / full.wall_s, metrics.accuracy_interval(result.correct)
    ledger.end(
        accuracy=result.accuracy,
        accuracy_low=low,
        accuracy_high=high,
        wall_s=result.wall_s,
        t_norm_measured=t_norm,
        agot=_agot(result.accuracy, base, full.accuracy, t_norm),
    )


def _agot(accuracy: float, base: float, full: float, t_norm: float) -> float | None:
    return None if full == base else metrics.agot(accuracy, base, full, t_norm)


def _warm_up(tokenizer, model, rows: Sequence, recipe: Recipe, chosen: Any) -> None:
    """Compile the kernels and wake the libraries, so that whoever runs first does not pay for all."""
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for policy in (POLICIES[BASELINE](), POLICIES["three_stage"](warmup=0, alt=100.0, window=1), chosen):
            run.train(copy.deepcopy(model), tokenizer, rows, policy, recipe, seed=0)
