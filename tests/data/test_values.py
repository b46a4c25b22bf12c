"""Odd values: the same treatment by list, data set and stream, by column and by row, for every policy, wherever they
stand.
"""

import datetime
import decimal

import datasets
import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, IterableDataset, SequentialSampler, default_collate

from filterloader import FilteringDataLoader, Random, ThreeStage, TrainAll
from filterloader.data import values
from filterloader.data.candidates import Ragged
from filterloader.data.values import ABSENT, RowError
from tests.conftest import Rows, Stream

N = 200
PLACES = [0, 5, 150]
POLICIES = [TrainAll, lambda: Random(0.9, seed=0), lambda: ThreeStage(warmup=50)]


def dataset_of(rows):
    names = dict.fromkeys(name for row in rows for name in row)
    return datasets.Dataset.from_list([{name: row.get(name) for name in names} for row in rows])


def stream_of(rows):
    return dataset_of(rows).to_iterable_dataset()


SOURCES = {"list": list, "map": Rows, "stream": Stream, "dataset": dataset_of, "hf_stream": stream_of}
TYPED = {"dataset", "hf_stream"}  # a column of theirs has one type


def rows_with(name, value, at, usual, tokens=True, n=N):
    """Rows whose column ``name`` holds ``usual``, but for the row ``at``."""
    rows = []
    for i in range(n):
        row = {"input_ids": [5, 6, i % 7]} if tokens else {"text": f"easy{i % 9} hard{i % 5}"}
        row[name] = value if i == at else usual
        if row[name] is ABSENT:
            del row[name]
        rows.append(row)
    return rows


def read(rows, source, tokenizer=None, policy=TrainAll, **how):
    return list(FilteringDataLoader(SOURCES[source](rows), 8, policy=policy(), tokenizer=tokenizer, **how))


def told(source, at):
    """Where the error says that the row is."""
    return f"in row {at} of the data set" if source in ("list", "map", "dataset") else r"in row \d+ of the \d+ read"


# -- labels ------------------------------------------------------------------------------------------------------------

