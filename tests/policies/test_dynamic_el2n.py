"""DynamicEL2N: when it looks, what it makes of several looks, and both heads of an intent model with slots."""

import numpy as np
import pytest
import torch

from filterloader import DynamicEL2N, FilteringDataLoader
from filterloader.policies.parts.el2n import el2n, joint_el2n
from tests.conftest import losses_of, sentences
from tests.policies.test_static_el2n import Model, build, hardest, labels, one_pass

ALL = list(range(400))


def run(tokenizer, policy, passes, model=None):
    """What each pass trained on; the model is another one in each."""
    model = Model() if model is None else model
    loader, out = build(tokenizer, policy, model), []
    for seed in range(passes):
        model.seed = seed
        out.append(one_pass(loader))
    return out, loader


def scores(seed):
    return el2n(Model().all(seed), labels())


@pytest.mark.parametrize(
    "tau, period, looks", [(1, 1, [1, 2, 3, 4, 5]), (2, 1, [2, 3, 4, 5]), (1, 2, [1, 3, 5]), (2, 3, [2, 5]), (6, 1, [])]
)
def test_everything_for_tau_passes_then_a_new_share_every_period(tokenizer, tau, period, looks):
    kept, loader = run(tokenizer, DynamicEL2N(0.3, tau=tau, period=period), 6)
    assert kept[:tau] == [ALL] * min(tau, 6)
    for i in range(tau, 6):
        assert kept[i] == hardest(scores(max(look for look in looks if look <= i)), 120)
    assert loader.ledger.scalars()["surveyed"] == 400 * len(looks)


def test_without_full_passes_the_first_cycle_is_random(tokenizer):
    kept, loader = run(tokenizer, DynamicEL2N(0.3, tau=0, period=2), 4)
    assert kept[0] == kept[1] != hardest(scores(0), 120) and len(kept[0]) == 120
    assert kept[2] == kept[3] == hardest(scores(2), 120)
    assert loader.ledger.scalars()["surveyed"] == 400
    assert (
        kept[0]
        == run(tokenizer, DynamicEL2N(0.3, tau=0, seed=0), 1)[0][0]
        != run(tokenizer, DynamicEL2N(0.3, tau=0, seed=1), 1)[0][0]
    )


def test_random_shares_are_fresh_each_time_and_need_no_model():
    loader = FilteringDataLoader(
        ALL, batch_size=16, label=None, policy=DynamicEL2N(0.3, score="random", period=2), seed=0
    )
    kept = [sorted(i for batch in loader for i in batch.tolist()) for _ in range(5)]
    assert kept[0] == ALL and kept[1] == kept[2] != kept[3] == kept[4]
    assert [len(share) for share in kept[1:]] == [120] * 4 and loader.ledger.scalars()["surveyed"] == 0


def test_random_shares_read_no_row():
    class Rows(list):
        reads = 0

        def __getitem__(self, i):
            self.reads += 1
            return super().__getitem__(i)

    rows = Rows(ALL)
    list(FilteringDataLoader(rows, batch_size=16, label=None, policy=DynamicEL2N(0.3, tau=0, score="random")))
    assert rows.reads == 400


def test_the_very_hardest_are_left_out(tokenizer):
    kept, _ = run(tokenizer, DynamicEL2N(0.3, offset=0.05), 2)
    assert kept[1] == sorted(np.argsort(-scores(1))[20:140].tolist())


def test_losses_as_scores(tokenizer):
    kept, _ = run(tokenizer, DynamicEL2N(0.3, score="loss"), 2)
    assert kept[1] == hardest(
        torch.nn.functional.cross_entropy(Model().all(1), torch.tensor(labels()), reduction="none").numpy(), 120
    )


@pytest.mark.parametrize("deviations", [0.0, 1.0])
def test_smoothing_equals_the_formula_over_the_whole_past(tokenizer, deviations):
    kept, _ = run(tokenizer, DynamicEL2N(0.3, smoothing=0.8, deviations=deviations), 5)
    for i in range(1, 5):
        past = np.array([scores(seed) for seed in range(1, i + 1)], float)
        weights = 0.8 * 0.2 ** np.arange(i)[::-1]
        weights[0] /= 0.8  # the first score is all there is at first
        assert weights.sum() == pytest.approx(1)
        mean = weights @ past
        assert kept[i] == hardest(mean + deviations * np.sqrt(weights @ (past - mean) ** 2), 120)
    assert kept[2] != hardest(scores(2), 120)


def test_a_score_that_is_missing_once_does_not_stick(tokenizer):
    class Once(Model):
        def __call__(self, batch):
            found = super().__call__(batch)
            return torch.where((batch["idx"] < 50)[:, None] & (self.seed == 2), torch.nan, found)

    with pytest.warns(UserWarning, match="50 of 400"):
        kept, loader = run(tokenizer, DynamicEL2N(0.3, smoothing=0.8, deviations=1.0), 4, Once())
    state = loader.policy.state_dict()
    assert np.isfinite(state["mean"]).all() and np.isfinite(state["variance"]).all()
    ref = 0.2 * scores(1)[:50] + 0.8 * scores(3)[:50]
    assert state["mean"][:50] == pytest.approx(ref, rel=1e-5) and set(kept[3]) & set(range(50))


def test_another_number_of_examples_is_noticed():
    class Rows(list):
        pass

    rows = Rows(ALL)
    loader = FilteringDataLoader(
        rows, batch_size=16, label=None, score_fn=lambda x: x.float(), policy=DynamicEL2N(0.3, tau=0, smoothing=0.8)
    )
    list(loader), list(loader)
    rows.append(400)
    with pytest.raises(ValueError, match="DynamicEL2N scored 400 examples before, and now there are 401"):
        iter(loader)


