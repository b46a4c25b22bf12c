"""Ragged arrays: the kernels against their twins, and candidates that survive taking, joining and saving."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from filterloader.data.candidates import Bag, Candidates, Ragged
from filterloader.data.portable import pack, unpack
from filterloader.kernels import ragged
from filterloader.kernels import weights as kernel
from tests import naive

rows = st.lists(st.lists(st.integers(-5, 2**31), max_size=9), min_size=1, max_size=12)


def as_ragged(lists, dtype=np.int64):
    return np.array([v for row in lists for v in row], dtype), np.cumsum([0, *map(len, lists)]).astype(np.int64)


@settings(max_examples=60, deadline=None)
@given(rows, st.data())
def test_take_rows(lists, data):
    values, offsets = as_ragged(lists)
    index = data.draw(arrays(np.int64, st.integers(0, 15), elements=st.integers(0, len(lists) - 1)))
    ref, comp = naive.take_rows(values, offsets, index), ragged.take_rows(values, offsets, index)
    assert all(np.array_equal(a, b) for a, b in zip(ref, comp, strict=True))
    assert [comp[0][a:b].tolist() for a, b in zip(comp[1], comp[1][1:], strict=False)] == [lists[i] for i in index]


@settings(max_examples=60, deadline=None)
@given(rows, st.booleans(), st.sampled_from([np.int64, np.float32]))
def test_pad_rows(lists, left, dtype):
    values, offsets = as_ragged(lists, dtype)
    width = ragged.longest(offsets)
    assert width == naive.longest(offsets) == max(map(len, lists))
    for extra in (0, 3):
        ref, comp = np.full((2, len(lists), width + extra), -7, dtype)
        naive.pad_rows(values, offsets, ref, -1, left)
        ragged.pad_rows(values, offsets, comp, -1, left)
        assert np.array_equal(ref, comp)
        naive.mask_rows(offsets, ref, left)
        ragged.mask_rows(offsets, comp, left)
        assert np.array_equal(ref, comp)


@settings(max_examples=60, deadline=None)
@given(rows, st.data())
def test_cross_labels_and_fold(lists, data):
    values, offsets = as_ragged(lists)
    labels = data.draw(arrays(np.int64, len(lists), elements=st.integers(-100, 1000)))
    ref, comp = (
        naive.cross_labels(values, offsets, labels, 101, 977),
        ragged.cross_labels(values, offsets, labels, 101, 977),
    )
    assert np.array_equal(ref, comp) and comp.dtype == np.int32 and ((comp >= 0) & (comp < 977)).all()
    assert np.array_equal(naive.fold(values, 977), ragged.fold(values, 977))


def candidates(lists, start=0, with_rows=False):
    values, offsets = as_ragged(lists)
    found = Candidates(
        n=len(lists),
        tokens=Ragged(values, offsets),
        labels=np.arange(len(lists)),
        columns={} if with_rows else {"types": Ragged(values % 2, offsets), "weight": np.arange(len(lists)) / 2},
        rows=[{"text": str(row)} for row in lists] if with_rows else None,
    )
    found.bag = Bag(values.astype(np.int32), offsets, 2**31 - 1)
    return found.placed(start, None, None)


def lists_of(c):
    return [c.tokens.values[a:b].tolist() for a, b in zip(c.tokens.offsets, c.tokens.offsets[1:], strict=False)]


@settings(max_examples=40, deadline=None)
@given(st.lists(rows, min_size=1, max_size=4), st.booleans())
def test_what_is_joined_and_taken_apart_is_the_same(blocks, with_rows):
    starts = np.cumsum([0, *map(len, blocks)])
    whole = Candidates.concat(
        [candidates(lists, start, with_rows) for lists, start in zip(blocks, starts, strict=False)]
    )
    flat = [row for lists in blocks for row in lists]
    assert lists_of(whole) == flat and whole.positions.tolist() == list(range(len(flat)))
    back = Candidates.from_state(unpack(pack(whole.state_dict())))
    assert lists_of(back) == flat and back.rows == whole.rows and back.bag.n_features == whole.bag.n_features
    order = np.argsort([len(row) for row in flat], kind="stable")
    taken = back.take(order)
    assert lists_of(taken) == [flat[i] for i in order]
    assert taken.lengths.tolist() == [len(flat[i]) for i in order]


def test_a_batch_as_one_candidate_sums_its_words():
    one = candidates([[1, 2], [], [2, 3, 3]]).as_one()
    assert len(one) == 1 and one.merged == 3
    assert one.bag.ids.tolist() == [1, 2, 2, 3, 3] and one.bag.offsets.tolist() == [0, 5]


def test_rows_that_differ_are_refused():
    with pytest.raises(ValueError, match="rows of the stream differ"):
        Candidates.concat([candidates([[1]]), candidates([[1]], with_rows=True)])
    other = candidates([[1]])
    other.labels = None
    with pytest.raises(ValueError, match="'labels'"):
        Candidates.concat([candidates([[1]]), other])


@pytest.mark.parametrize("weights", [[], [0, 1, 0.5], [0, -0.0], [1, -1e-9], [np.nan], [2, np.inf], [-np.inf, 1]])
def test_count_kept(weights):
    weights = np.array(weights, np.float32)
    assert kernel.count_kept(weights) == naive.count_kept(weights) == kernel.count_kept(np.repeat(weights, 2)[::2])
