"""Docstrings: a small text classification task from sentences that every installation already has on disk.

The question is which library a sentence documents. It needs no network, no licence and no package data.
"""

from __future__ import annotations

import ast
import gc
import hashlib
import importlib.util
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

LIBRARIES = ("torch", "transformers", "datasets", "numpy", "scipy", "numba")  # the hard dependencies
SKIPPED = {"tests", "test", "testing", "_vendor", "vendored", "third_party", "externals", "__pycache__"}
READ_BYTES = 16_000_000  # of files looked at per library, at most
PARSED_BYTES = 4_000_000  # of those, parsed: about half a second
FILE_BYTES = 400_000  # larger files are tables or generated code

_NAMES = re.compile(r"\b(py)?(torch|transformers|hugging ?face|datasets|numpy|np|scipy|numba)('s)?\b", re.IGNORECASE)
_MARKS = re.compile(r":\w+:(?=`)|[`*]")  # reStructuredText and Markdown emphasis
_CODE = re.compile(r"[_=<>{}\[\]|\\#@~^/+:$%\d]|[a-z][A-Z]|\w\.\w|\(\)|\.\.|--|[^\x00-\x7f]")
_DOCSTRING = re.compile(rb'"""(.*?)"""', re.DOTALL)
_WORDS = range(6, 41)
_SCOPES = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def sentences(per_library: int = 2000, seed: int = 0) -> tuple[list[dict], list[str]]:
    """English sentences from the docstrings of the installed libraries, labelled with the library they come from.

    per_library: at most this many of each; a library with fewer gives what it has. seed: of the files read, the
    sentences drawn and their order.
    Returns: rows ``{"text": str, "label": int}`` in random order, no two alike but for case, digits and punctuation and
    none in two libraries; and the names, so that ``names[label]`` is the library. The libraries' own names are cut out
    of the texts. The same installed versions give the same rows; nothing is imported, files are only parsed.
    Raises ValueError if fewer than two libraries have any sentence, or per_library < 1.
    """
    if per_library < 1:
        raise ValueError(f"per_library is {per_library}: give at least 1")
    with _uncollected():
        found = {name: _read(name, 3 * per_library // 2 + 1, seed) for name in LIBRARIES}
    names = [name for name in LIBRARIES if found[name]]
    if len(names) < 2:
        missing = ", ".join(name for name in LIBRARIES if name not in names)
        raise ValueError(
            f"found docstrings of {names}, none of {missing}: classes need two libraries, with their .py files"
        )
    owners = Counter(key for name in names for key in found[name])
    rng = np.random.default_rng(seed)
    rows = []
    for label, name in enumerate(names):
        own = [text for key, text in found[name].items() if owners[key] == 1]
        drawn = rng.permutation(len(own))[:per_library]
        rows += [{"text": own[i], "label": label} for i in drawn]
    return [rows[i] for i in rng.permutation(len(rows))], names


def train_test(
    per_library: int = 2000, test_share: float = 0.2, seed: int = 0
) -> tuple[list[dict], list[dict], list[str]]:
    """`sentences` in two: ``(train, test, names)``; test holds ``test_share`` of each library, at least one sentence.

    test_share: in (0, 1). Raises ValueError outside it, or what `sentences` raises.
    """
    if not 0 < test_share < 1:
        raise ValueError(f"test_share is {test_share}: give a fraction between 0 and 1, such as 0.2")
    rows, names = sentences(per_library, seed)
    totals = Counter(row["label"] for row in rows)
    room = {label: max(1, round(test_share * total)) for label, total in totals.items()}
    train: list[dict] = []
    test: list[dict] = []
    for row in rows:
        room[row["label"]] -= 1
        (test if room[row["label"]] >= 0 else train).append(row)
    return train, test, names


def _read(name: str, wanted: int, seed: int) -> dict[str, str]:
    """Up to about ``wanted`` distinct sentences of one library, from files drawn at random: key -> text."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return {}
    root = Path(next(iter(spec.submodule_search_locations)))
    files = {path.relative_to(root).as_posix(): path for path in root.rglob("*.py")}
    names = [file for file in files if not SKIPPED.intersection(file.split("/"))]
    names.sort(key=lambda file: hashlib.sha256(f"{seed}:{file}".encode()).digest())
    found: dict[str, str] = {}
    parsed = 0
    for source in _prose_first(files[file] for file in names):
        parsed += len(source)
        if parsed > PARSED_BYTES or len(found) >= wanted:
            break
        for docstring in _docstrings(source):
            for text in split(docstring):
                found.setdefault(re.sub(r"[^a-z]+", " ", text.lower()).strip(), text)
    return found


def _prose_first(paths: Iterator[Path]) -> list[bytes]:
    """The sources, those that are at least a quarter docstring first, else in the order given."""
    rich: list[bytes] = []
    poor: list[bytes] = []
    read = 0
    for path in paths:
        source = path.read_bytes()
        if 0 < len(source) <= FILE_BYTES:
            prose = sum(map(len, _DOCSTRING.findall(source)))
            (rich if prose > len(source) / 4 else poor).append(source)
            read += len(source)
        if read > READ_BYTES:
            break
    return rich + poor


def _docstrings(source: bytes) -> Iterator[str]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # a template, or a file for another Python
        return
    scopes: list[Any] = [tree]
    for scope in scopes:  # grows as it goes; expressions, most of the tree, are never looked at
        docstring = ast.get_docstring(scope)
        if docstring:
            yield docstring
        scopes += [node for node in scope.body if isinstance(node, _SCOPES)]


def split(docstring: str) -> list[str]:
    """The sentences of English prose in one docstring, library names cut out: 6 to 40 words, no code, no tables."""
    found = []
    for paragraph in _paragraphs(docstring):
        plain = " ".join(_NAMES.sub("", _MARKS.sub("", paragraph)).split())
        for text in re.split(r"(?<=[.!?])\s+(?=[A-Z])", plain):
            text = re.sub(r"\s+([.,;!?])", r"\1", text)
            prose = text[:1].isupper() and text[-1:] in ".!?" and len(text.split()) in _WORDS
            if prose and not _CODE.search(text) and sum(c.isalpha() or c == " " for c in text) > 0.9 * len(text):
                found.append(text)
    return found


def _paragraphs(docstring: str) -> Iterator[str]:
    """Runs of lines of one indentation, examples left out."""
    for block in re.split(r"\n\s*\n", docstring):
        if ">>>" in block or "```" in block:
            continue
        lines: list[str] = []
        depth = -1
        for line in block.splitlines():
            indent = len(line) - len(line.lstrip())
            if indent != depth and lines:
                yield " ".join(lines)
                lines = []
            depth = indent
            lines.append(line.strip())
        yield " ".join(lines)


@contextmanager
def _uncollected() -> Iterator[None]:
    """No garbage collection: syntax trees are many objects and hold no cycles; looking for some takes seconds."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
