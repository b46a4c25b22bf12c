"""Systems: the rows of the table, each a policy with its budget and settings, and how the run around it differs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from filterloader.policies import POLICIES

LADDER = (0.1, 0.2, 0.3, 0.5, 0.7)  # what the two controls keep
CONTROLS = ("random", "class_balanced")
BASELINE = ("train_all", "1")


@dataclass(frozen=True)
class System:
    """A row. policy: its name in POLICIES. budget: what tells it from other rows of that policy. build: (class, epochs)
    -> policy. scored: the loader gets the current model as ``score_fn`` (None: where the policy surveys the data set
    with it). frozen: only the last layer and the head are trained. epochs, batch_size: others than the task's. single:
    when to train one example a step (reproduction.py): in the ``"filter"`` stage, in ``"all"``, or from a share of the
    run on, keeping a share from then on (a pair).
    """

    policy: str
    budget: str
    build: Callable[[type, int], Any]
    granularity: str = "example"
    scored: bool | None = None
    frozen: bool = False
    batch_size: int | None = None
    epochs: int | None = None
    single: str | tuple[float, float] | None = None

    @property
    def name(self) -> str:
        return f"{self.policy}/{self.budget}"

    def make(self, epochs: int) -> Any:
        """A fresh policy. Raises ValueError where the library has none of that name, or it takes other settings."""
        if self.policy not in POLICIES:
            raise ValueError(f"POLICIES has no {self.policy!r}")
        try:
            return self.build(POLICIES[self.policy], epochs)
        except TypeError as error:
            raise ValueError(f"{self.policy} does not take these settings ({error})") from error


def keeping(policy: str, keep: float) -> System:
    """A control, or anything else that is told which share to keep."""
    return System(policy, f"{keep:g}", lambda kind, _: kind(keep))


def _rows() -> list[System]:
    def plain(kind, _):
        return kind()

    rows = [System(*BASELINE, plain)]
    rows += [keeping(control, keep) for control in CONTROLS for keep in LADDER]
    rows += [
        System("fixed_threshold", f"{t:g}", lambda kind, _, t=t: kind(t), scored=True) for t in (0.1, 0.3, 0.5, 0.7)
    ]
    rows += [
        System("auto_threshold", "default", plain, scored=True),
        System("three_stage", "example", plain),
        System("three_stage", "scored", plain, scored=True),
        System("three_stage", "cutoff 0.5", lambda kind, _: kind(cutoff=0.5)),
        System("three_stage", "warmup None", lambda kind, _: kind(warmup=None)),
        System("three_stage", "forward gate", lambda kind, _: kind(backward_gate=False)),
        System("three_stage", "batch", plain, granularity="batch"),
        System("three_stage", "script", lambda kind, _: kind.reference_script(), scored=True, batch_size=8),
        System("autoassist", "default", plain),
        System("autoassist", "paper", lambda kind, _: kind(warmup="paper")),  # filters in the first pass too
        System("selection_via_proxy", "0.3", lambda kind, _: kind(0.3)),
        System("static_el2n", "0.5", lambda kind, _: kind(0.5)),
        System("dynamic_el2n", "0.5", lambda kind, epochs: kind(0.5, tau=_full_passes(epochs), period=1)),
        System("dynamic_el2n", "0.2", lambda kind, epochs: kind(0.2, tau=_full_passes(epochs), period=1)),
        System(
            "infobatch", "default", lambda kind, epochs: kind(epochs=epochs if epochs > 2 else None)
        ),  # of two passes it would prune none
        System("selective_backprop", "default", plain, scored=True),
        System("train_all", "frozen", plain, frozen=True),
        System("three_stage", "frozen", plain, frozen=True),
    ]
    return rows


def _full_passes(epochs: int) -> int:
    """Passes on everything before the first scoring: none where there are so few that they would be most of the run."""
    return 1 if epochs >= 4 else 0


SYSTEMS = _rows()


def choose(systems: Sequence[System], names: Iterable[str] | None, epochs: int = 2) -> tuple[list[System], list[str]]:
    """The rows of these policies (or ``policy/budget``), the baseline and the controls always with them, and notes on
    those that cannot be built here. Raises ValueError for a name that no row has.
    """
    wanted = None if names is None else set(names)
    known = {system.policy for system in systems} | {system.name for system in systems}
    if wanted is not None and wanted - known:
        raise ValueError(
            f"no row is called {sorted(wanted - known)}: choose from {', '.join(system.name for system in systems)}"
        )
    always = {"/".join(BASELINE), *(control for control in CONTROLS)}
    rows, notes = [], []
    for system in systems:
        if wanted is None or {system.policy, system.name} & (wanted | always):
            try:
                system.make(epochs)
                rows.append(system)
            except ValueError as error:
                notes.append(f"{system.name} is left out: {error}")
    return rows, notes


def freeze(model) -> None:
    """What a user writes to train only the last layer and the head: no gradient for the embeddings and all lower
    layers.
    """
    base = model.base_model
    layers = max((part for part in base.modules() if type(part).__name__ == "ModuleList"), key=len)
    for parameter in base.parameters():
        parameter.requires_grad_(False)
    for parameter in layers[-1].parameters():
        parameter.requires_grad_(True)
    pooler = getattr(base, "pooler", None)
    if pooler is not None:
        pooler.requires_grad_(True)
