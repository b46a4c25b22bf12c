"""Progress bar: how far the stream is, and what the filter makes of it, live."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tqdm.auto import tqdm

from filterloader.loader import FilteringDataLoader


class progress_bar:
    """``for batch in progress_bar(loader): …``: one pass with a tqdm bar over its examples.

    The bar says what happens meanwhile: ``kept 21 % · stage filter · saved ~3m12s``. settings: tqdm's own.
    """

    def __init__(self, loader: FilteringDataLoader, **settings: Any):
        self.loader = loader
        self.settings = {"unit": "ex", "unit_scale": True, "dynamic_ncols": True, **settings}

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator:
        batches, total = iter(self.loader), self.loader.total_examples
        place = round(self.loader.progress * total) if total else 0  # a resumed pass begins where it was saved
        before = self.loader.consumed - place
        with tqdm(**{"total": total, "initial": place, **self.settings}) as bar:
            for batch in batches:
                yield batch
                bar.set_postfix_str(self.loader.ledger.summary(), refresh=False)
                bar.update(self.loader.consumed - before - bar.n)
            bar.update(self.loader.consumed - before - bar.n)
