"""The refill buffer: dense batches of similar length, no example lost, none doubled, none waiting for ever."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from filterloader.stages.refill import RefillBuffer
from tests.kernels.test_ragged import candidates

blocks = st.lists(st.lists(st.integers(0, 30), max_size=12), max_size=15)


def drain(buffer, lengths_of_blocks, known=True):
    out, place = [], 0
    for lengths in lengths_of_blocks:
        if lengths:
            block = candidates([[0] * n for n in lengths], place)
            block.tokens = block.tokens if known else None
            buffer.push(block, len(lengths))
            place += len(lengths)
        while buffer.full:
            out.append(buffer.pop())
    while len(buffer):
        out.append(buffer.pop())
    return out, place


@settings(max_examples=80, deadline=None)
@given(blocks, st.integers(1, 7), st.integers(0, 4), st.booleans())
def test_nothing_is_lost_or_doubled_and_batches_are_dense(blocks, batch_size, batches, known):
    out, total = drain(RefillBuffer(batch_size, batches), blocks, known)
    places = [p for batch in out for p in batch.positions.tolist()]
    assert sorted(places) == list(range(total))
    assert all(len(batch) == batch_size for batch in out[:-1])
    if not known:
        assert places == sorted(places)


@settings(max_examples=40, deadline=None)
@given(blocks, st.integers(1, 7), st.integers(1, 4), st.integers(0, 100))
def test_a_saved_buffer_goes_on_alike(blocks, batch_size, batches, cut):
    ref, _ = drain(RefillBuffer(batch_size, batches), blocks)
    buffer, place, out = RefillBuffer(batch_size, batches), 0, []
    for i, lengths in enumerate(blocks):
        if i == cut % (len(blocks) + 1):
            state = buffer.state_dict()
            buffer = RefillBuffer(batch_size, batches)
            buffer.load_state_dict(state)
        if lengths:
            buffer.push(candidates([[0] * n for n in lengths], place), len(lengths))
            place += len(lengths)
        while buffer.full:
            out.append(buffer.pop())
    while len(buffer):
        out.append(buffer.pop())
    assert [b.positions.tolist() for b in ref] == [b.positions.tolist() for b in out]


def test_who_waits_longest_leaves_first():
    buffer = RefillBuffer(4, 3)
    rng = np.random.default_rng(0)
    place = 0
    for _ in range(200):
        buffer.push(candidates([[0] * n for n in rng.integers(0, 40, 4)], place), 4)
        place += 4
        while buffer.full:
            oldest = buffer.oldest
            assert oldest in buffer.pop().positions


def test_lengths_in_a_batch_are_close():
    rng = np.random.default_rng(0)
    lengths = [[int(n) for n in rng.integers(1, 64, 32)] for _ in range(40)]
    spread = lambda batches: np.mean([np.ptp(b.lengths) for b in drain(RefillBuffer(32, batches), lengths)[0]])  # noqa: E731
    assert spread(8) < 0.5 * spread(1)


def test_without_a_batch_size_batches_are_as_large_as_the_blocks():
    out, _ = drain(RefillBuffer(None, 1), [[1] * 3, [1] * 6, [1] * 6, [1] * 2])
    assert [len(batch) for batch in out] == [3, 6, 6, 2]


def test_an_empty_buffer_has_nothing_to_give():
    with pytest.raises(IndexError):
        RefillBuffer(2, 1).pop()
    assert RefillBuffer(2, 1).oldest is None
