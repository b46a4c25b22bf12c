"""Finetune a language model on only the examples that still teach it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what editors and type checkers read; at run time a room is opened when one of its names is asked for
    from filterloader.loader import FilteringDataLoader
    from filterloader.naive_bayes import BernoulliNB, MultinomialNB
    from filterloader.policies import POLICIES, AutoThreshold, FixedThreshold, Random, ThreeStage, TrainAll
    from filterloader.progress import progress_bar
    from filterloader.schedule import get_scheduler
    from filterloader.threshold import MovingAverageThreshold

_ROOMS = {
    "loader": ("FilteringDataLoader",),
    "naive_bayes": ("BernoulliNB", "MultinomialNB"),
    "policies": ("POLICIES", "AutoThreshold", "FixedThreshold", "Random", "ThreeStage", "TrainAll"),
    "progress": ("progress_bar",),
    "schedule": ("get_scheduler",),
    "threshold": ("MovingAverageThreshold",),
}

__all__ = [
    "POLICIES",
    "AutoThreshold",
    "BernoulliNB",
    "FilteringDataLoader",
    "FixedThreshold",
    "MovingAverageThreshold",
    "MultinomialNB",
    "Random",
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
