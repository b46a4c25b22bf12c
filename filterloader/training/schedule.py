"""Learning rate by stream progress: a schedule that ends at its end however much was filtered."""

from __future__ import annotations

import warnings

import torch
from torch.optim.lr_scheduler import LambdaLR

from filterloader.data.checks import integer, share
from filterloader.loader import FilteringDataLoader

_STEPS = 100_000  # resolution: the schedule is asked at this many places between start and end


def get_scheduler(
    name: str,
    optimizer: torch.optim.Optimizer,
    loader: FilteringDataLoader,
    *,
    epochs: int = 1,
    warmup: float = 0.06,
    total_examples: int | None = None,
    **settings,
) -> LambdaLR:
    """A transformers schedule over the share of the stream consumed, not over optimizer steps.

    A step-counting schedule never reaches its end where steps are skipped; this one asks the loader how far it is. Call
    ``scheduler.step()`` after each batch, whether or not it was trained on.

    name: ``"linear"``, ``"cosine"``, ``"constant_with_warmup"``, … (``transformers.SchedulerType``). epochs: passes over the
    stream that the schedule spans. warmup: share of it over which the rate rises. total_examples: examples in one pass, for a
    stream whose length is not known. settings: the schedule's own, e.g. ``num_cycles``.

    Raises ValueError for a stream of unknown length without ``total_examples``, and for a schedule that is no function of
    progress (``reduce_lr_on_plateau``, ``greedy``).
    """
    from transformers import get_scheduler as by_step
    from transformers.trainer_utils import SchedulerType

    epochs, warmup = integer("epochs", epochs), share("warmup", warmup)
    total = loader.total_examples if total_examples is None else integer("total_examples", total_examples)
    if total is None:
        raise ValueError("the length of this stream is not known; pass total_examples=, the examples in one pass")
    names = [kind.value for kind in SchedulerType]
    if name not in names:
        raise ValueError(f"schedule {name!r} is not known; choose one of {', '.join(names)}")
    rate = optimizer.defaults.get("lr", optimizer.param_groups[0]["lr"])
    stand_in = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)
    try:
        steps = by_step(
            name,
            stand_in,
            num_warmup_steps=round(warmup * _STEPS),
            num_training_steps=_STEPS,
            scheduler_specific_kwargs=settings,
        )
    except TypeError as error:
        raise ValueError(f"schedule {name!r} does not take these settings: {error}") from None
    if not isinstance(steps, LambdaLR):
        raise ValueError(f"schedule {name!r} is no function of progress; choose e.g. 'linear' or 'cosine'")
    shape = steps.lr_lambdas[0]

    def at_progress(_: int) -> float:
        return shape(round(min(loader.consumed / max(epochs * total, 1), 1.0) * _STEPS))

    return _ByProgress(optimizer, at_progress)


class _ByProgress(LambdaLR):
    """A schedule that may be stepped before the optimizer is: the first batch may be one to skip."""

    def step(self, epoch: int | None = None) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
            super().step(epoch)
