"""The proxy model against its NumPy twin, and what it says of words that tell the class and words that do not."""

import pickle

import numpy as np
import pytest

from filterloader import LinearProxy
from filterloader.data.candidates import Bag
from filterloader.kernels import proxy as kernel
from filterloader.predictors.linear_proxy import entropy, least_confidence
from tests import naive


def rows(n, words=40, seed=0, longest=9):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, longest, n)
    return rng.integers(0, words, lengths.sum()).astype(np.int32), np.append(0, lengths.cumsum()).astype(np.int64)


def tables(pairs, words=40, dim=3, classes=3, seed=1):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(n, dim)).astype(np.float32) for n in (words, pairs, classes)]


def telling(n, seed=0, noise=0.0):
    """Rows whose first word is their class, with a share of wrong labels; and which those are."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    ids = np.column_stack([y, rng.integers(3, 30, (n, 4))]).astype(np.int32).reshape(-1)
    wrong = rng.random(n) < noise
    return (ids, np.arange(0, 5 * n + 1, 5)), np.where(wrong, (y + 1) % 3, y), wrong


@pytest.mark.parametrize("pairs", [0, 7, 1000])
def test_embeddings_equal_their_twin(pairs):
    ids, offsets = rows(50)
    words, pairs, _ = tables(pairs)
    comp = np.empty((50, 3), np.float32)
    kernel.embed(ids, offsets, words, pairs, comp)
    np.testing.assert_allclose(comp, naive.embed(ids, offsets, words, pairs), rtol=1e-5, atol=1e-6)
    assert (offsets[1:] == offsets[:-1]).any()  # rows without a word among them


@pytest.mark.parametrize("pairs", [0, 7])
def test_learning_equals_its_twin(pairs):
    ids, offsets = rows(200)
    rng = np.random.default_rng(2)
    classes, order, rates = rng.integers(0, 3, 200), rng.permutation(200), np.array([0.5, 0.2])
    ref, comp = tables(pairs), tables(pairs)
    right = naive.learn(ids, offsets, classes, order, *ref, rates)
    assert (kernel.learn(ids, offsets, classes, order, *comp, rates) == right).all() and 40 < right.sum() < 160
    for a, b in zip(ref, comp, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)
    assert not np.array_equal(comp[0], tables(pairs)[0])


@pytest.mark.parametrize("n, k", [(1, 1), (30, 1), (30, 7), (30, 30)])
def test_greedy_centres_equal_brute_force(n, k):
    points = np.random.default_rng(n + k).normal(size=(n, 4)).astype(np.float32)
    comp = kernel.farthest_first(points, k)
    assert comp.tolist() == naive.farthest_first(points.astype(np.float64), k).tolist()
    assert len(set(comp.tolist())) == k


def test_equal_points_are_each_chosen_once():
    assert sorted(kernel.farthest_first(np.zeros((5, 2), np.float32), 5).tolist()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("bigrams", [False, True])
def test_it_learns_words_that_tell_the_class(bigrams):
    X, y, _ = telling(1000)
    proxy = LinearProxy(30, lr=0.5, bigrams=bigrams, buckets=1000).fit(X, y)
    assert (proxy.predict(X) == y).mean() > 0.98
    proba = proxy.predict_proba(X)
    assert proba.shape == (1000, 3) and np.allclose(proba.sum(axis=1), 1) and (proba >= 0).all()


def test_only_pairs_of_words_tell_their_order():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 1000)
    ids = np.where(y[:, None] == 1, [[0, 1]], [[1, 0]]).astype(np.int32).reshape(-1)
    X = ids, np.arange(0, 2001, 2)
    right = {
        bigrams: (LinearProxy(2, lr=0.5, bigrams=bigrams, buckets=100).fit(X, y).predict(X) == y).mean()
        for bigrams in (False, True)
    }
    assert right[True] == 1 and right[False] < 0.6


def test_labels_may_be_any_whole_numbers():
    X, y, _ = telling(1000)
    proxy = LinearProxy(30, lr=0.5).fit(X, y * 1000 - 7)
    assert proxy.classes.tolist() == [-7, 993, 1993]
    assert (proxy.predict(X) == y * 1000 - 7).mean() > 0.98


def test_forgetting_counts_steps_from_right_to_wrong_and_never_right_is_infinite(monkeypatch):
    seen = np.array([[1, 0, 0, 1, 1], [0, 0, 1, 1, 0], [1, 0, 1, 1, 0], [0, 0, 0, 1, 1]], bool)  # a row an epoch
    epochs = iter(seen)
    monkeypatch.setattr(kernel, "learn", lambda *_: next(epochs))
    proxy = LinearProxy(3, epochs=4).fit((np.zeros(5, np.int32), np.arange(6)), np.zeros(5, int))
    assert proxy.forgetting.tolist() == [2, np.inf, 1, 0, 1]


def test_wrong_labels_are_forgotten_or_never_learnt():
    X, y, wrong = telling(1500, noise=0.05)
    forgetting = LinearProxy(30, lr=0.5, buckets=1000).fit(X, y).forgetting
    assert np.isinf(forgetting[wrong]).mean() > 0.3 and not np.isinf(forgetting[~wrong]).any()
    assert (forgetting[~wrong] > 0).mean() < 0.05


def test_scores_of_probabilities_by_hand():
    proba = np.array([[0.5, 0.5], [1.0, 0.0], [0.9, 0.1]])
    assert entropy(proba) == pytest.approx([np.log(2), 0, -0.9 * np.log(0.9) - 0.1 * np.log(0.1)])
    assert least_confidence(proba) == pytest.approx([0.5, 0, 0.1])


def test_one_seed_one_model_and_no_other_random_state():
    X, y, _ = telling(300)
    before = np.random.get_state()[1].copy()
    a, b, c = (LinearProxy(30, seed=seed, buckets=50).fit(X, y).transform(X) for seed in (0, 0, 1))
    assert np.array_equal(a, b) and not np.array_equal(a, c)
    assert (np.random.get_state()[1] == before).all()


def test_inputs_stay_untouched_and_a_bag_is_a_pair():
    X, y, _ = telling(300)
    ids, offsets = X[0].copy(), X[1].copy()
    a = LinearProxy(30).fit(X, y).transform(X)
    assert np.array_equal(ids, X[0]) and np.array_equal(offsets, X[1])
    assert np.array_equal(a, LinearProxy(30).fit(Bag(*X, 30), y).transform(Bag(*X, 30)))


def test_a_pickle_and_a_repr_are_the_same_model():
    X, y, _ = telling(300)
    proxy = LinearProxy(30, lr=0.2, buckets=50).fit(X, y)
    assert np.array_equal(pickle.loads(pickle.dumps(proxy)).predict_proba(X), proxy.predict_proba(X))
    again = eval(repr(proxy)).fit(X, y)
    assert repr(again) == repr(proxy) and np.array_equal(again.predict_proba(X), proxy.predict_proba(X))


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda: LinearProxy(0), "n_features must be a whole number of at least 1, got 0"),
        (lambda: LinearProxy(3, lr=-1.0), "lr must be a finite number above 0, got -1.0"),
        (lambda: LinearProxy(3).transform(([0], [0, 1])), "learnt nothing yet"),
        (lambda: LinearProxy(3).fit((np.array([3]), [0, 1]), [0]), "from 0 to 2, got 3 to 3"),
        (lambda: LinearProxy(3).fit((np.array([-1]), [0, 1]), [0]), "from 0 to 2, got -1"),
        (lambda: LinearProxy(3).fit((np.array([0.5]), [0, 1]), [0]), "float64"),
        (lambda: LinearProxy(3).fit((np.array([1, 2]), [0, 1]), [0]), "from 0 to the number of ids, 2"),
        (lambda: LinearProxy(3).fit((np.array([1, 2]), [0, 3, 2]), [0, 1]), "must rise"),
        (lambda: LinearProxy(3).fit((np.array([1, 2]), [0, 1, 2]), [0]), "one whole number for each of 2 rows"),
        (lambda: LinearProxy(3).fit((np.array([1, 2]), [0, 1, 2]), [0.5, 1]), "float64"),
    ],
)
def test_what_does_not_fit_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()
