"""Experiment: the same training run under several policies, side by side and under one recipe."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from filterloader import metrics
from filterloader.loader import FilteringDataLoader
from filterloader.policies import POLICIES
from filterloader.progress import progress_bar
from filterloader.schedule import get_scheduler

CONTROL = "random"
BASELINE = "train_all"


@dataclass(frozen=True)
class Recipe:
    """What every policy shares: AdamW, a linear schedule by stream progress, padding to the longest of a batch of similar length."""

    text: str | tuple[str, ...]
    label: str = "label"
    epochs: int = 1
    batch_size: int = 32
    lr: float = 5e-5
    warmup: float = 0.06
    weight_decay: float = 0.01
    granularity: str = "example"


@dataclass(frozen=True)
class Result:
    """One finished run. correct: bool ``[test]``; scalars: the ledger's."""

    policy: str
    seed: int
    correct: np.ndarray
    wall_s: float
    scalars: dict[str, float]

    @property
    def accuracy(self) -> float:
        return float(self.correct.mean())


def train(model, tokenizer, rows: Sequence, policy, recipe: Recipe, *, seed: int, log: Path | None = None, bar: str | None = None):
    """Train ``model`` in place; returns ``(wall-clock seconds, loader)``. log: where the ledger writes. bar: its title."""
    device = next(model.parameters()).device
    loader = FilteringDataLoader(
        rows, tokenizer=tokenizer, text=recipe.text, label=recipe.label, batch_size=recipe.batch_size, shuffle=True,
        policy=policy, granularity=recipe.granularity, seed=seed, buffer_batches=8,
        score_fn=_scoring(model, device) if hasattr(policy, "survey") and getattr(policy, "survey_scores", True) else None,
    )  # fmt: skip
    if log is not None:
        loader.ledger.log_to(log, policy=_name(policy), seed=seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, fused=device.type in ("cpu", "cuda"))
    scheduler = get_scheduler("linear", optimizer, loader, epochs=recipe.epochs, warmup=recipe.warmup)
    model.train()
    start = perf_counter()
    for epoch in range(recipe.epochs):
        title = None if bar is None else bar if recipe.epochs == 1 else f"{bar} {epoch + 1}/{recipe.epochs}"
        for batch in progress_bar(loader, desc=title, disable=bar is None, leave=False):
            inputs = {name: tensor.to(device) for name, tensor in batch.items()}
            labels = inputs.pop("labels")
            losses = torch.nn.functional.cross_entropy(model(**inputs).logits.float(), labels, reduction="none")
            loss = loader.hook.report(losses, batch)
            if loss is not None:
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
            scheduler.step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return perf_counter() - start, loader


@torch.no_grad()
def correct(model, tokenizer, rows: Sequence, recipe: Recipe, *, batch_size: int = 128) -> np.ndarray:
    """Which rows the model gets right, bool ``[n]``, in the order of ``rows``."""
    device, right = next(model.parameters()).device, np.zeros(len(rows), bool)
    columns = recipe.text if isinstance(recipe.text, tuple) else (recipe.text,)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][columns[0]]))
    model.eval()
    for start in range(0, len(order), batch_size):
        index = order[start : start + batch_size]
        batch = [rows[i] for i in index]
        inputs = tokenizer(*([row[name] for row in batch] for name in columns), padding=True, truncation=True, return_tensors="pt")
        guesses = model(**inputs.to(device)).logits.argmax(dim=-1).cpu().numpy()
        right[index] = guesses == np.array([row[recipe.label] for row in batch])
    return right


