"""Whatever the tokenizer is made of, a batch holds the ids that it gives to each text."""

import copy
import pickle
import threading

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertTokenizer, PreTrainedTokenizer, PreTrainedTokenizerFast

from filterloader import FilteringDataLoader, Random, ThreeStage, TrainAll
from filterloader.data.encoder import Encoder

TEXTS = ["easy1 easy2 hard3", "", "Hard4 EASY9", "naïve 日本 🙂 <x> [SEP] easy1", "easy1 " * 40, "  two  spaces\n"]


class Characters(PreTrainedTokenizer):
    """A slow one: every character is a token."""

    def __init__(self, **how):
        self.characters = {"[PAD]": 0, "[UNK]": 1, **{chr(c): c for c in range(32, 127)}}
        super().__init__(pad_token="[PAD]", unk_token="[UNK]", **how)

    @property
    def vocab_size(self):
        return 127

    def get_vocab(self):
        return dict(self.characters)

    def _tokenize(self, text):
        return list(text)

    def _convert_token_to_id(self, token):
        return self.characters.get(token, 1)

    def _convert_id_to_token(self, number):
        return chr(number)


class Lower(PreTrainedTokenizerFast):
    def __call__(self, text, text_pair=None, **how):
        def low(given):
            return (
                None if given is None else given.lower() if isinstance(given, str) else [one.lower() for one in given]
            )

        return super().__call__(low(text), low(text_pair), **how)


class LowerOne(PreTrainedTokenizerFast):
    """Takes one text at a time."""

    def __call__(self, text, *pair, **how):
        return super().__call__(text.lower(), *(one.lower() for one in pair), **how)


class Marked(PreTrainedTokenizerFast):
    """transformers 5 calls the first, transformers 4 the second."""

    def _encode_plus(self, *given, **how):
        out = super()._encode_plus(*given, **how)
        out["input_ids"] = [[7, *ids[1:]] if isinstance(ids, list) else ids for ids in out["input_ids"]]
        if out["input_ids"] and not isinstance(out["input_ids"][0], list):
            out["input_ids"] = [7, *out["input_ids"][1:]]
        return out

    def _batch_encode_plus(self, *given, **how):
        out = super()._batch_encode_plus(*given, **how)
        out["input_ids"] = [[7, *ids[1:]] for ids in out["input_ids"]]
        return out


class Harmless(PreTrainedTokenizerFast):
    """Overrides what tokenizing does not go through."""

    def decode(self, *given, **how):
        return "?"


class Words:
    def pre_tokenize(self, text):
        text.split(lambda i, s: s.split(" ", "removed"))


class Lowercase:
    def normalize(self, text):
        text.lowercase()


NAMES = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "model_max_length": 24}


def byte_level():
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    how = {"vocab_size": 300, "initial_alphabet": alphabet, "special_tokens": ["<s>", "<pad>"]}
    inner.train_from_iterator(TEXTS, trainers.BpeTrainer(**how))
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", bos_token="<s>", model_max_length=24)


def unigram():
    inner = Tokenizer(models.Unigram())
    inner.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(" ", "▁")])
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    how = {"vocab_size": 80, "special_tokens": ["<unk>", "<pad>", "</s>"], "unk_token": "<unk>"}
    inner.train_from_iterator(TEXTS[:4] * 5, trainers.UnigramTrainer(**how))
    inner.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 2)]
    )
    names = {"pad_token": "<pad>", "unk_token": "<unk>", "eos_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=inner, model_max_length=24, **names)


def bert():
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "easy", "##1", "##2", "hard", "日", "本", "na", "##ive"]
    return BertTokenizer(vocab={word: i for i, word in enumerate(words)}, model_max_length=24)


