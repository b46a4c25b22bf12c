"""Collator: pads candidates into the batch that a model takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from filterloader.data.batch import Batch
from filterloader.data.candidates import Candidates, Decided, Ragged
from filterloader.kernels import ragged
from filterloader.stages.stage import Stage, saved

_FILL = {"special_tokens_mask": 1, "labels": -100}


class Collator:
    """Makes a batch of candidates: padded columns, or the user's collate function over the untouched rows.

    Padding follows the tokenizer (pad ids, side) or, without one, is 0 on the right; ``labels``, and columns whose
    name ends in ``_labels``, are padded with -100. Dtypes: int64, real numbers float32, one truth value a row bool (a
    label: int64)."""

    def __init__(self, *, tokenizer: Any, label: Any, collate_fn: Any, single: bool, pin_memory: bool):
        self.collate_fn, self.label, self.single = collate_fn, label, single
        self.pin_memory = pin_memory and torch.accelerator.is_available()
        self.masks = "attention_mask" in getattr(tokenizer, "model_input_names", ("attention_mask",))
        self.left = getattr(tokenizer, "padding_side", "right") == "left"
        self.fill = dict(_FILL)
        self.pads_tokens = tokenizer is None or getattr(tokenizer, "pad_token_id", 0) is not None
        for column, name in (("input_ids", "pad_token_id"), ("token_type_ids", "pad_token_type_id")):
            self.fill[column] = getattr(tokenizer, name, 0) or 0

    def __call__(self, candidates: Candidates) -> Any:
        if candidates.batch is not None:
            batch = candidates.batch
        elif candidates.rows is not None:
            batch = self.collate_fn(candidates.rows[0] if self.single else candidates.rows)
        else:
            batch = self._pad(candidates)
        return _pin(batch) if self.pin_memory else batch

    def remake(self, candidates: Candidates) -> list[torch.Tensor]:
        """Token ids, mask and class labels of a padded batch once more."""
        labels = [] if candidates.labels is None else [torch.from_numpy(candidates.labels)]
        return [*self._pad(candidates).values(), *labels]

    def _pad(self, candidates: Candidates) -> Batch:
        tokens: Any = candidates.tokens
        columns = {"input_ids": tokens, **candidates.columns}
        if self.masks and "attention_mask" not in columns:
            columns["attention_mask"] = None
        if "labels" in columns:
            columns["labels"] = columns.pop("labels")  # last, as tokenizers' own batches have it
        width = ragged.longest(tokens.offsets)
        if not self.pads_tokens and int(tokens.offsets[-1] - tokens.offsets[0]) < width * len(candidates):
            raise ValueError(
                f"the tokenizer has no padding token, and texts of up to {width} tokens must be padded to one length; "
                "set one first, e.g. tokenizer.pad_token = tokenizer.eos_token, or use batch_size=1"
            )
        batch = Batch()
        for name, column in columns.items():
            if column is None:
                batch[name] = self._square(name, None, tokens.offsets, width)
            elif isinstance(column, Ragged):
                batch[name] = self._square(
                    name, column.values, column.offsets, width if column.offsets is tokens.offsets else None
                )
            else:
                batch[name] = torch.from_numpy(column)
        batch.label_column = self.label
        if self.single:
            for name, tensor in batch.items():
                batch[name] = tensor[0]
        return batch

    def _square(self, name: str, values: np.ndarray | None, offsets: np.ndarray, width: int | None) -> torch.Tensor:
        """Ragged rows as a rectangle, in page-locked memory where that is wanted; without values, the mask."""
        width = ragged.longest(offsets) if width is None else width
        real = values is not None and values.dtype.kind == "f"
        shape, dtype = (offsets.size - 1, width), np.float32 if real else np.int64
        if self.pin_memory:
            tensor = torch.empty(shape, dtype=torch.float32 if real else torch.int64, pin_memory=True)
            out = tensor.numpy()
        else:
            out = np.empty(shape, dtype)
            tensor = torch.from_numpy(out)
        if values is None:
            ragged.mask_rows(offsets, out, self.left)
        else:
            ragged.pad_rows(
                values, offsets, out, self.fill.get(name, _FILL["labels"] if name.endswith("_labels") else 0), self.left
            )
        return tensor


def _pin(value: Any) -> Any:
    """The same structure with its tensors in page-locked memory."""
    if isinstance(value, torch.Tensor):
        return value.pin_memory()
    if isinstance(value, dict):
        for name, item in value.items():
            value[name] = _pin(item)
        return value
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(_pin, value))
    if isinstance(value, (list, tuple)):
        return type(value)(map(_pin, value))
    return value.pin_memory() if hasattr(value, "pin_memory") else value


class Ready:
    """A batch that is ready for the loop, and what was decided of its examples.

    Attributes: ``decided``, ``batch``, and ``batch_id``, None until a report is expected for it.
    """

    def __init__(self, decided: Decided, batch: Any):
        self.decided, self.batch = decided, batch
        self.batch_id: int | None = None

    @property
    def examples(self) -> int:
        return self.decided.examples


class Collate(Stage):
    """From what was kept to batches; the end of the chain.

    Args:
        source: gives what was decided on.
        collate: makes a batch of candidates.
    """

    def __init__(self, source: Any, collate: Collator):
        super().__init__(source)
        self.collate = collate

    def work(self, taken: Decided) -> None:
        batch = self.collate(taken.payload)
        self.item, self.taken = Ready(taken, batch), None

    def state_dict(self) -> dict[str, Any]:
        """A batch that nobody took is collated again."""
        taken = self.taken if self.item is None else self.item.decided
        return {"stage": "Collate", "taken": saved(taken), "item": None, "source": self.source.state_dict()}
