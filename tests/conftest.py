"""Shared pieces: a tiny tokenizer, sentences with easy and hard words, and losses that follow the words."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

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
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", model_max_length=64
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
    return [(name, g) for name, make in policies.items() for g in getattr(make(), "granularities", ("example", "batch"))]


def losses_of(batch, floor=0.05, top=2.0):
    """One loss an example, high where the words are hard: what a half-trained model would report. A pure function of the batch."""
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
