"""Setups: one loader each, described by names, so that it can be built again as a restarted script would build it."""

from dataclasses import dataclass, fields
from functools import cache

import datasets
import numpy as np
import torch
from torch.utils.data import (
    BatchSampler,
    DistributedSampler,
    RandomSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from filterloader import (
    POLICIES,
    AutoAssist,
    AutoThreshold,
    ClassBalanced,
    DynamicEL2N,
    FilteringDataLoader,
    FixedThreshold,
    InfoBatch,
    Random,
    SelectionViaProxy,
    SelectiveBackprop,
    StaticEL2N,
    ThreeStage,
)
from tests.conftest import EASY, HARD, Rows, Stream, losses_of, sentences

ROWS = 325  # more than two blocks of candidates, and no multiple of the batch size
BATCH = 16
IDS = {word: 4 + i for i, word in enumerate([*EASY, *HARD])}

MAKE = {  # settings that make a policy decide something within two passes of so few rows
    "random": lambda: Random(0.5),
    "fixed_threshold": lambda: FixedThreshold(0.5),
    "auto_threshold": lambda: AutoThreshold(warmup=48),
    "three_stage": lambda: ThreeStage(warmup=48, audit=0.1),
    "reference_script": lambda: ThreeStage.reference_script(warmup=48),
    "class_balanced": lambda: ClassBalanced(0.5),
    "autoassist": lambda: AutoAssist(lr=1.0),
    "infobatch": lambda: InfoBatch(epochs=None),
    "selective_backprop": lambda: SelectiveBackprop(window=100, warmup=64),
    "selection_via_proxy": lambda: SelectionViaProxy(0.5, epochs=1),
    "static_el2n": lambda: StaticEL2N(0.5),
    "dynamic_el2n": lambda: DynamicEL2N(0.5, tau=0, smoothing=0.8, deviations=1.0),
}
POLICY_NAMES = [*POLICIES, "reference_script"]
MAP_STYLE = ("list", "torch", "arrow", "arrow text")
STREAMS = ("torch stream", "arrow stream", "arrow stream text")
SOURCES = (*MAP_STYLE, *STREAMS)
SAMPLERS = (
    "none",
    "shuffle, seed",
    "shuffle, generator",
    "shuffle, global",
    "with replacement",
    "subset",
    "weighted",
    "batch sampler",
    "batch list",
    "reshuffles",
    "distributed",
)


class Reshuffles:
    """A sampler that goes on drawing, row by row, from a generator of its own."""

    def __init__(self, n, generator):
        self.n, self.generator = n, generator

    def __len__(self):
        return self.n

    def __iter__(self):
        left = list(range(self.n))
        while left:
            yield left.pop(int(torch.randint(len(left), (1,), generator=self.generator)))


def tokens(text):
    return [2, *(IDS[word] for word in text.split()), 3]


@cache
def texts(n=ROWS):
    return sentences(n)


@cache
def rows(n=ROWS):
    return [{"input_ids": tokens(row["text"]), "label": row["label"], "idx": row["idx"]} for row in texts(n)]


def collate(batch):
    """A user's own: pads by itself, from tokens or from text."""
    ids = [torch.tensor(row["input_ids"] if "input_ids" in row else tokens(row["text"])) for row in batch]
    return {
        "input_ids": torch.nn.utils.rnn.pad_sequence(ids, batch_first=True),
        "labels": torch.tensor([row["label"] for row in batch]),
        "idx": torch.tensor([row["idx"] for row in batch]),
    }


def logits_of(batch):
    """What a half-trained model would say: surer of the label where the loss is low."""
    return torch.nn.functional.one_hot(batch["labels"], 2) * (2 - losses_of(batch))[:, None]


@cache
def _arrow(text):
    return datasets.Dataset.from_list(texts() if text else rows())


def policy_of(name):
    return MAKE[name]() if name in MAKE else POLICIES[name].example()


@dataclass(frozen=True)
class Setup:
    """One way to build a loader. Its ``repr`` names only what is not the default, and can be pasted back."""

    source: str = "list"
    policy: str = "three_stage"
    sampler: str = "shuffle, seed"
    granularity: str = "example"
    workers: int = 0
    persistent: bool = False
    buffer_batches: int | None = None
    drop_last: bool = False
    score: bool = False
    collate: bool = False
    features: str | None = None
    total: bool = False  # whether a stream is told its length

    tokenizer = None  # tests set it; a field would make every message long

    def __repr__(self):
        given = [(f.name, getattr(self, f.name)) for f in fields(self)]
        kept = [f"{n}={v!r}" for (n, v), f in zip(given, fields(self), strict=True) if n == "source" or v != f.default]
        return f"Setup({', '.join(kept)})"

    @property
    def streaming(self):
        return self.source in STREAMS

    @property
    def text(self):
        return "text" in self.source

    @property
    def seeded(self):
        """Whether every pass is brought back by the state alone; else torch's global state is the loop's to save."""
        return self.sampler != "shuffle, global"

    @property
    def takes_epochs(self):
        return self.sampler == "distributed" or "arrow stream" in self.source

    def fits(self):
        """Whether the arguments go together by what the documentation says."""
        policy = policy_of(self.policy)
        surveys = policy.survey is not None and policy.survey_scores
        allowed = policy.granularities
        index = policy.survey is not None or policy.needs_index
        reads_text = (self.features or "").startswith("words")
        return all(
            (
                self.granularity in allowed,
                not (self.streaming and (index or self.sampler not in ("none", "shuffle, seed"))),
                not (self.score and (surveys or self.granularity == "batch")),
                not (self.persistent and not self.workers),
                not (self.drop_last and self.sampler in ("batch sampler", "batch list")),
                not (reads_text and not self.text),
                not (self.collate and self.text and not reads_text),
                not (policy.predicts_labels and "label" in (self.features or "")),
                not (self.total and not self.streaming),
            )
        )

    def build(self, policy=None):
        """The loader, new with all its parts."""
        policy = policy_of(self.policy) if policy is None else policy
        kw = {"drop_last": self.drop_last, "num_workers": self.workers, "persistent_workers": self.persistent}
        kw |= {"granularity": self.granularity, "buffer_batches": self.buffer_batches, "features": self.features}
        kw |= self._sampling()
        if policy.survey is not None and policy.survey_scores:
            kw["score_fn"] = logits_of
        elif self.score:
            kw["score_fn"] = losses_of
        if self.collate:
            kw["collate_fn"] = collate
        if not self.collate:  # its vocabulary keeps a predictor small, also where rows are tokenized
            kw["tokenizer"] = self.tokenizer
        if self.total:
            kw["total_examples"] = ROWS
        return FilteringDataLoader(self._data(), policy=policy, **kw)

    def _data(self):
        if self.source == "list":
            return rows()
        if self.source == "torch":
            return Rows(rows())
        if self.source == "torch stream":
            return Stream(rows())
        if self.streaming:
            return _arrow(self.text).to_iterable_dataset(num_shards=4).shuffle(seed=3, buffer_size=50)
        return _arrow(self.text)

    def _sampling(self):
        own = torch.Generator().manual_seed(11)
        if self.streaming or self.sampler == "none":
            return {"batch_size": BATCH, "seed": 5}
        numbers = range(ROWS)
        if self.sampler == "shuffle, seed":
            return {"batch_size": BATCH, "shuffle": True, "seed": 5}
        if self.sampler == "shuffle, generator":
            return {"batch_size": BATCH, "shuffle": True, "generator": own}
        if self.sampler == "shuffle, global":
            return {"batch_size": BATCH, "shuffle": True}
        if self.sampler == "batch sampler":
            sampler = BatchSampler(RandomSampler(numbers, generator=own), BATCH, drop_last=False)
            return {"batch_sampler": sampler, "seed": 5}
        if self.sampler == "batch list":
            order = np.random.default_rng(2).permutation(ROWS).tolist()
            return {"batch_sampler": [order[i : i + BATCH] for i in range(0, ROWS, BATCH)], "seed": 5}
        sampler = {
            "with replacement": lambda: RandomSampler(numbers, replacement=True, generator=own),
            "subset": lambda: SubsetRandomSampler([*range(0, ROWS, 2), 1, 3], generator=own),
            "weighted": lambda: WeightedRandomSampler([1 + i % 3 for i in numbers], ROWS, generator=own),
            "reshuffles": lambda: Reshuffles(ROWS, own),
            "distributed": lambda: DistributedSampler(numbers, num_replicas=2, rank=1, shuffle=True, seed=4),
        }[self.sampler]()
        return {"batch_size": BATCH, "sampler": sampler, "seed": 5}