LABELS = {
    "text": "O",
    "texts": ["O", "B-PER"],
    "bytes": b"x",
    "mapping": {"a": 1},
    "none": None,
    "hole": [1, None],
    "mixed": [1, "O"],
    "ragged": [[1], [2, 3]],
    "absent": ABSENT,
    "huge": 2**64,
    "time": datetime.date(2026, 1, 1),
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("tokens", [True, False])
@pytest.mark.parametrize("name", ["labels", "label", "kind"])
def test_labels_that_are_no_numbers_raise_wherever_they_stand(tokenizer, source, kind, tokens, name):
    value = LABELS[kind]
    if source in TYPED and kind in ("mixed", "huge", "ragged"):
        pytest.skip("Arrow has no such column")
    lists = isinstance(value, list)
    usual = (
        value if source in TYPED and kind in ("text", "texts", "bytes", "mapping", "time") else [1, 0] if lists else 1
    )
    how = {"label": "kind"} if name == "kind" else {}
    for at in PLACES:
        rows = rows_with(name, value, at, usual, tokens)
        where = told(source, 0 if usual is value else at) if kind != "ragged" else ""
        if source in TYPED and value is ABSENT:
            rows = rows_with(name, None, at, usual, tokens)
        with pytest.raises(ValueError, match=rf"(labels must be numbers|column '{name}').*{where}.*;") as error:
            read(rows, source, None if tokens else tokenizer, **how)
        assert f"'{name}'" in str(error.value) and len(str(error.value)) < 400


@pytest.mark.parametrize("source", ["list", "stream"])
def test_a_whole_block_without_labels_is_told(source):
    for first in (True, False):
        rows = [{"input_ids": [5, 6]} | ({"label": 0} if (i < 150) == first else {}) for i in range(N)]
        with pytest.raises(ValueError, match=r"column 'labels?' .*missing"):
            read(rows, source)


def test_two_columns_that_want_to_be_labels(tokenizer):
    for make in (list, dataset_of):
        rows = make([{"input_ids": [1, 2], "text": "a", "label": 0, "labels": [1, 2], "stars": 3}] * 8)
        for how in ({}, {"label": "stars"}):
            with pytest.raises(ValueError, match=r"and a column 'labels', and a batch has one.*label='labels'"):
                next(iter(FilteringDataLoader(rows, 4, policy=TrainAll(), **how)))
        batch = next(iter(FilteringDataLoader(rows, 4, policy=TrainAll(), label="labels")))
        assert batch["labels"].tolist() == [[1, 2]] * 4 and batch["label"].tolist() == [0] * 4


# -- side columns ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    "usual, odd",
    [(0.5, None), (0.5, ABSENT), ([1, 2], None), ([1, 2], [1, None]), (0.5, "x"), ("x", 0.5), (True, None)],
)
def test_what_holds_numbers_must_hold_them_in_every_row(source, policy, usual, odd):
    if source in TYPED and (isinstance(odd, str) or isinstance(usual, str)):
        pytest.skip("Arrow has no such column")
    for at in PLACES:
        rows = rows_with("score", odd, at, usual)
        with pytest.raises(
            ValueError, match=r"column 'score' (must hold numbers in every row or in none, got|is missing)"
        ) as error:
            read(rows, source, policy=policy)
        if policy is TrainAll and usual != "x":
            error.match(told(source, at))


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("nothing", [None, ABSENT, "x"])
def test_whole_blocks_without_a_number_are_told(source, policy, first, nothing):
    if source in TYPED and nothing == "x":
        pytest.skip("Arrow has no such column")
    rows = [{"input_ids": [5, 6], "score": 0.5 if (i < 140) == first else nothing} for i in range(N)]
    rows = [{k: v for k, v in row.items() if v is not ABSENT} for row in rows]
    if source in TYPED:
        features = datasets.Features(
            {"input_ids": datasets.List(datasets.Value("int64")), "score": datasets.Value("float64")}
        )
        made = datasets.Dataset.from_list([{"score": None, **row} for row in rows], features=features)
        data = made if source == "dataset" else made.to_iterable_dataset()
    else:
        data = SOURCES[source](rows)
    loader = FilteringDataLoader(data, 8, policy=policy())
    with pytest.raises(ValueError, match=r"column 'score' (must hold numbers in every row|is missing|holds)"):
        list(loader)


OTHER = ["x", b"x", {"a": 1}, None, ["x", "y"], [{"a": 1}], datetime.datetime(2026, 1, 1), decimal.Decimal("1.5")]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("usual", OTHER, ids=lambda value: type(value).__name__)
def test_what_holds_no_numbers_is_left_out_without_a_word(source, policy, usual, recwarn):
    for odd in (usual, None, ABSENT):
        for at in (0, 150):
            rows = rows_with("side", odd, at, usual)
            batches = read(rows, source, policy=policy)
            assert batches and all(set(batch) == {"input_ids", "attention_mask"} for batch in batches)
            if source != "list":
                break
    assert not [warning for warning in recwarn if "side" in str(warning.message)]


def test_raw_text_has_no_side_columns(tokenizer):
    for source in SOURCES:
        rows = rows_with("side", None, 7, 0.5, tokens=False)
        assert all("side" not in batch for batch in read(rows, source, tokenizer))


def test_lists_of_text_may_be_empty(tokenizer):
    for source in ("list", "stream", "dataset"):
        rows = [{"input_ids": [5, 6], "tokens": [] if i in (0, 9) else ["a", "b"]} for i in range(20)]
        batches = list(FilteringDataLoader(SOURCES[source](rows), 1, policy=TrainAll()))
        assert len(batches) == 20 and all(batch.get("tokens", torch.zeros(0)).numel() == 0 for batch in batches)
        rows = [{"input_ids": [5, 6], "spans": [] if i in (0, 9) else [1, 2]} for i in range(20)]
        batches = list(FilteringDataLoader(SOURCES[source](rows), 1, policy=TrainAll()))
        assert [batch["spans"].shape[1] for batch in batches] == [0 if i in (0, 9) else 2 for i in range(20)]


def test_numbers_in_torch_format_do_not_become_nan():
    for made in (dataset_of(rows_with("label", None, 9, 1)), dataset_of(rows_with("score", None, 9, 1))):
        with pytest.raises(ValueError, match=r"got None.*row 9 of the data set"):
            list(FilteringDataLoader(made.with_format("torch"), 8, policy=TrainAll()))


