"""Run: one model trained under a policy by a recipe, and tested."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from filterloader.experiments.recipe import Recipe
from filterloader.loader import FilteringDataLoader
from filterloader.policies import POLICIES
from filterloader.policies.base import complete
from filterloader.training.progress_bar import progress_bar
from filterloader.training.schedule import stream_schedule


@dataclass(frozen=True)
class Result:
    """One finished run.

    Args:
        policy: its name.
        seed: of the run.
        correct: bool ``[test]``, which rows it got right.
        wall_s: seconds of training, with all that the policy costs.
        scalars: the ledger's.
        guesses: int64 ``[test]``, the classes it gave; None where that is not what was tested.
    """

    policy: str
    seed: int
    correct: np.ndarray
    wall_s: float
    scalars: dict[str, float]
    guesses: np.ndarray | None = None

    @property
    def accuracy(self) -> float:
        return float(self.correct.mean())


def train(
    model,
    tokenizer,
    rows: Sequence,
    policy,
    recipe: Recipe,
    *,
    seed: int,
    log: Path | None = None,
    bar: str | None = None,
    **how,
) -> tuple[float, FilteringDataLoader]:
    """Train a model in place; parameters that ask for no gradient stay as they are.

    Args:
        model: a classifier, or anything that ``losses`` can call.
        tokenizer: of the texts; None where ``collate_fn`` makes the batches.
        rows: what to train on.
        policy: of the loader.
        recipe: of the run.
        seed: of the loader.
        log: where the ledger writes.
        bar: the title of the progress bar; None: no bar.
        how: more settings, those of `prepare`.

    Returns: ``(wall-clock seconds, loader)``; the seconds hold all that the policy costs.
    """
    start = perf_counter()
    loader, forward = prepare(model, tokenizer, rows, policy, recipe, seed=seed, **how)
    if log is not None:
        loader.ledger.log_to(log, policy=name_of(policy), seed=seed)
    optimizer, scheduler = optimizer_of(model, loader, recipe)
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
    return elapsed(start, model), loader


def prepare(
    model,
    tokenizer,
    rows: Sequence,
    policy,
    recipe: Recipe,
    *,
    seed: int,
    score: bool | None = None,
    losses: Callable | None = None,
    collate_fn: Callable | None = None,
) -> tuple[FilteringDataLoader, Callable]:
    """The loader of a run, and its forward pass, ``batch -> (losses [batch], scores)``.

    Args:
        model, tokenizer, rows, policy, recipe, seed: as in `train`.
        score: give the loader the current model as its ``score_fn``; None: where the policy surveys the data set.
        losses: ``(model, inputs) -> (losses [batch], scores)`` for what is no plain classifier; scores is what
            ``score_fn`` returns.
        collate_fn: the loader's.
    """
    device, losses = next(model.parameters()).device, losses or class_losses
    if score is None:
        known = complete(policy)
        score = known.survey is not None and known.survey_scores

    def forward(batch):
        with recipe.autocast(device):
            return losses(model, {name: tensor.to(device) for name, tensor in batch.items()})

    loader = FilteringDataLoader(
        rows,
        tokenizer=tokenizer,
        text=recipe.text,
        label=recipe.label,
        batch_size=recipe.batch_size,
        shuffle=True,
        policy=policy,
        granularity=recipe.granularity,
        seed=seed,
        collate_fn=collate_fn,
        score_fn=scorer(model, forward) if score else None,
        buffer_batches=8,
    )
    return loader, forward


def optimizer_of(model, loader: FilteringDataLoader, recipe: Recipe) -> tuple[torch.optim.Optimizer, Any]:
    """The recipe's optimizer, of what asks for a gradient, and its schedule."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    fused = trained[0].device.type in ("cpu", "cuda")
    optimizer = torch.optim.AdamW(trained, lr=recipe.lr, weight_decay=recipe.weight_decay, fused=fused)
    return optimizer, stream_schedule("linear", optimizer, loader, epochs=recipe.epochs, warmup_ratio=recipe.warmup)


def elapsed(start: float, model) -> float:
    """Seconds since ``start``, once the model's GPU has done all its work."""
    if next(model.parameters()).is_cuda:
        torch.cuda.synchronize()
    return perf_counter() - start


def class_losses(model, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross entropy ``[batch]`` and logits ``[batch, classes]`` of a classifier, both float32."""
    labels = inputs.pop("labels")
    logits = model(**inputs).logits.float()
    return torch.nn.functional.cross_entropy(logits, labels, reduction="none"), logits


def scorer(model, forward: Callable) -> Callable:
    """A ``score_fn``: what the model, as it is now and without dropout, makes of a batch.

    Args:
        model: to be scored with.
        forward: ``batch -> (losses, scores)``.
    """

    @torch.no_grad()
    def score(batch):
        training = model.training
        model.eval()
        try:
            return forward(batch)[1]
        finally:
            model.train(training)

    return score


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
        with recipe.autocast(device):
            guesses[index] = model(**inputs.to(device)).logits.argmax(dim=-1).cpu().numpy()
    return guesses


def correct(model, tokenizer, rows: Sequence, recipe: Recipe, *, batch_size: int = 128) -> np.ndarray:
    """Which rows the model gets right, bool ``[n]``, in the order of ``rows``."""
    return predict(model, tokenizer, rows, recipe, batch_size=batch_size) == labels_of(rows, recipe)


def run(
    fresh, tokenizer, policy, train_rows: Sequence, test_rows: Sequence, recipe: Recipe, *, seed: int, **settings
) -> tuple[Result, FilteringDataLoader]:
    """Train a copy of ``fresh`` under a policy and test it. settings: those of `train`."""
    model = copy.deepcopy(fresh)
    with torch.random.fork_rng():
        torch.random.manual_seed(seed)
        wall, loader = train(model, tokenizer, train_rows, policy, recipe, seed=seed, **settings)
    guesses, labels = predict(model, tokenizer, test_rows, recipe), labels_of(test_rows, recipe)
    return Result(name_of(policy), seed, guesses == labels, wall, loader.ledger.scalars(), guesses), loader


def labels_of(rows: Sequence, recipe: Recipe) -> np.ndarray:
    return np.array([row[recipe.label] for row in rows])


def name_of(policy: Any) -> str:
    """What the command line calls a policy; of one that it does not know, the class's name."""
    return next((name for name, kind in POLICIES.items() if type(policy) is kind), type(policy).__name__)
