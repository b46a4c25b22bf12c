"""Which claims of the papers behind this library hold here? Runs the authors' script and its sensitivities, then judges claim by claim.

    python benchmarks/reproduction.py --data DIR --model DIR_OR_NAME [--seeds 0 1 2] --out DIR [--beside DIR …]

Fills cells as accuracy_time.py does (`--list`, `--page`, resuming), for SST-2 at the authors' batch size of 8, and writes
OUT/README.md: each claim with the paper's figure, ours, and *reproduced*, *not reproduced* or *cannot be checked here*. --beside:
folders that accuracy_time.py and joint.py filled, whose cells the claims on whole tables need.

The authors' script differs from their paper (see ``ThreeStage.reference_script``); here it also takes single examples a step, without
dropout, in its last stage, as theirs does (row ``script, batch 1``): as many optimizer steps as training on everything. So there is
a ladder of random controls that take single examples a step as well. Predictor and threshold learn after eight of them, not after each.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Sequence
from time import perf_counter

import claims
import torch
from table import command, runner, tasks
from table.systems import BASELINE, CONTROLS, LADDER, System, keeping

from filterloader import FilteringDataLoader, experiment, get_scheduler, metrics

BATCH = 8


class ReproductionBench(runner.Bench):
    """Cells at the authors' batch size, some of which train single examples a step."""

    def __init__(self, *settings):
        super().__init__(*settings, batch_size=BATCH)

    def run(self, fresh, tokenizer, system: System, policy, task, recipe, *, seed: int):
        if system.single is None:
            return super().run(fresh, tokenizer, system, policy, task, recipe, seed=seed)
        model = copy.deepcopy(fresh)
        with torch.random.fork_rng():
            torch.random.manual_seed(seed)
            wall, loader = train_singly(model, tokenizer, task.train, policy, recipe, seed=seed, stage=system.single)
        guesses = experiment.predict(model, tokenizer, task.test, recipe)
        labels = [row[recipe.label] for row in task.test]
        result = experiment.Result(system.policy, seed, guesses == labels, wall, loader.ledger.scalars(), metrics.macro_f1(labels, guesses))
        return result, loader, {"single": system.single}


def train_singly(model, tokenizer, rows: Sequence, policy, recipe: experiment.Recipe, *, seed: int, stage: str) -> tuple[float, FilteringDataLoader]:
    """Train in place as `experiment.train`, but for single examples a step, without dropout, in a stage of the policy (or in ``"all"``)."""
    start, device = perf_counter(), next(model.parameters()).device
    loader = FilteringDataLoader(rows, recipe.batch_size, shuffle=True, tokenizer=tokenizer, text=recipe.text, label=recipe.label,
                                 policy=policy, seed=seed, buffer_batches=8)  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, fused=device.type in ("cpu", "cuda"))
    scheduler = get_scheduler("linear", optimizer, loader, epochs=recipe.epochs, warmup=recipe.warmup)

    def forward(inputs):
        with experiment.autocast(recipe, device):
            return experiment.class_losses(model, dict(inputs))[0]

    def step(loss):
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    for _ in range(recipe.epochs):
        for batch in loader:
            inputs = {name: tensor.to(device) for name, tensor in batch.items()}
            single = stage in ("all", getattr(policy, "stage", None))
            model.train(not single)
            if single:
                threshold = getattr(policy, "loss_threshold", None)
                losses = torch.zeros(len(inputs["labels"]))
                for i, length in enumerate(inputs["attention_mask"].sum(dim=1).tolist()):
                    loss = forward({name: part[i : i + 1, :length] if part.ndim == 2 else part[i : i + 1] for name, part in inputs.items()})[0]
                    losses[i] = loss.detach()
                    if threshold is None or losses[i] >= threshold:
                        step(loss)
                loader.hook.report(losses, batch)
            else:
                loss = loader.hook.report(forward(inputs), batch)
                if loss is not None:
                    step(loss)
            scheduler.step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return perf_counter() - start, loader


def _rows() -> list[System]:
    def script(**settings):
        return lambda kind, _: kind.reference_script(**settings)

    def plain(kind, _):
        return kind()

    rows = [System(*BASELINE, plain), *(keeping(control, keep) for control in CONTROLS for keep in LADDER)]
    rows += [System("three_stage", "script", script(), scored=True), System("three_stage", "script, batch 1", script(), single="filter")]
    rows += [System("random", f"{keep:g}, batch 1", lambda kind, _, keep=keep: kind(keep), single="all") for keep in (*LADDER, 1.0)]
    rows += [System("three_stage", f"N0 {n:g}", script(warmup=n), scored=True) for n in (0.2, 0.3, 0.4)]
    rows += [System("three_stage", f"W {w}", script(window=w), scored=True) for w in (4, 16)]
    rows += [System("three_stage", f"ALT {alt:g}", script(alt=alt), scored=True) for alt in (0.1, 0.2, 0.4, 0.5)]
    for epochs in (1, 2, 3, 4, 5):
        rows += [System("train_all", f"epochs {epochs}", plain, epochs=epochs)] if epochs != 2 else []
        rows += [System("three_stage", f"epochs {epochs}", script(), scored=True, epochs=epochs)] if epochs != 2 else []
    return rows


SMALL = {"sst2": tasks.Size(1500, None, 2, 64, 5e-5, hub=tasks.SMALL["sst2"].hub)}
FULL = {"sst2": tasks.Size(None, None, 2, 128, 5e-5, hub=tasks.SMALL["sst2"].hub)}
TABLE = command.Table("reproduction", "The papers' claims, run and judged one by one; see the head of this file.", SMALL, FULL, _rows(),
                      bench=ReproductionBench, write=claims.write)  # fmt: skip

if __name__ == "__main__":
    sys.exit(command.main(TABLE))
