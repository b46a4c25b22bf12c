"""Schedule: a learning rate by stream progress, which ends at its end however much was filtered."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR

from filterloader.data.checks import integer, share
from filterloader.data.position import Position
from filterloader.loader import FilteringDataLoader

_WARMUP_RATIO = 0.06
_STEPS = 100_000  # resolution: the schedule is asked at this many places between start and end


def stream_schedule(
    name: str,
    optimizer: torch.optim.Optimizer,
    loader: FilteringDataLoader,
    *,
    epochs: int = 1,
    warmup_ratio: float | None = None,
    total_examples: int | None = None,
    **settings: Any,
) -> LambdaLR:
    """A learning rate by the share of the stream that is consumed, with the shapes of transformers' schedules.

    A schedule that counts optimizer steps never reaches its end where steps are skipped; this one asks the loader how
    far it is (``loader.consumed``, filtered examples included). Call ``scheduler.step()`` after each batch, whether or
    not it was trained on. Its ``state_dict`` goes beside the loader's.

    It ends when ``epochs * total_examples`` examples are consumed, and stays there. A pass that is broken off counts
    with what it consumed, no more. So where passes are cut short (a ``break`` after so many batches), say
    ``total_examples=`` the examples that you go through in one: else the rate is still high when you stop. Where a run
    goes on behind the end of its schedule, it is told once.

    Args:
        name (str): ``"linear"``, ``"cosine"``, ``"constant_with_warmup"``, … (``transformers.SchedulerType``).
        optimizer (torch.optim.Optimizer): the rate of each of its groups is the peak of that group.
        loader (FilteringDataLoader): whose progress the rate follows.
        epochs (int): passes over the stream that the schedule spans, at least 1; 1 by default.
        warmup_ratio (float): share of the schedule over which the rate rises, in [0, 1]; None, the default, is .06.
            (The ``warmup`` of a policy is something else: what it waits for before it filters.)
        total_examples (int): examples in one pass; None, the default, takes the loader's.
        settings: the schedule's own, such as ``num_cycles=1.0`` of ``"cosine"``.

    Returns:
        torch.optim.lr_scheduler.LambdaLR: which may be stepped before the optimizer is.

    Raises:
        ValueError: for a stream of unknown length without ``total_examples``, settings that do not fit, and a schedule
            that is no function of progress (``"reduce_lr_on_plateau"``, ``"greedy"``).

    Example:
        >>> import torch
        >>> from filterloader import FilteringDataLoader, Random, stream_schedule
        >>> rows = [{"input_ids": [i]} for i in range(1000)]
        >>> loader = FilteringDataLoader(rows, batch_size=10, policy=Random(0.3, seed=0))
        >>> optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=0.1)
        >>> scheduler = stream_schedule("linear", optimizer, loader, epochs=2)
        >>> for epoch in range(2):
        ...     for batch in loader:  # some 30 of the 100
        ...         scheduler.step()
        ...     round(scheduler.get_last_lr()[0], 3)
        0.053
        0.0
    """
    if "warmup" in settings:
        old = settings.pop("warmup")
        _deprecated("warmup= of a schedule", f"warmup_ratio={old!r}")
        if warmup_ratio is not None:
            raise ValueError(f"warmup={old!r} is the old name of warmup_ratio={warmup_ratio!r}; do not give both")
        warmup_ratio = old
    warmup_ratio = share("warmup_ratio", _WARMUP_RATIO if warmup_ratio is None else warmup_ratio)
    epochs = integer("epochs", epochs)
    total = loader.total_examples if total_examples is None else integer("total_examples", total_examples)
    if total is None:
        raise ValueError("the length of this stream is not known; pass total_examples=, the examples in one pass")
    rate = optimizer.defaults.get("lr", optimizer.param_groups[0]["lr"])
    shape = _shape_of(name, rate, warmup_ratio, settings)
    return _ByProgress(optimizer, shape, loader.position, max(epochs * total, 1))


def get_scheduler(
    name: str, optimizer: torch.optim.Optimizer, loader: FilteringDataLoader, **settings: Any
) -> LambdaLR:
    """The old name of ``stream_schedule``, for now.

    Args:
        name, optimizer, loader: those of ``stream_schedule``.
        settings: those of ``stream_schedule``; ``warmup`` is its ``warmup_ratio``.
    """
    renamed = ", warmup_ratio= instead of warmup=" if "warmup" in settings else ""
    _deprecated("get_scheduler", f"stream_schedule(…) with the same arguments{renamed}")
    if "warmup" in settings:
        settings["warmup_ratio"] = settings.pop("warmup")
    return stream_schedule(name, optimizer, loader, **settings)


def _deprecated(old: str, new: str) -> None:
    """Warn the caller of our caller, which Python shows once a line."""
    warnings.warn(f"{old} is going to be removed; write {new}", DeprecationWarning, stacklevel=3)


def _shape_of(name: str, rate: float, warmup_ratio: float, settings: dict[str, Any]) -> Callable[[int], float]:
    """What transformers multiplies a rate with at each of ``_STEPS`` steps."""
    from transformers import get_scheduler as by_step
    from transformers.trainer_utils import SchedulerType

    names = [kind.value for kind in SchedulerType]
    if name not in names:
        raise ValueError(f"schedule {name!r} is not known; choose one of {', '.join(names)}")
    stand_in = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)
    try:
        steps = by_step(
            name,
            stand_in,
            num_warmup_steps=round(warmup_ratio * _STEPS),
            num_training_steps=_STEPS,
            scheduler_specific_kwargs=settings,
        )
    except TypeError as error:
        raise ValueError(f"schedule {name!r} does not take these settings: {error}") from None
    if not isinstance(steps, LambdaLR):
        raise ValueError(f"schedule {name!r} is no function of progress; choose e.g. 'linear' or 'cosine'")
    return steps.lr_lambdas[0]


class _ByProgress(LambdaLR):
    """A schedule that may be stepped before the optimizer is: the first batch may be one to skip.

    Args:
        optimizer: whose rates it sets.
        shape: what a rate is multiplied with at each of ``_STEPS`` steps.
        position: where the loader is.
        end: examples consumed at the end of the schedule.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, shape: Callable[[int], float], position: Position, end: int):
        self._position, self._end, self._told = position, end, False
        super().__init__(optimizer, lambda _: shape(round(min(position.consumed / end, 1.0) * _STEPS)))

    def step(self, epoch: int | None = None) -> None:
        if self._position.consumed > self._end and not self._told:
            self._told = True
            warnings.warn(
                f"the learning rate is at the end of its schedule, {self._end} examples, and the run goes on; give "
                "stream_schedule the epochs= and total_examples= that you train for",
                stacklevel=2,
            )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
            super().step(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Where the schedule stands is the loader's to save; this is what torch saves of any schedule."""
        own = ("_position", "_end", "_told")
        return {name: value for name, value in super().state_dict().items() if name not in own}
