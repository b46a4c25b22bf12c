"""What stages are tested with: blocks that are simply there, and ways to drain a stage."""

import numpy as np

from filterloader.data.candidates import Candidates, Decided, Ragged
from filterloader.stages.stage import loaded, saved, size


def blocks_of(lengths, known=True):
    """One block of candidates for each list of lengths, numbered on; without tokens where lengths are not ``known``."""
    blocks, place = [], 0
    for part in lengths:
        offsets = np.append(0, np.cumsum(part)).astype(np.int64)
        tokens = Ragged(np.arange(offsets[-1], dtype=np.int64), offsets)
        block = Candidates(n=len(part), tokens=tokens if known else None, labels=np.arange(len(part)) % 2)
        blocks.append(block.placed(place, None, None))
        place += len(part)
    return blocks


class Given:
    """A first stage: gives blocks (or, ``decided``, blocks that were decided on), and can be saved anywhere."""

    def __init__(self, blocks, decided=False):
        self.blocks, self.decided, self.at, self.item = blocks, decided, 0, None

    def next(self):
        if self.item is None and self.at < len(self.blocks):
            block = self.blocks[self.at].take(np.arange(len(self.blocks[self.at])))
            self.item, self.at = Decided.of(block, len(block)) if self.decided else block, self.at + 1
        return self.item

    @property
    def all_waiting(self):
        return size(self.item)

    @property
    def over(self):
        return self.item is None and self.at == len(self.blocks)

    def clear(self):
        self.at, self.item = 0, None

    def state_dict(self):
        return {"at": self.at, "item": saved(self.item)}

    def load_state_dict(self, state):
        self.at, self.item = state["at"], loaded(state["item"])


def take(stage):
    """The next item, taken; None at the end."""
    item = stage.next()
    stage.item = None
    return item


def drain(stage):
    out = []
    while (item := take(stage)) is not None:
        out.append(item)
    return out


def places(item):
    """Where in the stream the examples of an item stand."""
    item = getattr(item, "decided", item)
    return (item.payload if isinstance(item, Decided) else item).positions.tolist()


def stages_of(stage):
    """A stage and all that stand before it."""
    return [] if stage is None else [stage, *stages_of(getattr(stage, "source", None))]
