"""Twins: every kernel that the library calls has one in NumPy, and every kernel means the same without the JIT."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import filterloader
from tests import naive, naive_words
from tests.kernels.called import kernels

ROOT = Path(filterloader.__file__).parent
TWINS = {
    "inputs.find_bad": naive.find_bad,
    "inputs.probabilities": naive.probabilities,
    "logistic.learn": naive.Logistic.learn,
    "logistic.scores": naive.Logistic,
    "naive_bayes.bernoulli_learn": naive.NaiveBayes.learn,
    "naive_bayes.bernoulli_scores": naive.NaiveBayes.score,
    "naive_bayes.multinomial_learn": naive.NaiveBayes.learn,
    "naive_bayes.multinomial_scores": naive.NaiveBayes.score,
    "proxy.embed": naive.embed,
    "proxy.farthest_first": naive.farthest_first,
    "proxy.learn": naive.learn,
    "ragged.cross_labels": naive.cross_labels,
    "ragged.fold": naive.fold,
    "ragged.longest": naive.longest,
    "ragged.mask_rows": naive.mask_rows,
    "ragged.pad_rows": naive.pad_rows,
    "ragged.take_rows": naive.take_rows,
    "weights.count_kept": naive.count_kept,
    "words.hash_words": naive_words.bag,
}
WITHOUT_JIT = ["kernels", "predictors", "stages/test_refill.py", "data/test_arrow_table.py"]


def called_from_outside():
    """The kernels that other rooms call, whatever name they import them under."""
    found = set()
    for file in ROOT.rglob("*.py"):
        if file.parent.name != "kernels":
            tree = ast.parse(file.read_text())
            imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
            rooms = {}  # local name -> module of kernels
            for node in imports:
                for alias in node.names:
                    if node.module == "filterloader.kernels":
                        rooms[alias.asname or alias.name] = alias.name
                    elif node.module.startswith("filterloader.kernels."):
                        found.add(f"{node.module.rpartition('.')[2]}.{alias.name}")
            for node in ast.walk(tree):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in rooms:
                    found.add(f"{rooms[node.value.id]}.{node.attr}")
    return found & set(kernels())


def test_every_kernel_that_is_called_has_a_twin():
    missing = called_from_outside() - set(TWINS)
    assert not missing, f"add to tests/naive.py, and to TWINS: {missing}"
    assert set(TWINS) <= set(kernels())


def test_the_kernels_mean_the_same_without_the_jit():
    """In a process of its own; the plugin fails it where a kernel was never executed."""
    plain = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "tests.kernels.called"]
    files = [f"tests/{path}" for path in WITHOUT_JIT]
    here = f"--deselect=tests/kernels/{Path(__file__).name}"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, "-m", "pytest", *plain, *files, here]
    run = subprocess.run(command, env=environment, cwd=ROOT.parent, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout[-3000:]
