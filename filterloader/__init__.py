"""Finetune a language model on only the examples that still teach it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if (
    TYPE_CHECKING
):  # what editors and type checkers read; at run time a room is opened when one of its names is asked for
    from filterloader.loader import FilteringDataLoader
    from filterloader.policies import (
        POLICIES,
        AutoAssist,
        AutoThreshold,
        ClassBalanced,
        DynamicEL2N,
        FixedThreshold,
        InfoBatch,
        Random,
        SelectionViaProxy,
        SelectiveBackprop,
        StaticEL2N,
        ThreeStage,
        TrainAll,
    )
    from filterloader.policies.parts.threshold import MovingAverageThreshold
    from filterloader.predictors.linear_proxy import LinearProxy
    from filterloader.predictors.logistic import LogisticRegression
    from filterloader.predictors.naive_bayes import BernoulliNB, MultinomialNB
    from filterloader.training.progress_bar import progress_bar
    from filterloader.training.schedule import get_scheduler

_ROOMS = {
    "loader": ("FilteringDataLoader",),
    "policies": ("POLICIES", "AutoAssist", "AutoThreshold", "ClassBalanced", "DynamicEL2N", "FixedThreshold", "InfoBatch", "Random",
                 "SelectionViaProxy", "SelectiveBackprop", "StaticEL2N", "ThreeStage", "TrainAll"),
    "policies.parts.threshold": ("MovingAverageThreshold",),
    "predictors.linear_proxy": ("LinearProxy",),
    "predictors.logistic": ("LogisticRegression",),
    "predictors.naive_bayes": ("BernoulliNB", "MultinomialNB"),
    "training.progress_bar": ("progress_bar",),
    "training.schedule": ("get_scheduler",),
}  # fmt: skip

__all__ = [
    "POLICIES",
    "AutoAssist",
    "AutoThreshold",
    "BernoulliNB",
    "ClassBalanced",
    "DynamicEL2N",
    "FilteringDataLoader",
    "FixedThreshold",
    "InfoBatch",
    "LinearProxy",
    "LogisticRegression",
    "MovingAverageThreshold",
    "MultinomialNB",
    "Random",
    "SelectionViaProxy",
    "SelectiveBackprop",
    "StaticEL2N",
    "ThreeStage",
    "TrainAll",
    "get_scheduler",
    "progress_bar",
]


def __getattr__(name: str) -> Any:
    for room, names in _ROOMS.items():
        if name in names:
            globals()[name] = getattr(import_module(f"{__name__}.{room}"), name)
            return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
