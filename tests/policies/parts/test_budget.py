"""Budget: poured to one level, no more than there is and no more than there is room for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterloader.policies.parts.budget import evenly


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(1, 200)), min_size=1, max_size=30), st.floats(0.0, 1.0))
def test_the_budget_is_poured_to_one_level(classes, part):
    have, room = np.array(classes, float).T
    budget = part * room.sum()
    got = evenly(have, room, budget)
    assert got.sum() == pytest.approx(budget, abs=1e-6)
    assert (got >= 0).all() and (got <= room).all()
    filling = (got > 1e-9) & (got < room - 1e-9)
    level = (have + got)[filling]
    if level.size:
        assert np.ptp(level) < 1e-6
        assert (have[got <= 1e-9] >= level[0] - 1e-6).all()  # who gets nothing has more already
        assert ((have + room)[got >= room - 1e-9] <= level[0] + 1e-6).all()  # who is full has less still


def test_more_budget_than_room_fills_all():
    assert evenly(np.array([3.0, 0.0]), np.array([2, 5]), 100.0).tolist() == [2, 5]
    assert evenly(np.array([3.0, 0.0]), np.array([2, 5]), 0.0).tolist() == [0, 0]
    assert evenly(np.zeros(0), np.zeros(0, int), 0.0).shape == (0,)
