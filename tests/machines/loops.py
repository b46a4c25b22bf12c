"""Loops: a training loop cut into single steps, which can be stopped, saved and loaded between any two of them."""

import warnings
from dataclasses import dataclass

import torch

from tests.conftest import losses_of, through_a_file
from tests.machines.differences import difference

REPORTS = ("each", "each, by batch", "some", "late", "never")
STOPS = ("fresh", "same", "rewind", "fresh, iterate", "same, iterate")
_SCRAP = 2  # batches trained on before a loader is wound back


@dataclass(frozen=True)
class Script:
    """What a loop does. passes: batches taken of each pass before it is broken off; None: all. reports: which are made.

    - ``each``: right after each batch, by order; ``each, by batch``: the same, naming the batch.
    - ``some``: two of three batches, the third never.
    - ``late``: every other batch waits until two more are out, so that reports are out of order; ``never``: none.
    """

    passes: tuple = (None, None)
    reports: str = "each"


class Loop:
    """Runs a script step by step: ``iter``, then ``next`` until the pass is over or broken off, then ``iter`` again.

    setup: what builds the loader. Attributes: ``trace``, what each step brought; ``saved``, the states asked for;
    ``complaints``, where a state was another as soon as it was loaded.
    """

    def __init__(self, setup, script):
        self.setup, self.script = setup, script
        self.loader = setup.build()
        self.trace, self.saved, self.complaints = [], {}, []
        self.number, self.taken, self.handed_out = -1, 0, 0
        self.inside, self.iterator, self.waiting = False, None, []
        self.stops = 0
        self.looking = False  # whether states are compared, which takes time

    # -- steps ---------------------------------------------------------------------------------------------------------

    @property
    def over(self):
        return not self.inside and self.number + 1 == len(self.script.passes)

    def step(self):
        """One step of the script; what it brought goes into the trace."""
        brought = self._take() if self.inside else self._begin()
        self.trace.append(brought | self.place())

    def place(self):
        """All that a loop can read off its loader."""
        loader = self.loader
        at = {"epoch": loader.epoch, "consumed": loader.consumed, "progress": loader.progress}
        return at | {"total": loader.total_examples, "ledger": loader.ledger.scalars()}

    def _begin(self):
        if self.iterator is None and self.number >= 0 and self.taken == self.script.passes[self.number]:
            self.iterator = iter(self.loader)  # a loader that was loaded goes on first, and is then broken off
        self.number, self.taken, self.inside, self.waiting = self.number + 1, 0, True, []
        if self.setup.takes_epochs:
            self.loader.set_epoch(self.number)
        self.iterator = iter(self.loader)
        return {"step": f"pass {self.number} begins"}

    def _take(self):
        if self.iterator is None:
            self.iterator = iter(self.loader)
        batch = next(self.iterator, None)
        if batch is None:
            late, self.waiting, self.inside = self.waiting, [], False
            return {"step": f"pass {self.number} is over", "losses": [self._report(b, named=True) for b in late]}
        self.taken += 1
        losses = self._reports(batch)
        self.handed_out += 1
        self.inside = self.taken != self.script.passes[self.number]
        tensors = {name: value.clone() for name, value in batch.items()}
        return {"step": f"pass {self.number}, batch {self.taken}", "batch": tensors, "losses": losses}

    def _reports(self, batch):
        how, number = self.script.reports, self.handed_out
        if how == "each":
            return [self._report(batch, named=False)]
        if how == "never" or (how == "some" and number % 3 == 2):
            return []
        if how != "late":
            return [self._report(batch, named=True)]
        if number % 2:
            return [self._report(batch, named=True)]
        self.waiting.append(batch)
        return [self._report(self.waiting.pop(0), named=True)] if len(self.waiting) == 2 else []

    def _report(self, batch, *, named):
        report = self.loader.report if named and hasattr(self.loader, "report") else self.loader.hook.report
        loss = report(losses_of(batch), batch) if named else report(losses_of(batch))
        return None if loss is None else float(loss)

    # -- stopping ------------------------------------------------------------------------------------------------------

    def stop(self, how):
        """Save, load by one of ``STOPS``, and note it where the state is not as it was."""
        where = f"{self.where}, {how!r}"
        saved, random = self.loader.state_dict(), torch.get_rng_state()
        self.stops += 1
        if self.stops % 2:  # the others show whether a state is a copy
            saved = through_a_file(saved)
        if how == "rewind":
            self._scrap()
        if how.startswith("fresh"):
            self.loader = self.setup.build()
        self.iterator = None
        torch.manual_seed(777)  # a script that was restarted stands anywhere
        if not self.setup.seeded:
            torch.set_rng_state(random)
        self.loader.load_state_dict(saved)
        self._compare(saved, f"{where}: loaded, and saved at once")
        if "iterate" in how and self.inside:
            self.iterator = iter(self.loader)
            self._compare(saved, f"{where}: loaded, iterated, and saved before the first batch")

    @property
    def where(self):
        return f"after step {len(self.trace) - 1} ({self.trace[-1]['step'] if self.trace else 'nothing yet'})"

    def _compare(self, saved, when):
        if not self.looking:
            return
        found = difference(saved, self.loader.state_dict(), random_states=not self.setup.seeded)
        if found is not None:
            self.complaints.append(f"{when}, the state is another: saved | now: {found}")

    def _scrap(self):
        """Train on a little more, of which nothing shall be left."""
        if self.iterator is None and self.inside:
            self.iterator = iter(self.loader)
        for _ in range(_SCRAP if self.inside else 0):
            batch = next(self.iterator, None)
            if batch is not None:
                self.loader.hook.report(losses_of(batch), batch)


