"""Which message of a chain of exceptions a user is shown."""

from itertools import pairwise

import pytest
from datasets.exceptions import DatasetGenerationError

from filterloader.experiments.cause import cause


def chained(*errors, suppressed=False):
    """The first error, raised from the second, raised from the third, …"""
    for upper, lower in pairwise(errors):
        upper.__context__ = lower
        upper.__suppress_context__ = suppressed
    return errors[0]


WRAPPED = DatasetGenerationError("An error occurred while generating the dataset")


@pytest.mark.parametrize(
    "errors, said",
    [
        ([ValueError("bad row 3")], "bad row 3"),
        ([ValueError("bad row 3"), KeyError("detail")], "bad row 3"),
        ([WRAPPED, ValueError("parse error in row 7"), ValueError("Trailing data")], "parse error in row 7"),
        ([WRAPPED, ValueError(""), OSError("disk full")], "disk full"),
        (
            [DatasetGenerationError(f"{WRAPPED}\n\nAll files must have\nthe same columns")],
            "All files must have the same columns",
        ),
        ([ValueError("Couldn't cast\n  text:\nnames differ\n")], "Couldn't cast text: names differ"),
        ([KeyError("model_type")], "KeyError: 'model_type'"),
        ([ValueError("")], "ValueError"),
        ([ValueError(" \n")], "ValueError"),
    ],
)
def test_the_first_message_that_says_something_is_shown(errors, said):
    assert cause(chained(*errors)) == said


def test_what_was_suppressed_stays_so():
    assert cause(chained(ValueError(""), ValueError("hidden"), suppressed=True)) == "ValueError"


def test_a_long_message_is_cut():
    line = cause(ValueError("word " * 200))
    assert len(line) == 240 and line.endswith("…")