def test_a_shuffled_data_set_names_its_own_row():
    rows = rows_with("score", None, 77, 1)
    for make in (list, dataset_of):
        with pytest.raises(ValueError, match="in row 77 of the data set"):
            list(FilteringDataLoader(make(rows), 8, shuffle=True, policy=TrainAll(), seed=0))


@pytest.mark.parametrize("source", ["list", "dataset"])
def test_workers_say_it_too(source):
    for name in ("score", "label"):
        with pytest.raises(ValueError, match="got None") as error:
            read(rows_with(name, None, 99, 1), source, num_workers=1)
        assert f"column '{name}'" in str(error.value)


def test_the_error_of_a_row_takes_nothing_else_with_it():
    for source in ("list", "dataset"):
        loader = FilteringDataLoader(SOURCES[source](rows_with("score", None, 37, 1)), 8, policy=TrainAll())
        iterator, seen, failed = iter(loader), 0, 0
        while True:
            try:
                seen += len(next(iterator)["input_ids"])
            except ValueError:
                failed += 1
            except StopIteration:
                break
        assert (failed, seen) == (1, N - 8)


# -- rows that somebody else collates ----------------------------------------------------------------------------------


class Watched(dict):
    """A row that minds who reads it."""

    def __getitem__(self, name):
        raise AssertionError(f"somebody looked at {name}")


def test_rows_are_looked_into_only_for_what_a_policy_reads():
    rows = [Watched(input_ids=[[1, 2], [3, 4]], label=0) for _ in range(16)]
    with pytest.raises(AssertionError, match="somebody looked"):
        next(iter(FilteringDataLoader(rows, 4, collate_fn=len, policy=ThreeStage())))
    loader = FilteringDataLoader(rows, 4, collate_fn=len, policy=TrainAll())
    loader._reader.reads_labels = False
    assert list(loader) == [4] * 4


def choices(rows):
    return default_collate([{name: torch.as_tensor(value) for name, value in row.items()} for row in rows])


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("make", [lambda v: v, np.array, torch.tensor], ids=["lists", "numpy", "torch"])
@pytest.mark.parametrize("granularity", ["example", "batch"])
def test_rows_of_several_texts(policy, make, granularity):
    rows = [{"input_ids": make([[i % 9, 2], [3, 4]]), "label": i % 2} for i in range(64)]
    for how in ({}, {"collate_fn": choices}) if make is not None else ():
        if make([1]) == [1] and not how:
            continue  # default_collate turns lists around
        loader = FilteringDataLoader(rows, 8, policy=policy(), granularity=granularity, **how)
        for batch in loader:
            assert batch["input_ids"].shape[1:] == (2, 2)
            losses = torch.rand(len(batch["label"]))
            loader.hook.report(losses if granularity == "example" else losses.mean(), batch)
        bag = loader._reader.read(rows[:2]).tokens
        assert bag is None or bag.values.tolist() == [0, 2, 3, 4, 1, 2, 3, 4]


class Batches(IterableDataset):
    def __iter__(self):
        generator = torch.Generator().manual_seed(0)
        for _ in range(40):
            n = int(torch.randint(3, 9, (1,), generator=generator))
            ids = torch.randint(5, 60, (n, 6), generator=generator)
            yield {"input_ids": ids, "labels": ids[:, 0] % 2}


@pytest.mark.parametrize("policy", [*POLICIES, ThreeStage])
@pytest.mark.parametrize("granularity", ["example", "batch"])
def test_data_sets_that_yield_whole_batches(tokenizer, policy, granularity):
    for how in ({}, {"tokenizer": tokenizer}, {"collate_fn": lambda batch: batch}, {"num_workers": 1}):
        loader = FilteringDataLoader(Batches(), batch_size=None, policy=policy(), granularity=granularity, **how)
        n = 0
        for batch in loader:
            assert batch["input_ids"].ndim == 2
            losses = torch.rand(len(batch["labels"]))
            loader.hook.report(losses if granularity == "example" else losses.mean())
            n += 1
        assert n > 10


