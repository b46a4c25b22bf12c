"""Regroup: puts blocks together anew by length before anything is decided about them."""

from __future__ import annotations

from filterloader.data.candidates import Candidates
from filterloader.stages.refill import Refill


class Regroup(Refill):
    """From blocks as they were read to batches of similar length: as ``Refill``, before anything is decided."""

    def candidates_of(self, item: Candidates) -> tuple[Candidates, int]:
        return item, len(item)

    def item_of(self, batch: Candidates) -> Candidates:
        return batch
