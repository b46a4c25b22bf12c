"""Shares of a data set: how many, which, what is equal, what is not known, and centres against brute force."""

import numpy as np
import pytest

from filterloader.data.candidates import Candidates
from filterloader.policies.parts import selection
from filterloader.policies.parts.selection import Selection, blend, gather, k_centres, random_share, top_share
from tests import naive


def rng(seed=0):
    return np.random.default_rng(seed)


def placed(ids, indexed=True):
    ids = np.asarray(ids)
    return Candidates(len(ids)).placed(0, ids if indexed else None, None)


def test_the_top_share_is_the_top_share():
    scores = rng().normal(size=1000).astype(np.float32)
    chosen = top_share(scores, 0.3, rng())
    assert chosen.dtype == bool and chosen.sum() == 300
    assert scores[chosen].min() > scores[~chosen].max()


def test_an_offset_leaves_the_hardest_out():
    scores = rng().permutation(100.0 * np.arange(100))
    chosen = top_share(scores, 0.3, rng(), offset=0.1)
    assert sorted(scores[chosen] / 100) == list(range(60, 90))
    assert top_share(scores, 0.9, rng(), offset=0.1).sum() == 90


def test_infinity_comes_first_and_the_unknown_last():
    chosen = top_share(np.array([1.0, np.nan, np.inf, 3.0, np.nan, 2.0]), 0.5, rng())
    assert np.flatnonzero(chosen).tolist() == [2, 3, 5]


def test_chance_decides_among_equals_and_not_the_order():
    chosen = np.array([top_share(np.zeros(100), 0.5, rng(seed)) for seed in range(50)])
    assert (chosen.sum(axis=1) == 50).all() and 0.4 < chosen[:, :50].mean() < 0.6
    assert np.array_equal(top_share(np.zeros(100), 0.5, rng(3)), top_share(np.zeros(100), 0.5, rng(3)))


@pytest.mark.parametrize("n, keep, k", [(0, 0.5, 0), (1, 0.01, 1), (10, 0.25, 2), (10, 1.0, 10), (3, 0.5, 2)])
def test_every_way_of_choosing_chooses_as_many(n, keep, k):
    points = rng().normal(size=(n, 3)).astype(np.float32)
    for chosen in (top_share(points[:, 0], keep, rng()), random_share(n, keep, rng()), k_centres(points, keep, rng())):
        assert chosen.shape == (n,) and chosen.sum() == k


def test_centres_equal_brute_force_from_the_same_start():
    points = rng().normal(size=(60, 3)).astype(np.float32)
    order = rng(5).permutation(60)
    chosen = k_centres(points, 0.2, rng(5))
    assert sorted(np.flatnonzero(chosen)) == sorted(order[naive.farthest_first(points[order].astype(float), 12)])


def test_centres_cover_what_a_random_share_does_not():
    points = np.concatenate([rng().normal(size=(990, 2)), 30 + rng(1).normal(size=(10, 2))])
    far = [chosen[990:].any() for chosen in (k_centres(points, 0.005, rng(seed)) for seed in range(10))]
    assert all(far)


def test_centres_in_parts_are_as_many_and_spread_over_the_parts(monkeypatch):
    monkeypatch.setattr(selection, "_PART", 100)
    points = rng().normal(size=(1050, 2)).astype(np.float32)
    chosen = k_centres(points, 0.1, rng())
    assert chosen.sum() == 105
    assert k_centres(points, 0.002, rng()).sum() == 2  # fewer than there are parts


def test_a_selection_keeps_everything_until_it_has_chosen():
    own = Selection("Mine")
    assert own.weights(placed([3, 9])).tolist() == [1, 1]
    own.chosen = np.array([True, False, True, False])
    weights = own.weights(placed([3, 2, 0, 1]))
    assert weights.tolist() == [0, 1, 1, 0] and weights.dtype == np.float32


@pytest.mark.parametrize(
    "candidates, message",
    [
        (placed([0, 1], indexed=False), "Mine needs examples by index.*in_order=True"),
        (placed([0, 1]).as_one(), "granularity='example'"),
        (placed([0, 4]), "chose among 4 examples, and now comes number 4"),
    ],
)
def test_what_a_selection_cannot_find_is_refused(candidates, message):
    own = Selection("Mine")
    own.chosen = np.ones(4, bool)
    with pytest.raises(ValueError, match=message):
        own.weights(candidates)


def test_gathering_goes_by_index_and_warns_of_what_is_not_finite():
    class Blocks(list):
        examples = 4

    blocks = Blocks([(placed([2, 0]), [1.0, np.inf]), (placed([3, 1]), [2.0, 3.0])])
    with pytest.warns(UserWarning, match="1 of 4 scores are NaN or infinite"):
        found = gather(blocks, lambda scores, candidates: scores)
    assert found == pytest.approx([np.nan, 3, 1, 2], nan_ok=True)


def test_blending_knows_what_it_does_not_know():
    mean, fresh = np.array([1.0, np.nan, 1.0, np.nan], np.float32), np.array([2.0, 2.0, np.nan, np.nan], np.float32)
    assert blend(mean, fresh, 0.8, "Mine") == pytest.approx([1.8, 2, 1, np.nan], nan_ok=True)
    assert blend(None, fresh, 0.8, "Mine") is fresh
    with pytest.raises(ValueError, match="Mine scored 4 examples before, and now there are 3"):
        blend(mean, fresh[:3], 0.8, "Mine")


@pytest.mark.parametrize("n, keep", [(202, 1.0), (503, 502 / 503), (1001, 0.999), (303, 0.5)])
def test_centres_in_parts_are_never_one_short(monkeypatch, n, keep):
    monkeypatch.setattr(selection, "_PART", 100)
    points = np.random.default_rng(0).random((n, 2), np.float32)
    assert selection.k_centres(points, keep, np.random.default_rng(0)).sum() == selection.kept(n, keep)
