"""What the tests of runs and comparisons share: rows, a recipe, a small model."""

import pytest

from filterloader.experiments import models as encoder
from filterloader.experiments.recipe import Recipe
from tests.conftest import sentences

RECIPE = Recipe(text="text", batch_size=8, lr=1e-3)


def data(n, seed=0):
    """Rows whose label is told by their words."""
    rows = sentences(n, seed, hard=0.5)
    return [{**row, "label": int("hard" in row["text"])} for row in rows]


@pytest.fixture
def make(tokenizer):
    def pair(seed):
        return tokenizer, encoder.small_encoder(
            len(tokenizer), 2, hidden=32, layers=1, heads=2, max_length=64, seed=seed
        )

    return pair
