"""Hashed words: the kernel against its twin on any text and any bytes, and what users may ask of it."""

import pickle

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import example, given, settings

from filterloader import ThreeStage
from filterloader.data import utf8
from filterloader.data.candidates import Bag, Candidates, Ragged
from filterloader.kernels import words
from filterloader.predictors.features import FEATURES, TokenFeatures, WordFeatures, characters, features_of
from tests import naive_words
from tests.conftest import build

CHARACTERS = "aZé09 _-'\n\0ß日々かーｶ한ก์́०ⅷ²\ufe0f\u200d\ufffd\uffff☺❤😀🇫𝐀𠀀\U000e0100\U0010ffff\U0001efff\U0001f000"
CUTS = [
    b"", b"a", b"Z9", b" ", b"\xc3", b"\xa9", b"\xe6\x97", b"\xa5", b"\xf0\x9f\x98", b"\x80", b"\xc0\x81",
    b"\xc1\xa1", b"\xf5", b"\xff", b"\xe0\x81\xa1", b"\xed\xa0\x80", b"\xf0\x80\x81\xa1", b"\xf4\x90\x80\x80",
    b"\xf0\xa0\x80\x80",
    b"\xe6\x97\xa5",
]  # fmt: skip
any_text = st.text(st.sampled_from(CHARACTERS) | st.characters(exclude_categories=["Cs"]), max_size=12).map(str.encode)
any_bytes = st.binary(max_size=12) | st.lists(st.sampled_from(CUTS), max_size=8).map(b"".join)
any_label = st.none() | st.integers(-(2**63), 2**63 - 1)


def column(rows, before=b"x", after=b"\x80y"):
    """A column inside a larger buffer, so that offsets start above 0 and end below its end."""
    offsets = len(before) + np.cumsum([0, *map(len, rows)])
    return Ragged(np.frombuffer(before + b"".join(rows) + after, np.uint8), offsets.astype(np.int64))


def lists_of(bag):
    assert (
        bag.ids.dtype == np.int32
        and bag.offsets.dtype == np.int64
        and bag.offsets[0] == 0
        and bag.offsets[-1] == bag.ids.size
    )
    return [bag.ids[a:b].tolist() for a, b in zip(bag.offsets, bag.offsets[1:], strict=False)]


def ids_of(text, features=None, **settings):
    return lists_of((features or WordFeatures(**settings))(Candidates(1, texts=(utf8.encode([text]),))))[0]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(any_text | any_bytes, any_text | any_bytes, any_label), max_size=5),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)
@example([(b"\xf0\x9f\x98", b"", None), (b"\x80 a", b"", None)], True, True, False)
@example([("日a日a日".encode(), "a日a".encode(), None)], True, True, True)
@example([(b"a b c", b"a b c", -1)], True, True, True)
def test_the_kernel_is_its_twin(rows, pair, bigrams, label):
    labels = np.array([0 if row[2] is None else row[2] for row in rows], np.int64)
    texts = (column([row[0] for row in rows]), column([row[1] for row in rows], b"", b""))[: 2 if pair else 1]
    found = WordFeatures(label=label, bigrams=bigrams, n_features=2**12)(
        Candidates(len(rows), texts=texts, labels=labels)
    )
    ref = [
        naive_words.bag(row[: len(texts)], int(c) if label else None, 2**12, bigrams)
        for row, c in zip(rows, labels, strict=True)
    ]
    assert lists_of(found) == ref and found.n_features == 2**12


def test_every_character_is_what_the_unicode_database_says():
    table, letters = characters(), {0: "separator", 1: "letter", 2: "alone"}
    for code in [*range(128, 0xD800), *range(0xE000, 2**16)]:
        assert letters[table[code]] == naive_words.kind(chr(code)), hex(code)
    ascii_words = "".join(map(chr, table[:128][table[:128] > 0]))
    assert ascii_words == "0123456789abcdefghijklmnopqrstuvwxyz" + "abcdefghijklmnopqrstuvwxyz"


