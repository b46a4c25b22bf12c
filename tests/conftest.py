"""Shared pieces: a tiny tokenizer, sentences with easy and hard words, losses that follow the words, stand-ins."""

import io
import json
import os
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch.utils.data import Dataset, IterableDataset, get_worker_info
from transformers import PreTrainedTokenizerFast

from filterloader import FilteringDataLoader, TrainAll

torch.set_num_threads(1)  # tests run side by side; spinning threads of two processes stall each other

EASY = [f"easy{i}" for i in range(40)]
HARD = [f"hard{i}" for i in range(15)]


@pytest.fixture(scope="session")
def tokenizer():
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *EASY, *HARD]
    inner = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=64,
    )


def sentences(n, seed=0, hard=0.3):
    """Rows {"text", "label", "idx"}: a share of them is made of hard words."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        words = rng.choice(HARD if rng.random() < hard else EASY, rng.integers(2, 12))
        rows.append({"text": " ".join(words), "label": int(rng.integers(2)), "idx": i})
    return rows


def everywhere(policies):
    """``(name, granularity)`` for each of a dict of functions that make a policy, where it can decide."""
    return [
        (name, g) for name, make in policies.items() for g in getattr(make(), "granularities", ("example", "batch"))
    ]


def losses_of(batch, floor=0.05, top=2.0):
    """One loss an example, high where the words are hard, as of a half-trained model: a pure function of the batch."""
    hard = (batch["input_ids"] >= 4 + len(EASY)).any(dim=1)
    jitter = (batch["input_ids"].sum(dim=1) % 7).float() * 0.01
    return torch.where(hard, top, floor) + jitter


def train(loader, batches=None, iterator=None):
    """Iterate and report; returns what came out: (tensors, the loss to train on) a batch."""
    out = []
    iterator = iter(loader) if iterator is None else iterator
    while batches is None or len(out) < batches:
        try:
            batch = next(iterator)
        except StopIteration:
            break
        loss = loader.hook.report(losses_of(batch))
        out.append(({k: v.clone() for k, v in batch.items()}, None if loss is None else float(loss)))
    return out


def same(left, right):
    assert len(left) == len(right)
    for (a, loss_a), (b, loss_b) in zip(left, right, strict=True):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[k], b[k]) for k in a)
        assert loss_a == loss_b


# -- data sets and loaders ---------------------------------------------------------------------------------------------


class Rows(Dataset):
    """Rows by number, and nothing else."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i]


class Stream(IterableDataset):
    """Rows without a length, dealt out among the workers."""

    def __init__(self, rows):
        self.rows = rows

    def __iter__(self):
        worker = get_worker_info()
        yield from self.rows if worker is None else self.rows[worker.id :: worker.num_workers]


def build(tokenizer, policy=None, n=640, **kw):
    """A loader over ``n`` sentences."""
    policy = TrainAll() if policy is None else policy
    return FilteringDataLoader(
        sentences(n), tokenizer=tokenizer, **{"batch_size": 16, "seed": 1, "policy": policy, **kw}
    )


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file)  # the safe default: weights_only=True


class Clock:
    """Stands still until the test turns it."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        for module in ("feedback.clock", "feedback.log", "feedback.report", "stages.screen", "stages.score"):
            monkeypatch.setattr(f"filterloader.{module}.perf_counter", lambda: self.now)

    def turn(self, seconds):
        self.now += seconds


@pytest.fixture(autouse=True)
def left_as_it_was():
    """accelerate remembers for the whole process that it is in use, and loaders say that they are unknown to it."""
    yield
    torch.set_grad_enabled(True)  # an interrupt as torch.no_grad ends leaves gradients off
    if "accelerate.state" in sys.modules:
        sys.modules["accelerate.state"].AcceleratorState._reset_state(True)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


# -- losses that say whose they are ------------------------------------------------------------------------------------


class Spy(TrainAll):
    """Remembers which example was credited with which loss."""

    gates_backward = True

    def __init__(self):
        self.credited = {}

    def judge(self, candidates, losses):
        if candidates.merged == 1:
            self.credited.update(zip(candidates.positions.tolist(), losses.tolist(), strict=True))
        return super().judge(candidates, losses)


def numbered(n, words=None):
    """Rows whose second token is their place."""
    return [{"input_ids": [1, i if words is None else i % words], "label": 0} for i in range(n)]


def stack(rows):
    return {
        "input_ids": torch.tensor([row["input_ids"] for row in rows]),
        "labels": torch.tensor([row["label"] for row in rows]),
    }


def spied(n, batch_size=4, **kw):
    spy = Spy()
    return FilteringDataLoader(numbered(n), batch_size=batch_size, policy=spy, **kw), spy


def own(batch):
    """Each example's place as its loss."""
    return batch["input_ids"][:, 1].float()


def right(spy, reported):
    """Each of the places reported was credited with its own loss, and no other."""
    assert sorted(spy.credited) == sorted(reported)
    assert all(loss == place for place, loss in spy.credited.items())


# -- ledgers as files --------------------------------------------------------------------------------------------------


def run_lines(
    policy="three_stage",
    seed=0,
    wall=100.0,
    accuracy=0.9,
    finished=True,
    stages=((0, "warm-up"), (0.1, "fit"), (0.12, "filter")),
    **settings,
):
    """The lines of one run's ledger. stages: at which share of the run each begins."""
    rng = np.random.default_rng(seed)
    lines = [{"event": "start", "time": 0, "run": {"policy": policy, "seed": seed, **settings}}]
    lines += [
        {"event": "stage", "time": wall * share, "position": int(1000 * share), "stage": stage}
        for share, stage in stages
    ]
    for i in range(1, 51):
        shares = {"kept": 1.0, "trained": 0.5} if i > 5 else {"kept": None, "trained": None}
        loss = None if i == 9 else 0.5 + 0.1 * rng.normal()
        line = {
            "time": wall * i / 50,
            "position": 20 * i,
            "epoch": 0,
            "loss": loss,
            "threshold": None if i < 3 else 0.4,
        }
        lines.append({"event": "report", "stage": "filter", **line, **shares})
    if finished:
        scalars = {
            "seen": 1000,
            "forwarded": 400,
            "backwarded": 250,
            "wall_s": wall,
            "t_norm_modelled": 0.3,
            "agot": None,
        }
        interval = {"accuracy_low": accuracy - 0.02, "accuracy_high": accuracy + 0.01}
        end = {"accuracy": accuracy, **interval, "t_norm_measured": wall / 200, "agot": None, "scalars": scalars}
        lines.append({"event": "end", "time": wall + 1, **end})
    return lines


def write_lines(path, lines):
    """JSON lines in a file; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path
