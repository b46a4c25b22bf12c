"""SelectionViaProxy: one choice before the first pass, by what a cheap model made of the words."""

import numpy as np
import pytest
from torch.utils.data import IterableDataset

from filterloader import FilteringDataLoader, LinearProxy, SelectionViaProxy, ThreeStage
from filterloader.policies import selection_via_proxy as room
from filterloader.policies.parts import selection as selection_module
from filterloader.predictors.features import TokenFeatures
from tests.conftest import EASY, HARD, losses_of, sentences, train


def rows(n=600, noise=0.1, seed=0):
    """Easy words tell the label, a share of the labels is wrong; of hard words nothing is to be learnt."""
    rng = np.random.default_rng(seed)
    out = []
    for row in sentences(n, seed):
        words = rng.choice(EASY[:20] if row["label"] else EASY[20:], 6)
        if rng.random() < noise:
            words = rng.choice(HARD, 6)
        out.append({**row, "text": " ".join(words)})
    return out


def build(tokenizer, policy, data=None, **kw):
    kw = {"batch_size": 16, "shuffle": True, "seed": 0, **kw}
    return FilteringDataLoader(rows() if data is None else data, tokenizer=tokenizer, policy=policy, **kw)


def texts(tokenizer, loader):
    return [tokenizer.decode(ids, skip_special_tokens=True) for batch, _ in train(loader) for ids in batch["input_ids"]]


@pytest.mark.parametrize("score", ["entropy", "least_confidence"])
def test_what_the_words_do_not_tell_is_kept(tokenizer, score):
    loader = build(tokenizer, SelectionViaProxy(0.1, score=score, lr=0.5))
    kept = texts(tokenizer, loader)
    assert len(kept) == 60 and np.mean(["hard" in text for text in kept]) > 0.9


def test_it_is_chosen_once_and_its_time_is_told(tokenizer, monkeypatch):
    fitted = []
    monkeypatch.setattr(room, "LinearProxy", lambda *args, **kw: fitted.append(1) or LinearProxy(*args, **kw))
    loader = build(tokenizer, SelectionViaProxy(0.3))
    assert loader.policy.stage == "warm-up" and loader.ledger.scalars()["survey_s"] == 0
    passes = [sorted(texts(tokenizer, loader)) for _ in range(3)]
    scalars = loader.ledger.scalars()
    assert passes[0] == passes[1] == passes[2] and len(fitted) == 1 and loader.policy.stage == "filter"
    assert 0 < scalars["survey_s"] < scalars["wall_s"] and scalars["surveyed"] == 0
    assert scalars["forwarded"] == 3 * 180


def test_the_label_is_in_no_word_of_the_proxy(tokenizer, monkeypatch):
    seen = []

    class Spy(LinearProxy):
        def fit(self, X, y):
            seen.append((X, y))
            return super().fit(X, y)

    monkeypatch.setattr(room, "LinearProxy", Spy)
    data = rows()
    list(build(tokenizer, SelectionViaProxy(0.5), data))
    ((words, labels),) = seen
    assert words.ids.tolist() == [i for row in data for i in tokenizer(row["text"])["input_ids"]]
    assert labels.tolist() == [row["label"] for row in data] and words.n_features == len(tokenizer)


@pytest.mark.parametrize("features", ["auto", "tokens*label"])
def test_words_that_give_the_label_away_are_refused(tokenizer, features):
    with pytest.raises(
        ValueError,
        match=r"SelectionViaProxy predicts the label.*features=TokenFeatures\(label=(None|True), .* tells it the label",
    ):
        build(tokenizer, SelectionViaProxy(0.5), features=features)
    build(tokenizer, SelectionViaProxy(0.5), features="tokens")
    build(tokenizer, SelectionViaProxy(0.5), features=TokenFeatures(label=False, vocabulary=100))
    build(tokenizer, ThreeStage(), features=features)


