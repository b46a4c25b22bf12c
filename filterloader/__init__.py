"""Finetune a language model on only the examples that still teach it."""

from filterloader.loader import FilteringDataLoader
from filterloader.logistic import LogisticRegression
from filterloader.naive_bayes import BernoulliNB, MultinomialNB
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
from filterloader.progress import progress_bar
from filterloader.proxy import LinearProxy
from filterloader.schedule import get_scheduler
from filterloader.threshold import MovingAverageThreshold

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
