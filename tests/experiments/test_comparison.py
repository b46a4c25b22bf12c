"""The comparison: one recipe for all, a control that costs as much, and numbers that add up."""

import doctest
import json

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from filterloader import AutoThreshold, FixedThreshold, Random, ThreeStage, TrainAll
from filterloader.experiments import comparison, metrics
from filterloader.experiments import run as experiment
from filterloader.experiments.recipe import Recipe
from filterloader.experiments.run import Result
from tests.experiments.conftest import RECIPE, data


@pytest.fixture
def walls(monkeypatch):
    """The runs that were asked for, each with a wall-clock time of the test's choosing: policy name -> seconds."""
    asked = []

    def timed(seconds):
        real = experiment.train

        def train(model, tokenizer, rows, policy, recipe, **kw):
            _, loader = real(model, tokenizer, rows, policy, recipe, **kw)
            asked.append((policy, recipe, kw, loader, rows, model))
            return seconds[type(policy).__name__], loader

        monkeypatch.setattr(experiment, "train", train)
        monkeypatch.setattr(comparison, "_warm_up", lambda *_: None)
        return asked

    return timed


def result(policy, seed, correct, wall_s, forwarded=1.0, backwarded=1.0, modelled=1.0):
    scalars = {"forwarded_share": forwarded, "backwarded_share": backwarded, "t_norm_modelled": modelled}
    return Result(policy, seed, np.array(correct, bool), wall_s, scalars)


def test_the_random_control_costs_as_much_time_as_the_policy_took(make, walls):
    asked = walls({"TrainAll": 10.0, "FixedThreshold": 4.0, "Random": 5.0})
    comparison.compare(make, data(64), data(16, 1), lambda: FixedThreshold(0.1), RECIPE, seeds=(0, 1))
    assert [type(policy) for policy, *_ in asked] == [TrainAll, FixedThreshold, Random] * 2
    assert [policy.keep for policy, *_ in asked if isinstance(policy, Random)] == [0.4, 0.4]


def test_a_policy_slower_than_everything_has_everything_as_its_control(make, walls):
    asked = walls({"TrainAll": 10.0, "AutoThreshold": 12.0, "Random": 10.0})
    comparison.compare(make, data(64), data(16, 1), AutoThreshold, RECIPE)
    assert asked[-1][0].keep == 1.0


@pytest.mark.parametrize("policy, runs", [(TrainAll, [TrainAll]), (lambda: Random(0.5), [TrainAll, Random])])
def test_no_policy_is_run_twice(make, walls, policy, runs):
    asked = walls({"TrainAll": 10.0, "Random": 5.0})
    comparison.compare(make, data(64), data(16, 1), policy, RECIPE)
    assert [type(policy) for policy, *_ in asked] == runs


def test_all_share_one_recipe_one_seed_and_one_beginning(make, walls, monkeypatch):
    made, begun = [], []
    asked = walls({"TrainAll": 10.0, "ThreeStage": 4.0, "Random": 5.0})
    timed = experiment.train

    def train(model, *rest, **kw):
        begun.append([parameter.detach().clone() for parameter in model.parameters()] + [torch.get_rng_state()])
        return timed(model, *rest, **kw)

    monkeypatch.setattr(experiment, "train", train)
    rows = data(64)
    comparison.compare(lambda seed: made.append(seed) or make(seed), rows, data(16, 1), ThreeStage, RECIPE, seeds=(3,))
    assert made[-1] == 3
    for (_, recipe, kw, loader, given, model), start in zip(asked, begun, strict=True):
        assert recipe == RECIPE and kw["seed"] == loader.seed == 3 and given == rows
        assert (loader.batch_size, loader.granularity) == (8, "example")
        assert all(torch.equal(a, b) for a, b in zip(start, begun[0], strict=True))
        assert not torch.equal(next(model.parameters()), start[0])


