"""How much of ATIS and SNIPS does joint intent and slot classification need? Dynamic EL2N over both heads, beside its
controls.

    python -m benchmarks.joint --data DIR --model DIR_OR_NAME [--datasets atis snips] [--seeds 0 1 2] --out DIR

DIR of --data holds atis/ and snips/ with train and test files of {"tokens", "slots" (BIO), "intent"}. Everything else
is as in accuracy_time.py: cells, controls, resuming, `--list`, `--page`, `--tune`. The model has two heads on one
encoder, the intent's on the first token and the slots' on the first subword of each word; an example's loss is the
cross entropy of its intent plus the mean of those of its slots. *accuracy* is that of whole sentences, intent and every
slot right, and so are its interval and the controls; *intent* is the accuracy of the intent alone, *slot F1* is micro,
over spans.
"""

from __future__ import annotations

import copy
import gzip
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch.nn.functional import cross_entropy
from transformers import AutoModel

from benchmarks.table import command, page, runner, tasks
from benchmarks.table.store import packed
from benchmarks.table.systems import BASELINE, CONTROLS, System, keeping
from filterloader.data.scores import IGNORED
from filterloader.experiments import metrics
from filterloader.experiments import models as encoder
from filterloader.experiments import run as experiment
from filterloader.experiments.recipe import Recipe


@dataclass(frozen=True)
class JointTask(tasks.Task):
    """A task whose rows are ``{"tokens", "slots", "intent"}``. tags: the slot tags, by id; ``text`` is not used."""

    tags: tuple[str, ...] = ()