def run(setup, script, stops=None, save_at=(), looking=False):
    """The loop of a script from its beginning to its end. stops: names of ``STOPS`` by the number of steps done before.

    save_at: after how many steps to note the state as well. looking: whether to compare states when
    stopping. Returns the ``Loop``.
    """
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        loop = Loop(setup, script)
        loop.looking = looking
        while True:
            done = len(loop.trace)
            if done in save_at:
                loop.saved[done] = through_a_file(loop.loader.state_dict())
            for how in (stops or {}).get(done, ()):
                loop.stop(how)
            if loop.over:
                return loop
            loop.step()


def demand_same(setup, script, stops, *, states=False):
    """Run a script with stops and without, and demand the same of every step.

    states: demand, too, that a state is the same once it is loaded, and that both runs save the same later on.
    """
    save_at = {place + 1 for place in stops} | {place + 3 for place in stops} if states else set()
    reference = run(setup, script, save_at=save_at)
    stopped = run(setup, script, stops, save_at=save_at, looking=states)
    told = f"{setup} {script}\n{_told(stops)}\n"
    for number, (want, got) in enumerate(zip(reference.trace, stopped.trace, strict=False)):
        found = difference(want, got)
        assert found is None, f"{told}step {number} ({want['step']}): never stopped | stopped: {found}"
    assert len(reference.trace) == len(stopped.trace), (
        f"{told}the run that never stopped took {len(reference.trace)} steps, the stopped one {len(stopped.trace)}"
    )
    if not states:
        return
    told += "every step was the same, but "
    assert not stopped.complaints, told + stopped.complaints[0]
    for place in sorted(reference.saved):
        found = difference(reference.saved[place], stopped.saved[place], random_states=not setup.seeded)
        step = reference.trace[place - 1]["step"]
        assert found is None, f"{told}the state after step {place - 1} ({step}): never stopped | stopped: {found}"


def _told(stops):
    """Stops as a line that can be read."""
    alike = set(stops.values())
    if len(stops) > 20 and len(alike) == 1:
        return f"stopped after each step, {', '.join(alike.pop())}"
    return f"stops {dict(sorted(stops.items()))}"
