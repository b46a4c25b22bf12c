"""Columns straight from Arrow: the same numbers as the rows, whatever the chunks, the order and the types."""

import pickle

import datasets
import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from filterloader.data import columns
from filterloader.data.candidates import Ragged
from filterloader.data.columns import ArrowRows, ArrowTable, arrow_stream, arrow_table, piece

COLUMNS = {
    "ids": pa.list_(pa.int32()),
    "wide": pa.large_list(pa.int64()),
    "small": pa.list_(pa.int8()),
    "real": pa.list_(pa.float64()),
    "text": pa.string(),
    "long": pa.large_string(),
    "label": pa.int64(),
    "byte": pa.uint8(),
    "score": pa.float32(),
}


def row(i):
    rng = np.random.default_rng(i)
    numbers = rng.integers(0, 100, i % 7).tolist()
    word = "añ漢🙂"[: i % 5] * (i % 3)
    lists = {"ids": numbers, "wide": numbers[::-1], "small": numbers, "real": [n / 4 for n in numbers]}
    return {**lists, "text": word, "long": word + "x", "label": i % 3, "byte": i % 200, "score": i / 2}


def chunked(n, size):
    """A data set of ``n`` rows in chunks of ``size``, some of them slices of larger ones."""
    rows, schema = [row(i) for i in range(n)], pa.schema(COLUMNS.items())
    tables = [pa.Table.from_pylist([row(999), *rows[i : i + size]], schema=schema).slice(1) for i in range(0, n, size)]
    return datasets.Dataset(pa.concat_tables(tables)) if tables else datasets.Dataset(
        pa.Table.from_pylist([], schema=schema)
    ), rows


def check(table, rows, index):
    n, found, missing = table.gather(np.asarray(index, np.int64), table.names)
    assert n == len(index) and not missing and list(found) == list(table.names)
    for name, column in found.items():
        expected = [rows[i][name] for i in index]
        if isinstance(column, Ragged):
            assert (
                column.offsets[0] == 0
                and column.offsets[-1] == column.values.size
                and len(column.lengths) == len(index)
            )
            parts = [column.values[a:b] for a, b in zip(column.offsets, column.offsets[1:], strict=False)]
            comp = [part.tobytes().decode() if name in table.strings else part.tolist() for part in parts]
            assert comp == expected
        else:
            assert column.tolist() == expected


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 25), st.integers(1, 9), st.data())
def test_any_rows_of_any_chunks(n, size, data):
    made, rows = chunked(n, size)
    table = arrow_table(made)
    assert (
        set(table.names) == set(COLUMNS)
        and all(name in table for name in COLUMNS)
        and set(table.strings) == {"text", "long"}
    )
    check(table, rows, data.draw(st.lists(st.integers(-n, n - 1), max_size=20)))


def test_shuffled_selected_and_sent_to_another_process():
    made, rows = chunked(50, 7)
    order = made.shuffle(seed=1).select(range(5, 30))
    rows = [order[i] for i in range(len(order))]
    check(arrow_table(order), rows, [0, 24, 3, 3, -1])
    sent = pickle.loads(pickle.dumps(ArrowRows(order, arrow_table(order), ["ids", "label"])))
    assert len(sent) == 25 and sent.__getitems__([0, 24, 3]).columns["label"].tolist() == [
        rows[i]["label"] for i in (0, 24, 3)
    ]
    check(arrow_table(made.select([])), [], [])
    assert (
        arrow_table(chunked(0, 5)[0]).gather(np.zeros(0, np.int64), ["ids", "label"]).columns["ids"].lengths.size == 0
    )


def test_numbers_that_no_row_has():
    table = arrow_table(chunked(10, 4)[0])
    for wrong in (10, -11):
        with pytest.raises(IndexError, match=f"row {wrong} .* has 10"):
            table.gather(np.array([0, wrong]), ["label"])
    with pytest.raises(IndexError):
        ArrowRows(None, table, ["label"]).__getitems__([3, 99])


def test_what_is_no_number_is_not_in_the_table():
    odd = {"nested": [[[1], [2]]], "none": [None], "box": [{"a": 1}], "words": [["a"]], "bytes": [b"a"], "empty": [[]]}
    made = datasets.Dataset.from_dict({**odd, "text": ["a"], "yes": [True], "fine": [[1]]})
    table = arrow_table(made)
    assert [name for name in table.names if name in table] == ["text", "yes", "fine"]
    assert set(table.others) == {"none", "box", "words", "bytes", "text"}


@pytest.mark.parametrize("size", [4, 20])
def test_missing_values_are_told(size):
    rows = [{"whole": i, "list": [i, i], "yes": i > 3, "text": "a"} for i in range(12)]
    rows[5] |= {"whole": None, "text": None}
    rows[7] |= {"list": [1, None], "yes": None}
    rows[9]["list"] = None
    table = pa.concat_tables([pa.Table.from_pylist(rows[i : i + size]) for i in range(0, 12, size)])
    table = arrow_table(datasets.Dataset(table))
    assert table.gather(np.array([0, 3, 4, 6, 8, 11]), table.names).missing == {}
    found = table.gather(np.arange(3, 12), table.names)
    assert found.missing == {"whole": 2, "list": 4, "yes": 4, "text": 2}
    assert found.columns["whole"].tolist()[:2] == [3, 4] and found.columns["list"].lengths[0] == 2


def test_large_tables_in_many_chunks_are_not_copied(monkeypatch):
    made, rows = chunked(50, 7)
    monkeypatch.setattr(columns, "_IN_ONE_PIECE", 0)
    for data in (made, made.select(range(50))):
        table = arrow_table(data)
        for index in ([0, 24, 3, 3, -1, 49], [], range(50)):
            check(table, rows, index)
        assert not table._whole
    mixed = made.shuffle(seed=1)
    check(arrow_table(mixed), [mixed[i] for i in range(50)], [3, 1, 49])


def test_only_plain_data_sets_have_a_table():
    made = chunked(10, 4)[0]
    assert isinstance(arrow_table(made), ArrowTable) and isinstance(arrow_table(made.with_format("torch")), ArrowTable)
    assert arrow_table(made.with_format("torch", columns=["label"])).names == ("label",)
    odd = [
        made.with_transform(lambda rows: rows),
        made.with_format("pandas"),
        made.with_format("torch", device="cpu"),
        [1],
        made.to_iterable_dataset(),
    ]
    assert [arrow_table(data) for data in odd] == [None] * len(odd)


def test_a_stream_in_pieces():
    made, rows = chunked(25, 7)
    stream = made.to_iterable_dataset(num_shards=2)
    at = 0
    for table in map(piece, arrow_stream(stream, 4, drop_last=False)):
        check(table, rows[at : at + 4], range(len(table)))
        at += len(table)
    assert at == 25 and sum(1 for _ in arrow_stream(stream, 4, drop_last=True)) == 6
    assert piece(rows) is None and piece({"a": [1]}) is None
    odd = [
        stream.map(lambda row: {"more": 1}),
        made,
        rows,
        datasets.Dataset.from_dict({"box": [[[1]]]}).to_iterable_dataset(),
        datasets.IterableDataset.from_generator(lambda: iter(rows)),
    ]
    assert [arrow_stream(data, 4, drop_last=False) for data in odd] == [None] * len(odd)