def test_often_forgotten_and_never_learnt_examples_are_kept(tokenizer, monkeypatch):
    class Fixed(LinearProxy):
        def fit(self, X, y):
            self.forgetting = np.where(np.arange(len(y)) % 10 == 3, np.inf, np.arange(len(y)) % 10 == 7)
            return self

    monkeypatch.setattr(room, "LinearProxy", Fixed)
    data = [{"input_ids": [4, 5], "label": i % 2, "idx": i} for i in range(200)]
    for keep, kept in ((0.1, {3}), (0.2, {3, 7})):
        loader = FilteringDataLoader(data, batch_size=8, policy=SelectionViaProxy(keep, score="forgetting", seed=0))
        assert {i % 10 for batch in loader for i in batch["idx"].tolist()} == kept


def test_centres_are_those_of_the_proxys_embeddings(tokenizer, monkeypatch):
    asked = []
    real = selection_module.k_centres
    monkeypatch.setattr(selection_module, "k_centres", lambda *args: asked.append(args) or real(*args))
    loader = build(tokenizer, SelectionViaProxy(0.2, score="k_centres", dim=4))
    assert len(texts(tokenizer, loader)) == 120
    assert asked[0][0].shape == (600, 4) and asked[0][0].dtype == np.float32 and asked[0][1] == 0.2


def test_one_class_alone_leaves_it_to_chance(tokenizer):
    data = [{**row, "label": 3} for row in rows()]
    a, b, c = (
        sorted(texts(tokenizer, build(tokenizer, SelectionViaProxy(0.3, seed=seed), data))) for seed in (0, 0, 1)
    )
    assert a == b != c and len(a) == 180


def test_the_shuffling_of_the_loader_stays_its_own(tokenizer):
    """The same order of those that are kept, with and without the proxy's random numbers."""
    one = build(tokenizer, SelectionViaProxy(1.0, seed=0), buffer_batches=1)
    other = build(tokenizer, SelectionViaProxy(1.0, seed=1, score="k_centres"), buffer_batches=1)
    assert texts(tokenizer, one) == texts(tokenizer, other)


def test_words_of_an_own_kind_will_do(tokenizer):
    from filterloader.data.candidates import Bag

    def lengths(candidates):
        n = len(candidates)
        return Bag(np.minimum(candidates.lengths, 9).astype(np.int32), np.arange(n + 1), 10)

    assert len(texts(tokenizer, build(tokenizer, SelectionViaProxy(0.5), features=lengths))) == 300


@pytest.mark.parametrize(
    "data, arguments, message",
    [
        ([{"text": "easy1"}] * 8, {}, "row 0 has no class label"),
        ([{"text": "easy1", "label": 0.5}] * 8, {}, "row 0 has no class label.*label="),
        ([{"x": 1.0, "label": 0}] * 8, {"tokenizer": None}, "row 0 has no words.*tokenizer="),
    ],
)
def test_rows_that_a_proxy_cannot_learn_are_refused(tokenizer, data, arguments, message):
    loader = FilteringDataLoader(data, **{"tokenizer": tokenizer, "policy": SelectionViaProxy(0.5), **arguments})
    with pytest.raises(ValueError, match=message):
        iter(loader)


def test_streams_and_batches_are_refused_with_what_to_use_instead(tokenizer):
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(rows(8))

    with pytest.raises(
        ValueError,
        match=r"SelectionViaProxy needs examples by index, and an iterable.*: Random, .*ThreeStage, .* or ",
    ):
        build(tokenizer, SelectionViaProxy(0.5), Stream(), shuffle=None)
    with pytest.raises(ValueError, match=r"SelectionViaProxy .* needs granularity='example'"):
        build(tokenizer, SelectionViaProxy(0.5), granularity="batch")


def test_a_score_function_is_not_called(tokenizer):
    loader = build(tokenizer, SelectionViaProxy(0.5), score_fn=lambda batch: losses_of(None))
    assert len(texts(tokenizer, loader)) == 300


@pytest.mark.parametrize("settings, message", [
    ({"keep": 0.0}, r"keep must be a number in \(0, 1\], got 0.0"),
    ({"score": "margin"}, "score='margin' is not known; choose one of 'entropy', .*'k_centres'"),
    ({"score": "forgetting", "epochs": 1}, "epochs must be a whole number of at least 2, got 1"),
    ({"lr": 0}, "lr must be a finite number above 0, got 0"),
    ({"dim": 0}, "dim must be a whole number of at least 1, got 0"),
])  # fmt: skip
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        SelectionViaProxy(**{"keep": 0.5, **settings})
