"""Stage: one step of the chain; it keeps its item until somebody takes it, so that an interrupt loses nothing."""

from __future__ import annotations

from typing import Any

from filterloader.data.candidates import Candidates, Decided


class Stage:
    """What every step between the data set and a batch has in common.

    A stage holds at most one item of its source (``taken``) and one of its own (``item``). It works on what it has
    taken and replaces it by what became of it in one assignment; the stage behind it takes the item in one
    assignment, too. So an interrupt finds every example in just one place, and the next call goes on from there. Any
    other error drops what was being worked on: the pass goes on behind it, as that of a ``DataLoader`` does.

    Args:
        source: the stage before this one.

    A stage of its own overrides ``work``; one that holds more than that, also ``waiting`` and ``own_state``.
    """

    def __init__(self, source: Any):
        self.source = source
        self.taken: Any = None
        self.item: Any = None

    def next(self) -> Any:
        """What is at hand, the same until it is taken (``taken, source.item = source.item, None``); None at the end."""
        if self.item is None:
            try:
                self.make()
            except Exception:
                self.taken = None
                raise
        return self.item

    def make(self) -> None:
        """Work on items of the source until there is an item here, or the source is at its end."""
        source = self.source
        while self.item is None:
            if self.taken is None:  # as in pull, which costs a call
                if source.next() is None:
                    return
                self.taken, source.item = source.item, None
            self.work(self.taken)

    def pull(self) -> bool:
        """Whether there is something of the source to work on."""
        if self.taken is None and self.source.next() is not None:
            self.taken, self.source.item = self.source.item, None
        return self.taken is not None

    def work(self, taken: Any) -> None:
        """Replace what was taken by what becomes of it: ``self.item, self.taken = …, None``."""
        raise NotImplementedError

    # -- where the stream stands ---------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Examples that are held here: neither dropped nor handed on."""
        return size(self.taken) + size(self.item)

    @property
    def all_waiting(self) -> int:
        """The same of this stage and all before it."""
        return self.waiting + self.source.all_waiting

    @property
    def over(self) -> bool:
        """Whether nothing will come any more, as far as that is known without reading on."""
        return self.source.over and not self.waiting

    def ends(self) -> bool:
        """Whether nothing will come any more, told by reading on where it is not known."""
        return self.source.ends() and self.over

    def clear(self) -> None:
        """Forget what is held, here and in all stages before."""
        self.taken = self.item = None
        self.source.clear()

    # -- state ---------------------------------------------------------------------------------------------------------

    def own_state(self) -> dict[str, Any]:
        """What this stage holds beside its two items."""
        return {}

    def load_own_state(self, state: dict[str, Any]) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {
            "stage": type(self).__name__,
            "taken": saved(self.taken),
            "item": saved(self.item),
            **self.own_state(),
            "source": self.source.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises ValueError where the state is of another chain."""
        check_stage(self, state)
        self.load_own_state(state)
        self.source.load_state_dict(state["source"])
        self.taken, self.item = loaded(state["taken"]), loaded(state["item"])


def check_stage(stage: Any, state: dict[str, Any]) -> None:
    """Raise ValueError where a state is that of another kind of stage."""
    if state["stage"] != type(stage).__name__:
        raise ValueError(
            f"the saved state is of a chain with {state['stage']!r} where this one has {type(stage).__name__!r}; build "
            "the loader with the same policy, granularity=, buffer_batches=, features= and score_fn="
        )


def size(item: Any) -> int:
    """Examples in an item; 0 for None."""
    return 0 if item is None else item.examples


def saved(item: Candidates | Decided | None) -> dict[str, Any] | None:
    """An item as plain containers."""
    return None if item is None else item.state_dict()


def loaded(state: dict[str, Any] | None) -> Candidates | Decided | None:
    """The item that ``saved`` was given."""
    if state is None:
        return None
    return Decided.from_state(state) if "payload" in state else Candidates.from_state(state)
