"""Experiment: the same training run under several policies, side by side and under one recipe."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from filterloader.experiments import metrics
from filterloader.loader import FilteringDataLoader
from filterloader.policies import POLICIES
from filterloader.policies.base import complete
from filterloader.training.progress_bar import progress_bar
from filterloader.training.schedule import get_scheduler

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
    precision: str = "fp32"  # or "bf16": autocast in the forward pass, for every policy alike


@dataclass(frozen=True)
class Result:
    """One finished run. correct: bool ``[test]``; scalars: the ledger's; macro_f1: of the same predictions."""

    policy: str
    seed: int
    correct: np.ndarray
    wall_s: float
    scalars: dict[str, float]
    macro_f1: float | None = None

    @property
    def accuracy(self) -> float:
        return float(self.correct.mean())


def train(
    model, tokenizer, rows: Sequence, policy, recipe: Recipe, *, seed: int, score: bool | None = None, losses: Callable | None = None,
    collate_fn: Callable | None = None, log: Path | None = None, bar: str | None = None,
):  # fmt: skip
    """Train ``model`` in place; returns ``(wall-clock seconds, loader)``: the seconds hold all that the policy costs.

    score: give the loader the current model as its ``score_fn``; None: where the policy surveys the data set with it. losses:
    ``(model, inputs) -> (losses [batch], scores)`` for what is no plain classifier; scores is what ``score_fn`` returns.
    collate_fn: the loader's. log: where the ledger writes. bar: its title. Parameters that ask for no gradient stay as they
    are.
    """
    start = perf_counter()
    device, losses = next(model.parameters()).device, losses or class_losses
    asked = complete(policy)
    score = asked.survey is not None and asked.survey_scores if score is None else score

    def forward(batch):
        with autocast(recipe, device):
            return losses(model, {name: tensor.to(device) for name, tensor in batch.items()})

    loader = FilteringDataLoader(
        rows, tokenizer=tokenizer, text=recipe.text, label=recipe.label, batch_size=recipe.batch_size, shuffle=True,
        policy=policy, granularity=recipe.granularity, seed=seed, collate_fn=collate_fn,
        score_fn=scorer(model, forward) if score else None, buffer_batches=8,
    )  # fmt: skip
    if log is not None:
        loader.ledger.log_to(log, policy=_name(policy), seed=seed)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        trained, lr=recipe.lr, weight_decay=recipe.weight_decay, fused=device.type in ("cpu", "cuda")
    )
    scheduler = get_scheduler("linear", optimizer, loader, epochs=recipe.epochs, warmup=recipe.warmup)
    model.train()
    for epoch in range(recipe.epochs):
        title = None if bar is None else bar if recipe.epochs == 1 else f"{bar} {epoch + 1}/{recipe.epochs}"
        for batch in progress_bar(loader, desc=title, disable=bar is None, leave=False):
            loss = loader.hook.report(forward(batch)[0], batch)
            if loss is not None:
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
            scheduler.step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return perf_counter() - start, loader


def class_losses(model, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross entropy ``[batch]`` and logits ``[batch, classes]`` of a classifier, both float32."""
    labels = inputs.pop("labels")
    logits = model(**inputs).logits.float()
    return torch.nn.functional.cross_entropy(logits, labels, reduction="none"), logits


def scorer(model, forward: Callable) -> Callable:
    """A ``score_fn``: what the model, as it now is and without dropout, makes of a batch. forward: ``batch -> (losses, scores)``."""

    @torch.no_grad()
    def score(batch):
        training = model.training
        model.eval()
        try:
            return forward(batch)[1]
        finally:
            model.train(training)

    return score


def autocast(recipe: Recipe, device: torch.device):
    """The forward pass's precision as a context. Raises ValueError for one that is not known."""
    if recipe.precision not in ("fp32", "bf16"):
        raise ValueError(f"precision is {recipe.precision!r}: choose 'fp32' or 'bf16'")
    return torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16")


@torch.no_grad()
def predict(model, tokenizer, rows: Sequence, recipe: Recipe, *, batch_size: int = 128) -> np.ndarray:
    """The class that the model gives each row, int64 ``[n]``, in the order of ``rows``."""
    device, guesses = next(model.parameters()).device, np.zeros(len(rows), np.int64)
    columns = recipe.text if isinstance(recipe.text, tuple) else (recipe.text,)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][columns[0]]))
    model.eval()
    for start in range(0, len(order), batch_size):
        index = order[start : start + batch_size]
        batch = [rows[i] for i in index]
        inputs = tokenizer(
            *([row[name] for row in batch] for name in columns), padding=True, truncation=True, return_tensors="pt"
        )
        with autocast(recipe, device):
            guesses[index] = model(**inputs.to(device)).logits.argmax(dim=-1).cpu().numpy()
    return guesses


