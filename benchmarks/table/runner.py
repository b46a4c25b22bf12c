"""Runner: one cell run from its beginning to its JSON object."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import torch

from benchmarks import machine
from benchmarks.table.plan import Cell
from benchmarks.table.store import Store, packed
from benchmarks.table.systems import BASELINE, System, freeze, keeping
from benchmarks.table.tasks import Task
from filterloader.experiments import metrics
from filterloader.experiments import models as encoder
from filterloader.experiments import run as experiment
from filterloader.experiments.recipe import Recipe


@dataclass
class Bench:
    """What all cells of a table share. model: a folder or hub name; None: a small encoder that starts from nothing."""

    model: str | None
    device: torch.device
    precision: str
    batch_size: int = 32
    warmed: set[str] = field(default_factory=set)  # rows whose kernels are compiled

    def recipe(self, task: Task, system: System | None = None) -> Recipe:
        size = task.size
        shared = {"batch_size": self.batch_size, "lr": size.lr, "precision": self.precision}
        recipe = Recipe(task.text, task.label, size.epochs, **shared)
        if system is None:
            return recipe
        changes = {"batch_size": system.batch_size or self.batch_size, "epochs": system.epochs or size.epochs}
        return replace(recipe, granularity=system.granularity, **changes)

    def setup(self, task: Task) -> str:
        """A digest of everything that must be equal for two cells to be compared."""
        rows = hashlib.sha1(json.dumps([task.train, task.tune, task.test]).encode()).hexdigest()
        model = None if self.model is None else [named(self.model), contents(self.model)]
        where = [described_device(self.device), machine.hardware(), torch.get_num_threads()]
        said = json.dumps([rows, asdict(self.recipe(task)), task.size.max_length, model, where])
        return hashlib.sha1(said.encode()).hexdigest()[:8]

    def make(self, task: Task, seed: int):
        """``(tokenizer, untrained model)`` on the device."""
        length = task.size.max_length
        if self.model is not None:
            tokenizer, model = encoder.pretrained(self.model, task.classes, seed, length)
            return tokenizer, model.to(self.device)
        names = task.text if isinstance(task.text, tuple) else (task.text,)
        texts = [row[name] for name in names for row in task.train]
        return tiny(texts, task.classes, length, seed, self.device)

    def test(self, model, tokenizer, task: Task, recipe: Recipe) -> float:
        """Accuracy of a model on the reported split."""
        return float(experiment.correct(model, tokenizer, task.test, recipe).mean())

    def control(self, policy: str, row: dict[str, Any], full: dict[str, Any]) -> System:
        """A row's own control: it keeps as large a share of the stream as the row took of the time of training on
        everything.
        """
        return keeping(policy, round(min(max(row["wall_s"] / full["wall_s"], 0.01), 1.0), 3))

    def run(self, fresh, tokenizer, system: System, policy, task: Task, recipe: Recipe, *, seed: int):
        """``(result, loader, what else was measured)``: a copy of the model trained under the policy, and tested."""
        how = {"seed": seed, "score": system.scored}
        result, loader = experiment.run(fresh, tokenizer, policy, task.train, task.test, recipe, **how)
        f1 = metrics.macro_f1(experiment.labels_of(task.test, recipe), result.guesses)
        return result, loader, {"macro_f1": f1}


def tiny(texts: list[str], classes: Sequence[str] | int, length: int, seed: int, device: torch.device):
    """A tokenizer of these texts, and a tiny encoder from nothing."""
    tokenizer = encoder.wordpiece(texts, vocab_size=1000, max_length=length)
    size = {"hidden": 32, "layers": 2, "heads": 2, "max_length": length}
    return tokenizer, encoder.small_encoder(len(tokenizer), classes, seed=seed, **size).to(device)


def run_cell(bench: Bench, task: Task, cell: Cell, store: Store, setup: str) -> dict[str, Any]:
    """Train and test one cell. The baseline of its data set and seed, and the row it controls, must be in the store.

    cpu_s and elapsed_s of the cell are processor time and wall-clock with the test included, load is the machine's
    before it began: they tell whether it had its processors for itself. Raises ValueError where a cell that it needs is
    not there.
    """
    full = None if cell.system.name == "/".join(BASELINE) else _found(store, task.name, *BASELINE, cell.seed, setup)
    system, row = cell.system, None
    if cell.controls is not None:
        row = _found(store, task.name, *cell.controls.split("/", 1), cell.seed, setup)
        system = bench.control(system.policy, row, full)
    recipe = bench.recipe(task, system)
    policy = system.make(recipe.epochs)
    tokenizer, fresh = bench.make(task, cell.seed)
    if system.frozen:
        freeze(fresh)
    base = None if full else bench.test(fresh, tokenizer, task, recipe)
    _warm_up(bench, system, fresh, tokenizer, task, recipe)
    settings, load, start, cpu = repr(policy), os.getloadavg()[0], perf_counter(), process_time()
    result, loader, more = bench.run(fresh, tokenizer, system, policy, task, recipe, seed=cell.seed)
    cell_of = {"policy": system.policy, "budget": system.budget, "seed": cell.seed, "controls": cell.controls}
    cell_of |= {"settings": settings, "granularity": system.granularity, "scored_ahead": system.scored, "setup": setup}
    cell_of |= {} if row is None else {"row_wall_s": row["wall_s"]}
    cell_of |= {"base_accuracy": full["base_accuracy"] if full else base, "correct": packed(result.correct)}
    cell_of |= {"cpu_s": process_time() - cpu, "elapsed_s": perf_counter() - start, "load": load}
    found = measured(result, loader, full, recipe.epochs, frozen=system.frozen)
    return described(bench, task, recipe) | found | more | cell_of


def rescale(store: Store) -> None:
    """Where training on everything was run once more, tell the cells that were measured by its time before."""
    for full in store.of(policy=BASELINE[0], budget=BASELINE[1], controls=None):
        for cell in store.of(dataset=full["dataset"], seed=full["seed"], setup=full["setup"]):
            if cell["t_norm_measured"] != cell["wall_s"] / full["wall_s"]:
                store.add(cell | normed(cell, full))


def normed(cell: dict[str, Any], full: dict[str, Any]) -> dict[str, Any]:
    """What of a cell hangs on the time of training on everything.

    t_norm_measured: wall-clock over the full cell's. t_norm_modelled: the paper's formula, with this run's shares and
    the full cell's time of a forward and a backward pass, and a forward pass for each example scored before a pass; not
    for frozen layers, whose backward pass is another.
    """
    out = {"t_norm_measured": cell["wall_s"] / full["wall_s"], "t_norm_modelled": None}
    t_f, t_b = full["t_f"], full["t_b"]
    if t_f > 0 and t_b > 0:
        if not cell.get("frozen"):
            modelled = metrics.modelled_t_norm(cell["alpha_b"], cell["alpha_fb"], t_f, t_b)
            out["t_norm_modelled"] = modelled + cell["surveyed"] / cell["seen"] * t_f / (t_f + t_b)
        if cell["predictor_s"] > 0 and cell is not full:
            out["predictor_over_model"] = metrics.relative_cost(cell["predictor_s"], cell["seen"], t_f + t_b, 1)
    return out


def measured(result: experiment.Result, loader, full: dict | None, epochs: int, *, frozen: bool) -> dict[str, Any]:
    """What a run measured. full: the cell that trained on everything, None where this is it."""
    scalars = result.scalars
    accuracy, low, high = metrics.accuracy_interval(result.correct)
    cell = {"accuracy": accuracy, "accuracy_low": low, "accuracy_high": high, "wall_s": result.wall_s, "frozen": frozen}
    counts = ("seen", "forwarded", "backwarded", "scored", "surveyed", "batches")
    cell |= {name: int(scalars.get(name, 0)) for name in counts}
    times = ("alpha_b", "alpha_fb", "t_f", "t_b", "loader_s", "predictor_s", "score_s", "survey_s", "hook_s")
    cell |= {name: scalars.get(name, 0.0) for name in times}
    cell |= normed(cell, full or cell)
    cell["stages"] = metrics.stage_shares(loader.ledger.stages, loader.total_examples * epochs)
    return cell | {name: scalars[name] for name in ("overlap", "false_skip_rate", "predictor_loss") if name in scalars}


def described(bench: Bench, task: Task, recipe: Recipe) -> dict[str, Any]:
    """What was run on what."""
    sizes = {"train_rows": len(task.train), "test_rows": len(task.test), "max_length": task.size.max_length}
    where = {
        "device": described_device(bench.device),
        "hardware": machine.hardware(),
        "threads": torch.get_num_threads(),
    }
    model = {"model": None if bench.model is None else named(bench.model), "precision": bench.precision}
    shared = {"epochs": recipe.epochs, "batch_size": recipe.batch_size, "lr": recipe.lr}
    code = {"version": machine.version_of("filterloader") or "not installed", "torch": torch.__version__}
    return {"dataset": task.name, **where, **model, **sizes, **shared, **code, "date": machine.date()}


def tune(bench: Bench, task: Task, rate: float, seed: int = 100) -> dict[str, Any]:
    """A cell of the data set ``tune:name``: training on everything at a learning rate, tested on the tuning split."""
    task = at_rate(task, rate)
    tokenizer, fresh = bench.make(task, seed)
    recipe, tested = bench.recipe(task), replace(task, test=task.tune)
    everything = System(*BASELINE, lambda kind, _: kind())
    result, _, more = bench.run(fresh, tokenizer, everything, everything.make(1), tested, recipe, seed=seed)
    cell = {"dataset": f"tune:{task.name}", "policy": BASELINE[0], "budget": f"lr {rate:g}", "seed": seed}
    cell |= {
        "accuracy": result.accuracy,
        "wall_s": result.wall_s,
        "setup": bench.setup(task),
        "test_rows": len(task.tune),
    }
    return described(bench, task, recipe) | more | cell


def at_rate(task: Task, rate: float) -> Task:
    return replace(task, size=replace(task.size, lr=rate))


def named(model: str) -> str:
    """What a model is called: the last part of a folder's path, the whole of a name on the hub."""
    return Path(model).name if Path(model).is_dir() else model


@cache
def contents(model: str) -> str:
    """A digest of the weights and settings in a model's folder; empty for a name on the hub."""
    digest = hashlib.sha1()
    for path in sorted(Path(model).glob("*")) if Path(model).is_dir() else ():
        if path.name == "config.json" or path.suffix in (".safetensors", ".bin"):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def described_device(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _warm_up(bench: Bench, system: System, fresh, tokenizer, task: Task, recipe: Recipe) -> None:
    """Compile the kernels and wake the libraries before the clock starts, whoever runs first."""
    if system.name not in bench.warmed:  # rows of one policy may have predictors of their own
        bench.warmed.add(system.name)
        few = replace(recipe, epochs=min(recipe.epochs, 2))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            few_rows = replace(task, train=task.train[:64], test=task.test[:8])
            bench.run(fresh, tokenizer, system, system.make(few.epochs), few_rows, few, seed=0)


def _found(store: Store, dataset: str, policy: str, budget: str, seed: int, setup: str) -> dict[str, Any]:
    cells = store.of(dataset=dataset, policy=policy, budget=budget, seed=seed, setup=setup, controls=None)
    if not cells:
        raise ValueError(f"{dataset} {policy}/{budget} seed {seed} has not been run yet; it comes first")
    return cells[-1]
