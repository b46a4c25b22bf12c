"""The house: rooms import one way, files and functions stay small, and nothing of the library knows the laboratory."""

import ast
from pathlib import Path

import pytest

import filterloader

ROOT = Path(filterloader.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
ORDER = (
    "experiments",
    "integrations",
    "training",
    "loader",
    "stages",
    "feedback",
    "policies",
    "predictors",
    "data",
    "kernels",
)


def room_of(file):
    part = file.relative_to(ROOT).parts[0]
    return part.removesuffix(".py")


def imports_of(tree):
    """``(room, node)`` of everything that a file imports from the package."""
    for node in ast.walk(tree):
        names = [node.module] if isinstance(node, ast.ImportFrom) else []
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else names
        for name in names:
            parts = (name or "").split(".")
            if parts[0] == "filterloader" and len(parts) > 1:
                yield parts[1], node


def told(file):
    return file.relative_to(ROOT).as_posix()


def test_a_newcomer_sees_at_most_twelve_names():
    assert len([path for path in ROOT.iterdir() if path.name != "__pycache__"]) <= 12


@pytest.mark.parametrize("file", FILES, ids=told)
def test_imports_run_one_way(file):
    room = room_of(file)
    if room == "__init__":
        return  # the lazy table names every room
    for other, node in imports_of(ast.parse(file.read_text())):
        assert ORDER.index(other) >= ORDER.index(room), f"{told(file)}:{node.lineno} looks up from {room} to {other}"


@pytest.mark.parametrize("file", FILES, ids=told)
def test_a_file_opens_with_a_sentence_and_stays_small(file):
    text = file.read_text()
    assert len(text.splitlines()) <= 400
    opening = ast.get_docstring(ast.parse(text))
    assert opening and opening.split("\n")[0].rstrip().endswith(".")
    assert "print(" not in text or room_of(file) == "experiments"


@pytest.mark.parametrize("file", FILES, ids=told)
def test_functions_stay_small(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            documented = ast.get_docstring(node) is not None
            first = node.body[1] if documented and len(node.body) > 1 else node.body[0]
            assert node.end_lineno - first.lineno < 60, f"{told(file)}:{node.lineno} {node.name} is long"


def test_only_the_base_of_policies_asks_what_a_policy_lacks():
    for file in FILES:
        text = file.read_text()
        if file.name != "base.py":
            assert (
                "getattr(policy" not in text and "getattr(self.policy" not in text and "hasattr(self.policy" not in text
            ), told(file)