def correct(model, tokenizer, rows: Sequence, recipe: Recipe, *, batch_size: int = 128) -> np.ndarray:
    """Which rows the model gets right, bool ``[n]``, in the order of ``rows``."""
    return predict(model, tokenizer, rows, recipe, batch_size=batch_size) == _labels(rows, recipe)


def run(
    fresh, tokenizer, policy, train_rows: Sequence, test_rows: Sequence, recipe: Recipe, *, seed: int, **settings
) -> tuple[Result, FilteringDataLoader]:
    """Train a copy of ``fresh`` under a policy and test it. settings: those of `train`."""
    model = copy.deepcopy(fresh)
    with torch.random.fork_rng():
        torch.random.manual_seed(seed)
        wall, loader = train(model, tokenizer, train_rows, policy, recipe, seed=seed, **settings)
    guesses, labels = predict(model, tokenizer, test_rows, recipe), _labels(test_rows, recipe)
    f1 = metrics.macro_f1(labels, guesses)
    return Result(_name(policy), seed, guesses == labels, wall, loader.ledger.scalars(), f1), loader


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

        def go(chosen, tokenizer=tokenizer, fresh=fresh, seed=seed, mine=mine, base=bases[-1]):
            name = _name(chosen)
            log = None if out is None else out / f"{name}-seed{seed}.jsonl"
            result, loader = run(fresh, tokenizer, chosen, train_rows, test_rows, recipe, seed=seed, log=log,
                                 bar=f"{name:<11} seed {seed}" if bars else None)  # fmt: skip
            mine.append(result)
            wall = result.wall_s
            full = mine[0]
            loader.ledger.end(accuracy=mine[-1].accuracy, t_norm_measured=wall / full.wall_s, wall_s=wall,
                              agot=_agot(mine[-1].accuracy, base, full.accuracy, wall / full.wall_s),
                              **dict(zip(("accuracy_low", "accuracy_high"), metrics.accuracy_interval(mine[-1].correct)[1:], strict=True)))  # fmt: skip

        go(POLICIES[BASELINE]())
        chosen = policy()
        if _name(chosen) != BASELINE:
            go(chosen)
        if _name(chosen) not in (BASELINE, CONTROL):
            go(POLICIES[CONTROL](min(mine[-1].wall_s / mine[0].wall_s, 1.0)))
        results += mine
    return results, bases


def rows(results: Sequence[Result], bases: Sequence[float]) -> list[dict[str, Any]]:
    """One row a policy, means over seeds; the interval is a bootstrap over seeds and test examples."""
    table, full = [], [result for result in results if result.policy == BASELINE]
    for name in dict.fromkeys(result.policy for result in results):
        own = [result for result in results if result.policy == name]
        accuracy, low, high = metrics.accuracy_interval(np.stack([result.correct for result in own]))
        t_norm = np.mean([result.wall_s / whole.wall_s for result, whole in zip(own, full, strict=True)])
        mean = {
            key: float(np.mean([result.scalars[key] for result in own]))
            for key in ("forwarded_share", "backwarded_share", "t_norm_modelled")
        }
        table.append({
            "policy": name, "seeds": len(own), "accuracy": accuracy, "accuracy_low": low, "accuracy_high": high,
            "wall_s": float(np.mean([result.wall_s for result in own])), "t_norm_measured": float(t_norm),
            "t_norm_modelled": mean["t_norm_modelled"], "forwarded": mean["forwarded_share"], "backwarded": mean["backwarded_share"],
            "agot": _agot(accuracy, float(np.mean(bases)), float(np.mean([r.accuracy for r in full])), float(t_norm)),
        })  # fmt: skip
    return table


def _labels(rows: Sequence, recipe: Recipe) -> np.ndarray:
    return np.array([row[recipe.label] for row in rows])


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _agot(accuracy: float, base: float, full: float, t_norm: float) -> float | None:
    return None if full == base else metrics.agot(accuracy, base, full, t_norm)


def _warm_up(tokenizer, model, rows: Sequence, recipe: Recipe, chosen: Any) -> None:
    """Compile the kernels and wake the libraries, so that whoever runs first does not pay for all."""
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for policy in (POLICIES[BASELINE](), POLICIES["three_stage"](warmup=0, alt=100.0, window=1), chosen):
            train(copy.deepcopy(model), tokenizer, rows, policy, recipe, seed=0)


def _name(policy: Any) -> str:
    return next((name for name, kind in POLICIES.items() if type(policy) is kind), type(policy).__name__)
