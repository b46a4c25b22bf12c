"""Arguments: what a loader was given, checked before anything is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch.utils.data import DataLoader, IterableDataset

from filterloader.policies.registry import fitting

GRANULARITIES = ("example", "batch")
DATALOADER_ARGUMENTS = (
    "dataset",
    "batch_size",
    "sampler",
    "batch_sampler",
    "num_workers",
    "collate_fn",
    "pin_memory",
    "drop_last",
    "timeout",
    "worker_init_fn",
    "multiprocessing_context",
    "generator",
    "prefetch_factor",
    "persistent_workers",
    "pin_memory_device",
    "in_order",
)


def check(dataset: Any, tokenizer: Any, text: Any, label: Any, policy: Any, granularity: Any, score_fn: Any) -> None:
    """Raise TypeError or ValueError for what no loader can be built from."""
    if isinstance(dataset, Mapping):
        raise TypeError(
            f"dataset is a mapping with the keys {sorted(map(str, dataset))[:8]}; pass one of its splits, "
            "e.g. dataset['train']"
        )
    if isinstance(dataset, DataLoader) or hasattr(dataset, "hook"):
        raise TypeError(
            f"dataset is a {type(dataset).__name__}; pass the data set it reads, and its arguments, instead"
        )
    if isinstance(dataset, (str, bytes)) or not (hasattr(dataset, "__getitem__") or hasattr(dataset, "__iter__")):
        raise TypeError(
            f"dataset is {dataset!r:.80}; pass rows: a list of dicts, a Dataset, or datasets.load_dataset(…)['train']"
        )
    if not (hasattr(dataset, "__getitem__") or isinstance(dataset, IterableDataset)):
        raise TypeError(
            f"dataset is a {type(dataset).__name__}, which has no rows by number and is no IterableDataset; make it a "
            "list, or wrap it in a torch.utils.data.IterableDataset"
        )
    if isinstance(text, (tuple, list)) and len(text) not in (1, 2):
        raise ValueError(f"text={text!r} must name one column or a pair of them, got {len(text)}")
    if not (label is None or isinstance(label, (str, int))):
        raise TypeError(f"label must be the name of one column or None, got {label!r}")
    check_granularity(policy, granularity)
    if tokenizer is not None and not (callable(tokenizer) and hasattr(tokenizer, "model_max_length")):
        raise TypeError(
            f"tokenizer must be one of transformers (a fast one), got {type(tokenizer).__name__}; wrap a "
            "tokenizers.Tokenizer in transformers.PreTrainedTokenizerFast(tokenizer_object=…)"
        )
    if score_fn is not None and not callable(score_fn):
        raise TypeError(f"score_fn must be a function batch -> losses or logits, got {type(score_fn).__name__}")
    if score_fn is not None and granularity == "batch":
        raise ValueError("score_fn chooses examples before the refill; it needs granularity='example'")


def check_granularity(policy: Any, granularity: Any) -> None:
    """Raise ValueError for what is no granularity, or none that the policy can decide at."""
    if granularity not in GRANULARITIES:
        raise ValueError(f"granularity={granularity!r} is not known; choose 'example' or 'batch'")
    if granularity not in policy.granularities:
        raise ValueError(
            f"{policy.name} knows examples by their label or index, and a whole batch has neither; it needs "
            f"granularity='example'. For batches, choose {fitting(granularity='batch')}"
        )


def seed_of(seed: int | None, generator: torch.Generator | None) -> int:
    if seed is not None:
        return seed
    return generator.initial_seed() if generator is not None else torch.initial_seed()


def vocabulary_of(tokenizer: Any) -> int | None:
    return None if tokenizer is None else len(tokenizer)
