"""Reading one file: columns as they are, and what is no clear row refused by its line."""

import csv
import gzip
import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from filterloader.experiments.readers import read_file


def wrote(path, content):
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


CSV = {
    "plain": ("a,b\nx,1\n,2\n", {"a": ["x", None], "b": [1, 2]}),
    "quotes, commas, newlines": ('a,b\n"x, ""y""\nz",1\n5" disk,2\n', {"a": ['x, "y"\nz', '5" disk'], "b": [1, 2]}),
    "windows": ("\ufeffa,b\r\nx y,1\r\n\r\nz,2\r\n", {"a": ["x y", "z"], "b": [1, 2]}),
    "old mac": ("a,b\rx,1\r", {"a": ["x"], "b": [1]}),
    "no newline at the end": ("a\nx", {"a": ["x"]}),
    "an empty cell in quotes": ('a,b\n"",1\n', {"a": [None], "b": [1]}),
    "words that look missing": ("a\nNA\nnull\nNaN\n", {"a": ["NA", "null", "NaN"]}),
    "names like numbers": ("a,b,c\n007,1_0,1\n7,2,x\n", {"a": ["007", "7"], "b": ["1_0", "2"], "c": ["1", "x"]}),
    "numbers as pandas writes them": ("a,b\n1.0,1e3\n,-2.5\n", {"a": [1.0, None], "b": [1000.0, -2.5]}),
    "a long text": (f"a,b\n{'x' * 200_000},1\n", {"a": ["x" * 200_000], "b": [1]}),
    "columns of one name that nobody asks for": ("a,n,n\nx,1,2\n", {"a": ["x"]}),
}  # fmt: skip


@pytest.mark.parametrize("case", CSV)
@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_values_of_a_csv_file(tmp_path, case, ending):
    content, ref = CSV[case]
    before = csv.field_size_limit()
    found = read_file(wrote(tmp_path / f"mine.{ending}", content))
    assert {name: found.read(name) for name in ref} == ref
    assert csv.field_size_limit() == before


def test_quotes_of_a_tsv_file_are_plain(tmp_path):
    found = read_file(wrote(tmp_path / "mine.tsv", 'a\tb\n"x\t1\ny"\t"2"\n'))
    assert found.read("a") == ['"x', 'y"'] and found.read("b") == ["1", '"2"']


JSON = {
    "lines": ('{"a": "x", "b": 1}\n\n{"b": 2}\n', {"a": ["x", None], "b": [1, 2]}),
    "windows": ('\ufeff{"a": "x"}\r\n{"a": "y"}', {"a": ["x", "y"]}),
    "an array": ('\n[{"a": "x"},\n {"a": null, "b": [1, {"c": 2}]}]', {"a": ["x", None], "b": [None, [1, {"c": 2}]]}),
    "a column that comes late": ('{"a": 1}\n' * 2000 + '{"b": 2}\n', {"b": [None] * 2000 + [2]}),
    "one type after another": ('{"a": 1}\n{"a": "x"}\n{"a": {"c": 1}, "b": 0}\n', {"a": [1, "x", {"c": 1}]}),
    "separators of lines within a text": ('{"a": "x\u2028y\x85z"}\n', {"a": ["x\u2028y\x85z"]}),
}  # fmt: skip


@pytest.mark.parametrize("case", JSON)
@pytest.mark.parametrize("ending", ["jsonl", "json", "json.gz"])
def test_values_of_a_json_file(tmp_path, case, ending):
    content, ref = JSON[case]
    found = read_file(wrote(tmp_path / f"mine.{ending}", content))
    assert {name: found.read(name) for name in ref} == ref


def test_columns_of_a_parquet_file_are_read_alone(tmp_path):
    table = pa.table({"a": ["x", "y"], "b": [[1], []], "n": [1, 2]}).append_column("n", pa.array([3, 4]))
    pq.write_table(table, tmp_path / "mine.parquet")
    found = read_file(tmp_path / "mine.parquet")
    assert found.read("a") == ["x", "y"] and found.texts() == ["a"]
    with pytest.raises(ValueError, match="has 2 columns called 'n'"):
        found.read("n")


def test_categories_of_pandas_are_their_values(tmp_path):
    pd.DataFrame({"a": ["x", "y", None]}).astype("category").to_parquet(tmp_path / "mine.parquet")
    found = read_file(tmp_path / "mine.parquet")
    assert found.read("a") == ["x", "y", None] and found.texts() == ["a"]


@pytest.mark.parametrize("ending, content", [
    ("csv", "a,b,c,d\nx,1,1,\ny,2,seen,\n"), ("jsonl", '{"a": "x", "b": 1, "d": null}\n{"a": "y", "b": 2, "c": "z"}'),
])  # fmt: skip
def test_columns_of_strings_are_told_by_the_whole_file(tmp_path, ending, content):
    assert read_file(wrote(tmp_path / f"mine.{ending}", content)).texts() == ["a", "c"]