def compare(
    make: Callable[[int], tuple[Any, Any]],
    train_rows: Sequence,
    test_rows: Sequence,
    policy: Callable[[], Any],
    recipe: Recipe,
    *,
    seeds: Sequence[int] = (0,),
    out: Path | None = None,
    bars: bool = False,
) -> tuple[list[Result], list[float]]:
    """Train on everything, under ``policy``, and on a random share that costs as much time as the policy took.

    make: seed -> ``(tokenizer, untrained model)``. out: folder for the ledgers. Returns the results, seed by seed, and the
    accuracy of each untrained model.
    """
    results, bases, train_rows, test_rows = [], [], list(train_rows), list(test_rows)
    _warm_up(*make(seeds[0]), train_rows[:64], recipe, policy())
    for seed in seeds:
        tokenizer, fresh = make(seed)
        fresh.to(_device())
        bases.append(float(correct(fresh, tokenizer, test_rows, recipe).mean()))
        mine: list[Result] = []

        def run(chosen, tokenizer=tokenizer, fresh=fresh, seed=seed, mine=mine, base=bases[-1]):
            model, name = copy.deepcopy(fresh), _name(chosen)
            log = None if out is None else out / f"{name}-seed{seed}.jsonl"
            with torch.random.fork_rng():
                torch.random.manual_seed(seed)
                wall, loader = train(model, tokenizer, train_rows, chosen, recipe, seed=seed, log=log, bar=f"{name:<11} seed {seed}" if bars else None)
            mine.append(Result(name, seed, correct(model, tokenizer, test_rows, recipe), wall, loader.ledger.scalars()))
            full = mine[0]
            loader.ledger.end(accuracy=mine[-1].accuracy, t_norm_measured=wall / full.wall_s, wall_s=wall,
                              agot=_agot(mine[-1].accuracy, base, full.accuracy, wall / full.wall_s),
                              **dict(zip(("accuracy_low", "accuracy_high"), metrics.accuracy_interval(mine[-1].correct)[1:], strict=True)))  # fmt: skip

        run(POLICIES[BASELINE]())
        chosen = policy()
        if _name(chosen) != BASELINE:
            run(chosen)
        if _name(chosen) not in (BASELINE, CONTROL):
            run(POLICIES[CONTROL](min(mine[-1].wall_s / mine[0].wall_s, 1.0)))
        results += mine
    return results, bases


def rows(results: Sequence[Result], bases: Sequence[float]) -> list[dict[str, Any]]:
    """One row a policy, means over seeds; the interval is a bootstrap over seeds and test examples."""
    table, full = [], [result for result in results if result.policy == BASELINE]
    for name in dict.fromkeys(result.policy for result in results):
        own = [result for result in results if result.policy == name]
        accuracy, low, high = metrics.accuracy_interval(np.stack([result.correct for result in own]))
        t_norm = np.mean([result.wall_s / whole.wall_s for result, whole in zip(own, full, strict=True)])
        mean = {key: float(np.mean([result.scalars[key] for result in own])) for key in ("forwarded_share", "backwarded_share", "t_norm_modelled")}
        table.append({
            "policy": name, "seeds": len(own), "accuracy": accuracy, "accuracy_low": low, "accuracy_high": high,
            "wall_s": float(np.mean([result.wall_s for result in own])), "t_norm_measured": float(t_norm),
            "t_norm_modelled": mean["t_norm_modelled"], "forwarded": mean["forwarded_share"], "backwarded": mean["backwarded_share"],
            "agot": _agot(accuracy, float(np.mean(bases)), float(np.mean([r.accuracy for r in full])), float(t_norm)),
        })  # fmt: skip
    return table


def _scoring(model, device: torch.device) -> Callable:
    """batch -> logits, with dropout off."""

    def score(batch):
        model.eval()
        logits = model(**{name: tensor.to(device) for name, tensor in batch.items() if name != "labels"}).logits
        model.train()
        return logits

    return score


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _agot(accuracy: float, base: float, full: float, t_norm: float) -> float | None:
    return None if full == base else metrics.agot(accuracy, base, full, t_norm)


def _warm_up(tokenizer, model, rows: Sequence, recipe: Recipe, chosen: Any) -> None:
    """Compile the kernels and wake the libraries, so that whoever runs first does not pay for all."""
    with torch.random.fork_rng():
        for policy in (POLICIES[BASELINE](), POLICIES["three_stage"](warmup=0, alt=100.0, window=1), *([chosen] if hasattr(chosen, "survey") else [])):
            train(copy.deepcopy(model), tokenizer, rows, policy, recipe, seed=0)


def _name(policy: Any) -> str:
    return next((name for name, kind in POLICIES.items() if type(policy) is kind), type(policy).__name__)
