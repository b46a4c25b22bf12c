"""Screening: how many sentences a second can be hashed and scored straight out of Arrow's memory, on one core?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.throughput.clock import figure, interleaved, rates, record
from benchmarks.throughput.corpus import Corpus
from filterloader import MultinomialNB
from filterloader.data import utf8
from filterloader.data.candidates import Candidates, Ragged
from filterloader.predictors.features import WordFeatures

CALLS = (128, 1024)  # rows a call: a block of the loader, and a group
KINDS = {"words": {}, "words*label": {"label": True}, "words+bigrams": {"bigrams": True}}
AIMS = {"sst2": {"million sentences/s": 2}, "ag_news": {"MB/s": 300}}
_LEAST = 200_000  # rows a repeat


def views(corpus: Corpus, call: int) -> list[Candidates]:
    """The text column in parts of ``call`` rows; only labels are copied."""
    out, at = [], 0
    for chunk in corpus.raw.data.table.column("text").chunks:
        wide = chunk.type == "large_string"
        _, ends, bytes_ = chunk.buffers()
        offsets = np.frombuffer(ends, np.int64 if wide else np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
        values = np.frombuffer(bytes_, np.uint8)
        for start in range(0, len(chunk), call):
            part = offsets[start : start + call + 1]
            n = part.size - 1
            out.append(Candidates(n=n, texts=(Ragged(values, part),), labels=corpus.labels[at : at + n]))
            at += n
    return out


def screened(corpus: Corpus, *, repeats: int) -> Iterator[dict]:
    """Words hashed and scored, for each kind of words and size of a call."""
    whole = Candidates(n=len(corpus), texts=(utf8.encode(corpus.texts),), labels=corpus.labels)
    rounds = max(_LEAST // len(corpus), 1)
    for kind, how in KINDS.items():
        features = WordFeatures(**how)
        bag = features(whole)
        model = MultinomialNB(features.n_features, calibrate=True).partial_fit(bag, corpus.labels > 0)
        ref = model.decision_function(bag)
        for call in CALLS:
            parts = views(corpus, call)

            def run(parts=parts, features=features, model=model):
                for _ in range(rounds):
                    for part in parts:
                        model.decision_function(features(part))

            parts and model.decision_function(features(parts[0]))
            times = interleaved({"ours": run}, repeats)
            comp = np.concatenate([model.decision_function(features(part)) for part in parts])
            assert np.array_equal(ref, comp), "scores out of Arrow's memory differ from those of the strings"
            aims = AIMS.get(corpus.name, {})
            amounts = {"million sentences/s": len(corpus) / 1e6, "MB/s": corpus.bytes / 1e6}
            figures = {
                name: figure([amount * rounds / t for t in times["ours"]], least=aims.get(name))
                for name, amount in amounts.items()
            }
            yield record(
                f"screening alone, {kind}",
                corpus,
                batch=call,
                unit="rows/s",
                figures=figures,
                rate=rates(times, len(corpus) * rounds),
                checked="scores equal those of the same texts as Python strings",
            )
