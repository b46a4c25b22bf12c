"""ClassBalanced: as even as the budget allows, all of it and no more, from the first block on and under drift."""

import numpy as np
import pytest

from filterloader import ClassBalanced, FilteringDataLoader
from filterloader.data.candidates import Candidates
from tests.conftest import losses_of, sentences


def asked(policy, labels, size=128):
    """What is kept of a stream of labels, bool ``[n]``, screened in blocks of ``size``."""
    labels = np.asarray(labels, np.int64)
    said = []
    for start in range(0, labels.size, size):
        part = labels[start : start + size]
        said.append(policy.screen(Candidates(part.size, labels=part).placed(start, None, None)) > 0)
    return np.concatenate(said)


def drawn(seed, n, shares):
    return np.random.default_rng([seed, 1]).choice(len(shares), n, p=shares)


@pytest.mark.parametrize(
    "shares, keep, ref",
    [
        ([0.5, 0.5], 0.3, [0.15, 0.15]),
        ([0.95, 0.05], 0.3, [0.25, 0.05]),  # the rare class whole, its unused budget to the other
        ([0.95, 0.05], 0.08, [0.04, 0.04]),
        ([0.6, 0.25, 0.1, 0.05], 0.4, [0.125, 0.125, 0.1, 0.05]),
        ([0.7, 0.3], 1.0, [0.7, 0.3]),
    ],
)
def test_kept_shares_of_each_class(shares, keep, ref):
    for seed in range(3):
        labels = drawn(seed, 20_000, shares)
        kept = asked(ClassBalanced(keep, seed=seed), labels)
        comp = np.bincount(labels[kept], minlength=len(shares)) / labels.size
        np.testing.assert_allclose(comp, ref, atol=0.004)
        assert kept.mean() == pytest.approx(keep, abs=0.002)


@pytest.mark.parametrize("size", [1, 7, 128])
@pytest.mark.parametrize("shares", [[0.5, 0.5], [0.9, 0.08, 0.02]])
def test_the_share_is_kept_early_too(shares, size):
    kept = [asked(ClassBalanced(0.3, seed=seed), drawn(seed, 128, shares), size).sum() for seed in range(300)]
    assert np.mean(kept) == pytest.approx(0.3 * 128, abs=1.0)


def test_the_error_does_not_grow_with_the_stream():
    labels = drawn(0, 60_000, [0.7, 0.2, 0.1])
    kept = asked(ClassBalanced(0.2, seed=0), labels)
    assert abs(ahead(kept, 0.2)).max() < 60  # independent coins stray by about 100 here
    counts = np.stack([np.cumsum(kept & (labels == c)) for c in range(3)])[:, 5000:]
    assert np.ptp(counts, axis=0).max() < 60


def test_within_a_class_every_place_has_the_same_chance():
    labels = np.tile([0, 0, 0, 0, 0, 1, 0, 2], 160)
    often = np.mean([asked(ClassBalanced(0.3, seed=seed), labels, 64) for seed in range(300)], axis=0)
    for c, chance in ((0, 0.1 / 0.75), (1, 0.8), (2, 0.8)):
        assert np.abs(often[labels == c].reshape(-1, 20).mean(axis=1) - chance).max() < 0.04
    coins = np.mean([asked(ClassBalanced(0.3, seed=seed), np.zeros(1280, int), 64) for seed in range(300)], axis=0)
    assert coins.mean() == pytest.approx(0.3, abs=0.003) and np.abs(coins - 0.3).max() < 0.12


def ahead(kept, keep):
    """Examples kept beyond the budget, at each place of the stream."""
    return np.cumsum(kept) - keep * np.arange(1, kept.size + 1)


def test_drifting_class_shares_keep_the_budget_and_come_out_as_even_as_the_stream_allows():
    labels = np.concatenate([drawn(1, 10_000, [0.9, 0.1]), drawn(2, 10_000, [0.1, 0.9])])
    kept = asked(ClassBalanced(0.4, seed=0), labels)
    assert abs(ahead(kept, 0.4)).max() < 60
    np.testing.assert_allclose(
        np.bincount(labels[kept]), [3500, 4500], atol=60
    )  # class 0 could not do better in the second half
    assert kept[-4000:][labels[-4000:] == 0].all()


