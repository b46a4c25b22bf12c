"""Registry: every policy by its name, and which of them would do where another does not."""
# ruff: noqa: I001

# The table: one line a policy, controls first. Its name in POLICIES is that of its file.
from filterloader.policies.train_all import TrainAll as TrainAll
from filterloader.policies.random import Random as Random
from filterloader.policies.fixed_threshold import FixedThreshold as FixedThreshold
from filterloader.policies.auto_threshold import AutoThreshold as AutoThreshold
from filterloader.policies.three_stage import ThreeStage as ThreeStage
from filterloader.policies.class_balanced import ClassBalanced as ClassBalanced
from filterloader.policies.autoassist import AutoAssist as AutoAssist
from filterloader.policies.infobatch import InfoBatch as InfoBatch
from filterloader.policies.selective_backprop import SelectiveBackprop as SelectiveBackprop
from filterloader.policies.selection_via_proxy import SelectionViaProxy as SelectionViaProxy
from filterloader.policies.static_el2n import StaticEL2N as StaticEL2N
from filterloader.policies.dynamic_el2n import DynamicEL2N as DynamicEL2N

from typing import Any

from filterloader.policies.base import Policy as Policy

POLICIES: dict[str, type[Any]] = {
    kind.__module__.rpartition(".")[2]: kind
    for kind in list(globals().values())
    if isinstance(kind, type) and issubclass(kind, Policy) and kind is not Policy
}


def fitting(
    *,
    granularity: str | None = None,
    streams: bool = False,
    needs_words: bool | None = None,
    needs_index: bool | None = None,
    needs_labels: bool | None = None,
) -> str:
    """The policies that would do, as an error lists them: ``"Random, FixedThreshold or AutoThreshold"``; never one that
    drops nothing.

    Args:
        granularity (str): ``"example"`` or ``"batch"``, which it must be able to decide at; None: whichever.
        streams (bool): whether it must work on a data set without indices.
        needs_words, needs_index, needs_labels (bool): what it may or must need; None: whichever.
    """
    wanted = {"needs_words": needs_words, "needs_index": needs_index, "needs_labels": needs_labels}
    if streams:
        wanted["needs_index"] = False
    names = [
        kind.__name__
        for kind in POLICIES.values()
        if (kind.gates_forward or kind.gates_backward)
        and (granularity is None or granularity in kind.granularities)
        and (not streams or kind.survey is None)
        and all(value is None or getattr(kind, name) is value for name, value in wanted.items())
    ]
    return f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else "".join(names)