def test_the_same_seeds_give_the_same_accuracy(make):
    def run():
        results, bases = comparison.compare(
            make, data(96), data(48, 1), lambda: ThreeStage(warmup=16, window=2, alt=10.0), RECIPE, seeds=(0, 1)
        )
        kept = [one for one in results if one.policy != "random"]  # the control's share is a measured time
        return [(one.policy, one.seed, one.correct.tolist(), one.scalars["backwarded"]) for one in kept], bases

    assert run() == run()


def test_the_control_repeats_too_once_its_share_is_fixed(make, walls):
    walls({"TrainAll": 10.0, "FixedThreshold": 4.0, "Random": 5.0})
    runs = [comparison.compare(make, data(96), data(48, 1), lambda: FixedThreshold(0.1), RECIPE)[0] for _ in range(2)]
    assert [one.correct.tolist() for one in runs[0]] == [one.correct.tolist() for one in runs[1]]


def test_torchs_global_random_state_stays_untouched(tokenizer):
    def make(seed):
        config = BertConfig(
            vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return tokenizer, BertForSequenceClassification(config)  # with dropout

    before = torch.get_rng_state()
    comparison.compare(make, data(64), data(16, 1), ThreeStage, RECIPE)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_learnt_shows_in_the_accuracy(make):
    recipe = Recipe(text="text", batch_size=8, lr=5e-3, epochs=3)
    results, bases = comparison.compare(make, data(400), data(100, 1), TrainAll, recipe)
    assert results[0].accuracy > 0.95 > bases[0]


def test_ledgers_are_kept_where_told(make, tmp_path):
    results, _ = comparison.compare(
        make, data(64), data(16, 1), lambda: FixedThreshold(0.1), RECIPE, seeds=(0, 2), out=tmp_path
    )
    names = [f"{policy}-seed{seed}.jsonl" for policy in ("fixed_threshold", "random", "train_all") for seed in (0, 2)]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    for one in results:
        *_, end = [
            json.loads(line) for line in (tmp_path / f"{one.policy}-seed{one.seed}.jsonl").read_text().splitlines()
        ]
        _, low, high = metrics.accuracy_interval(one.correct)
        assert (end["accuracy"], end["accuracy_low"], end["accuracy_high"]) == (one.accuracy, low, high)
        assert end["wall_s"] == one.wall_s and end["scalars"]["seen"] == 64


def test_rows_are_means_over_seeds_with_one_interval_over_seeds_and_examples():
    results = [
        result("train_all", 0, [1, 1, 1, 0], 10.0),
        result("mine", 0, [1, 1, 0, 0], 4.0, 0.5, 0.25, 0.3),
        result("train_all", 1, [1, 1, 1, 1], 20.0),
        result("mine", 1, [1, 1, 1, 0], 4.0, 0.3, 0.15, 0.1),
    ]
    full, mine = comparison.Comparison(results, [0.5, 0.25]).rows()
    ref = metrics.accuracy_interval([[1, 1, 0, 0], [1, 1, 1, 0]])
    assert (mine["accuracy"], mine["accuracy_low"], mine["accuracy_high"]) == ref
    assert mine["accuracy_low"] < mine["accuracy"] < mine["accuracy_high"]
    assert (mine["policy"], mine["seeds"], mine["wall_s"]) == ("mine", 2, 4.0)
    assert mine["t_norm_measured"] == pytest.approx((4 / 10 + 4 / 20) / 2)
    assert (mine["forwarded"], mine["backwarded"], mine["t_norm_modelled"]) == pytest.approx((0.4, 0.2, 0.2))
    assert mine["agot"] == pytest.approx(metrics.agot(0.625, 0.375, 0.875, 0.3))
    assert full["t_norm_measured"] == 1.0 and full["agot"] == pytest.approx(1.0)


def test_there_is_no_gain_over_time_where_training_gained_nothing():
    (row,) = comparison.Comparison([result("train_all", 0, [1, 0], 1.0)], [0.5]).rows()
    assert row["agot"] is None


def test_the_example_runs():
    failed, attempted = doctest.testmod(comparison)
    assert attempted and not failed
