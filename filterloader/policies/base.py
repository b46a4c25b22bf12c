"""Policy: what the loader asks of a decision rule, each question with its default."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import numpy as np

from filterloader.data.candidates import Bag, Candidates

GRANULARITIES = ("example", "batch")
_ABSENT = object()


class Policy(ABC):
    """A decision rule: two questions, ``screen`` before the forward pass and ``judge`` after it.

    Derive from it and override what is different; only ``state_dict`` and ``load_state_dict`` must be there. (Any other
    object with ``screen``, ``judge``, ``state_dict`` and ``load_state_dict`` is a policy too: see ``complete``.)

    Attributes:
        gates_forward (bool): whether ``screen`` can ever drop a candidate; where it cannot, batches leave as the
            sampler made them.
        gates_backward (bool): whether ``judge`` can drop anything now. While it cannot, no decision waits for the
            losses, and those on a GPU are learnt from eight reports later. A property may change; False in the class
            itself is for good.
        features (str or callable): the kind of words it wants where the user names none.
        needs_words (bool): whether it reads ``candidates.bag``.
        needs_index (bool): whether it goes by ``example_ids`` as indices in the data set; a loader over a stream
            refuses it.
        needs_labels (bool): whether every example must have a class label.
        predicts_labels (bool): whether it learns the label from the words, which then must not be crossed with it.
        granularities (tuple of str): those it can decide at; a loader of another refuses it.
        stages (tuple of str): the names of its stages in their order; empty where it has none.
        stage (str or None): the stage it is in, one of ``stages``.
        loss_threshold (float or None): the loss it decides by now, in the unit of what is reported; for the ledger.
        survey (method or None): ``survey(blocks)`` looks over the whole data set before a pass. blocks: iterable of
            ``(candidates, scores)`` in the order of the data set (``filterloader.stages.survey.Survey``), any number of
            times, each reading and scoring everything again; ``blocks.examples``, how many; ``blocks.rows``, their
            indices. An error leaves the policy as it was: the next pass surveys again. None: it never does.
        surveys (bool): whether it wants to before the pass that begins now. Asked right after ``begin_pass()``; what
            the policy makes of it is part of its state, since a resumed pass is not surveyed again.
        survey_scores (bool): whether ``score_fn`` scores the examples for it, which costs a forward pass each.
        survey_returns (str): what ``score_fn`` must return for it, for the error that says so.
        example_settings (dict): settings that suit a small test; must be given where the constructor cannot do without.

    Example:
        >>> import numpy as np
        >>> from filterloader import FilteringDataLoader, Policy
        >>> class Even(Policy):
        ...     '''Keeps every second example of the stream.'''
        ...
        ...     gates_backward = needs_words = False
        ...
        ...     def screen(self, candidates):
        ...         return (candidates.positions % 2 == 0).astype(np.float32)
        ...
        ...     def state_dict(self):
        ...         return {}
        ...
        ...     def load_state_dict(self, state):
        ...         pass
        >>> rows = [{"input_ids": [i]} for i in range(8)]
        >>> [batch["input_ids"].tolist() for batch in FilteringDataLoader(rows, batch_size=4, policy=Even())]
        [[[0], [2], [4], [6]]]
    """

    gates_forward: bool = True
    gates_backward: bool = True
    features: Any = "auto"
    needs_words: bool = True
    needs_index: bool = False
    needs_labels: bool = False
    predicts_labels: bool = False
    granularities: tuple[str, ...] = GRANULARITIES
    stages: tuple[str, ...] = ()
    example_settings: ClassVar[dict[str, Any]] = {}
    stage: str | None = None
    loss_threshold: float | None = None
    survey: Callable[[Iterable[tuple[Candidates, Any]]], None] | None = None
    surveys: bool = False
    survey_scores: bool = True
    survey_returns: str = "a tensor [batch, …], or a tuple, list or dict of them"

    @property
    def name(self) -> str:
        """The name of its class, for errors and states."""
        return type(self).__name__

    def screen(self, candidates: Candidates) -> np.ndarray:
        """Before the forward pass: weights float32 ``[n]``, 0 = do not forward."""
        return everything(candidates)

    def judge(self, candidates: Candidates, losses: np.ndarray) -> np.ndarray:
        """After it: weights float32 ``[n]``, 0 = do not backward. losses: float32 ``[n]``, finite, >= 0."""
        return everything(candidates)

    def bind(self, seed: int) -> None:
        """Called once by the loader: a policy without a seed of its own takes this one."""
        return

    def begin_pass(self) -> None:
        """Called before each pass over the stream."""
        return

    def end_pass(self) -> None:
        """Called after each pass; one that is broken off has no end."""
        return

    def scalars(self) -> dict[str, float]:
        """Numbers for the ledger."""
        return {}

    @abstractmethod
    def state_dict(self) -> dict:
        """All that was learnt, as plain containers and arrays."""

    @abstractmethod
    def load_state_dict(self, state: dict) -> None:
        """Go on as the policy that gave ``state``; where it does not fit, raises ValueError and changes nothing."""

    @classmethod
    def example(cls) -> Policy:
        """One with its ``example_settings``, for tests."""
        return cls(**cls.example_settings)


def complete(policy: Any) -> Policy:
    """``policy`` itself where it is a ``Policy``; else a view of it that answers what it lacks with the defaults.

    Args:
        policy: any object with ``screen``, ``judge``, ``state_dict`` and ``load_state_dict``.

    Returns:
        Policy: what the view is asked is asked of the object each time, so changes of the object show at once.

    Raises:
        TypeError: for a class, or an object that lacks one of the four.
    """
    questions = ("screen", "judge", "state_dict", "load_state_dict")
    missing = [name for name in questions if not callable(getattr(policy, name, None))]
    if isinstance(policy, type) or missing:
        lacks = "is a class, not an instance" if isinstance(policy, type) else f"has no {', '.join(missing)}"
        raise TypeError(f"policy={policy!r} {lacks}; pass a policy such as ThreeStage() or Random(0.3)")
    return with_defaults(policy)


def with_defaults(policy: Any) -> Policy:
    """The same as ``complete``, of anything, or nothing: only what is asked must be there."""
    return policy if isinstance(policy, Policy) else _Completed(policy)


class _Completed(Policy):
    """A user's object as a policy: what it has is its own, read anew each time; what it lacks is the default."""

    def __init__(self, given: Any):
        self.given = given

    def __repr__(self) -> str:
        return repr(self.given)

    def __getattribute__(self, name: str) -> Any:
        own = object.__getattribute__(self, "__dict__")
        if name not in ("given", "name") and not name.startswith("__") and "given" in own:
            found = getattr(own["given"], name, _ABSENT)
            if found is not _ABSENT:
                return found
        return object.__getattribute__(self, name)

    @property
    def name(self) -> str:
        return type(self.given).__name__

    def state_dict(self) -> dict:
        return self.given.state_dict()

    def load_state_dict(self, state: dict) -> None:
        self.given.load_state_dict(state)


def may_gate_backward(policy: Policy) -> bool:
    """Whether ``judge`` may drop something sooner or later: a ``gates_backward`` of False in the class is for good."""
    kind = type(policy.given) if isinstance(policy, _Completed) else type(policy)
    return getattr(kind, "gates_backward", True) is not False


def everything(candidates: Candidates) -> np.ndarray:
    """Weights that keep every candidate as it is."""
    return np.ones(len(candidates), np.float32)


def words_of(candidates: Candidates, policy: str) -> Bag:
    """The words of the candidates; without any, raises ValueError in the name of the policy that reads them."""
    if candidates.bag is None:
        raise ValueError(
            f"{policy} reads the words of each example, and these rows hold none; give the loader tokenizer= and "
            "text=, or rows with input_ids, or choose a policy that reads no words "
            f"({others(needs_words=False, needs_labels=False, streams=True)})"
        )
    return candidates.bag


def others(**needs: Any) -> str:
    """Policies that would do, for an error (``registry.fitting``); asked late, as the registry imports them all."""
    from filterloader.policies import registry

    return registry.fitting(**needs)
