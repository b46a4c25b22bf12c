"""TrainAll: keeps everything; the baseline of every table."""

from __future__ import annotations

from filterloader.policies.base import Policy
from filterloader.policies.parts.state import Stateful


class TrainAll(Stateful, Policy):
    """Keep everything: the loader yields what a ``DataLoader`` would have yielded, batch for batch.

    Example:
        >>> from filterloader import FilteringDataLoader, TrainAll
        >>> loader = FilteringDataLoader([{"input_ids": [1, 2]}] * 10, batch_size=4, policy=TrainAll())
        >>> [len(batch["input_ids"]) for batch in loader]
        [4, 4, 2]
    """

    gates_forward = False
    gates_backward = False
    needs_words = False
