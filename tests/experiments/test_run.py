"""The comparison: one recipe for all, a control that costs as much, and numbers that add up."""

import json

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from filterloader import AutoThreshold, FixedThreshold, Random, ThreeStage, TrainAll
from filterloader.experiments import metrics
from filterloader.experiments import models as encoder
from filterloader.experiments import run as experiment
from filterloader.experiments.run import Recipe, Result
from tests.conftest import sentences

RECIPE = Recipe(text="text", batch_size=8, lr=1e-3)


def data(n, seed=0):
    """Rows whose label is told by their words."""
    rows = sentences(n, seed, hard=0.5)
    return [{**row, "label": int("hard" in row["text"])} for row in rows]


@pytest.fixture
def make(tokenizer):
    def pair(seed):
        return tokenizer, encoder.small_encoder(
            len(tokenizer), 2, hidden=32, layers=1, heads=2, max_length=64, seed=seed
        )

    return pair


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
        monkeypatch.setattr(experiment, "_warm_up", lambda *_: None)
        return asked

    return timed


def result(policy, seed, correct, wall_s, forwarded=1.0, backwarded=1.0, modelled=1.0):
    scalars = {"forwarded_share": forwarded, "backwarded_share": backwarded, "t_norm_modelled": modelled}
    return Result(policy, seed, np.array(correct, bool), wall_s, scalars)


def test_the_random_control_costs_as_much_time_as_the_policy_took(make, walls):
    asked = walls({"TrainAll": 10.0, "FixedThreshold": 4.0, "Random": 5.0})
    experiment.compare(make, data(64), data(16, 1), lambda: FixedThreshold(0.1), RECIPE, seeds=(0, 1))
    assert [type(policy) for policy, *_ in asked] == [TrainAll, FixedThreshold, Random] * 2
    assert [policy.keep for policy, *_ in asked if isinstance(policy, Random)] == [0.4, 0.4]


def test_a_policy_slower_than_everything_has_everything_as_its_control(make, walls):
    asked = walls({"TrainAll": 10.0, "AutoThreshold": 12.0, "Random": 10.0})
    experiment.compare(make, data(64), data(16, 1), AutoThreshold, RECIPE)
    assert asked[-1][0].keep == 1.0


@pytest.mark.parametrize("policy, runs", [(TrainAll, [TrainAll]), (lambda: Random(0.5), [TrainAll, Random])])
def test_no_policy_is_run_twice(make, walls, policy, runs):
    asked = walls({"TrainAll": 10.0, "Random": 5.0})
    experiment.compare(make, data(64), data(16, 1), policy, RECIPE)
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
    experiment.compare(lambda seed: made.append(seed) or make(seed), rows, data(16, 1), ThreeStage, RECIPE, seeds=(3,))
    assert made[-1] == 3
    for (_, recipe, kw, loader, given, model), start in zip(asked, begun, strict=True):
        assert recipe == RECIPE and kw["seed"] == loader.seed == 3 and given == rows
        assert (loader.batch_size, loader.granularity) == (8, "example")
        assert all(torch.equal(a, b) for a, b in zip(start, begun[0], strict=True))
        assert not torch.equal(next(model.parameters()), start[0])


def test_every_policy_groups_lengths_alike_and_ends_at_a_rate_of_zero(make, monkeypatch):
    schedulers, real = [], experiment.get_scheduler
    monkeypatch.setattr(
        experiment, "get_scheduler", lambda *args, **kw: schedulers.append(real(*args, **kw)) or schedulers[-1]
    )
    for policy in (TrainAll(), Random(0.5), ThreeStage(warmup=16, alt=10.0)):
        tokenizer, model = make(0)
        _, loader = experiment.train(model, tokenizer, data(200), policy, RECIPE, seed=0)
        assert loader.ledger.scalars()["seen"] == 200 and loader.progress == 1.0
        assert schedulers[-1].get_last_lr()[0] == pytest.approx(0.0, abs=1e-9)
        assert loader._batching.refill.batches == 8


def test_the_same_seeds_give_the_same_accuracy(make):
    def run():
        results, bases = experiment.compare(
            make, data(96), data(48, 1), lambda: ThreeStage(warmup=16, window=2, alt=10.0), RECIPE, seeds=(0, 1)
        )
        kept = [one for one in results if one.policy != "random"]  # the control's share is a measured time
        return [(one.policy, one.seed, one.correct.tolist(), one.scalars["backwarded"]) for one in kept], bases

    assert run() == run()


def test_the_control_repeats_too_once_its_share_is_fixed(make, walls):
    walls({"TrainAll": 10.0, "FixedThreshold": 4.0, "Random": 5.0})
    runs = [experiment.compare(make, data(96), data(48, 1), lambda: FixedThreshold(0.1), RECIPE)[0] for _ in range(2)]
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
    experiment.compare(make, data(64), data(16, 1), ThreeStage, RECIPE)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_learnt_shows_in_the_accuracy(make):
    recipe = Recipe(text="text", batch_size=8, lr=5e-3, epochs=3)
    results, bases = experiment.compare(make, data(400), data(100, 1), TrainAll, recipe)
    assert results[0].accuracy > 0.95 > bases[0]


