"""A report finds its batch, of whatever kind, wherever it was moved or copied; where that is in doubt, it is told."""

import collections
import copy
import dataclasses
import pickle
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from filterloader import FilteringDataLoader
from filterloader.data.batch import Batch
from filterloader.feedback import pairing, trace
from tests.conftest import Spy, build, numbered, own, right, spied, stack, through_a_file

# -- whatever moved it -------------------------------------------------------------------------------------------------


def rebuilt(batch):
    """What the Trainer does with its inputs; on a GPU each tensor is another."""
    return type(batch)({name: column.clone() for name, column in batch.items()})


def by_trainer(batch, tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate", reason="the Trainer needs accelerate")
    arguments = transformers.TrainingArguments(str(tmp_path), use_cpu=True, report_to=[])
    trainer = transformers.Trainer(torch.nn.Linear(1, 1), arguments)
    return trainer._prepare_inputs(batch)


def by_accelerate(batch, tmp_path):
    operations = pytest.importorskip("accelerate").utils.operations
    return operations.send_to_device(batch, torch.device("cpu"))


def cloned_by_accelerate(batch, tmp_path):
    operations = pytest.importorskip("accelerate").utils.operations
    return operations.recursively_apply(torch.clone, batch)


def by_lightning(batch, tmp_path):
    apply_func = pytest.importorskip("lightning_fabric.utilities.apply_func", reason="lightning is not installed")
    return apply_func.move_data_to_device(batch, torch.device("cpu"))


def cloned_by_lightning(batch, tmp_path):
    utilities = pytest.importorskip("lightning_utilities", reason="lightning is not installed")
    return utilities.apply_to_collection(batch, torch.Tensor, torch.clone)


MOVES = {
    "not at all": lambda batch, _: batch,
    "to": lambda batch, _: batch.to("cpu"),
    "rebuilt as the Trainer does": lambda batch, _: rebuilt(batch),
    "cloned by hand": lambda batch, _: {name: column.clone() for name, column in batch.items()},
    "a dict of it": lambda batch, _: dict(batch),
    "deep copy": lambda batch, _: copy.deepcopy(batch),
    "pickled": lambda batch, _: pickle.loads(pickle.dumps(batch)),
    "a deep copy of a dict": lambda batch, _: copy.deepcopy(dict(batch)),
    "without labels": lambda batch, _: {"input_ids": batch["input_ids"].clone()},
    "the inputs alone": lambda batch, _: batch["input_ids"].clone(),
    "a pair of copies": lambda batch, _: (batch["input_ids"].clone(), batch["labels"].clone()),
    "arrays": lambda batch, _: {name: column.numpy().copy() for name, column in batch.items()},
    "other dtypes": lambda batch, _: {"input_ids": batch["input_ids"].clone(), "labels": batch["labels"].half()},
    "nested": lambda batch, _: {"inputs": [dict(rebuilt(batch))], "more": "text"},
    "the Trainer": by_trainer,
    "accelerate": by_accelerate,
    "accelerate, cloned": cloned_by_accelerate,
    "lightning": by_lightning,
    "lightning, cloned": cloned_by_lightning,
}


def silently(do):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        do()


@pytest.mark.parametrize("move", MOVES)
def test_a_moved_batch_is_found_out_of_order(move, tmp_path):
    loader, spy = spied(24)
    batches = list(loader)
    for batch in batches[::-1]:
        moved, losses = MOVES[move](batch, tmp_path), own(batch)
        silently(lambda moved=moved, losses=losses: loader.hook.report(losses, moved))
    right(spy, range(24))


@pytest.mark.parametrize("move", ["rebuilt as the Trainer does", "cloned by hand", "accelerate, cloned"])
def test_a_moved_batch_is_found_while_others_are_skipped_and_fetched_ahead(move, tmp_path):
    loader, spy = spied(80)
    expected, fetched, iterator = [], collections.deque(), iter(loader)
    for step in range(20):
        while len(fetched) < 3 and (batch := next(iterator, None)) is not None:
            fetched.append(MOVES[move](batch, tmp_path))
        batch = fetched.popleft()
        if step % 3:
            expected += own(batch).int().tolist()
            silently(lambda batch=batch: loader.hook.report(own(batch), batch))
    right(spy, expected)


def test_batches_of_one_size_and_shape_are_told_apart_by_their_labels(tokenizer):
    loader = FilteringDataLoader([{"x": i % 3, "label": i % 3} for i in range(6)], batch_size=2, policy=(spy := Spy()))
    batches = list(loader)
    for number in (2, 0, 1):
        copied = {"label": batches[number]["label"].clone()}
        silently(lambda copied=copied, number=number: loader.hook.report(torch.full((2,), float(number)), copied))
    assert spy.credited == {0: 0, 1: 0, 2: 1, 3: 1, 4: 2, 5: 2}


def test_padded_by_a_framework_it_is_found_by_its_labels():
    rows = [{"input_ids": [1, i], "label": i * 7 % 5} for i in range(16)]
    loader = FilteringDataLoader(rows, batch_size=4, policy=(spy := Spy()))
    for batch in list(loader)[::-1]:
        wider = torch.nn.functional.pad(batch["input_ids"], (0, 3))
        silently(
            lambda batch=batch, wider=wider: loader.hook.report(
                own(batch), {"input_ids": wider, "labels": batch["labels"].clone()}
            )
        )
    right(spy, range(16))


def test_a_real_loop_of_padded_batches(tokenizer):
    loader = build(tokenizer, Spy(), 160)
    batches = list(loader)
    for batch in batches[::-1]:
        losses = torch.full((len(batch["labels"]),), float(batch.batch_id))
        silently(lambda batch=batch, losses=losses: loader.hook.report(losses, rebuilt(batch)))
    assert loader.ledger.scalars()["reports"] == len(batches) and not len(loader.hook.pairing)


# -- where it is in doubt ----------------------------------------------------------------------------------------------


def test_batches_that_look_the_same_are_taken_by_order_and_that_is_told_once():
    loader = FilteringDataLoader([{"input_ids": [1, 2], "label": 0}] * 12, batch_size=4, policy=Spy())
    batches = list(loader)
    with pytest.warns(UserWarning, match="that of batch 0: it is the first of 3 like.*keep its batch.batch_id") as told:
        for batch in batches:
            loader.hook.report(own(batch), rebuilt(batch))
    assert len(told) == 1 and told[0].filename == __file__


def test_values_that_no_batch_has_are_told():
    loader, spy = spied(12)
    batches = list(loader)
    other = {name: column + 50 for name, column in batches[1].items()}
    with pytest.warns(UserWarning, match="that of batch 0.*values of no batch that waits"):
        loader.hook.report(own(batches[0]), other)
    right(spy, range(4))


@pytest.mark.parametrize("other", [{"x": torch.ones(4, 9)}, [], {}, object(), {"x": torch.ones(7)}, "first", 99])
def test_what_is_like_no_batch_is_refused_in_a_line(other):
    loader, spy = spied(8)
    batches = list(loader)
    with pytest.raises(ValueError, match=r"no batch .*waiting: 0 to 1") as told:
        loader.hook.report(own(batches[0]), other)
    assert "tensor(" not in str(told.value) and not spy.credited and len(loader.hook.pairing) == 2


def test_a_batch_that_was_reported_is_not_taken_for_another():
    loader, _ = spied(12)
    batches = list(loader)
    loader.hook.report(own(batches[0]), batches[0])
    with pytest.raises(ValueError, match=r"batch_id=0 waits.*waiting: 1 to 2"):
        loader.hook.report(own(batches[0]), batches[0])


def test_on_a_device_values_are_looked_at_only_where_shapes_do_not_tell(monkeypatch):
    """Batches of 4, 4 and 2 rows: the last is known by its shape; the other
    two wait for the device, once."""
    loader, spy = spied(10)
    batches = list(loader)
    sampled, waited = trace._sample, []

    def away(tensor, wait):
        waited.append(wait)
        return sampled(tensor, wait) if wait else None

    assert all(waiting.trace.marks for waiting in loader.hook.pairing._waiting.values())  # of what was handed out
    monkeypatch.setattr(trace, "_sample", away)
    silently(lambda: loader.hook.report(own(batches[2]), rebuilt(batches[2])))
    assert not any(waited)
    silently(lambda: loader.hook.report(own(batches[1]), rebuilt(batches[1])))
    assert sum(waited) == 3  # columns
    silently(lambda: loader.hook.report(own(batches[0]), rebuilt(batches[0])))
    assert sum(waited) == 3  # columns
    right(spy, range(10))


# -- batches of every kind ---------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Data:
    input_ids: torch.Tensor
    labels: torch.Tensor


@dataclasses.dataclass(slots=True, frozen=True)
class Slotted:
    input_ids: torch.Tensor
    labels: torch.Tensor


class Attributes:
    def __init__(self, input_ids, labels):
        self.input_ids, self.labels = input_ids, labels


class Slots:
    __slots__ = ("input_ids", "labels")

    def __init__(self, input_ids, labels):
        self.input_ids, self.labels = input_ids, labels


Named = collections.namedtuple("Named", "input_ids labels")


class Odd(dict):
    pass


def listed(rows):
    return [{"input_ids": torch.tensor(row["input_ids"]), "label": row["label"]} for row in rows]


KINDS = {  # how a batch is made, and the second token of each of its rows
    "dict": (stack, own),
    "dict of its own": (lambda rows: Odd(stack(rows)), own),
    "dataclass": (lambda rows: Data(**stack(rows)), lambda batch: own(vars(batch))),
    "dataclass with slots": (lambda rows: Slotted(**stack(rows)), lambda batch: batch.input_ids[:, 1].float()),
    "object": (lambda rows: Attributes(**stack(rows)), lambda batch: own(vars(batch))),
    "object with slots": (lambda rows: Slots(**stack(rows)), lambda batch: batch.input_ids[:, 1].float()),
    "namespace": (lambda rows: SimpleNamespace(**stack(rows)), lambda batch: own(vars(batch))),
    "named tuple": (lambda rows: Named(**stack(rows)), lambda batch: batch.input_ids[:, 1].float()),
    "tuple": (lambda rows: tuple(stack(rows).values()), lambda batch: batch[0][:, 1].float()),
    "list": (lambda rows: list(stack(rows).values()), lambda batch: batch[0][:, 1].float()),
    "tensor": (lambda rows: stack(rows)["input_ids"], lambda batch: batch[:, 1].float()),
    "nested": (lambda rows: {"in": [Data(**stack(rows))], "n": 1}, lambda batch: own(vars(batch["in"][0]))),
    "array": (lambda rows: stack(rows)["input_ids"].numpy(), lambda batch: torch.tensor(batch[:, 1]).float()),
    "dict of arrays": (
        lambda rows: {name: column.numpy() for name, column in stack(rows).items()},
        lambda batch: torch.tensor(batch["input_ids"])[:, 1].float(),
    ),
    "list of dicts of tensors": (listed, lambda batch: torch.stack([row["input_ids"] for row in batch])[:, 1].float()),
    "the rows": (list, lambda batch: torch.tensor([row["input_ids"][1] for row in batch]).float()),
    "dict of numbers": (
        lambda rows: {"x": [row["input_ids"][1] for row in rows]},
        lambda batch: torch.tensor(batch["x"]).float(),
    ),
    "lists of numbers": (
        lambda rows: [[row["input_ids"][1] for row in rows]],
        lambda batch: torch.tensor(batch[0]).float(),
    ),
}
UNSEEN = ("list of dicts of tensors", "the rows", "lists of numbers")  # nothing in them goes when the batch goes


def of_kind(kind, n=32, rows=None, **how):
    collate, losses = KINDS[kind]
    spy = Spy()
    rows = numbered(n) if rows is None else rows
    return FilteringDataLoader(rows, batch_size=4, policy=spy, collate_fn=collate, **how), spy, losses


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_batch_is_found_by_itself(kind):
    loader, spy, losses = of_kind(kind)
    for batch in list(loader)[::-1]:
        silently(lambda batch=batch: loader.hook.report(losses(batch), batch))
    right(spy, range(32))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_batch_is_found_by_a_copy(kind):
    loader, spy, losses = of_kind(kind)
    for batch in list(loader)[::-1]:
        silently(lambda batch=batch: loader.hook.report(losses(batch), copy.deepcopy(batch)))
    right(spy, range(32))


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_first_batch_that_is_skipped_credits_nobody_else_in_silence(kind, graph):
    loader, spy, losses = of_kind(kind)
    with pytest.warns(UserWarning, match="order alone does not tell.*report\\(losses, batch\\)") as told:
        for number, batch in enumerate(loader):
            if number:
                loader.hook.report(losses(batch).requires_grad_(graph))
    assert len(told) == 1
    if kind not in UNSEEN:
        right(spy, range(4, 32))


@pytest.mark.parametrize("kind", KINDS)
def test_a_later_batch_that_is_skipped_is_passed_over(kind):
    loader, spy, losses = of_kind(kind)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for number, batch in enumerate(loader):
            if number % 3 != 2:
                loader.hook.report(losses(batch))
    right(spy, [place for place in range(32) if place // 4 % 3 != 2])
    assert len(told) == (kind in UNSEEN)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_may_be_fetched_ahead(kind):
    loader, spy, losses = of_kind(kind)
    fetched, iterator = collections.deque(), iter(loader)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        while True:
            while len(fetched) < 3 and (batch := next(iterator, None)) is not None:
                fetched.append(batch)
            if not fetched:
                break
            batch = fetched.popleft()
            loader.hook.report(losses(batch))
    right(spy, range(32))
    assert len(told) == (kind in UNSEEN)


def test_a_tensor_that_all_batches_share_says_nothing_of_any():
    mask = torch.ones(4, 2)
    spy = Spy()
    loader = FilteringDataLoader(numbered(32), 4, policy=spy, collate_fn=lambda rows: {**stack(rows), "mask": mask})
    for number, batch in enumerate(loader):
        if number % 3 != 2:
            loader.hook.report(own(batch))
    for batch in list(loader)[::-1]:
        silently(lambda batch=batch: loader.hook.report(own(batch), dict(batch)))
    assert all(loss == place for place, loss in spy.credited.items())


def test_a_batch_that_moves_itself_is_followed():
    def to_device(batch):
        batch.input_ids, batch.labels = batch.input_ids.clone(), batch.labels.clone()
        return batch

    loader, spy, losses = of_kind("object")
    for batch in list(loader)[::-1]:
        moved = to_device(batch)
        silently(lambda moved=moved: loader.hook.report(losses(moved), [moved.input_ids]))
    right(spy, range(32))


def test_huge_deep_and_circular_batches_cost_little():
    loop = SimpleNamespace()
    loop.itself = loop
    deep = [torch.ones(1)]
    for _ in range(50):
        deep = [deep]
    for batch in (loop, deep, list(range(10**6)), [[i] for i in range(10**5)], [torch.ones(1)] * 1000):
        assert len(trace.Trace(batch).marks) <= 16 and len(trace.tensors_of(batch)) <= 16


def test_nothing_in_a_batch_lives_longer_for_it():
    loader, _, _ = of_kind("dict")
    batches = iter(loader)
    batch = next(batches)
    known = trace.Trace(batch)
    assert known.living()
    del batch
    assert not known.living() and len(known.marks) == 2


@pytest.mark.parametrize(
    "tensor",
    [
        torch.ones(3, 2, dtype=torch.bfloat16),
        torch.ones(0, 4),
        torch.ones(4, 0),
        torch.tensor(1.5),
        torch.ones(3, 2).to_sparse(),
        torch.ones(3, 2, device="meta"),
        torch.ones(3, requires_grad=True),
        torch.ones(3, 4).T,
        np.array(["a", None], object),
        np.array(1.5),
        np.array(["a", "b"]),
    ],
)
def test_any_tensor_or_array_may_be_in_a_batch(tensor):
    (mark,) = trace.Trace([tensor]).marks
    assert tuple(mark[0]) == tuple(tensor.shape)


# -- both names, states ------------------------------------------------------------------------------------------------


def test_batch_id_is_another_name_of_batch():
    loader, spy = spied(16)
    first, second, third, fourth = loader
    loader.hook.report(own(third), batch_id=third.batch_id)
    loader.hook.report(own(fourth), batch_id=fourth)
    loader.hook.report(own(first), batch=np.int64(first.batch_id))
    loader.hook.report(own(second), second.batch_id)
    right(spy, range(16))


def test_an_object_of_its_own_with_a_batch_id_is_not_taken_by_it():
    loader, spy, losses = of_kind("object")
    for batch in list(loader)[::-1]:
        batch.batch_id = 0
        loader.hook.report(losses(batch), batch)
    right(spy, range(32))


def test_copies_are_known_after_a_state_was_loaded():
    loader, _ = spied(24)
    iterator = iter(loader)
    copies = [rebuilt(next(iterator)) for _ in range(3)]
    again, spy = spied(24)
    again.load_state_dict(through_a_file(loader.state_dict()))
    for copied in copies[::-1]:
        silently(lambda copied=copied: again.hook.report(own(copied), copied))
    right(spy, range(12))


def test_a_doubt_that_was_told_is_not_told_again_after_a_resume():
    rows = [{"input_ids": [1, 2], "label": 0}] * 24
    first, second = (FilteringDataLoader(rows, batch_size=4, policy=Spy()) for _ in range(2))
    iterator = iter(first)
    batches = [next(iterator) for _ in range(3)]
    with pytest.warns(UserWarning, match="the first of 3 like"):
        first.hook.report(own(batches[0]), rebuilt(batches[0]))
    second.load_state_dict(through_a_file(first.state_dict()))
    silently(lambda: second.hook.report(own(batches[1]), rebuilt(batches[1])))


@pytest.mark.parametrize("stop", [1, 3, 6])
def test_a_state_is_that_of_a_hook_that_never_stopped(tokenizer, stop):
    def run(loader, iterator, batches, ahead):
        for _ in range(batches):
            ahead.append(next(iterator))
            if len(ahead) > 2:
                batch = ahead.pop(0)
                loader.hook.report(torch.ones(len(batch["labels"])) * 0.5, batch)

    ref = build(tokenizer, Spy(), 320)
    run(ref, iter(ref), 12, [])
    first = build(tokenizer, Spy(), 320)
    run(first, iter(first), stop, ahead := [])
    second = build(tokenizer, Spy(), 320)
    second.load_state_dict(through_a_file(first.state_dict()))
    run(second, iter(second), 12 - stop, ahead)
    left, right_ = ref.state_dict(), second.state_dict()
    for state in (left, right_):
        state["ledger"].pop("times")
    assert plain(left["hook"]) == plain(right_["hook"]) and plain(left["ledger"]) == plain(right_["ledger"])


def plain(tree):
    """A state that can be compared."""
    if isinstance(tree, dict):
        return {key: plain(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [plain(value) for value in tree]
    return tree.tolist() if hasattr(tree, "tolist") else tree


def test_a_hook_with_its_batches_can_be_pickled(tokenizer):
    loader = build(tokenizer, Spy(), 64)
    batch = next(iter(loader))
    again = pickle.loads(pickle.dumps(loader.hook.pairing))
    assert isinstance(again, pairing.Pairing) and again.find(torch.ones(16), rebuilt(batch)).waiting.batch_id == 0
    assert isinstance(batch, Batch)
