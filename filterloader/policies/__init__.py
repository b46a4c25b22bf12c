"""Policies: one decision rule a file; ``POLICIES`` maps each name to its class."""

from filterloader.policies.auto_threshold import AutoThreshold
from filterloader.policies.autoassist import AutoAssist
from filterloader.policies.class_balanced import ClassBalanced
from filterloader.policies.dynamic_el2n import DynamicEL2N
from filterloader.policies.fixed_threshold import FixedThreshold
from filterloader.policies.infobatch import InfoBatch
from filterloader.policies.random import Random
from filterloader.policies.selection_via_proxy import SelectionViaProxy
from filterloader.policies.selective_backprop import SelectiveBackprop
from filterloader.policies.static_el2n import StaticEL2N
from filterloader.policies.three_stage import ThreeStage
from filterloader.policies.train_all import TrainAll

POLICIES = {
    "train_all": TrainAll,
    "random": Random,
    "fixed_threshold": FixedThreshold,
    "auto_threshold": AutoThreshold,
    "three_stage": ThreeStage,
    "class_balanced": ClassBalanced,
    "autoassist": AutoAssist,
    "infobatch": InfoBatch,
    "selective_backprop": SelectiveBackprop,
    "selection_via_proxy": SelectionViaProxy,
    "static_el2n": StaticEL2N,
    "dynamic_el2n": DynamicEL2N,
}
