"""Recipe: what every policy of a comparison shares."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Recipe:
    """AdamW, a linear schedule by stream progress, batches of similar length padded to their longest row.

    Args:
        text: the text column, or a pair of them.
        label: the column with the class, an int.
        epochs: passes over the data.
        batch_size: rows a batch.
        lr: the peak learning rate.
        warmup: share of the stream over which the rate rises, in [0, 1).
        weight_decay: AdamW's.
        granularity: what the policy decides on, ``"example"`` or ``"batch"``.
        precision: ``"fp32"``, or ``"bf16"``: autocast in the forward pass.

    Raises:
        ValueError: for a precision that is not known.
    """

    text: str | tuple[str, ...]
    label: str = "label"
    epochs: int = 1
    batch_size: int = 32
    lr: float = 5e-5
    warmup: float = 0.06
    weight_decay: float = 0.01
    granularity: str = "example"
    precision: str = "fp32"

    def __post_init__(self) -> None:
        if self.precision not in ("fp32", "bf16"):
            raise ValueError(f"precision is {self.precision!r}: choose 'fp32' or 'bf16'")

    def autocast(self, device: torch.device):
        """The forward pass's precision as a context."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16")
