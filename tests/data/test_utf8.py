"""UTF-8 columns: any text comes back as it went in, and what is no text is named."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import example, given, settings

from filterloader.data import utf8
from filterloader.data.candidates import Candidates, Ragged
from filterloader.data.portable import pack, unpack

texts = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=9), max_size=9)


@settings(max_examples=100, deadline=None)
@given(texts)
@example([])
@example(["", ""])
@example(["\0", "", "a\0b\0", "😀🏽", "日本", "\U0010ffff\ufeff"])
def test_any_text_comes_back(rows):
    found = utf8.encode(rows)
    assert found.values.dtype == np.uint8 and found.offsets.dtype == np.int64 and found.offsets[0] == 0
    assert found.values.tobytes() == "".join(rows).encode() and found.lengths.tolist() == [
        len(row.encode()) for row in rows
    ]
    assert utf8.decode(found) == rows


@pytest.mark.parametrize("rows, message", [
    (["fine", "a\ud800b"], r"'text' holds '\\ud800' at character 1,.* in row 1 of the 2 read; clean the text"),
    (["fine", None], r"'text' must hold strings to tokenize, got NoneType \(None\) in row 1 of the 2 read"),
    ([1, "fine"], r"got int \(1\) in row 0"),
    ([b"\xff"], r"got bytes \(.*\) in row 0"),
])  # fmt: skip
def test_what_is_no_text_is_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        utf8.encode(rows)


def test_bytes_that_are_no_utf8_are_refused():
    with pytest.raises(ValueError, match="no UTF-8"):
        utf8.decode(Ragged(np.frombuffer(b"a\xff", np.uint8), np.array([0, 2])))


def inside(rows):
    """A column that lies inside a larger buffer, as a slice of an Arrow column does."""
    whole = utf8.encode(["before", *rows, "after"])
    return Ragged(whole.values, whole.offsets[1:-1])


def blocks():
    for start, rows in ((0, ["one", "", "zwei é"]), (3, ["日本"]), (4, ["", "x"])):
        yield Candidates(len(rows), texts=(inside(rows), inside([row * 2 for row in rows]))).placed(start, None, None)


def lists_of(candidates):
    return [utf8.decode(text) for text in candidates.texts]


def test_slices_are_taken_joined_and_saved():
    whole = Candidates.concat(list(blocks()))
    rows = ["one", "", "zwei é", "日本", "", "x"]
    assert lists_of(whole) == [rows, [row * 2 for row in rows]]
    for index in ([5, 2, 2, 0], []):
        assert lists_of(whole.take(index))[0] == [rows[i] for i in index]
    first = next(blocks())
    assert lists_of(first.take([2, 0])) == [["zwei é", "one"], ["zwei ézwei é", "oneone"]]
    assert lists_of(Candidates.from_state(unpack(pack(whole.state_dict())))) == lists_of(whole)
    state = first.state_dict()
    assert [len(values) for values, _ in state["texts"]] == [10, 20]  # not the buffer they lie in
    assert lists_of(Candidates.from_state(state)) == lists_of(first)
    del state["texts"]
    assert Candidates.from_state(state).texts is None


def test_tokens_inside_a_larger_array_are_joined_too():
    parts = [Candidates(1, tokens=Ragged(np.arange(5), np.array([a, a + 2]))) for a in (0, 3)]
    joined = Candidates.concat(parts).tokens
    assert joined.values.tolist() == [0, 1, 3, 4] and joined.offsets.tolist() == [0, 2, 4]


def test_texts_are_payload_and_never_run_into_each_other():
    first = next(blocks())
    assert first.as_one().texts is None and first.for_learning().texts is None and first.texts is not None


def test_streams_whose_rows_differ_are_refused():
    first, second, third = blocks()
    second.texts = None
    with pytest.raises(ValueError, match="some have 'texts', others have not"):
        Candidates.concat([first, second])
    third.texts = third.texts[:1]
    with pytest.raises(ValueError, match="one column of 'texts', others two"):
        Candidates.concat([first, third])


def test_compact_copies_only_what_it_must():
    whole = utf8.encode(["a", "b"])
    assert whole.compact() is whole
    part = Ragged(whole.values, whole.offsets[1:]).compact()
    assert part.values.tolist() == [98] and part.offsets.tolist() == [0, 1]
