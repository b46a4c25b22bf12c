"""Filtering: how fast do survivors come out of a filter stage that decides on words and keeps a fifth?

Both sides read raw text and ask the same predictor about the same words. One tokenizes only what is kept, the other
everything first. The rule keeps a fifth of the rows and, as near as can be, of the words: training runs of SST-2 keep
as large a share of the tokens as of the rows (21.8 % of the rows, 22.2 % of the tokens in the ledgers under
``results/``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

from benchmarks.throughput.clock import interleaved, rates, record, times_faster
from benchmarks.throughput.corpus import Corpus
from benchmarks.throughput.everything import InCollate, arguments, drain, rows_of, same_rows, wake
from filterloader import FilteringDataLoader, MultinomialNB, TrainAll
from filterloader.data import utf8
from filterloader.data.candidates import Bag, Candidates
from filterloader.data.columns import arrow_table
from filterloader.predictors.features import WordFeatures

KEEP = 0.2
FIRST, HABIT = "the same loader, tokenizing everything first", "DataLoader + tokenizer in collate_fn, then screening"


class Band(TrainAll):
    """A policy that forwards what a fixed predictor scores from ``low`` to below ``high``; it learns nothing."""

    gates_forward = needs_words = True

    def __init__(self, predictor: Any, low: float, high: float):
        self.predictor, self.low, self.high = predictor, low, high
        self.decisions: list[np.ndarray] | None = None  # a list to keep them in, while somebody checks

    def screen(self, candidates: Candidates) -> np.ndarray:
        scores = self.predictor.decision_function(candidates.bag)
        keep = (scores >= self.low) & (scores < self.high)
        if self.decisions is not None:
            self.decisions.append(candidates.example_ids[keep])
        return keep.astype(np.float32)


class TokensAndWords:
    """Words of the text, for rows that are tokenized before anybody asks: the text is looked up again by number."""

    reads = "tokens"

    def __init__(self, corpus: Corpus):
        self.table, self.words = arrow_table(corpus.raw), WordFeatures()

    def __call__(self, candidates: Candidates) -> Bag:
        return self.words(
            Candidates(n=len(candidates), texts=(self.table.gather(candidates.example_ids, ("text",)).columns["text"],))
        )


class ThenScreen(InCollate):
    """Tokenize and pad a batch, then keep the rows that the policy wants."""

    def __init__(self, tokenizer: Any, policy: Band):
        super().__init__(tokenizer)
        self.policy, self.words = policy, WordFeatures()

    def __call__(self, rows: list[dict]) -> dict:
        batch = super().__call__(rows)
        bag = self.words(Candidates(n=len(rows), texts=(utf8.encode([row["text"] for row in rows]),)))
        kept = np.flatnonzero(self.policy.screen(Candidates(n=len(rows), bag=bag)))
        return {name: tensor[kept] for name, tensor in batch.items()}


def prepared(corpus: Corpus, keep: float = KEEP) -> Band:
    """A policy whose predictor has learnt the classes, and which lets a share ``keep`` of rows and words through."""
    bag = WordFeatures()(Candidates(n=len(corpus), texts=(utf8.encode(corpus.texts),)))
    predictor = MultinomialNB(bag.n_features, calibrate=True).partial_fit(bag, corpus.labels > 0)
    scores = predictor.decision_function(bag)
    order = np.argsort(scores, kind="stable")
    words = np.concatenate([[0], np.cumsum(np.diff(bag.offsets)[order])])
    size = max(round(keep * len(corpus)), 1)
    start = int(np.abs((words[size:] - words[:-size]) / words[-1] - keep).argmin())
    ranked = np.append(scores[order], np.inf)
    return Band(predictor, float(ranked[start]), float(ranked[start + size]))


def loaders(
    corpus: Corpus, policy: Band, batch: int, *, pin: bool = False
) -> tuple[FilteringDataLoader, FilteringDataLoader]:
    """Ours: words first. And the same loader that tokenizes first."""
    return tuple(
        FilteringDataLoader(
            corpus.raw, tokenizer=corpus.tokenizer, policy=policy, features=features, **arguments(batch, 0, pin=pin)
        )
        for features in ("words", TokensAndWords(corpus))
    )


def kept_words(corpus: Corpus, *, batch: int, repeats: int, pin: bool = False) -> Iterator[dict]:
    """Survivors a second, one process."""
    policy = prepared(corpus)
    ours, first = loaders(corpus, policy, batch, pin=pin)
    habit = DataLoader(corpus.raw, collate_fn=ThenScreen(corpus.tokenizer, policy), **arguments(batch, 0, pin=pin))
    wake(ours, first, habit)
    times = interleaved(
        {"ours": lambda: drain(ours), FIRST: lambda: drain(first), HABIT: lambda: drain(habit)}, repeats
    )
    kept = same_survivors(policy, ours, first)
    same_rows(rows_of(ours), rows_of(habit))
    counts = ours.ledger.scalars()
    tokens = 1 - counts["tokens_screened_out"] / counts["tokens_seen"]
    shares = {"kept": round(kept / len(corpus), 4), "words kept": round(tokens, 4)}
    yield record(
        "filter stage, words, raw text",
        corpus,
        batch=batch,
        **shares,
        unit="survivors/s",
        rate=rates(times, kept),
        figures=times_faster(times, "ours", {FIRST: 4}),
        checked=f"the same decisions, and the same {kept} survivors as tokens",
    )


def same_survivors(policy: Band, ours: FilteringDataLoader, first: FilteringDataLoader) -> int:
    """Both decide the same about each candidate, in the same order, and hand out the same rows, or AssertionError;
    returns how many.
    """
    decided, rows = [], []
    for loader in (ours, first):
        loader.generator.manual_seed(1)
        policy.decisions = []
        rows.append(list(rows_of(loader)))
        decided.append(np.concatenate(policy.decisions))
        policy.decisions = None
    assert np.array_equal(*decided), "decisions differ"
    assert len(rows[0]) == len(decided[0]), f"{len(decided[0])} were kept, {len(rows[0])} handed out"
    return same_rows(*rows)
