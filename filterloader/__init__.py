"""Finetune a language model on only the examples that still teach it."""

from filterloader.loader import FilteringDataLoader
from filterloader.logistic import LogisticRegression
from filterloader.naive_bayes import BernoulliNB, MultinomialNB
from filterloader.policies import (
    POLICIES,
    AutoAssist,
    AutoThreshold,
    ClassBalanced,
    FixedThreshold,
    InfoBatch,
    Random,
    SelectiveBackprop,
    ThreeStage,
    TrainAll,
)
from filterloader.progress import progress_bar
from filterloader.schedule import get_scheduler
from filterloader.threshold import MovingAverageThreshold

__all__ = [
    "POLICIES",
    "AutoAssist",
    "AutoThreshold",
    "BernoulliNB",
    "ClassBalanced",
    "FilteringDataLoader",
    "FixedThreshold",
    "InfoBatch",
    "LogisticRegression",
    "MovingAverageThreshold",
    "MultinomialNB",
    "Random",
    "SelectiveBackprop",
    "ThreeStage",
    "TrainAll",
    "get_scheduler",
    "progress_bar",
]