def test_the_hash_is_fnv_1a():
    assert (naive_words.fnv1a("a"), naive_words.fnv1a("foobar")) == (
        0xE40C292C,
        0xBF9CF968,
    )  # published with the algorithm


def test_what_a_word_is():
    assert ids_of("The film, THE FILM!") == ids_of("the film") * 2
    assert ids_of("don't") == ids_of("don t") and len(ids_of("naïve re\u0301sume\u0301")) == 2
    assert len(ids_of("日本語カナ")) == 5 and len(ids_of("한국어 영화")) == 2 and len(ids_of("3D日本abc")) == 4
    assert ids_of("") == ids_of(" \0😀❤\ufe0f -_!") == []
    assert ids_of("É") != ids_of("é")
    assert len(set(ids_of("a\0b"))) == 2


def test_both_texts_of_a_pair_fill_one_bag_and_no_bigram_crosses_them():
    first, second = utf8.encode(["new york", "a"]), utf8.encode(["york city", ""])
    bag = WordFeatures(bigrams=True)(Candidates(2, texts=(first, second)))
    new, york, city = ids_of("new york city")
    assert lists_of(bag) == [ids_of("new york", bigrams=True) + ids_of("york city", bigrams=True), ids_of("a")]
    assert lists_of(WordFeatures()(Candidates(2, texts=(first, second))))[0] == [new, york, york, city]
    assert ids_of("good not", bigrams=True)[2] != ids_of("not good", bigrams=True)[2]


def test_the_same_word_under_another_label_is_another_feature():
    labels = np.array([0, 1, -1, 2**32, 2**63 - 1, -(2**63), 0])
    ids = WordFeatures(label=True, n_features=2**30)(
        Candidates(7, texts=(utf8.encode(["great"] * 7),), labels=labels)
    ).ids
    assert len(set(ids.tolist())) == 6 and ids[0] == ids[6]


