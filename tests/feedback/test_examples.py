"""The examples in the docstrings run."""

import doctest

import pytest

from filterloader.data import batch
from filterloader.feedback import clock, cost, ledger, log, pairing, report, trace, warn


@pytest.mark.parametrize("module", [batch, clock, cost, ledger, log, pairing, report, trace, warn])
def test_examples_run(module):
    failed, tried = doctest.testmod(module)
    assert not failed and (tried or module not in (batch, ledger, report))