def made(tokenizer, kind):
    """(a tokenizer of a kind, whether it can be copied)"""
    inner = copy.deepcopy(tokenizer.backend_tokenizer)
    if kind in ("python words", "python normalizer"):
        out = PreTrainedTokenizerFast(tokenizer_object=inner, **NAMES)
        part = pre_tokenizers.PreTokenizer.custom(Words()) if kind == "python words" else None
        if part is None:
            out.backend_tokenizer.normalizer = normalizers.Normalizer.custom(Lowercase())
        else:
            out.backend_tokenizer.pre_tokenizer = part
        return out, False
    kinds = {
        "call": (Lower, False),
        "one call": (LowerOne, False),
        "encode_plus": (Marked, False),
        "harmless": (Harmless, True),
    }
    if kind in kinds:
        return kinds[kind][0](tokenizer_object=inner, **NAMES), kinds[kind][1]
    if kind == "slow":
        return Characters(model_max_length=24), False
    if kind in ("bytes", "unigram", "bert"):
        return {"bytes": byte_level, "unigram": unigram, "bert": bert}[kind](), True
    out = PreTrainedTokenizerFast(tokenizer_object=inner, **NAMES)
    if kind == "added":
        out.add_tokens(["<x>", AddedToken("naïve", single_word=True)])
        out.add_special_tokens({"additional_special_tokens": ["<y>"]})
    elif kind == "left":
        out.truncation_side = "left"
    elif kind == "split":
        out.split_special_tokens = True
    elif kind == "unlimited":
        out.model_max_length = int(1e30)
    elif kind == "no types":
        out.model_input_names = ["input_ids", "attention_mask"]
    elif kind == "patched":
        plain = out._encode_plus
        out._encode_plus = lambda text, **how: plain(
            [one.upper() for one in text] if isinstance(text, list) else text.upper(), **how
        )
    return out, kind != "patched"


KINDS = ["plain", "added", "left", "split", "unlimited", "no types", "patched", "call", "one call", "encode_plus"]
KINDS += ["harmless", "slow", "python words", "python normalizer", "bytes", "unigram", "bert"]


def expected(tokenizer, *texts):
    return [tokenizer(*row, truncation=tokenizer.model_max_length < 1e20) for row in zip(*texts, strict=True)]


def rows_of(column):
    return [column.values[a:b].tolist() for a, b in zip(column.offsets, column.offsets[1:], strict=False)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pair", [False, True])
def test_ids_are_those_of_the_tokenizer(tokenizer, kind, pair):
    mine, copied = made(tokenizer, kind)
    encoder = Encoder(mine, ("a", "b") if pair else ("a",))
    assert encoder.private == copied
    texts = [TEXTS, [text or "x" for text in TEXTS[::-1]]] if pair else [TEXTS]
    found, wanted = encoder(texts), expected(mine, *texts)
    for name in ("input_ids", *(("token_type_ids",) if "token_type_ids" in wanted[0] else ())):
        assert rows_of(found[name]) == [row[name] for row in wanted]
    if copied:
        encoder = pickle.loads(pickle.dumps(encoder))
        assert rows_of(encoder(texts)["input_ids"]) == [row["input_ids"] for row in wanted]
    assert encoder([[] for _ in texts])["input_ids"].offsets.tolist() == [0]


@pytest.mark.parametrize("kind", ["plain", "call", "one call", "slow", "python words", "bytes", "unigram"])
@pytest.mark.parametrize("policy", [TrainAll, lambda: Random(0.7, seed=0), lambda: ThreeStage(warmup=10)])
@pytest.mark.parametrize("features", [None, "words*label"])
def test_batches_hold_them_too(tokenizer, kind, policy, features):
    mine, _ = made(tokenizer, kind)
    rows = [{"text": TEXTS[i % 6], "label": 0, "idx": i} for i in range(60)]
    wanted = {tuple(row["input_ids"]) for row in expected(mine, TEXTS)}
    loader = FilteringDataLoader(rows, 4, tokenizer=mine, policy=policy(), features=features)
    for batch in loader:
        assert {"input_ids", "attention_mask", "labels"} <= set(batch)
        for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True):
            assert tuple(ids[mask.bool()].tolist()) in wanted
        loader.hook.report(torch.rand(len(batch["labels"])))


