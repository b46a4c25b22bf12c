"""Pass: the iterator over one pass of a loader."""

from __future__ import annotations

from typing import Any


class Pass:
    """The iterator over one pass; all its state lives in the loader, so that it can be saved at any batch."""

    def __init__(self, loader: Any):
        self._loader, self._number = loader, loader._passes

    def __iter__(self) -> Pass:
        return self

    def __del__(self) -> None:
        if self._loader._passes == self._number:
            self._loader._read.stop()  # a loop that broke off keeps no workers; its state can still be saved

    def __next__(self) -> Any:
        loader, ready = self._loader, None
        if loader._passes != self._number:
            raise ValueError(
                "this iterator is stale: its loader has begun another pass since; iterate over the newest one"
            )
        try:
            loader.ledger.enter("loader")
            try:
                ready = loader._next_ready()
                loader._chain.item = None
                loader._move()
            finally:
                loader.ledger.leave(None if ready is None else "loader")
            return ready.batch
        except BaseException:
            if ready is not None:  # it did not reach the loop
                loader._chain.item = ready
            raise
