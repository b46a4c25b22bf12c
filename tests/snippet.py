"""Snippet: what a user writes, for a type checker; every ``type: ignore`` marks a mistake that it must find."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import filterloader
from filterloader import (
    POLICIES,
    AutoThreshold,
    BernoulliNB,
    FilteringDataLoader,
    LogisticRegression,
    MultinomialNB,
    Policy,
    Predictor,
    Random,
    ThreeStage,
    TokenFeatures,
    TrainAll,
    WordFeatures,
    get_scheduler,
    progress_bar,
)


class Even(Policy):
    """A policy of a user's own."""

    gates_backward = needs_words = False

    def screen(self, candidates: Any) -> np.ndarray:
        return (candidates.positions % 2 == 0).astype(np.float32)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


predictors: list[Predictor] = [MultinomialNB(16), BernoulliNB(16), LogisticRegression(16, step="call")]
policies: list[Policy] = [Even(), TrainAll(), Random(0.5), AutoThreshold(), ThreeStage(predictor=predictors[0])]
named: Policy = POLICIES["random"](0.3)
features = [TokenFeatures(vocabulary=16), WordFeatures(label=True)]


def train(model: torch.nn.Module, rows: list[dict[str, Any]]) -> dict[str, float]:
    loader = FilteringDataLoader(rows, batch_size=4, shuffle=True, policy=policies[0], seed=0)
    optimizer = torch.optim.AdamW(model.parameters())
    scheduler = get_scheduler("linear", optimizer, loader, epochs=2)
    for batch in progress_bar(loader):
        loss: torch.Tensor | None = loader.report(model(**batch), batch)
        loader.hook.report(model(**batch), batch).backward()  # type: ignore[union-attr]
        if loss is not None:
            loss.backward()
        scheduler.step()
    loader.load_state_dict(loader.state_dict())
    where: float = loader.progress + len(loader) + loader.epoch
    assert where >= 0
    return loader.ledger.scalars()


Random("half")  # type: ignore[arg-type]
ThreeStage(warmups=3)  # type: ignore[call-arg]
FilteringDataLoader([], batchsize=3)  # type: ignore[call-arg]
filterloader.FilterLoader  # type: ignore[attr-defined]  # noqa: B018
