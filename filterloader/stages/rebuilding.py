"""Rebuilding: what frameworks make of a loader, refused or told where its filter or its state would be lost."""

from __future__ import annotations

import gc
import sys
import warnings
from collections.abc import Callable
from typing import Any


class Refusing:
    """The ``collate_fn`` that a loader shows to others: it refuses to make a batch.

    ``accelerate.skip_first_batches``, which the Hugging Face Trainer calls to resume, makes a plain ``DataLoader`` of
    a loader's attributes. That one would not filter, in silence; with this it says so at its first batch.

    Args:
        collate_fn: what makes the batches, kept as an attribute.
    """

    def __init__(self, collate_fn: Callable):
        self.collate_fn = collate_fn

    def __repr__(self) -> str:
        return f"Refusing({self.collate_fn!r})"

    def __call__(self, rows: Any) -> Any:
        raise RuntimeError(
            "a DataLoader was rebuilt from the parts of a FilteringDataLoader, and would not filter (accelerate's "
            "skip_first_batches does so, and with it a Trainer that resumes). Resume with "
            "loader.load_state_dict(state), and tell the framework not to skip batches (Trainer: "
            "ignore_data_skip=True). The function itself is loader.collate_fn.collate_fn"
        )


def tell_if_left_out(loader: Any) -> None:
    """Warn where accelerate is in use and does not hold this loader: its ``save_state`` would leave it out."""
    state = getattr(sys.modules.get("accelerate.state"), "AcceleratorState", None)
    if not getattr(state, "_shared_state", None):
        return
    if not any(type(holder) is list for holder in gc.get_referrers(loader)):
        warnings.warn(
            "accelerate is in use and does not hold this loader, so accelerator.save_state would leave it out: call "
            "accelerator.register_for_checkpointing(loader), or save loader.state_dict() with your own checkpoint",
            stacklevel=3,
        )
