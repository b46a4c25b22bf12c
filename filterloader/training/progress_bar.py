"""Progress bar: how far the stream is, and what the filter makes of it, live."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tqdm.auto import tqdm

from filterloader.loader import FilteringDataLoader


class progress_bar:
    """One pass over a loader, with a tqdm bar over the examples of its stream.

    Filtered examples count too, so the bar is full at the end of the pass. It says what happens meanwhile: ``kept 21 %
    · trained 20 % · stage filter · saved ~3m12s`` (``loader.ledger.summary()``). The bar of a pass that was resumed
    begins where the pass was saved; in the first pass over a stream of unknown length it has no end.

    Args:
        loader (FilteringDataLoader): whose batches are handed on as they are.
        settings: tqdm's own, such as ``desc="epoch 1"`` or ``disable=True``.

    Example:
        >>> import io
        >>> from filterloader import FilteringDataLoader, Random, progress_bar
        >>> rows = [{"input_ids": [i]} for i in range(900)]
        >>> loader = FilteringDataLoader(rows, batch_size=100, policy=Random(0.3, seed=0))
        >>> shown = io.StringIO()  # leave file= out to see the bar
        >>> batches = list(progress_bar(loader, file=shown, mininterval=0))
        >>> len(batches), "900/900" in shown.getvalue(), "kept 28 %" in shown.getvalue()
        (3, True, True)
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