COLUMNS = {"text": [f"w {i}" for i in range(9000)], "label": [i % 2 for i in range(9000)]}
REFUSED = {
    "one field more": ("csv", "a,b\nx,1\ny, z,1\n", "line 3 of .* has 3 fields, and the header has 2"),
    "one field more in every line": ("csv", "a,b\nx, y,1\nx, z,1\n", "line 2 of .* has 3 fields, and the header has 2"),
    "one field fewer": ("csv", "a,b\nx\n", "line 2 of .* has 1 field, and the header has 2"),
    "lines within quotes count": ("csv", 'a,b\n"x\n\ny",1\n\nz,1,2\n', "line 6 of .* has 3 fields"),
    "lines of windows count": ("csv.gz", "a,b\r\nx,1\r\nz,1,2\r\n", "line 3 of .* has 3 fields"),
    "one field more between tabs": ("tsv", "a\tb\nx\t1\t2\n", "line 2 of .* has 3 fields, and the header has 2"),
    "one field fewer between tabs": ("tsv.gz", "a\tb\nx\n", "line 2 of .* has 1 field, and the header has 2"),
    "a quote never closed": ("csv", 'a,b\nx,1\ny,"2\nz,3\n', "the row at line 3 of .*a quote is never closed"),
    "quotes that are not doubled": ("csv", 'a,b\n"x "y" z",1\n', "the row at line 2 of .* cannot be read"),
    "a header alone": ("csv", "a,b\n", "has no rows"),
    "nothing": ("csv", "", "is empty"),
    "nothing but blank lines": ("jsonl", "\n \n", "is empty"),
    "nothing but a mark": ("csv", "\ufeff", "is empty"),
    "nothing, packed": ("jsonl.gz", "", "is empty"),
    "an array of nothing": ("json", "[]", "has no rows"),
    "another encoding": ("csv", "a,b\nx,1\nä,2\n".encode("latin-1"), "line 3 of .* is not UTF-8"),
    "sixteen bits": ("jsonl", '{"a": "ä"}'.encode("utf-16"), "line 1 of .* is not UTF-8"),
    "no json": ("jsonl", '{"a": 1}\nnot json\n', "line 2 of .* cannot be read as JSON .Expecting value at character 1"),
    "half a line": ("jsonl", '{"a": 1}\n{"a": ', "line 2 of .* cannot be read as JSON"),
    "half an array": ("json", '[{"a": 1},\n{"a": 2}', "line 2 of .* cannot be read as JSON"),
    "an object over several lines": ("json", json.dumps({"a": 1}, indent=1), "line 1 of .*: write one object a line"),
    "lists": ("jsonl", "[1, 2]\n[3, 4]\n", "line 2 of .* cannot be read as JSON .Extra data"),
    "values": ("jsonl", '"x"\n', "line 1 of .* is 'x': give an object"),
    "an array of values": ("json", '[{"a": 1}, null]', "item 2 of .* is None: give an object"),
    "a key twice": ("jsonl", '{"a": 1, "a": 2}', "line 1 of .*has the key 'a' twice"),
    "nested too deep": ("jsonl", "[" * 100_000, "line 1 of .* cannot be read as JSON"),
    "columns, not rows": ("json", pd.DataFrame(COLUMNS).to_json(), "line 1 of .* holds whole columns .text, label"),
    "no parquet": ("parquet", "not parquet", "cannot read .* as parquet"),
    "an empty parquet file": ("parquet", "", "cannot read .* as parquet|is empty"),
    "a pointer": ("parquet", "version https://git-lfs.github.com/spec/v1\noid 1\n", "only a Git LFS pointer"),
    "no gzip": ("csv.gz", None, "cannot read .* as csv"),
    "another ending": ("txt", "x", "does not end in .jsonl, .json, .csv, .tsv, .parquet"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_clear_row_is_refused(tmp_path, case):
    ending, content, message = REFUSED[case]
    path = tmp_path / f"mine.{ending}"
    path.write_text("no gzip") if content is None else wrote(path, content)
    with pytest.raises(ValueError, match=message) as raised:
        read_file(path)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 600 and str(path) in str(raised.value)


def test_half_a_packed_file_is_refused(tmp_path):
    whole = gzip.compress(b"a,b\n" + b"x,1\n" * 1000)
    (tmp_path / "mine.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cannot read .* as csv: Compressed file ended"):
        read_file(tmp_path / "mine.csv.gz")


def test_a_column_that_is_not_there_or_there_twice_is_told(tmp_path):
    found = read_file(wrote(tmp_path / "mine.csv", "a,n,n\nx,1,2\n"))
    with pytest.raises(ValueError, match=r"mine.csv has 2 columns called 'n': its columns are a, n, n"):
        found.read("n")
    with pytest.raises(ValueError, match="the test split has no column 'b': its columns are a, n, n"):
        found.read("b", "the test split")
