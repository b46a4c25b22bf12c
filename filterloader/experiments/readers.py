"""Readers: one file, or one ``datasets.Dataset``, as columns; what is no clear row is refused by its line's number.

JSON and CSV go through Python's own modules, not Arrow's: those take each value as it is instead of guessing a column's
type from its beginning, count lines within quotes, and refuse a quote that is never closed, where Arrow takes the rest
of the file for one field.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from filterloader.experiments.cause import cause, cut
from filterloader.experiments.names import READERS, kind, listing

_INTEGER = re.compile(r"0|-?[1-9]\d{0,4000}", re.ASCII)  # written as Python writes them: 007 is a name
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d+)?([eE][-+]?\d+)?", re.ASCII)  # what a float can tell apart
_LFS = b"version https://git-lfs"


@dataclass(frozen=True)
class Columns:
    """The columns of a file; each is read when it is asked for.

    Args:
        name: of the file, for messages.
        names: of the columns.
        take: column name -> its values, None where a row has none.
        declared: column name -> the names of its classes, where the file tells them.
    """

    name: str
    names: list[str]
    take: Callable[[str], list[Any]]
    declared: dict[str, tuple[str, ...]]

    def read(self, column: str, where: str | None = None) -> list[Any]:
        """One column. where: what the ValueError calls the file, for a column that is not there, or is there twice."""
        count = self.names.count(column)
        if count != 1:
            there = "has no column" if not count else f"has {count} columns called"
            raise ValueError(f"{where or self.name} {there} {column!r}: its columns are {listing(self.names)}")
        return self.take(column)

    def texts(self) -> list[str]:
        """The columns that hold strings."""
        once = [name for name in self.names if self.names.count(name) == 1]
        return [name for name in once if {type(value) for value in self.take(name) if value is not None} == {str}]


def read_file(file: Path) -> Columns:
    """A file by its ending. Raises ValueError for what cannot be read, and for a file without rows."""
    ending = kind(file)
    if ending is None:
        raise ValueError(f"{file} does not end in {listing(READERS)} (or .gz after a text one): convert it first")
    try:
        if ending == ".parquet" and file.stat().st_size:
            return _parquet(file)
        text = _text(file)
    except (pa.ArrowException, OSError, EOFError, zlib.error) as error:
        raise ValueError(f"cannot read {file} as {ending[1:]}: {cause(error)}") from error
    return _json(str(file), text) if READERS[ending] == "json" else _csv(str(file), text, tabs=ending == ".tsv")


def read_dataset(name: str, rows: datasets.Dataset) -> Columns:
    """A ``datasets.Dataset``. Raises ValueError where it has no rows."""
    _not_empty(name, len(rows))
    return _arrow(
        name, rows.features.arrow_schema, lambda column: rows.select_columns([column]).with_format("arrow")[:]
    )


def _parquet(file: Path) -> Columns:
    with file.open("rb") as opened:
        if opened.read(len(_LFS)) == _LFS:
            raise ValueError(f"{file} is only a Git LFS pointer: fetch the data with 'git lfs pull'")
    found = pq.ParquetFile(file)
    _not_empty(str(file), found.metadata.num_rows)
    return _arrow(str(file), found.schema_arrow, lambda column: found.read(columns=[column]))


def _arrow(name: str, schema: pa.Schema, take: Callable[[str], pa.Table]) -> Columns:
    """schema: with the metadata that ``datasets`` writes."""
    said = json.loads((schema.metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    classes = {
        column: kind for column, kind in said.items() if isinstance(kind, dict) and kind.get("_type") == "ClassLabel"
    }
    declared = {column: tuple(kind["names"]) for column, kind in classes.items() if kind.get("names")}
    return Columns(name, list(schema.names), lambda column: take(column).column(column).to_pylist(), declared)


def _csv(name: str, text: str, *, tabs: bool) -> Columns:
    """Fields between commas, or between tabs, where quotes are plain characters.

    An empty field is None, a blank line no row. A column that holds numbers only is read as numbers.
    """
    limit = csv.field_size_limit(2**31 - 1)  # csv's own, 131,072 characters, would refuse long texts
    try:
        header, *rows = _records(
            name, text, {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if tabs else {"strict": True}
        )
    finally:
        csv.field_size_limit(limit)
    _not_empty(name, len(rows))

    def take(column: str) -> list[Any]:
        place = header.index(column)
        return _typed([row[place] or None for row in rows])

    return Columns(name, header, take, {})


def _records(name: str, text: str, how: dict[str, Any]) -> Iterator[list[str]]:
    """The header and all rows, each of as many fields."""
    reader, line, fields = csv.reader(io.StringIO(text, newline=""), **how), 1, None
    while True:
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            why = "a quote is never closed" if "end of data" in str(error) else str(error)
            raise ValueError(
                f"the row at line {line} of {name} cannot be read ({why}): double the quotes in a field"
            ) from error
        if record:
            fields = fields or len(record)
            if len(record) != fields:
                raise ValueError(
                    f"line {line} of {name} has {len(record)} field{'s' * (len(record) != 1)}, and the header has "
                    f"{fields}: mend it, or put quotes around a field that holds the separator"
                )
            yield record
        line = reader.line_num + 1


def _typed(values: list[str | None]) -> list[Any]:
    """Numbers where all values that are there are numbers, else the strings."""
    known = [value for value in values if value is not None]
    for pattern, number in ((_INTEGER, int), (_NUMBER, float)):
        if all(map(pattern.fullmatch, known)):
            return [None if value is None else number(value) for value in values]
    return values


def _json(name: str, text: str) -> Columns:
    """An object a line, or one array of objects; a key that a row lacks is None."""
    array = text.lstrip()[:1] == "["
    if array:
        numbered: Iterator[tuple[int, Any]] = enumerate(_parsed(name, text, 1), start=1)
    else:
        lines = enumerate(text.split("\n"), start=1)
        numbered = ((number, _parsed(name, line, number)) for number, line in lines if line.strip())
    rows = []
    for number, row in numbered:
        where = f"{'item' if array else 'line'} {number} of {name}"
        if not isinstance(row, dict):
            raise ValueError(f"{where} is {cut(repr(row), 40)}: give an object, {{column: value, …}}")
        if row and all(isinstance(value, dict) for value in row.values()):
            raise ValueError(
                f"{where} holds whole columns ({listing(row)}), not a row: write rows, as pandas' "
                "to_json(orient='records', lines=True) does"
            )
        rows.append(row)
    _not_empty(name, len(rows))
    names = list(dict.fromkeys(key for row in rows for key in row))
    return Columns(name, names, lambda column: [row.get(column) for row in rows], {})


def _parsed(name: str, text: str, line: int) -> Any:
    """line: where the text begins."""
    try:
        return json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        why = cause(error)
        if isinstance(error, json.JSONDecodeError):
            line, why = line + error.lineno - 1, f"{error.msg} at character {error.colno}"
        how = "write one object a line, or one array of objects"
        raise ValueError(f"line {line} of {name} cannot be read as JSON ({why}): {how}") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object has the key {cut(repr(twice), 40)} twice")
    return row


def _text(file: Path) -> str:
    """What a text file holds, unpacked, without the mark that some programs begin it with."""
    data = gzip.decompress(file.read_bytes()) if file.suffix.lower() == ".gz" else file.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line} of {file} is not UTF-8: save the file as UTF-8") from error
    if not text.strip():
        raise ValueError(f"{file} is empty: give a file with rows")
    return text


def _not_empty(name: str, rows: int) -> None:
    if not rows:
        raise ValueError(f"{name} has no rows: give a file with some")
