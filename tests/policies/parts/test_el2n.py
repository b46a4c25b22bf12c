"""EL2N of one head and of two, against the plain formulas."""

import numpy as np
import pytest
import torch

from filterloader.data.candidates import Candidates
from filterloader.policies.parts.el2n import el2n, joint_el2n, scores_of


def plain(logits, label):
    """‖softmax - onehot‖₂ of one prediction, in NumPy."""
    p = np.exp(np.asarray(logits, float))
    return np.linalg.norm(p / p.sum() - np.eye(len(p))[label])


def heads(n=6, c=4, t=5, s=3, seed=0):
    """(intent logits, intent labels, slot logits, slot labels): some tokens are no slots, one example has none."""
    rng = np.random.default_rng(seed)
    slots = np.where(rng.random((n, t)) < 0.5, -100, rng.integers(0, s, (n, t)))
    slots[2] = -100
    return [
        torch.from_numpy(a)
        for a in (rng.normal(size=(n, c)) * 3, rng.integers(0, c, n), rng.normal(size=(n, t, s)) * 3, slots)
    ]


def of(labels):
    return Candidates(len(labels), labels=np.asarray(labels))


def test_el2n_equals_the_formula():
    logits, labels, *_ = heads()
    comp = el2n(logits, labels)
    assert comp.dtype == np.float32 and comp == pytest.approx(
        [plain(*pair) for pair in zip(logits, labels, strict=True)]
    )
    assert np.array_equal(comp, el2n(logits, labels.numpy()))
    assert el2n(torch.tensor([[0.0, 0.0], [50.0, -50.0], [50.0, -50.0]]), [0, 0, 1]) == pytest.approx(
        [np.sqrt(0.5), 0, np.sqrt(2)], abs=1e-6
    )


def test_confident_predictions_are_still_told_apart():
    comp = el2n(torch.tensor([[20.0, 0.0], [25.0, 0.0], [30.0, 0.0]]), [0, 0, 0])
    assert comp[0] > comp[1] > comp[2] > 0


def test_half_precision_and_the_input_stay_as_they_are():
    logits, labels, *_ = heads()
    half = logits.to(torch.bfloat16)
    before = half.clone()
    assert el2n(half, labels) == pytest.approx(el2n(half.double(), labels))
    assert torch.equal(half, before)


@pytest.mark.parametrize("kind", ["norm", "sum", "mean"])
def test_joint_el2n_equals_the_formula(kind):
    intent_logits, intents, slot_logits, slots = heads()
    comp = joint_el2n(intent_logits, intents, slot_logits, slots, kind)
    for i in range(6):
        e = plain(intent_logits[i], intents[i])
        tokens = [plain(slot_logits[i, t], slots[i, t]) for t in range(5) if slots[i, t] != -100]
        ref = {
            "norm": np.sqrt(e**2 + sum(x**2 for x in tokens)),
            "sum": e + sum(tokens),
            "mean": (e + (np.mean(tokens) if tokens else 0)) / 2,
        }[kind]
        assert comp[i] == pytest.approx(ref)


def test_padding_changes_nothing():
    intent_logits, intents, slot_logits, slots = heads()
    wider = torch.cat([slot_logits, torch.full((6, 2, 3), 7.0)], 1), torch.cat([slots, torch.full((6, 2), -100)], 1)
    for kind in ("norm", "sum", "mean"):
        assert np.allclose(
            joint_el2n(intent_logits, intents, slot_logits, slots, kind),
            joint_el2n(intent_logits, intents, *wider, kind),
        )


def test_scores_come_from_what_a_score_function_may_return():
    intent_logits, intents, slot_logits, slots = heads()
    candidates = of(intents.numpy())
    assert np.array_equal(scores_of(intent_logits, candidates), el2n(intent_logits, intents))
    assert scores_of(torch.tensor([1.0, -2.0, np.nan]), of([0, 0, 0])) == pytest.approx([1, -2, np.nan], nan_ok=True)
    ref = joint_el2n(intent_logits, intents, slot_logits, slots, "sum")
    assert np.array_equal(scores_of((intent_logits, slot_logits, slots), candidates, joint="sum"), ref)
    assert np.array_equal(scores_of((intent_logits, slot_logits, slots, intents), Candidates(6), joint="sum"), ref)
    assert np.array_equal(scores_of(torch.arange(6.0), candidates, joint="norm"), np.arange(6))
    cross = torch.nn.functional.cross_entropy(intent_logits, intents, reduction="none")
    assert scores_of(intent_logits, candidates, score="loss") == pytest.approx(cross.tolist())
    assert scores_of(cross, candidates, score="loss") == pytest.approx(cross.tolist())


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda: el2n(torch.zeros(3, 2), [0, 1]), r"logits of shape \[3, 2\] do not fit labels of shape \[2\]"),
        (lambda: el2n(torch.zeros(2, 1), [0, 0]), "at least two classes"),
        (lambda: el2n(torch.zeros(2, 2), [0, 2]), "label 2 is none of the 2 classes"),
        (lambda: el2n(torch.zeros(2, 2), [0, -100]), "label -100 is none of the 2 classes"),
        (lambda: el2n(torch.zeros(2, 2), [0.0, 1.0]), "must be whole numbers"),
        (lambda: joint_el2n(*heads(), "max"), "joint='max' is not known"),
        (
            lambda: joint_el2n(*heads()[:3], torch.full((6, 5), 3)),
            "slot label 3 is none of the 3 classes of the slot logits",
        ),
        (lambda: joint_el2n(*heads()[:2], *heads(3)[2:]), "6 intents and 3 rows of slots"),
        (
            lambda: scores_of(torch.zeros(2, 2, 2), of([0, 1])),
            r"must return logits \[batch, classes\], or scores \[batch\], got a tensor .*\[2, 2, 2\]",
        ),
        (lambda: scores_of((torch.zeros(2, 2),), of([0, 1])), "got tuple of 1"),
        (lambda: scores_of(torch.zeros(2, 2), Candidates(2)), "one whole-number class label a row.*label="),
        (
            lambda: scores_of(torch.zeros(2, 2), of([0, 1]), joint="norm"),
            r"joint='norm'.*slot labels \[batch, tokens\].*got a tensor of shape \[2, 2\]",
        ),
        (lambda: scores_of(tuple(heads()[::2]), of([0] * 6), joint="norm"), "got tuple of 2"),
    ],
)
def test_what_does_not_fit_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()


def test_logits_with_a_graph_are_taken_as_they_are():
    logits = torch.randn(4, 2, requires_grad=True)
    np.testing.assert_array_equal(el2n(logits, [0, 1, 0, 1]), el2n(logits.detach(), [0, 1, 0, 1]))
    slots = torch.randn(4, 3, 5, requires_grad=True)
    assert joint_el2n(logits, [0, 1, 0, 1], slots, torch.zeros(4, 3, dtype=torch.long), "mean").shape == (4,)
