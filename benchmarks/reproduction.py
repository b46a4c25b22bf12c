"""Which claims of the papers behind this library hold here? Runs the authors' script and its sensitivities, then judges
claim by claim.

    python -m benchmarks.reproduction --data DIR --model DIR_OR_NAME [--seeds 0 1 2] --out DIR [--beside DIR …]

Fills cells as accuracy_time.py does (`--list`, `--page`, resuming), for SST-2 at the authors' batch size of 8, and
writes OUT/README.md: each claim with the paper's figure, ours, and *reproduced*, *not reproduced* or *cannot be checked
here*. --beside: folders that accuracy_time.py and joint.py filled, whose cells the claims on whole tables need.

The authors' script differs from their paper (see ``ThreeStage.reference_script``); here it also takes single examples a
step, without dropout, in its last stage, as theirs does (row ``script, batch 1``): many times the optimizer steps. So
there are random controls that take single examples a step as well: all along (``batch 1``), and, fairest, from where
the row's last stage began, with as many examples before and after as the row trained on (its own control). Predictor
and threshold learn after eight single steps, not after each; the learning rate follows the stream here, after 6 % of
warm-up, where the script's stands at half its start when it ends; and there are SST-2's first 6,000 training rows of
67,349, so that the last stage is reached late, or not at all: a claim about it is judged on the seeds that reach it.
SST-2 is balanced, so there is no class-balanced control.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import Any

import torch

from benchmarks.claims import page
from benchmarks.table import command, runner, tasks
from benchmarks.table.systems import BASELINE, LADDER, System, keeping
from filterloader import FilteringDataLoader
from filterloader.experiments import metrics
from filterloader.experiments import run as experiment

BATCH = 8


class ReproductionBench(runner.Bench):
    """Cells at the authors' batch size, some of which train single examples a step."""

    def __init__(self, *settings):
        super().__init__(*settings, batch_size=BATCH)

    def control(self, policy: str, row: dict[str, Any], full: dict[str, Any]) -> System:
        """Of a row that takes single steps: as many examples before its last stage and in it, by chance, and single
        steps from there on.
        """
        if not row.get("single"):
            return super().control(policy, row, full)
        late = row["stages"].get("filter", 0.0)
        before = (row["backwarded"] - row["singles"]) / max(row["seen"] * (1 - late), 1)
        after = row["singles"] / max(row["seen"] * late, 1)
        shares = [round(min(max(share, 0.001), 1.0), 3) for share in (before, after)]
        return System(
            policy,
            f"{shares[0]:g}, then {shares[1]:g}, batch 1",
            lambda kind, _: kind(shares[0]),
            single=(1 - late, shares[1]),
        )

    def run(self, fresh, tokenizer, system: System, policy, task, recipe, *, seed: int):
        if system.single is None:
            return super().run(fresh, tokenizer, system, policy, task, recipe, seed=seed)
        model = copy.deepcopy(fresh)
        with torch.random.fork_rng():
            torch.random.manual_seed(seed)
            how = {"seed": seed, "when": system.single}
            wall, loader, singles = train_singly(model, tokenizer, task.train, policy, recipe, **how)
        guesses, labels = (
            experiment.predict(model, tokenizer, task.test, recipe),
            experiment.labels_of(task.test, recipe),
        )
        result = experiment.Result(system.policy, seed, guesses == labels, wall, loader.ledger.scalars(), guesses)
        more = {"single": system.single, "singles": singles, "macro_f1": metrics.macro_f1(labels, guesses)}
        return result, loader, more


def train_singly(
    model, tokenizer, rows: Sequence, policy, recipe: experiment.Recipe, *, seed: int, when: str | tuple[float, float]
) -> tuple[float, FilteringDataLoader, int]:
    """Train in place as `experiment.train`, but for single examples a step, without dropout, in a stage of the policy,
    in ``"all"``, or from a share of the run on, in which the policy keeps another share. Returns ``(seconds, loader,
    single steps)``.
    """
    start, singles = perf_counter(), 0
    judges = getattr(type(policy), "gates_backward", True) is not False
    loader, forward = experiment.prepare(model, tokenizer, rows, policy, recipe, seed=seed, score=judges)
    optimizer, scheduler = experiment.optimizer_of(model, loader, recipe)

    def step(loss):
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    for _ in range(recipe.epochs):
        for batch in loader:
            if isinstance(when, str):
                single = when in ("all", getattr(policy, "stage", None))
            else:
                single = loader.consumed >= when[0] * recipe.epochs * len(rows)
                policy.keep = when[1] if single else policy.keep
            model.train(not single)
            if single:
                losses = []
                for one in each(batch):
                    loss = forward(one)[0][0]
                    losses.append(loss.detach())
                    step(loss)
                singles += len(losses)
                loader.hook.report(torch.stack(losses), batch)
            else:
                loss = loader.hook.report(forward(batch)[0], batch)
                if loss is not None:
                    step(loss)
            scheduler.step()
    return experiment.elapsed(start, model), loader, singles


def each(batch: dict[str, torch.Tensor]) -> Iterator[dict[str, torch.Tensor]]:
    """A batch's examples one by one, without their padding."""
    for i, length in enumerate(batch["attention_mask"].sum(dim=1).tolist()):
        yield {name: part[i : i + 1, :length] if part.ndim == 2 else part[i : i + 1] for name, part in batch.items()}


SINGLE = "script, batch 1"


def _rows() -> list[System]:
    def script(**settings):
        return lambda kind, _: kind.reference_script(**settings)

    def plain(kind, _):
        return kind()

    rows = [System(*BASELINE, plain), *(keeping("random", keep) for keep in LADDER)]
    rows += [
        System("three_stage", "script", script(), scored=True),
        System("three_stage", SINGLE, script(), single="filter"),
    ]
    rows += [
        System("random", f"{keep:g}, batch 1", lambda kind, _, keep=keep: kind(keep), single="all")
        for keep in (0.1, 0.3)
    ]
    rows += [System("three_stage", f"N0 {n:g}", script(warmup=n), scored=True) for n in (0.2, 0.3, 0.4)]
    rows += [System("three_stage", f"W {w}", script(window=w), scored=True) for w in (4, 16)]
    rows += [System("three_stage", f"ALT {alt:g}", script(alt=alt), scored=True) for alt in (0.1, 0.2, 0.4, 0.5)]
    for epochs in (1, 3, 4, 5):
        rows += [
            System("train_all", f"epochs {epochs}", plain, epochs=epochs),
            System("three_stage", f"epochs {epochs}", script(), scored=True, epochs=epochs),
        ]
    return rows


SMALL = {"sst2": tasks.Size(6000, None, 2, 64, 1e-4, hub=tasks.SMALL["sst2"].hub)}
FULL = {"sst2": tasks.Size(None, None, 2, 128, 1e-4, hub=tasks.SMALL["sst2"].hub)}
TABLE = command.Table(
    "reproduction",
    "The papers' claims, run and judged one by one; see the head of this file.",
    SMALL,
    FULL,
    _rows(),
    own=[f"three_stage/{SINGLE}"],
    bench=ReproductionBench,
    write=page.write,
)

if __name__ == "__main__":
    sys.exit(command.main(TABLE))
