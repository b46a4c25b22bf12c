"""Registry: one table, which everything asks; a policy that is added to it is found by the suites and the errors."""

import importlib
import sys

import pytest

import filterloader
from filterloader import POLICIES
from filterloader.policies.registry import fitting
from tests import zoo
from tests.policies.contract import CHECKS

TOY = '''
"""Toy: keeps every second example."""

from typing import ClassVar

import numpy as np

from filterloader.data.checks import integer
from filterloader.policies.base import Policy
from filterloader.policies.parts.state import Stateful, scalar


class Toy(Stateful, Policy):
    """Keep every ``nth`` example."""

    gates_backward = False
    needs_words = False
    example_settings: ClassVar = {"nth": 2}
    _settings = ("nth",)
    _remembers: ClassVar = {"_seen": scalar(int)}

    def __init__(self, nth):
        self.nth, self._seen = integer("nth", nth), 0

    def screen(self, candidates):
        places = self._seen + np.arange(len(candidates))
        self._seen += len(candidates)
        return (places % self.nth == 0).astype(np.float32)
'''


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """The registry with one policy more, from a file of its own."""
    (tmp_path / "toy.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    kind = importlib.import_module("toy").Toy
    monkeypatch.setitem(POLICIES, "toy", kind)
    yield kind
    sys.modules.pop("toy")


@pytest.mark.parametrize("granularity", zoo.GRANULARITIES)
def test_a_policy_that_is_added_is_found_and_keeps_the_contract(toy, granularity):
    make = zoo.makers()["toy"]
    assert repr(make()) == "Toy(nth=2)"
    for check in CHECKS:
        check(make, granularity)


def test_a_policy_that_is_added_is_public_and_recommended(toy):
    assert filterloader.Toy is toy and "Toy" in filterloader.__all__ and "Toy" in dir(filterloader)
    assert fitting(needs_words=False, granularity="batch").endswith("SelectiveBackprop or Toy")


@pytest.mark.parametrize(
    "needs, names",
    [
        (
            {"needs_words": False, "granularity": "batch", "streams": True},
            "Random, FixedThreshold, AutoThreshold or SelectiveBackprop",
        ),
        (
            {"streams": True},
            "Random, FixedThreshold, AutoThreshold, ThreeStage, ClassBalanced, AutoAssist or SelectiveBackprop",
        ),
        ({"needs_index": True, "needs_words": True}, "SelectionViaProxy"),
        ({"needs_labels": True}, "ClassBalanced or SelectionViaProxy"),
        ({"needs_labels": True, "granularity": "batch"}, ""),
    ],
)
def test_fitting_lists_the_policies_that_would_do(needs, names):
    assert fitting(**needs) == names


def test_everything_but_the_baseline_fits_without_conditions():
    listed = fitting().replace(" or ", ", ").split(", ")
    assert listed == [kind.__name__ for name, kind in POLICIES.items() if name != "train_all"]