@pytest.mark.parametrize("label", [False, True])
@pytest.mark.parametrize(
    "spell", [str, "w{:05d}".format, lambda i: chr(0xAC00 + i // 200) + chr(97 + i % 200 % 26) * (1 + i % 200 // 26)]
)
def test_few_words_collide(spell, label):
    """As many ids are taken as by throwing words at random, whatever the words have in common."""
    n, width = 50_000, 2**18
    text = " ".join(spell(i) for i in range(n // 2 if label else n))
    candidates = Candidates(2 if label else 1, texts=(utf8.encode([text] * (2 if label else 1)),), labels=np.arange(2))
    ids = WordFeatures(label=label)(candidates).ids
    taken, expected = np.unique(ids).size, width * (1 - (1 - 1 / width) ** n)
    assert ids.size == n and abs(taken - expected) < 5 * np.sqrt(n * n / width / 2)
    low, high = np.bincount(ids & 15, minlength=16), np.bincount(ids >> 14, minlength=16)
    assert max(abs(low - n / 16).max(), abs(high - n / 16).max()) < 5 * np.sqrt(n / 16)


def test_few_bigrams_collide():
    letters = "abcdefghijklmnopqrstuvwxyz"
    text = " ".join(f"{a} {b}" for a in letters for b in letters)
    assert 26 + 26**2 - len(set(ids_of(text, bigrams=True, n_features=2**24))) <= 2


def test_read_only_and_writable_buffers_give_the_same_by_one_compiled_kernel():
    texts = utf8.encode(["some words", "more"])
    writable = Ragged(texts.values.copy(), texts.offsets.copy())
    first = lists_of(WordFeatures()(Candidates(2, texts=(texts,))))
    compiled = len(
        getattr(words.hash_words, "signatures", [])
    )  # other tests may have called the kernel in their own way before
    assert lists_of(WordFeatures()(Candidates(2, texts=(writable,)))) == first
    assert len(getattr(words.hash_words, "signatures", [])) == compiled


@pytest.mark.parametrize("settings, message", [
    ({"n_features": 1000}, "n_features.*power of two.*1000"), ({"n_features": 2**31}, "n_features.*power of two"),
    ({"n_features": 0}, "n_features"), ({"label": 1}, "label.*True or False.*1"),
    ({"bigrams": "yes"}, "bigrams.*'yes'"),
])  # fmt: skip
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        WordFeatures(**settings)


def test_rows_that_lack_what_is_asked_for():
    tokens = Ragged(np.array([1, 2]), np.array([0, 2]))
    with pytest.raises(ValueError, match=r"features='words' reads raw text.*hold none.*features='tokens'"):
        WordFeatures()(Candidates(1, tokens=tokens))
    with pytest.raises(ValueError, match=r"features='words\+bigrams\*label' needs .*label=.*features='words\+bigrams'"):
        WordFeatures(label=True, bigrams=True)(Candidates(1, texts=(utf8.encode(["a"]),)))


def test_names_stand_for_features():
    for name, label in zip(FEATURES[:3], (None, False, True), strict=True):
        assert repr(features_of(name, vocabulary=9)) == repr(TokenFeatures(label=label, vocabulary=9))
        assert repr(features_of(TokenFeatures(label=label), vocabulary=9)) == repr(features_of(name, vocabulary=9))
    assert features_of(TokenFeatures(vocabulary=5), vocabulary=9).vocabulary == 5
    for name, label, bigrams in zip(FEATURES[3:], (False, True, False, True), (False, False, True, True), strict=True):
        assert repr(features_of(name, vocabulary=None)) == repr(WordFeatures(label=label, bigrams=bigrams))
    assert features_of(len, vocabulary=None) is len
    for wrong in ("word", None, 3, ["words"]):
        with pytest.raises(
            ValueError,
            match=r"is not known; choose one of 'auto'.*'words\+bigrams\*label', or give TokenF.* or a callable",
        ):
            features_of(wrong, vocabulary=None)
    assert (TokenFeatures().reads, WordFeatures().reads) == ("tokens", "texts")


@pytest.mark.parametrize(
    "name, features",
    [
        ("auto", TokenFeatures()),
        ("tokens", TokenFeatures(label=False)),
        ("tokens*label", TokenFeatures(label=True)),
        ("words", WordFeatures()),
        ("words+bigrams*label", WordFeatures(label=True, bigrams=True)),
    ],
)
def test_a_loader_takes_an_object_as_it_takes_its_name(tokenizer, name, features):
    loaders = [build(tokenizer, ThreeStage(), n=10, features=given) for given in (name, features)]
    assert repr(loaders[0].features) == repr(loaders[1].features)
    assert eval(repr(loaders[0].features)).label == features.label
    if features.reads == "tokens":
        assert loaders[1].features.vocabulary == len(tokenizer) and features.vocabulary is None


def test_options_of_features_are_named():
    for kind in (TokenFeatures, WordFeatures):
        with pytest.raises(TypeError, match="positional argument"):
            kind(True)
    with pytest.raises(ValueError, match="label must be True or False, got 'tokens'"):
        TokenFeatures(label="tokens")
    with pytest.raises(ValueError, match="vocabulary must be a whole number of at least 1, got 0"):
        TokenFeatures(vocabulary=0)


def test_repr_and_pickle():
    features = WordFeatures(label=True, n_features=2**10)
    assert repr(features) == "WordFeatures(label=True, bigrams=False, n_features=1024)"
    assert repr(TokenFeatures(label=True)) == "TokenFeatures(label=True, vocabulary=None)"
    for again in (eval(repr(features)), pickle.loads(pickle.dumps(features))):
        candidates = Candidates(1, texts=(utf8.encode(["a b"]),), labels=np.array([1]))
        ref, comp = features(candidates), again(candidates)
        assert isinstance(comp, Bag) and ref.ids.tolist() == comp.ids.tolist()
