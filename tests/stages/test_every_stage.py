"""Every stage, and chains of them: interrupted anywhere, saved and loaded after each item, twice in a row."""

import sys
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import numpy as np
import pytest

import filterloader
from filterloader import FixedThreshold, Random, TrainAll
from filterloader.data.portable import pack, unpack
from filterloader.data.position import Position
from filterloader.feedback.ledger import Ledger
from filterloader.feedback.report import LossHook
from filterloader.policies.base import complete
from filterloader.stages import __path__ as ROOM
from filterloader.stages.collate import Collate, Collator
from filterloader.stages.keep_last import KeepLast
from filterloader.stages.refill import Refill
from filterloader.stages.regroup import Regroup
from filterloader.stages.score import Score
from filterloader.stages.screen import Screen
from filterloader.stages.stage import Stage
from filterloader.stages.tokenize import Tokenize
from tests.stages.given import Given, blocks_of, drain, places, stages_of, take

LENGTHS = [[3, 9, 4, 4], [1], [7, 7, 2], [30, 1, 1, 1, 5], [2, 2], [8], [4, 4, 4]]
TOTAL = sum(map(len, LENGTHS))


class Odd(Random):
    """Drops by place, so that what it decides hangs on nothing else."""

    def __init__(self):
        super().__init__(0.5)

    def screen(self, candidates):
        return (candidates.positions % 3 > 0).astype(np.float32)


def given(decided=False):
    return Given(blocks_of(LENGTHS), decided)


def screen(policy, source, refilling=True, by_example=True):
    ledger = Ledger(policy)
    return Screen(source, complete(policy), ledger, features=None, by_example=by_example, refilling=refilling)


def score(source):
    policy = complete(FixedThreshold(2.0))
    ledger = Ledger(policy)
    hook = LossHook(policy, ledger, Position(), granularity="example", single=False)
    return Score(source, policy, ledger, hook, score_fn=lambda batch: (batch["input_ids"] > 0).sum(1).float(),
                 collate=collator(), size=2)  # fmt: skip


def collator():
    return Collator(tokenizer=None, label="label", collate_fn=None, single=False, pin_memory=False)


def grouped():
    return Regroup(given(), 3, 2, drop_last=False)


CHAINS = {
    "screen": lambda: screen(Odd(), given()),
    "screen everything": lambda: screen(TrainAll(), given(), refilling=False),
    "screen batches": lambda: screen(Random(0.5, seed=1), given(), refilling=False, by_example=False),
    "tokenize": lambda: Tokenize(given(decided=True), lambda block: block),
    "score": lambda: score(given(decided=True)),
    "refill": lambda: Refill(given(decided=True), 4, 2, drop_last=False),
    "refill, drop": lambda: Refill(given(decided=True), 4, 2, drop_last=True),
    "regroup": lambda: Regroup(given(), 4, 2, drop_last=False),
    "keep last": lambda: KeepLast(given(decided=True)),
    "collate": lambda: Collate(given(decided=True), collator()),
    "a chain": lambda: Collate(Refill(score(screen(Odd(), grouped())), 4, 1, drop_last=False), collator()),
    "a chain of batches": lambda: Collate(KeepLast(screen(Random(0.5, seed=1), grouped(), False, False)), collator()),
}


def test_every_stage_of_the_room_is_tried():
    tried = {type(stage) for make in CHAINS.values() for stage in stages_of(make())}
    rooms = [import_module(f"filterloader.stages.{info.name}") for info in iter_modules(ROOM)]
    every = {
        kind for room in rooms for kind in vars(room).values() if isinstance(kind, type) and issubclass(kind, Stage)
    }
    every -= {Stage}
    assert every <= tried, f"add to CHAINS: {every - tried}"


@pytest.mark.parametrize("name", CHAINS)
def test_an_item_stays_until_it_is_taken(name):
    stage = CHAINS[name]()
    first = stage.next()
    assert stage.next() is first is stage.item
    stage.item = None
    assert stage.next() is not first
    drain(stage)
    assert stage.next() is None and stage.next() is None and stage.over


@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("name", CHAINS)
def test_saved_and_loaded_after_each_item(name, twice):
    make = CHAINS[name]
    ref = [places(item) for item in drain(make())]
    for stop in range(len(ref) + 1):
        out, stage = [], make()
        for i in range(stop):
            out.append(places(take(stage)))
            if twice and i == stop - 1:
                stage.next()  # one that nobody took
        for _ in range(1 + twice):
            state = unpack(pack(stage.state_dict()))
            generators = [s.policy.state_dict() for s in stages_of(stage) if hasattr(s, "policy")]
            stage = make()
            for s, saved in zip([s for s in stages_of(stage) if hasattr(s, "policy")], generators, strict=True):
                s.policy.load_state_dict(saved)
            stage.load_state_dict(state)
        assert out + [places(item) for item in drain(stage)] == ref, stop


def test_a_state_of_another_chain_is_refused_in_words():
    state = CHAINS["refill"]().state_dict()
    with pytest.raises(ValueError, match=r"of a chain with 'Refill' where this one has 'KeepLast'.*buffer_batches="):
        CHAINS["keep last"]().load_state_dict(state)


class Interrupts:
    """Raises an interrupt at the ``at``-th line that is run in the package."""

    def __init__(self, at):
        self.left = at
        self.root = str(Path(filterloader.__file__).parent)

    def __call__(self, frame, event, arg):
        if not frame.f_code.co_filename.startswith(self.root):
            return None
        if event == "line":
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
        return self


def interrupted(make, at):
    """What comes out when line ``at`` is interrupted, and whether that line was reached."""
    stage, out, watch = make(), [], Interrupts(at)
    while True:
        try:
            sys.settrace(watch)
            item = stage.next()
        except KeyboardInterrupt:
            continue
        finally:
            sys.settrace(None)
        if item is None:
            return out, watch.left <= 0
        out += places(item)
        stage.item = None


@pytest.mark.parametrize("name", sorted(set(CHAINS) - {"screen batches", "a chain of batches"}))  # those flip coins
def test_interrupted_at_any_line_nothing_is_lost_or_doubled(name):
    make, at, reached = CHAINS[name], 1, True
    ref = [place for item in drain(make()) for place in places(item)]
    while reached:
        out, reached = interrupted(make, at)
        assert out == ref, f"interrupted at line {at}"
        at += 11 if "chain" in name else 3
