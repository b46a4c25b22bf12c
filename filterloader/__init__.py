"""Finetune a language model on only the examples that still teach it."""

from filterloader.loader import FilteringDataLoader
from filterloader.naive_bayes import BernoulliNB, MultinomialNB
from filterloader.policies import (
    POLICIES,
    AutoThreshold,
    DynamicEL2N,
    FixedThreshold,
    Random,
    SelectionViaProxy,
    StaticEL2N,
    ThreeStage,
    TrainAll,
)
from filterloader.progress import progress_bar
from filterloader.proxy import LinearProxy
from filterloader.schedule import get_scheduler
from filterloader.threshold import MovingAverageThreshold

__all__ = [
    "POLICIES",
    "AutoThreshold",
    "BernoulliNB",
    "DynamicEL2N",
    "FilteringDataLoader",
    "FixedThreshold",
    "LinearProxy",
    "MovingAverageThreshold",
    "MultinomialNB",
    "Random",
    "SelectionViaProxy",
    "StaticEL2N",
    "ThreeStage",
    "TrainAll",
    "get_scheduler",
    "progress_bar",
]