@pytest.mark.parametrize("kind", ["plain", "call", "python words"])
def test_the_tokenizer_is_left_as_it_was(tokenizer, kind):
    mine, copied = made(tokenizer, kind)
    inner = mine.backend_tokenizer
    inner.enable_padding(length=9, pad_id=0, pad_token="[PAD]")
    inner.enable_truncation(5, stride=1, direction="left")
    before = inner.padding, inner.truncation, inner.encode_special_tokens
    encoder = Encoder(mine)
    encoder([TEXTS])
    assert (inner.padding, inner.truncation, inner.encode_special_tokens) == before
    mine(TEXTS[0], padding="max_length", max_length=50)  # what others do with it does not reach the loader
    assert rows_of(encoder([TEXTS])["input_ids"])[0] == mine(TEXTS[0])["input_ids"] and copied == (kind == "plain")


def test_a_copy_may_run_beside_its_tokenizer(tokenizer):
    encoder, stop = Encoder(tokenizer), threading.Event()

    def others():
        while not stop.is_set():
            tokenizer(TEXTS, padding=True, truncation=True, max_length=4)

    thread = threading.Thread(target=others)
    thread.start()
    wanted = [row["input_ids"] for row in expected(copy.deepcopy(tokenizer), TEXTS)]
    found = [rows_of(encoder([TEXTS])["input_ids"]) for _ in range(50)]
    stop.set()
    thread.join()
    assert all(one == wanted for one in found)


def test_only_a_copy_runs_in_a_thread(tokenizer):
    for kind, private in (("plain", True), ("call", False)):
        loader = FilteringDataLoader([{"text": "a"}], tokenizer=made(tokenizer, kind)[0])
        assert loader._reader.encodes(["text"]) is private


def test_workers_call_a_tokenizer_with_parts_in_python(tokenizer):
    mine, _ = made(tokenizer, "python words")
    rows = [{"text": text, "label": 0} for text in TEXTS]
    batches = [list(FilteringDataLoader(rows, 3, tokenizer=mine, policy=TrainAll(), num_workers=n)) for n in (0, 1)]
    assert all(torch.equal(a["input_ids"], b["input_ids"]) for a, b in zip(*batches, strict=True))


def test_a_tokenizer_of_transformers_with_parts_in_python():
    pytest.importorskip("rjieba")
    from transformers import RoFormerTokenizer

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "今", "天", "气", "非常", "好", "。", "今天"]
    mine = RoFormerTokenizer(vocab={word: i for i, word in enumerate(words)})
    mine.model_max_length = 16
    texts = ["今天天气非常好。", "好"]
    encoder = Encoder(mine)
    assert not encoder.private
    assert rows_of(encoder([texts])["input_ids"]) == [mine(text)["input_ids"] for text in texts]


def test_texts_that_are_no_unicode_are_named_by_column_and_row(tokenizer):
    for kind in ("plain", "call"):
        encoder = Encoder(made(tokenizer, kind)[0], ("first", "second"))
        with pytest.raises(
            ValueError, match=r"text column 'second' holds '\\ud800' at character 1.* in row 1 of the 2 read; clean"
        ):
            encoder([["a", "b"], ["c", "d\ud800"]])


@pytest.mark.parametrize("how", [{"batch_size": 1}, {"batch_size": 4}, {"batch_size": 4, "collate_fn": len}])
def test_a_padding_token_is_needed_only_where_something_is_padded(tokenizer, how):
    bare = copy.deepcopy(tokenizer)
    bare.pad_token = None
    rows = [{"text": "easy1 easy2", "label": 0}] * 16
    for policy in (TrainAll(), ThreeStage(warmup=4)):
        assert len(list(FilteringDataLoader(rows, tokenizer=bare, policy=policy, **how))) == 16 // how["batch_size"]
    rows = [{"text": "easy1 " * (i + 1), "label": 0} for i in range(4)]
    if how["batch_size"] > 1 and "collate_fn" not in how:
        with pytest.raises(ValueError, match=r"no padding token, and texts of up to 6 tokens.*tokenizer\.pad_token"):
            list(FilteringDataLoader(rows, tokenizer=bare, policy=TrainAll(), **how))