def load(name: str, size: tasks.Size, folder: Path | None) -> JointTask:
    """Read a data set of intents and slots; the tuning split is cut from train as in `tasks.load`.

    Raises ValueError.
    """
    if folder is None or not (folder / name).is_dir():
        raise ValueError(f"joint data sets are read from folders: --data {folder} has no {name}")
    train, test = (_read(folder / name, split) for split in ("train", "test"))
    lacks = {"tokens", "slots", "intent"} - (train[0].keys() if train else set())
    if lacks or not test:
        missing = ", ".join(sorted(lacks)) or "test rows"
        raise ValueError(
            f"{folder / name} has no {missing}: each row needs tokens, slots (a BIO tag a token) and an intent"
        )
    intents = sorted({row["intent"] for row in train + test})
    tags = ["O", *sorted({tag for row in train + test for tag in row["slots"]} - {"O"})]
    train, test = ([{**row, "label": intents.index(row["intent"])} for row in rows] for rows in (train, test))
    order = np.random.default_rng(0).permutation(len(train))
    tune = min(size.tune, len(order) // 4)
    kept = order[tune:] if size.train is None else order[tune : tune + size.train]
    tested = sorted(np.random.default_rng(1).permutation(len(test))[: size.test])
    return JointTask(
        name=name,
        size=size,
        train=[train[i] for i in kept],
        tune=[train[i] for i in order[:tune]],
        test=[test[i] for i in tested],
        text="tokens",
        label="label",
        classes=tuple(intents),
        tags=tuple(tags),
    )


def _read(folder: Path, split: str) -> list[dict[str, Any]]:
    for path in (folder / f"{split}.jsonl.gz", folder / f"{split}.jsonl"):
        if path.is_file():
            with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
                return [json.loads(line) for line in file]
    raise ValueError(f"{folder} has no {split}.jsonl.gz and no {split}.jsonl")


class JointModel(torch.nn.Module):
    """An encoder with two heads: ``forward(**inputs) -> (intent logits [batch, intents], slot logits [batch, tokens,
    tags])``.
    """

    def __init__(self, base: torch.nn.Module, intents: int, tags: int, dropout: float = 0.1):
        super().__init__()
        self.base_model = base
        self.dropout = torch.nn.Dropout(dropout)
        self.intent = torch.nn.Linear(base.config.hidden_size, intents)
        self.slots = torch.nn.Linear(base.config.hidden_size, tags)

    def forward(self, **inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        states = self.dropout(self.base_model(**inputs).last_hidden_state)
        return self.intent(states[:, 0]), self.slots(states)


def losses_of(model: JointModel, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, tuple]:
    """Losses ``[batch]``, and what joint EL2N wants: intent logits, slot logits, slot labels and intent labels."""
    labels, slot_labels = inputs.pop("labels"), inputs.pop("slot_labels")
    intent, slots = (logits.float() for logits in model(**inputs))
    each = cross_entropy(slots.transpose(1, 2), slot_labels, ignore_index=IGNORED, reduction="none")
    words = (slot_labels != IGNORED).sum(dim=1).clamp(min=1)
    losses = cross_entropy(intent, labels, reduction="none") + each.sum(dim=1) / words
    return losses, (intent, slots, slot_labels, labels)


def encode(tokenizer, rows: Sequence[dict], tags: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of ``input_ids``, ``label`` and ``slot_labels``, a tag's id on each word's first subword, else -100."""
    number = {tag: i for i, tag in enumerate(tags)}
    encoded = tokenizer([row["tokens"] for row in rows], is_split_into_words=True, truncation=True)
    out = []
    for i, row in enumerate(rows):
        words = encoded.word_ids(i)
        first = [word is not None and (place == 0 or words[place - 1] != word) for place, word in enumerate(words)]
        slots = [number[row["slots"][word]] if begins else IGNORED for word, begins in zip(words, first, strict=True)]
        out.append({"input_ids": encoded["input_ids"][i], "label": row["label"], "slot_labels": slots})
    return out


def collate(rows: Sequence[dict], pad: int) -> dict[str, torch.Tensor]:
    """A batch padded to its longest row, the token labels with -100."""
    width = max(len(row["input_ids"]) for row in rows)

    def square(name: str, fill: int) -> torch.Tensor:
        return torch.tensor([[*row[name], *[fill] * (width - len(row[name]))] for row in rows])

    ids = square("input_ids", pad)
    mask = torch.arange(width) < torch.tensor([[len(row["input_ids"])] for row in rows])
    labels = {"labels": torch.tensor([row["label"] for row in rows]), "slot_labels": square("slot_labels", IGNORED)}
    return {"input_ids": ids, "attention_mask": mask.long(), **labels}


@torch.no_grad()
def predict(
    model: JointModel, tokenizer, rows: Sequence[dict], tags: Sequence[str], recipe: Recipe
) -> tuple[np.ndarray, list[list[str]]]:
    """Intents, int64 ``[n]``, and a list of tags a row, "O" for words that were cut off."""
    device, encoded = next(model.parameters()).device, encode(tokenizer, rows, tags)
    intents, slots = np.zeros(len(rows), np.int64), [["O"] * len(row["tokens"]) for row in rows]
    order = sorted(range(len(rows)), key=lambda i: len(encoded[i]["input_ids"]))
    model.eval()
    for start in range(0, len(order), 128):
        index = order[start : start + 128]
        batch = collate([encoded[i] for i in index], tokenizer.pad_token_id)
        inputs = {name: batch[name].to(device) for name in ("input_ids", "attention_mask")}
        with recipe.autocast(device):
            intent, tagged = model(**inputs)
        intents[index] = intent.argmax(dim=-1).cpu().numpy()
        for i, guesses in zip(index, tagged.argmax(dim=-1).cpu().tolist(), strict=True):
            heads = [
                guess for guess, label in zip(guesses, encoded[i]["slot_labels"], strict=False) if label != IGNORED
            ]
            slots[i][: len(heads)] = [tags[guess] for guess in heads]
    return intents, slots


class JointBench(runner.Bench):
    """Cells whose model has two heads."""

    def make(self, task: JointTask, seed: int):
        length = task.size.max_length
        with torch.random.fork_rng():
            torch.random.manual_seed(seed)
            if self.model is None:
                texts = [" ".join(row["tokens"]) for row in task.train]
                tokenizer, model = runner.tiny(texts, 2, length, seed, self.device)
                base = model.base_model
            else:
                tokenizer = encoder.pretrained(self.model, 2, seed, length)[0]
                transformers.utils.logging.disable_progress_bar()
                base = AutoModel.from_pretrained(self.model)
            return tokenizer, JointModel(base, len(task.classes), len(task.tags)).to(self.device)

    def test(self, model, tokenizer, task: JointTask, recipe) -> float:
        return float(scored(task.test, *predict(model, tokenizer, task.test, task.tags, recipe))["whole"].mean())

    def run(self, fresh, tokenizer, system: System, policy, task: JointTask, recipe, *, seed: int):
        rows, pad = encode(tokenizer, task.train, task.tags), tokenizer.pad_token_id
        model = copy.deepcopy(fresh)
        with torch.random.fork_rng():
            torch.random.manual_seed(seed)
            how = {"score": system.scored, "losses": losses_of, "collate_fn": lambda some: collate(some, pad)}
            wall, loader = experiment.train(model, None, rows, policy, recipe, seed=seed, **how)
        found = scored(task.test, *predict(model, tokenizer, task.test, task.tags, recipe))
        result = experiment.Result(type(policy).__name__, seed, found["whole"], wall, loader.ledger.scalars())
        more = {"intent_accuracy": float(found["intent"].mean()), "intent_correct": packed(found["intent"])}
        return result, loader, more | {name: found[name] for name in ("slot_f1", "macro_f1")}


def scored(rows: Sequence[dict], intents: np.ndarray, slots: list[list[str]]) -> dict[str, Any]:
    """intent and whole: bool ``[n]``; slot_f1, macro_f1 (of intents): fractions."""
    labels = np.array([row["label"] for row in rows])
    right = np.array([row["slots"] == guessed for row, guessed in zip(rows, slots, strict=True)])
    f1 = {
        "macro_f1": metrics.macro_f1(labels, intents),
        "slot_f1": metrics.span_f1([row["slots"] for row in rows], slots),
    }
    return {"intent": intents == labels, "whole": (intents == labels) & right, **f1}


def _rows() -> list[System]:
    def joint(keep: float, how: str) -> System:
        settings = {"period": 2, "joint": how, "smoothing": 0.8, "deviations": 1.0}
        return System(
            "dynamic_el2n", f"{how} {keep:g}", lambda kind, epochs: kind(keep, tau=2 if epochs >= 6 else 1, **settings)
        )

    rows = [System(*BASELINE, lambda kind, _: kind())]
    rows += [keeping(control, keep) for control in CONTROLS for keep in (0.2, 0.3, 0.5, 0.7)]
    return [*rows, joint(0.5, "norm"), joint(0.2, "norm"), joint(0.2, "sum"), joint(0.2, "mean")]


SMALL = {"atis": tasks.Size(1500, None, 6, 64, 8e-4, tune=478), "snips": tasks.Size(1200, None, 6, 64, 8e-4, tune=700)}
FULL = {name: replace(size, train=None, epochs=40) for name, size in SMALL.items()}
TABLE = command.Table(
    "joint",
    "Joint intents and slots under dynamic EL2N, beside controls of the same wall-clock; see the head of this file.",
    SMALL,
    FULL,
    _rows(),
    bench=JointBench,
    load=load,
    write=page.write,
)

if __name__ == "__main__":
    sys.exit(command.main(TABLE))
