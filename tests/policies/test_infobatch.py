"""InfoBatch: what it remembers, what it drops, unbiased weights, first and last passes, data sets it cannot work on."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import IterableDataset

from filterloader import FilteringDataLoader, InfoBatch
from filterloader.data.candidates import Candidates
from tests.conftest import losses_of, same, sentences, through_a_file, train


def asked(ids, total=None, indexed=True):
    """Candidates with these indices."""
    ids = np.asarray(ids, np.int64)
    return Candidates(ids.size).placed(0, ids if indexed else None, total)


def taught(losses, **kw):
    """A policy in its second pass, after a first one that reported ``losses`` (NaN: not reported)."""
    policy = InfoBatch(**{"epochs": None, "seed": 0, **kw})
    policy.begin_pass()
    losses = np.asarray(losses, np.float32)
    known = np.flatnonzero(np.isfinite(losses))
    assert policy.screen(asked(known)).all()
    policy.judge(asked(known), losses[known])
    policy.begin_pass()
    return policy


def test_below_the_mean_is_dropped_by_half_and_the_rest_weighs_double():
    losses = [0.1, 3.0, 0.2, np.nan, 1.0, 0.7]  # mean of the known: 1.0
    policy = taught(losses)
    assert policy.loss_threshold == pytest.approx(1.0)
    said = np.stack([policy.screen(asked(range(6))) for _ in range(4000)])
    assert (said[:, [1, 3, 4]] == 1).all()  # above, not known, equal to the mean
    easy = said[:, [0, 2, 5]]
    assert set(np.unique(easy)) == {0.0, 2.0}
    np.testing.assert_allclose(easy.mean(axis=0), 1.0, atol=0.06)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 10, width=32), min_size=2, max_size=40), st.floats(0, 0.9), st.integers(0, 1000))
def test_the_weights_are_those_of_the_formula_whatever_the_losses(losses, ratio, seed):
    losses = np.array(losses, np.float32)
    weights = taught(losses, prune_ratio=ratio, seed=seed).screen(asked(range(losses.size)))
    easy = losses < np.mean(losses, dtype=np.float64)
    assert (weights[~easy] == 1).all()
    up = weights[easy]
    np.testing.assert_allclose(up[up > 0], 1 / (1 - ratio), rtol=1e-6)


@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.5, 0.9])
def test_the_weighted_sum_of_losses_is_unbiased(ratio):
    losses = np.random.default_rng(0).exponential(1.0, 300)
    policy = taught(losses, prune_ratio=ratio)
    sums = [policy.screen(asked(range(300))) @ losses for _ in range(3000)]
    error = np.std(sums) / np.sqrt(3000)
    assert np.mean(sums) == pytest.approx(losses.sum(), abs=4 * error + 1e-3)
    kept = np.mean([(policy.screen(asked(range(300))) > 0).mean() for _ in range(300)])
    assert kept == pytest.approx(1 - ratio * (losses < losses.mean()).mean(), abs=0.01)


def test_the_last_loss_counts_and_what_was_dropped_keeps_its_own():
    policy = taught([0.1, 0.1, 2.0])
    policy.judge(asked([0]), np.array([9.0], np.float32))
    assert policy.loss_threshold == pytest.approx(2.2 / 3)  # until the pass is over
    policy.begin_pass()
    assert policy.loss_threshold == pytest.approx(11.1 / 3)
    said = np.stack([policy.screen(asked(range(3))) for _ in range(200)])
    assert (said[:, 0] == 1).all() and set(np.unique(said[:, 1:])) == {0.0, 2.0}


def test_the_mean_stands_still_during_a_pass():
    policy = taught([0.5, 1.5])
    policy.judge(asked([0, 1]), np.array([50.0, 60.0], np.float32))
    assert policy.loss_threshold == pytest.approx(1.0)


@pytest.mark.parametrize(
    "epochs, delta, prunes",
    [
        (8, 0.875, [2, 3, 4, 5, 6, 7]),
        (3, 0.875, [2]),
        (10, 0.875, [2, 3, 4, 5, 6, 7, 8]),
        (10, 0.7, [2, 3, 4, 5, 6, 7]),  # .7 * 10 is no more than 7 in floats
        (4, 1.0, [2, 3, 4]),
        (None, 0.875, list(range(2, 13))),
    ],
)
def test_the_first_pass_and_the_last_ones_are_whole(epochs, delta, prunes):
    policy, pruned, stages = InfoBatch(epochs=epochs, delta=delta, seed=0), [], []
    for number in range(1, 13):
        policy.begin_pass()
        said = np.concatenate([policy.screen(asked(range(100))) for _ in range(3)])
        policy.judge(asked(range(100)), np.arange(100, dtype=np.float32))
        stages.append(policy.stage)
        assert (policy.loss_threshold is not None) == (not said.all()) == (policy.stage == "filter")
        if not said.all():
            pruned.append(number)
        else:
            assert (said == 1).all()
    assert pruned == prunes
    assert list(dict.fromkeys(stages)) == ["warm-up", "filter", *(["anneal"] if epochs else [])]


@pytest.mark.parametrize("epochs, delta", [(1, 0.875), (2, 0.875), (8, 0.2)])
def test_too_few_passes_to_prune_any_are_told(epochs, delta):
    with pytest.warns(UserWarning, match=f"epochs={epochs} nothing will be skipped.*epochs=None"):
        InfoBatch(epochs=epochs, delta=delta)


def test_enough_passes_are_not_told():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        InfoBatch(epochs=3)
        InfoBatch(epochs=None)


def test_epochs_must_be_given():
    with pytest.raises(TypeError, match="epochs"):
        InfoBatch()


def test_memory_grows_to_the_data_set_and_no_further():
    policy = InfoBatch(epochs=None, seed=0)
    policy.screen(asked([3, 7], total=1000))
    assert policy.state_dict()["losses"].shape == (1000,) and policy.state_dict()["losses"].dtype == np.float32
    policy.screen(asked([999, 0], total=1000))
    assert policy.state_dict()["losses"].shape == (1000,)
    policy.judge(asked([1000]), np.array([1.0], np.float32))  # a sampler over more than the loader told of
    assert policy.state_dict()["losses"].size > 1000
    assert np.flatnonzero(np.isfinite(policy.state_dict()["losses"])).tolist() == [1000]


def test_no_candidates_are_no_decision():
    assert taught([0.1, 2.0]).screen(asked([])).shape == (0,)


class Stream(IterableDataset):
    def __iter__(self):
        yield from sentences(40)


@pytest.mark.parametrize("how", ["stream", "overtaking"])
def test_streams_without_an_index_are_refused_and_the_others_named(tokenizer, how):
    data, more = (Stream(), {}) if how == "stream" else (sentences(40), {"num_workers": 1, "in_order": False})
    with pytest.raises(ValueError, match=r"InfoBatch needs examples by index.*Random, .*ThreeStage, .* or "):
        FilteringDataLoader(data, tokenizer=tokenizer, batch_size=4, policy=InfoBatch(epochs=3), **more)


def test_candidates_without_an_index_are_refused():
    candidates = Candidates(3)
    with pytest.raises(ValueError, match=r"InfoBatch .*by its index.*stream gives none.*Random, .*ThreeStage, .* or "):
        InfoBatch(epochs=3).screen(candidates)


def test_a_negative_index_is_refused():
    with pytest.raises(ValueError, match="index -1; InfoBatch needs indices of at least 0"):
        InfoBatch(epochs=None).screen(asked([4, -1]))


def test_a_refused_state_changes_nothing():
    policy = taught([0.1, 2.0, 3.0])
    before = policy.state_dict()
    for state, error in (
        ({**before, "settings": "InfoBatch(epochs=9)"}, ValueError),
        ({**before, "losses": "none"}, ValueError),
    ):
        with pytest.raises(error):
            policy.load_state_dict(state)
        np.testing.assert_equal(policy.state_dict(), before)


def run(tokenizer, policy, passes, n=600, **kw):
    """The indices that each pass handed out."""
    rows = [{"text": row["text"], "label": row["idx"]} for row in sentences(n)]
    loader = FilteringDataLoader(rows, tokenizer=tokenizer, batch_size=16, shuffle=True, policy=policy, seed=4, **kw)
    out = []
    for _ in range(passes):
        seen = []
        for batch in loader:
            seen += batch["labels"].tolist()
            loader.hook.report(losses_of(batch))
        out.append(seen)
    return out, loader


@pytest.mark.parametrize("workers", [0, 2])
def test_through_a_loader(tokenizer, workers):
    passes, loader = run(tokenizer, InfoBatch(epochs=4), 4, num_workers=workers)
    hard = {row["idx"] for row in sentences(600) if "hard" in row["text"]}
    assert [sorted(passes[i]) for i in (0, 3)] == [list(range(600))] * 2
    for seen in passes[1:3]:
        assert len(seen) == len(set(seen)) and hard <= set(seen)
        assert len(seen) - len(hard) == pytest.approx(0.5 * (600 - len(hard)), abs=40)
    assert passes[1] != passes[2]
    assert [stage for stage, _ in loader.ledger.stages] == ["warm-up", "filter", "anneal"]


def test_the_loss_to_train_on_carries_the_weights(tokenizer):
    rows = sentences(64)
    loader = FilteringDataLoader(
        rows, tokenizer=tokenizer, batch_size=64, policy=InfoBatch(epochs=None), seed=1, buffer_batches=1
    )
    train(loader)
    threshold = torch.cat(
        [losses_of(batch) for batch in FilteringDataLoader(rows, tokenizer=tokenizer, batch_size=64)]
    ).mean()
    (batch,) = loader
    losses = losses_of(batch)
    ref = torch.where(losses < threshold, 2 * losses, losses).mean()
    assert loader.hook.report(losses).item() == pytest.approx(ref.item(), rel=1e-6)


@pytest.mark.parametrize("stop", [5, 30])
def test_a_second_pass_resumes_in_the_middle_from_a_file(tokenizer, stop):
    def make():
        return FilteringDataLoader(
            sentences(900), tokenizer=tokenizer, batch_size=16, shuffle=True, policy=InfoBatch(epochs=3), seed=4
        )

    whole = make()
    train(whole)
    ref = train(whole)
    first = make()
    train(first)
    out = train(first, stop)
    second = make()
    second.load_state_dict(through_a_file(first.state_dict()))
    same(ref, out + train(second))
    same(train(whole), train(second))


def test_a_pass_without_a_report_does_not_count(tokenizer):
    policy = InfoBatch(epochs=4, seed=0)  # the second and the third prune
    loader = FilteringDataLoader(sentences(320), tokenizer=tokenizer, batch_size=16, policy=policy, seed=0)
    next(iter(loader))
    stages = []
    for _ in range(4):
        train(loader)
        stages.append(policy.stage)
    assert stages == ["warm-up", "filter", "filter", "anneal"]
