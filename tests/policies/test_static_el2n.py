"""StaticEL2N: everything first, one look with the model of that moment, then the hardest share for good."""

import numpy as np
import pytest
import torch

from filterloader import FilteringDataLoader, StaticEL2N
from filterloader.policies.parts.el2n import el2n
from tests.conftest import losses_of, sentences, train


class Model:
    """Its logits change from one look to the next, and it counts its looks."""

    def __init__(self):
        self.seed, self.batches = 0, 0

    def all(self, seed):
        return torch.from_numpy(np.random.default_rng(seed).normal(size=(400, 2)))

    def __call__(self, batch):
        self.batches += 1
        return self.all(self.seed)[batch["idx"]]


def build(tokenizer, policy, model, n=400, **kw):
    rows = [{**tokenizer(row["text"]), "label": row["label"], "idx": row["idx"]} for row in sentences(n)]
    return FilteringDataLoader(
        rows, tokenizer=tokenizer, policy=policy, score_fn=model, **{"batch_size": 16, "shuffle": True, "seed": 0, **kw}
    )


def one_pass(loader):
    return sorted(i for batch, _ in train(loader) for i in batch["idx"].tolist())


def hardest(scores, k):
    return sorted(np.argsort(-scores)[:k].tolist())


def labels():
    return [row["label"] for row in sentences(400)]


@pytest.mark.parametrize("after", [0, 1, 2])
def test_the_share_with_the_largest_el2n_is_kept_from_then_on(tokenizer, after):
    model = Model()
    loader = build(tokenizer, StaticEL2N(0.3, after=after), model)
    for seed in range(after):
        model.seed = seed
        assert one_pass(loader) == list(range(400)) and loader.policy.stage == "warm-up" and model.batches == 0
    model.seed = 7
    ref = hardest(el2n(model.all(7), labels()), 120)
    assert one_pass(loader) == ref
    model.seed = 8
    assert one_pass(loader) == one_pass(loader) == ref and model.batches == 25
    assert loader.policy.stage == "filter" and loader.ledger.scalars()["surveyed"] == 400


def test_the_mean_of_several_looks(tokenizer):
    model = Model()
    loader = build(tokenizer, StaticEL2N(0.25, average=3), model)
    for seed in range(3):
        model.seed = seed
        assert one_pass(loader) == list(range(400))
    model.seed = 3
    scores = np.mean([el2n(model.all(seed), labels()) for seed in (1, 2, 3)], axis=0)
    assert one_pass(loader) == one_pass(loader) == hardest(scores, 100) and model.batches == 75


def test_a_pass_that_is_broken_off_is_no_pass(tokenizer):
    model = Model()
    loader = build(tokenizer, StaticEL2N(0.3, average=2), model)
    for _ in range(3):
        next(iter(loader))
    assert model.batches == 0 and one_pass(loader) == list(range(400))
    for _ in range(3):
        next(iter(loader))
    assert model.batches == 25  # not a second time over the same model
    one_pass(loader)
    assert len(one_pass(loader)) == 120


def test_scores_may_come_as_they_are_without_labels(tokenizer):
    loader = build(tokenizer, StaticEL2N(0.1, after=0), lambda batch: -batch["idx"].float(), label=None)
    assert one_pass(loader) == list(range(40))


def test_what_is_not_a_number_is_kept_last(tokenizer):
    def model(batch):
        return torch.where(batch["idx"] < 300, torch.nan, batch["idx"].float())

    loader = build(tokenizer, StaticEL2N(0.5, after=0), model)
    with pytest.warns(UserWarning, match="300 of 400 scores are NaN or infinite"):
        kept = one_pass(loader)
    assert set(range(300, 400)) < set(kept) and len(kept) == 200


def test_a_small_model_is_taught_on_what_it_finds_hard(tokenizer):
    torch.manual_seed(0)
    net = torch.nn.EmbeddingBag(len(tokenizer), 2, padding_idx=0)
    optimizer = torch.optim.Adam(net.parameters(), 0.05)
    rows = [{**row, "label": int("hard" in row["text"])} for row in sentences(400, hard=0.1)]
    loader = FilteringDataLoader(
        rows,
        tokenizer=tokenizer,
        batch_size=16,
        shuffle=True,
        seed=0,
        policy=StaticEL2N(0.2),
        score_fn=lambda batch: net(batch["input_ids"]),
    )
    for _ in range(2):
        kept = []
        for batch in loader:
            kept += batch["labels"].tolist()
            loss = loader.hook.report(
                torch.nn.functional.cross_entropy(net(batch["input_ids"]), batch["labels"], reduction="none")
            )
            loss.backward(), optimizer.step(), optimizer.zero_grad()
    assert len(kept) == 80 and np.mean(kept) > 0.3  # the rare class is the hard one


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"score_fn": None}, r"StaticEL2N looks over .* returns logits \[batch, classes\], or scores \[batch\]"),
        (
            {"score_fn": None, "policy": StaticEL2N(0.5, joint="norm")},
            r"slot logits \[batch, tokens, slots\].*slot labels \[batch, tokens\]",
        ),
        ({"granularity": "batch", "score_fn": None}, "StaticEL2N .* needs granularity='example'"),
    ],
)
def test_a_loader_that_does_not_suit_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        FilteringDataLoader(**{"dataset": sentences(4), "policy": StaticEL2N(0.5), "score_fn": losses_of, **arguments})


def test_blocks_that_overtake_have_no_index(tokenizer):
    with pytest.raises(ValueError, match=r"StaticEL2N needs examples by index.*in_order=True"):
        build(tokenizer, StaticEL2N(0.5, after=0), Model(), num_workers=1, in_order=False)


@pytest.mark.parametrize("settings, message", [
    ({"keep": 1.5}, r"keep must be a number in \(0, 1\], got 1.5"),
    ({"keep": 0.5, "after": -1}, "after must be a whole number of at least 0, got -1"),
    ({"keep": 0.5, "average": 0}, "average must be a whole number of at least 1, got 0"),
    ({"keep": 0.5, "joint": "max"}, "joint='max' is not known; choose one of None, 'norm', 'sum', 'mean'"),
])  # fmt: skip
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        StaticEL2N(**settings)