@pytest.mark.parametrize("policy", POLICIES)
def test_a_batch_sampler_given_as_sampler(policy):
    made = datasets.Dataset.from_dict({"input_ids": [[i, i] for i in range(40)], "labels": [0] * 40}).with_format(
        "torch"
    )
    sampler = BatchSampler(SequentialSampler(made), 4, drop_last=False)
    loader = FilteringDataLoader(made, batch_size=None, sampler=sampler, policy=policy())
    for batch in loader:
        assert batch["input_ids"].shape == (4, 2)
        loader.hook.report(torch.rand(4))


@pytest.mark.parametrize("ids", ["abc", None, [1.5, 2.0], [["a"]], {"a": 1}])
def test_words_that_cannot_be_read_are_asked_for_before_the_first_batch(ids):
    rows = [{"input_ids": ids, "label": 0}] * 16
    assert list(FilteringDataLoader(rows, 8, collate_fn=len, policy=TrainAll())) == [8, 8]
    with pytest.raises(ValueError, match=r"ThreeStage reads the words.*hold none; give the loader tokenizer="):
        next(iter(FilteringDataLoader(rows, 8, collate_fn=len)))


# -- one column --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given, expected", [
    ([1, 2], np.array([1, 2])), ([1, 2.5], np.array([1, 2.5], np.float32)), ([True, False], np.array([True, False])),
    ([torch.tensor(1), np.int8(2)], np.array([1, 2])), ([[1], [2, 3]], [[1], [2, 3]]), ([[], [2]], [[], [2]]),
    ([[], []], [[], []]),
    ([[1, 2.5], [3]], [[1, 2.5], [3]]), ([(1,), [True]], [[1], [1]]), ([np.array([1]), [2, 3]], [[1], [2, 3]]),
    ([[], np.array([2])], [[], [2]]), ([torch.tensor([1.5]), torch.tensor([])], [[1.5], []]),
    ([torch.tensor([1.5], dtype=torch.bfloat16), [1]], [[1.5], [1]]),
    ([[[1, 2]], [[3, 4]]], np.array([[[1, 2]], [[3, 4]]])),
    ([np.zeros((2, 2)), np.ones((2, 2))], np.stack([np.zeros((2, 2)), np.ones((2, 2))]).astype(np.float32)),
    ([[np.int64(1)], [torch.tensor(2)]], [[1], [2]]),
])  # fmt: skip
def test_numbers_are_read(given, expected):
    found = values.column("x", given)
    if isinstance(expected, list):
        assert isinstance(found, Ragged) and found.values.dtype in (np.int64, np.float32)
        assert [found.values[a:b].tolist() for a, b in zip(found.offsets, found.offsets[1:], strict=False)] == expected
    else:
        assert found.dtype == expected.dtype and np.array_equal(found, expected)


@pytest.mark.parametrize("given, place", [
    ([1, None], 1), ([None, 1], 0), ([1, "a"], 1), ([1, [2]], 1), ([[1], 2], 1), ([[1], {2: 3}], 1), ([[1], "23"], 1),
    ([[1, "a"]], 0), ([[[1], [2, 3]]], 0), ([[[1, 2]], [[1]]], 1), ([np.zeros(2), np.zeros((2, 2))], 1),
    ([1, ABSENT], 1), ([1, 2**64], 1), ([np.array(["a"]), [1]], 0), ([[1], [None]], 1), ([[2**63]], 0),
    ([np.array([1, None], object)], 0),
])  # fmt: skip
def test_what_does_not_fit_is_named_by_row(given, place):
    for wanted in (None, "labels"):
        if wanted is None and not any(values._kind(value) in (0, 3) for value in given):
            continue
        with pytest.raises(RowError, match=f"in row {place} of the {len(given)} read; ") as error:
            values.column("x", given, wanted=wanted)
        assert error.value.place == place and "row 77 of the data set" in str(error.value.numbered([77] * len(given)))


def test_fractions_among_ids_are_not_cut_off():
    with pytest.raises(ValueError, match="input_ids must hold a list of whole numbers"):
        next(iter(FilteringDataLoader([{"input_ids": [1, 2.5]}], policy=TrainAll())))
