"""Finetune a language model on only the examples that still teach it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"  # the one place: setup.cfg reads it here

# What editors and type checkers read. At run time a room is opened when one of its names is asked for.
if TYPE_CHECKING:
    from filterloader.loader import FilteringDataLoader as FilteringDataLoader
    from filterloader.policies.parts.threshold import MovingAverageThreshold as MovingAverageThreshold
    from filterloader.policies.registry import *  # noqa: F403 (whatever their table holds)
    from filterloader.predictors.base import Predictor as Predictor
    from filterloader.predictors.features import TokenFeatures as TokenFeatures
    from filterloader.predictors.features import WordFeatures as WordFeatures
    from filterloader.predictors.linear_proxy import LinearProxy as LinearProxy
    from filterloader.predictors.logistic import LogisticRegression as LogisticRegression
    from filterloader.predictors.naive_bayes import BernoulliNB as BernoulliNB
    from filterloader.predictors.naive_bayes import MultinomialNB as MultinomialNB
    from filterloader.training.progress_bar import progress_bar as progress_bar
    from filterloader.training.schedule import get_scheduler as get_scheduler
    from filterloader.training.schedule import stream_schedule as stream_schedule

_ROOMS = {
    "loader": ("FilteringDataLoader",),
    "policies.parts.threshold": ("MovingAverageThreshold",),
    "policies.registry": None,  # the policies: whatever their table holds
    "predictors.base": ("Predictor",),
    "predictors.features": ("TokenFeatures", "WordFeatures"),
    "predictors.linear_proxy": ("LinearProxy",),
    "predictors.logistic": ("LogisticRegression",),
    "predictors.naive_bayes": ("BernoulliNB", "MultinomialNB"),
    "training.progress_bar": ("progress_bar",),
    "training.schedule": ("get_scheduler", "stream_schedule"),
}


def _policies() -> dict[str, Any]:
    """The public names of the policies' room; asking for them opens it."""
    room = import_module(f"{__name__}.policies.registry")
    return {
        "POLICIES": room.POLICIES,
        "Policy": room.Policy,
        **{kind.__name__: kind for kind in room.POLICIES.values()},
    }


def _look_up(name: str) -> Any:
    if name == "__all__":  # what ``from filterloader import *`` takes
        return sorted(public for names in _ROOMS.values() for public in (_policies() if names is None else names))
    for room, names in _ROOMS.items():
        if name in (names or ()):
            globals()[name] = getattr(import_module(f"{__name__}.{room}"), name)
            return globals()[name]
    if name[:1].isupper() and name in (policies := _policies()):
        return policies[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), "__all__", *_look_up("__all__")})


if not TYPE_CHECKING:  # a checker knows the names above, and takes any other for a mistake
    __getattr__ = _look_up
