"""Rows: what is wrong with them is found and said; scores become probabilities."""

import numpy as np

from filterloader.kernels import inputs as kernel
from filterloader.predictors import inputs as rows
from tests import naive


def test_find_bad():
    ids, offsets = np.array([1, 2, 3], np.int32), np.array([0, 1, 3])
    good = {"ids": ids, "offsets": offsets, "n_features": 4, "y": np.array([0.0, 1.0]), "weight": np.array([0.0, 2.0])}
    changes = [
        {},
        {"offsets": np.array([1, 1, 3])},
        {"offsets": np.array([0, 1, 2])},
        {"offsets": np.array([0, 4, 3])},
        {"n_features": 3},
        {"ids": np.array([1, -2, 3], np.int32)},
        {"y": np.array([0.0, 0.5])},
        {"y": np.array([np.nan, 1.0])},
        {"weight": np.array([1.0, -1.0])},
        {"weight": np.array([np.inf, 1.0])},
        {"weight": np.array([np.nan, 1.0])},
        {"y": np.empty(0), "weight": np.empty(0)},
    ]
    for change in changes:
        ref = naive.find_bad(**good | change)
        comp = kernel.find_bad(*(good | change).values())
        assert ref == comp


def test_probabilities():
    scores = np.array([0.0, 1.5, -1.5, 40.0, -40.0, 800.0, -800.0, np.inf, -np.inf])
    ref = naive.probabilities(scores)
    comp = np.empty((scores.size, 2))
    kernel.probabilities(scores, comp)
    np.testing.assert_allclose(comp, ref, rtol=1e-12)
    np.testing.assert_array_equal(rows.probabilities(scores), comp)
