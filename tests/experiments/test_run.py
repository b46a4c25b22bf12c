"""One run: what a recipe shares, what is scored, and what is told of it."""

import pytest
import torch

from filterloader import FixedThreshold, Random, ThreeStage, TrainAll
from filterloader.experiments import models as encoder
from filterloader.experiments import run as experiment
from filterloader.experiments.recipe import Recipe
from tests.experiments.conftest import RECIPE, data


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
        assert loader._chain.source.batches == 8


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
        Recipe(text="text", precision="fp8")


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
    assert (result.policy, result.seed, result.correct.shape) == ("fixed_threshold", 3, (16,)) and (
        (result.guesses == experiment.labels_of(data(16, 1), RECIPE)) == result.correct
    ).all()
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
