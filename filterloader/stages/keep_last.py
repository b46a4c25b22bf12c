"""KeepLast: holds one kept batch back, so that the last one of a pass is known for the last."""

from __future__ import annotations

from typing import Any

from filterloader.stages.stage import Stage, loaded, saved, size


class KeepLast(Stage):
    """Whole batches, each handed on when the next one that is kept is there, or when the stream is at its end."""

    def __init__(self, source: Any):
        super().__init__(source)
        self.kept: Any = None

    def make(self) -> None:
        while self.item is None and self.pull():
            self.item, self.kept, self.taken = self.kept, self.taken, None
        if self.item is None:
            self.item, self.kept = self.kept, None

    @property
    def waiting(self) -> int:
        return super().waiting + size(self.kept)

    def clear(self) -> None:
        self.kept = None
        super().clear()

    def own_state(self) -> dict[str, Any]:
        return {"kept": saved(self.kept)}

    def load_own_state(self, state: dict[str, Any]) -> None:
        self.kept = loaded(state["kept"])
