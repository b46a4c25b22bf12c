"""Decisions for a given seed stay the same from version to version: hashes of what each said of one stream."""

import hashlib
import json
import warnings

import pytest

from filterloader import DynamicEL2N, Random, SelectionViaProxy, ThreeStage
from tests.conftest import everywhere
from tests.zoo import MAKE, steps

SAID = {
    "train_all / example": "d9200fa1923af06e",
    "train_all / batch": "565c8e29998609e4",
    "random / example": "e09c9ef05da7dc23",
    "random / batch": "35e7c2f29dae7fec",
    "fixed_threshold / example": "0ddd4dd9f85a7388",
    "fixed_threshold / batch": "cc67f8a7ebb79641",
    "auto_threshold / example": "2190e7ebd525414c",
    "auto_threshold / batch": "c4cbe03b7776cd94",
    "three_stage / example": "2a1231403afaa93c",
    "three_stage / batch": "f6f3a1989811e749",
    "three_stage, forward only / example": "7b01d11323aa7d05",
    "three_stage, forward only / batch": "4197e33c59edb40c",
    "three_stage, bernoulli / example": "1b13556114429b35",
    "three_stage, bernoulli / batch": "260ac6511c22dd3a",
    "three_stage, own predictor / example": "a0a91397079bfc4d",
    "three_stage, own predictor / batch": "48e632121b5832b8",
    "reference_script / example": "973f31a2602feed7",
    "reference_script / batch": "1cc1f12a5837d784",
    "class_balanced / example": "c037780b955dc643",
    "class_balanced, forgetting / example": "b4baf67bfbdcf0b1",
    "autoassist / example": "e3a6313d3c329111",
    "autoassist / batch": "1694e6e29b193279",
    "autoassist, paper / example": "581ecb57f0beb78d",
    "autoassist, paper / batch": "19c92163dc1e99ad",
    "infobatch / example": "940aa20d1a331c43",
    "selective_backprop / example": "ac48622b741b1257",
    "selective_backprop / batch": "ec705d5a0d7cf0c6",
    "selective_backprop, warm-up / example": "44ac5dfaaf3dc1f2",
    "selective_backprop, warm-up / batch": "3ba056c5ed90311c",
    "infobatch, annealing / example": "33ea1522759ed506",
    "selection_via_proxy / example": "244609adcd891414",
    "selection_via_proxy, centres / example": "87df9fe872e1ef6e",
    "static_el2n / example": "858e273a231a5178",
    "dynamic_el2n / example": "87ca9a442f8207d6",
    "dynamic_el2n, random / example": "e883633bc5f31aee",
}
BOUND = [
    (lambda: Random(0.5), "39b00d5e4c8bbfa0"),
    (lambda: ThreeStage(warmup=50, audit=0.3), "ce682c1a848fe513"),
    (lambda: SelectionViaProxy(0.4, score="forgetting", epochs=3), "f130a178c7f0beb1"),
    (lambda: DynamicEL2N(0.4, score="loss", tau=0, period=2), "ad7263af6fd70855"),
]


def digest(policy, granularity):
    """Of all weights and stages over four passes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        said = [answer[:3] for answer in steps(policy, granularity, stop=240)]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]


@pytest.mark.parametrize("name", SAID)
def test_what_a_policy_said_it_says_today(name):
    policy, granularity = name.split(" / ")
    assert digest(MAKE[policy](), granularity) == SAID[name]


@pytest.mark.parametrize("make, said", BOUND)
def test_with_the_seed_of_the_loader_too(make, said):
    policy = make()
    policy.bind(3)
    assert digest(policy, "example") == said


def test_no_policy_is_left_out():
    known = {name.split(" / ")[0] for name in SAID}
    missing = [(name, g) for name, g in everywhere(MAKE) if name not in known]
    assert not missing, f"add to SAID: { {f'{name} / {g}': digest(MAKE[name](), g) for name, g in missing} }"
