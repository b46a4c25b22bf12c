"""Batch granularity with batches of similar length: regrouped before the policy is asked about each."""

import numpy as np
import pytest
import torch

from filterloader import AutoThreshold, FilteringDataLoader, Random, ThreeStage, TrainAll
from filterloader.stages.tokenize import Tokenize
from tests.conftest import Stream, same, sentences, through_a_file, train
from tests.stages.given import stages_of


def build(tokenizer, policy, rows=None, **kw):
    kw = {"batch_size": 8, "granularity": "batch", "buffer_batches": 4, "seed": 5, **kw}
    rows = sentences(400) if rows is None else rows
    if not isinstance(rows, torch.utils.data.IterableDataset):
        kw = {"shuffle": True, **kw}
    return FilteringDataLoader(rows, tokenizer=tokenizer, policy=policy, **kw)


def filtering():
    """A policy that soon drops batches."""
    return ThreeStage(warmup=40, alt=100.0, window=1, cutoff=0.45, audit=0.2)


def padding(batches):
    return sum(int((batch["attention_mask"] == 0).sum()) for batch in batches)


def numbered(n):
    """Rows that say which they are."""
    return [{**row, "number": i} for i, row in enumerate(sentences(n))]


@pytest.mark.parametrize("n", [1, 7, 8, 33, 100])
@pytest.mark.parametrize("drop_last", [False, True])
def test_each_row_leaves_once(tokenizer, n, drop_last):
    taken = []
    loader = build(
        tokenizer,
        TrainAll(),
        numbered(n),
        drop_last=drop_last,
        collate_fn=lambda rows: taken.append([row["number"] for row in rows]),
    )
    assert sum(1 for _ in loader) == len(loader) == len(taken)
    numbers = [number for batch in taken for number in batch]
    assert len(set(numbers)) == len(numbers) == (n - n % 8 if drop_last else n)
    assert {len(batch) for batch in taken[:-1]} <= {8}
    assert loader.progress == 1


@pytest.mark.parametrize("source", ["list", "stream"])
def test_padding_shrinks(tokenizer, source):
    rng = np.random.default_rng(0)
    rows = [{"text": " ".join(["one"] * int(rng.integers(1, 40))), "label": 0} for _ in range(400)]
    rows = Stream(rows) if source == "stream" else rows
    regrouped, plain = (padding(build(tokenizer, TrainAll(), rows, buffer_batches=batches)) for batches in (8, None))
    assert regrouped < plain / 2


def test_the_default_leaves_batches_as_they_stand(tokenizer):
    ours = build(tokenizer, Random(0.999999, seed=1), buffer_batches=None)
    plain = build(tokenizer, TrainAll(), buffer_batches=0, granularity="example")
    for batch, expected in zip(ours, plain, strict=True):
        assert torch.equal(batch["input_ids"], expected["input_ids"])


def test_batches_are_dropped_whole(tokenizer):
    loader = build(tokenizer, Random(0.5, seed=1), sentences(800))
    assert all(len(batch["labels"]) == 8 for batch in loader)
    counts = loader.ledger.scalars()
    assert counts["seen"] == 800 == counts["forwarded"] + counts["screened_out"]
    assert 0 < counts["screened_out"] < 800 and counts["screened_out"] % 8 == 0


def test_only_what_is_kept_is_tokenized(tokenizer, monkeypatch):
    loader, tokenized = build(tokenizer, filtering(), sentences(800), features="words"), []
    (stage,) = (stage for stage in stages_of(loader._chain) if isinstance(stage, Tokenize))
    original = stage.tokenized
    monkeypatch.setattr(stage, "tokenized", lambda block: tokenized.append(len(block)) or original(block))
    train(loader)
    assert sum(tokenized) == loader.ledger.scalars()["forwarded"] < 800


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    "make", [filtering, AutoThreshold, TrainAll], ids=["three_stage", "auto_threshold", "train_all"]
)
def test_resume_is_exact(tokenizer, make, workers):
    whole = build(tokenizer, make(), num_workers=workers)
    reference = train(whole) + train(whole)
    for stop in (1, 5, 30):
        first = build(tokenizer, make(), num_workers=workers)
        iterator, out = iter(first), []
        while len(out) < stop:
            out += train(first, 1, iterator)
        second = build(tokenizer, make(), num_workers=workers)
        second.load_state_dict(through_a_file(first.state_dict()))
        while second.epoch < 2:
            out += train(second)
        same(reference, out)


def test_words_regroup_by_their_bytes(tokenizer):
    rows = [{"text": "one " * (1 + 30 * (i % 2)), "label": 0} for i in range(160)]
    loader = build(tokenizer, ThreeStage(warmup=10_000), rows, features="words")
    assert padding(loader) == 0


def test_a_state_of_other_batches_is_refused(tokenizer):
    state = build(tokenizer, TrainAll()).state_dict()
    with pytest.raises(ValueError, match="batches held back"):
        build(tokenizer, TrainAll(), buffer_batches=2).load_state_dict(state)
