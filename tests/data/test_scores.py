"""What a score function may return."""

import numpy as np
import pytest
import torch

from filterloader.data.candidates import Candidates
from filterloader.data.scores import losses_of


def labelled(labels):
    return Candidates(n=len(labels), labels=np.array(labels, np.int64))


def test_logits_become_cross_entropy_and_losses_stay():
    logits = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor([0, 0]), reduction="none")
    assert losses_of(logits, labelled([0, 0])) == pytest.approx(expected.numpy())
    assert losses_of(torch.tensor([1.0, 2.0]), labelled([0, 0])).tolist() == [1.0, 2.0]
    assert losses_of(logits, labelled([-100, 1]))[0] == 0  # a row without a label


@pytest.mark.parametrize(
    "labels, shape, message",
    [
        ([0, 0], (2, 1), r"shape \[2, 1\], which is neither losses nor logits; return losses as \[2\]"),
        ([0, 2], (2, 2), "logits of 2 classes, and an example has the label 2; labels must be 0 to 1"),
        ([-1, 0], (2, 2), "has the label -1"),
        ([2**40, 0], (2, 2), "has the label 1099511627776"),
    ],
)
def test_logits_that_do_not_fit_the_labels(labels, shape, message):
    with pytest.raises(ValueError, match=message):
        losses_of(torch.zeros(shape), labelled(labels))