def test_a_state_saved_in_a_later_cycle_goes_on_without_a_look(tokenizer):
    def make(model):
        return build(tokenizer, DynamicEL2N(0.3, period=2, smoothing=0.8, deviations=1.0), model)

    model, other = Model(), Model()
    first = make(model)
    one_pass(first)
    iterator = iter(first)
    for _ in range(3):
        first.hook.report(losses_of(next(iterator)))
    second = make(other)
    second.load_state_dict(first.state_dict())
    ref = [batch["idx"].tolist() for batch in iterator]
    assert [batch["idx"].tolist() for batch in second] == ref and other.batches == 0
    model.seed = other.seed = 5
    assert one_pass(first) == one_pass(second) and other.batches == 0
    assert one_pass(first) == one_pass(second) and other.batches == 25


def joint_rows(n=60, seed=0):
    """Tokenized rows with an intent and slots: -100 on what is no first subword."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        length = int(rng.integers(3, 9))
        slots = np.where(rng.random(length) < 0.4, -100, rng.integers(0, 4, length))
        rows.append(
            {
                "input_ids": rng.integers(1, 50, length).tolist(),
                "intent": int(rng.integers(3)),
                "slot_labels": slots.tolist(),
                "idx": i,
            }
        )
    return rows


@pytest.mark.parametrize("intents", ["from the rows", "from the function"])
@pytest.mark.parametrize("joint", ["norm", "sum", "mean"])
def test_intents_and_slots_together(joint, intents):
    torch.manual_seed(0)
    intent_head, slot_head, rows = torch.nn.EmbeddingBag(50, 3, padding_idx=0), torch.nn.Embedding(50, 4), joint_rows()

    def score(batch):
        ids = batch["input_ids"]
        heads = intent_head(ids), slot_head(ids), batch["slot_labels"]
        return (
            heads if intents == "from the rows" else (*heads, torch.tensor([rows[i]["intent"] for i in batch["idx"]]))
        )

    kw = {"label": "intent" if intents == "from the rows" else None, "score_fn": score}
    loader = FilteringDataLoader(
        rows, batch_size=4, shuffle=True, policy=DynamicEL2N(0.5, tau=0, joint=joint), seed=0, **kw
    )
    list(loader)
    kept = sorted(i for batch in loader for i in batch["idx"].tolist())
    ref = []
    with torch.no_grad():
        for row in rows:
            ids = torch.tensor([row["input_ids"]])
            ref.append(
                joint_el2n(
                    intent_head(ids), [row["intent"]], slot_head(ids), torch.tensor([row["slot_labels"]]), joint
                )[0]
            )
    assert kept == hardest(np.array(ref), 30)


def test_slot_labels_are_padded_with_what_is_ignored():
    loader = FilteringDataLoader(joint_rows(), batch_size=60, label="intent", policy=DynamicEL2N(0.5, score="random"))
    (batch,) = loader
    padding = batch["attention_mask"] == 0
    assert padding.any() and (batch["slot_labels"][padding] == -100).all()


@pytest.mark.parametrize(
    "returned, label, message",
    [
        (lambda b: torch.zeros(len(b["idx"]), 3), "intent", "with joint='norm', score_fn must return"),
        (
            lambda b: (torch.zeros(len(b["idx"]), 3), torch.zeros(*b["input_ids"].shape, 4), b["slot_labels"]),
            None,
            "return the intent labels",
        ),
        (
            lambda b: (torch.zeros(len(b["idx"]), 3), torch.zeros(*b["input_ids"].shape, 2), b["slot_labels"]),
            "intent",
            "none of the 2 classes",
        ),
    ],
)
def test_heads_that_do_not_fit_are_refused(returned, label, message):
    loader = FilteringDataLoader(
        joint_rows(), batch_size=4, label=label, policy=DynamicEL2N(0.5, joint="norm"), score_fn=returned
    )
    list(loader)
    with pytest.raises(ValueError, match=message):
        iter(loader)


@pytest.mark.parametrize("settings, message", [
    ({"score": "norm"}, "score='norm' is not known; choose one of 'el2n', 'loss', 'random'"),
    ({"tau": -1}, "tau must be a whole number of at least 0, got -1"),
    ({"period": 0}, "period must be a whole number of at least 1, got 0"),
    ({"keep": 0.7, "offset": 0.4}, "must not exceed 1 together, got keep=0.7 and offset=0.4"),
    ({"smoothing": 0.0}, r"smoothing must be a number in \(0, 1\], got 0.0"),
    ({"deviations": 1.0}, "deviations=1.0 .* set smoothing too"),
    ({"joint": "norm", "score": "loss"}, "joint='norm'.*score='loss'.*return losses"),
])  # fmt: skip
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        DynamicEL2N(**{"keep": 0.5, **settings})


def test_two_scores_of_one_example_differ_by_their_own_deviation():
    """By hand: α = .5, scores 0 then 2: mean 1, variance .5·(0 + .5·4) = 1."""
    policy = DynamicEL2N(1.0, smoothing=0.5, deviations=2.0)
    assert policy._smoothed(np.zeros(1, np.float32)).tolist() == [0]
    assert policy._smoothed(np.full(1, 2, np.float32)).tolist() == [1 + 2 * 1]


def test_a_set_of_rows_without_a_class_needs_scores(tokenizer):
    rows = [{**row, "label": row["label"] + 0.5} for row in sentences(20)]
    loader = FilteringDataLoader(
        rows, tokenizer=tokenizer, policy=DynamicEL2N(0.5), score_fn=lambda b: torch.zeros(len(b["labels"]), 2)
    )
    list(loader)
    with pytest.raises(ValueError, match=r"one whole-number class label a row.*return scores \[batch\]"):
        iter(loader)
