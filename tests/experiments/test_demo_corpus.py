"""The docstring task: real prose, balanced, repeatable, found without importing anything."""

import importlib.util
import subprocess
import sys
from collections import Counter
from types import SimpleNamespace

import pytest

from filterloader.experiments import demo_corpus as docstrings


@pytest.fixture(scope="module")
def drawn():
    return docstrings.sentences(per_library=150)


def library(folder, name, sentences):
    """A fake installed package: one function a sentence."""
    (folder / name).mkdir(parents=True)
    code = "\n".join(f'def f{i}():\n    """{sentence}"""' for i, sentence in enumerate(sentences))
    (folder / name / "module.py").write_text(code)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Only the packages under tmp_path are there."""

    def find_spec(name):
        found = tmp_path / name
        return SimpleNamespace(submodule_search_locations=[str(found)]) if found.exists() else None

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    return tmp_path


def test_every_library_gives_its_share(drawn):
    rows, names = drawn
    assert names == list(docstrings.LIBRARIES)
    assert set(Counter(row["label"] for row in rows).values()) == {150}


def test_sentences_are_prose_without_the_answer(drawn):
    for text in (row["text"] for row in drawn[0]):
        assert 6 <= len(text.split()) <= 40
        assert text[0].isupper() and text[-1] in ".!?"
        assert not set(text) & set("_=<>{}[]`#:") and ">>>" not in text
        assert not {word.strip(".,()'").lower() for word in text.split()} & {
            "numpy",
            "torch",
            "pytorch",
            "scipy",
            "numba",
        }


def test_no_sentence_twice(drawn):
    texts = [row["text"].lower() for row in drawn[0]]
    assert len(set(texts)) == len(texts)


def test_draws_repeat_and_follow_the_seed(installed):
    for i, name in enumerate(("torch", "numpy")):
        library(installed, name, [f"The {'ab'[i]}{'x' * n} of the matrix is given here." for n in range(1, 30)])
    ref = docstrings.sentences(10)
    assert docstrings.sentences(10) == ref
    assert docstrings.sentences(10, seed=1) != ref


def test_nothing_is_imported():
    code = f"import runpy, sys; runpy.run_path({docstrings.__file__!r})['sentences'](5); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_sentence_of_two_libraries_belongs_to_neither(installed):
    shared = "Returns the sum of all the elements."
    library(installed, "torch", [shared, "The gradient flows back through every node."])
    library(installed, "numpy", [shared.upper()[0] + shared[1:], "The strides of an array are in bytes."])
    rows, names = docstrings.sentences(10)
    assert names == ["torch", "numpy"]
    assert sorted(row["text"] for row in rows) == [
        "The gradient flows back through every node.",
        "The strides of an array are in bytes.",
    ]


def test_broken_files_and_test_folders_are_passed_over(installed):
    library(installed, "torch", ["The gradient flows back through every node."])
    library(installed, "numpy", ["The strides of an array are in bytes."])
    library(installed / "numpy", "tests", ["The tests are not worth reading at all."])
    (installed / "numpy" / "template.py").write_text("def {{ name }}:")
    (installed / "numpy" / "other.py").write_bytes(b"\xff\xfe\x00")
    assert len(docstrings.sentences(10)[0]) == 2


def test_one_library_is_no_task(installed):
    library(installed, "torch", ["The gradient flows back through every node."])
    with pytest.raises(ValueError, match=r"\['torch'\], none of transformers, datasets, numpy.*two libraries"):
        docstrings.sentences()


def test_split_keeps_prose_only():
    docstring = """Compute the mean of `x` along the *given* axis. Too short here.

    Parameters
    ----------
    axis : int, optional
        The axis along which the mean is
        computed by the NumPy function. See numpy.mean for more of the same thing.

    >>> # This is an example and not a real sentence.
    """
    assert docstrings.split(docstring) == [
        "Compute the mean of x along the given axis.",
        "The axis along which the mean is computed by the function.",
    ]


def test_train_and_test_share_nothing():
    train, test, names = docstrings.train_test(per_library=50, test_share=0.2)
    assert Counter(row["label"] for row in test) == dict.fromkeys(range(len(names)), 10)
    assert Counter(row["label"] for row in train) == dict.fromkeys(range(len(names)), 40)
    assert not {row["text"] for row in train} & {row["text"] for row in test}


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: docstrings.sentences(0), "per_library is 0.*at least 1"),
        (lambda: docstrings.train_test(test_share=1), "test_share is 1.*between"),
        (lambda: docstrings.train_test(test_share=20), "test_share is 20"),
    ],
)
def test_errors_say_what_was_given(call, message):
    with pytest.raises(ValueError, match=message):
        call()