def test_a_stream_sorted_by_class_keeps_the_same_share_of_each():
    kept = asked(ClassBalanced(0.3, seed=0), np.repeat([0, 1, 2], 4000))
    np.testing.assert_allclose(kept.reshape(3, -1).sum(axis=1), [1200] * 3, atol=30)
    assert abs(ahead(kept, 0.3)).max() < 60


def test_forgetting_ends_the_wait_of_a_class_that_had_much():
    labels = np.concatenate([drawn(1, 8000, [0.95, 0.05]), drawn(2, 8000, [0.5, 0.5])])
    for half_life, waits in ((None, True), (500, False)):
        kept = asked(ClassBalanced(0.3, half_life=half_life, seed=0), labels)
        later = slice(10_000, 12_000)
        assert (kept[later][labels[later] == 0].mean() < 0.01) == waits
        assert abs(ahead(kept, 0.3)).max() < 60
    assert np.bincount(labels[12_000:][kept[12_000:]]) == pytest.approx([600, 600], abs=60)


def test_a_class_that_comes_late_is_kept_whole_at_first():
    labels = np.concatenate([np.zeros(2000, int), drawn(0, 1000, [0.9, 0.1])])
    kept = asked(ClassBalanced(0.2, seed=0), labels)
    assert kept[labels == 1].all() and kept[:2000].mean() == pytest.approx(0.2, abs=0.01)


def test_labels_may_be_any_whole_numbers():
    labels = np.random.default_rng(0).choice([-5, 0, 2**40], 6000, p=[0.8, 0.1, 0.1])
    kept = asked(ClassBalanced(0.6, seed=0), labels)
    assert kept[labels == 0].all() and kept[labels == 2**40].all() and kept.mean() == pytest.approx(0.6, abs=0.01)


def test_as_many_classes_as_examples_are_an_even_share():
    kept = asked(ClassBalanced(0.3, seed=0), np.arange(5000))
    assert kept.mean() == pytest.approx(0.3, abs=0.02)


def test_a_keep_of_one_keeps_everything():
    assert asked(ClassBalanced(1.0), drawn(0, 5000, [0.98, 0.01, 0.01]), 33).all()


def test_losses_change_nothing():
    policy = ClassBalanced(0.5)
    assert policy.judge(Candidates(3), np.array([0.0, 1.0, 9.0], np.float32)).tolist() == [1, 1, 1]


def test_no_candidates_are_no_decision():
    assert ClassBalanced(0.5).screen(Candidates(0, labels=np.zeros(0, np.int64))).shape == (0,)


def test_scalars_tell_how_even_it_came_out():
    policy = ClassBalanced(0.3, seed=0)
    assert policy.scalars()["classes"] == 0 and np.isnan(policy.scalars()["balance"])
    asked(policy, drawn(0, 5000, [0.5, 0.45, 0.05]))
    assert policy.scalars()["classes"] == 3
    assert policy.scalars()["balance"] == pytest.approx(0.05 / 0.125, abs=0.05)


@pytest.mark.parametrize("rows", [[{"input_ids": [1, 2]}] * 8, [{"input_ids": [1, 2], "label": 0.5}] * 8])
def test_rows_without_a_class_are_refused_and_random_is_named(rows):
    loader = FilteringDataLoader(rows, batch_size=4, policy=ClassBalanced(0.5))
    with pytest.raises(ValueError, match=r"needs one integer class label .*label=.*Random\(keep\)"):
        next(iter(loader))


def test_through_a_loader(tokenizer):
    rows = [{**row, "label": int(i % 20 == 0)} for i, row in enumerate(sentences(4000))]
    loader = FilteringDataLoader(
        rows, tokenizer=tokenizer, batch_size=32, shuffle=True, policy=ClassBalanced(0.08), seed=3
    )
    for _ in range(2):
        labels = []
        for batch in loader:
            labels += batch["labels"].tolist()
            assert loader.hook.report(losses_of(batch)) is not None
        np.testing.assert_allclose(np.bincount(labels), [160, 160], atol=12)
    scalars = loader.ledger.scalars()
    assert scalars["forwarded_share"] == pytest.approx(0.08, abs=0.003) and scalars["balance"] > 0.95
