"""What importing the package costs: nothing before a name is asked for, and then no more than that name needs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import filterloader

HEAVY = (
    "torch",
    "numba",
    "scipy",
    "scipy.sparse",
    "transformers",
    "datasets",
    "tokenizers",
    "matplotlib",
    "pandas",
    "pyarrow",
    "sklearn",
)


def loaded(code):
    """Which heavy libraries a fresh interpreter has loaded after ``code``."""
    watch = f"import sys\n{code}\nprint(*(name for name in {HEAVY!r} if name in sys.modules))"
    ran = subprocess.run([sys.executable, "-c", watch], capture_output=True, text=True, timeout=120, check=True)
    return set(ran.stdout.split())


def test_importing_the_package_or_its_command_line_loads_nothing_heavy():
    rooms = ("cli", "names", "tables")
    assert loaded(f"import filterloader, {', '.join(f'filterloader.experiments.{room}' for room in rooms)}") == set()


def test_the_loader_needs_no_library_but_those_it_works_with():
    assert loaded("from filterloader import *") <= {
        "torch",
        "numba",
        "scipy",
        "tokenizers",
    }  # numba looks whether scipy is there


def test_a_matrix_is_understood_where_scipy_was_not_loaded_yet():
    code = "from filterloader import BernoulliNB\nBernoulliNB(3).partial_fit([[1, 0, 1]], [1])"
    assert {"scipy.sparse"} <= loaded(code)


def test_a_mistyped_path_is_told_before_anything_is_loaded():
    watch = "from filterloader.experiments import cli\nassert cli.main(['train', '--data', './none.jsonl']) == 2"
    assert loaded(watch) == set()


def test_every_public_name_is_there_and_listed():
    told = {name for names in filterloader._ROOMS.values() for name in names or ()}
    policies = {kind.__name__ for kind in filterloader.POLICIES.values()} | {"POLICIES", "Policy"}
    assert not told & policies and sorted(told | policies) == filterloader.__all__
    told |= policies
    assert told <= set(dir(filterloader)) and {"__all__", "__name__"} <= set(dir(filterloader))
    namespace = {}
    exec("from filterloader import *", namespace)
    assert told <= set(namespace)
    for name in told:
        assert namespace[name] is getattr(filterloader, name)
    assert {"loader", "policies"} <= set(vars(filterloader))  # rooms are attributes once they are open


def test_editors_are_told_the_same_names_from_the_same_rooms():
    tree = ast.parse(Path(filterloader.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    told = {}
    for line in block.body:
        room = line.module.partition(".")[2]
        told[room] = (*told.get(room, ()), *(alias.name for alias in line.names))
    assert told == {room: names or ("*",) for room, names in filterloader._ROOMS.items()}


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'filterloader' has no attribute 'FilterLoader'"):
        _ = filterloader.FilterLoader
    with pytest.raises(ImportError, match="FilterLoader"):
        exec("from filterloader import FilterLoader")
    assert not hasattr(filterloader, "__wrapped__")