def test_half_precision_trains_in_full_and_reports_full_losses(make, monkeypatch):
    seen, real = [], experiment.class_losses

    def losses(model, inputs):
        found = real(model, inputs)
        seen.append((torch.is_autocast_enabled("cpu"), found[0].dtype, found[1].dtype))
        return found

    recipe = Recipe(text="text", batch_size=8, lr=5e-3, epochs=3, precision="bf16")
    tokenizer, model = make(0)
    experiment.train(model, tokenizer, data(400), TrainAll(), recipe, seed=0, losses=losses)
    assert set(seen) == {(True, torch.float32, torch.float32)}
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    assert experiment.correct(model, tokenizer, data(100, 1), recipe).mean() > 0.9
    with pytest.raises(ValueError, match="precision is 'fp8': choose 'fp32' or 'bf16'"):
        experiment.train(model, tokenizer, data(16), TrainAll(), Recipe(text="text", precision="fp8"), seed=0)


def test_scores_come_from_the_model_as_it_is_without_dropout_and_leave_it_training(tokenizer):
    model = encoder.small_encoder(len(tokenizer), 2, hidden=16, layers=1, heads=2, dropout=0.5)
    modes = []
    model.register_forward_hook(lambda *_: modes.append((model.training, torch.is_grad_enabled())))
    recipe = Recipe(text="text", batch_size=8)
    _, loader = experiment.train(model, tokenizer, data(64), FixedThreshold(0.1), recipe, seed=0, score=True)
    assert set(modes) == {(False, False), (True, True)} and model.training
    assert loader.ledger.scalars()["scored"] == 64
    _, loader = experiment.train(model, tokenizer, data(64), FixedThreshold(0.1), recipe, seed=0)
    assert loader.score_fn is None


def test_a_policy_that_surveys_is_scored_unless_told_otherwise(make):
    class Surveying(TrainAll):
        def survey(self, blocks):
            raise AssertionError("it never wants to")

    tokenizer, model = make(0)
    assert experiment.train(model, tokenizer, data(16), Surveying(), RECIPE, seed=0)[1].score_fn is not None
    Surveying.survey_scores = False
    assert experiment.train(model, tokenizer, data(16), Surveying(), RECIPE, seed=0)[1].score_fn is None


def test_a_run_leaves_the_model_it_was_given_alone(make):
    tokenizer, model = make(0)
    before = [parameter.clone() for parameter in model.parameters()]
    result, loader = experiment.run(model, tokenizer, FixedThreshold(0.1), data(64), data(16, 1), RECIPE, seed=3)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before, strict=True))
    assert (result.policy, result.seed, result.correct.shape) == (
        "fixed_threshold",
        3,
        (16,),
    ) and 0 <= result.macro_f1 <= 1
    assert result.wall_s > 0 and result.scalars["seen"] == loader.ledger.scalars()["seen"] == 64


def test_correct_is_in_the_order_of_the_rows(make):
    tokenizer, model = make(0)
    rows = data(50, 2)
    comp = experiment.correct(model, tokenizer, rows, RECIPE, batch_size=7)
    model.eval()
    with torch.no_grad():
        ref = [
            int(model(**tokenizer(row["text"], return_tensors="pt")).logits.argmax()) == row["label"] for row in rows
        ]
    assert comp.dtype == bool and comp.tolist() == ref


def test_ledgers_are_kept_where_told(make, tmp_path):
    results, _ = experiment.compare(
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
    full, mine = experiment.rows(results, [0.5, 0.25])
    ref = metrics.accuracy_interval([[1, 1, 0, 0], [1, 1, 1, 0]])
    assert (mine["accuracy"], mine["accuracy_low"], mine["accuracy_high"]) == ref
    assert mine["accuracy_low"] < mine["accuracy"] < mine["accuracy_high"]
    assert (mine["policy"], mine["seeds"], mine["wall_s"]) == ("mine", 2, 4.0)
    assert mine["t_norm_measured"] == pytest.approx((4 / 10 + 4 / 20) / 2)
    assert (mine["forwarded"], mine["backwarded"], mine["t_norm_modelled"]) == pytest.approx((0.4, 0.2, 0.2))
    assert mine["agot"] == pytest.approx(metrics.agot(0.625, 0.375, 0.875, 0.3))
    assert full["t_norm_measured"] == 1.0 and full["agot"] == pytest.approx(1.0)


def test_there_is_no_gain_over_time_where_training_gained_nothing():
    (row,) = experiment.rows([result("train_all", 0, [1, 0], 1.0)], [0.5])
    assert row["agot"] is None
