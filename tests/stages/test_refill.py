"""Refill: full batches of similar length, no example lost, none doubled, none waiting for ever."""

import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings

from filterloader.stages.refill import Refill
from tests.stages.given import Given, blocks_of, drain, places

lengths = st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=12), max_size=15)


def refill(blocks, batch_size, batches=1, drop_last=False):
    return Refill(Given(blocks, decided=True), batch_size, batches, drop_last=drop_last)


@settings(max_examples=80, deadline=None)
@given(lengths, st.integers(1, 7), st.integers(0, 4), st.booleans(), st.booleans())
def test_nothing_is_lost_or_doubled_and_batches_are_full(lengths, batch_size, batches, known, drop_last):
    out = drain(refill(blocks_of(lengths, known=known), batch_size, batches, drop_last))
    total = sum(map(len, lengths))
    found = [place for batch in out for place in places(batch)]
    assert len(set(found)) == len(found) == (total - total % batch_size if drop_last else total)
    assert all(batch.examples == batch_size for batch in out[: None if drop_last else -1])
    if not known:
        assert found == sorted(found)


def test_who_waits_longest_leaves_first():
    rng = np.random.default_rng(0)
    stage = refill(blocks_of([rng.integers(0, 40, 4).tolist() for _ in range(200)]), 4, 3)
    left = set(range(800))
    for batch in drain(stage):
        assert min(left) in places(batch)
        left -= set(places(batch))


def test_lengths_in_a_batch_are_close():
    rng = np.random.default_rng(0)
    lengths = [rng.integers(1, 64, 32).tolist() for _ in range(40)]

    def spread(batches):
        return np.mean([np.ptp(batch.payload.lengths) for batch in drain(refill(blocks_of(lengths), 32, batches))])

    assert spread(8) < 0.5 * spread(1)


def test_without_a_batch_size_batches_are_as_large_as_the_blocks():
    out = drain(refill(blocks_of([[1] * 3, [1] * 6, [1] * 6, [1] * 2]), None))
    assert [batch.examples for batch in out] == [3, 6, 6, 2]


def test_what_waits_is_told():
    stage = refill(blocks_of([[1] * 3] * 4), 5, 1, drop_last=True)
    assert (stage.waiting, stage.over) == (0, False)
    assert stage.next().examples == 5 and stage.waiting == 6  # the batch, and one more
    stage.item = None
    assert stage.waiting == 1 and not stage.over
    stage.next()
    stage.item = None
    assert stage.over and stage.waiting == 0  # two are left, and will be dropped
    assert stage.next() is None
