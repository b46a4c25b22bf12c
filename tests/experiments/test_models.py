"""Tokenizers and encoders made on the spot, and pretrained ones from a folder."""

import pytest
import torch
import transformers
from transformers import BertConfig, BertModel

from filterloader.experiments import models as encoder

TEXTS = ["The quick brown fox jumps over the lazy dog.", "A stitch in time saves nine!", "the fox saves time"] * 5


@pytest.fixture(scope="module")
def tokenizer():
    return encoder.wordpiece(TEXTS, vocab_size=200, max_length=16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer):
    """A pretrained body without a classification head."""
    path = tmp_path_factory.mktemp("model")
    tokenizer.save_pretrained(path)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    BertModel(config).save_pretrained(path)
    return path


def test_wordpiece_writes_berts_template(tokenizer):
    one = tokenizer("The FOX", "saves")
    assert tokenizer.convert_ids_to_tokens(one["input_ids"]) == ["[CLS]", "the", "fox", "[SEP]", "saves", "[SEP]"]
    assert one["token_type_ids"] == [0, 0, 0, 0, 1, 1]
    assert list(one) == ["input_ids", "token_type_ids", "attention_mask"]
    assert tokenizer.pad_token_id == 0 and tokenizer.mask_token_id is not None
    assert tokenizer.unk_token_id in tokenizer("fox ☃")["input_ids"]


def test_wordpiece_truncates_and_caps(tokenizer):
    assert tokenizer.model_max_length == 16
    assert len(tokenizer("fox " * 99, truncation=True)["input_ids"]) == 16
    assert len(tokenizer) <= 200
    assert tokenizer.decode(tokenizer("the lazy dog")["input_ids"], skip_special_tokens=True) == "the lazy dog"


def test_wordpiece_repeats(tokenizer):
    for _ in range(5):  # the trainer's own order of letters changes from call to call
        assert encoder.wordpiece(iter(TEXTS), vocab_size=200).get_vocab() == tokenizer.get_vocab()


def test_wordpiece_knows_its_letters_alone_and_inside_words(tokenizer):
    vocabulary = tokenizer.get_vocab()
    letters = set("".join(TEXTS).lower()) - {" "}
    assert letters <= set(vocabulary) and {f"##{letter}" for letter in letters} <= set(vocabulary)
    assert sorted(vocabulary.values()) == list(range(len(vocabulary)))


def test_small_encoder_repeats_and_leaves_the_global_state():
    torch.manual_seed(7)
    state = torch.get_rng_state()
    one, same, other = (encoder.small_encoder(200, 3, hidden=16, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one.classifier.weight, same.classifier.weight)
    assert not torch.equal(one.classifier.weight, other.classifier.weight)


def test_small_encoder_classifies_what_the_tokenizer_makes(tokenizer):
    model = encoder.small_encoder(len(tokenizer), ("no", "yes"), hidden=16, heads=2, layers=1, max_length=16)
    batch = tokenizer(["the fox", "fox " * 99], padding=True, truncation=True, return_tensors="pt")
    assert model(**batch).logits.shape == (2, 2)
    assert model.config.id2label == {0: "no", 1: "yes"}


def test_small_encoder_learns(tokenizer):
    model = encoder.small_encoder(len(tokenizer), 2, hidden=32, heads=2)
    batch = tokenizer(["the quick fox", "a stitch in time"], padding=True, return_tensors="pt")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(20):
        loss = model(**batch, labels=torch.tensor([0, 1])).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_pretrained_reads_a_folder_with_a_seeded_head(folder):
    state = torch.get_rng_state()
    tokenizer, model = encoder.pretrained(str(folder), 3, seed=5, max_length=8)
    _, same = encoder.pretrained(folder, 3, seed=5)
    _, other = encoder.pretrained(folder, 3, seed=6)
    assert torch.equal(torch.get_rng_state(), state)
    assert tokenizer.model_max_length == 8 and model.config.num_labels == 3
    assert torch.equal(model.classifier.weight, same.classifier.weight)
    assert not torch.equal(model.classifier.weight, other.classifier.weight)
    words = "embeddings.word_embeddings.weight"
    assert torch.equal(model.bert.get_parameter(words), BertModel.from_pretrained(folder).get_parameter(words))


def test_pretrained_is_quiet_and_puts_the_voice_back(folder, capfd):
    log = transformers.utils.logging
    before = log.get_verbosity(), log.is_progress_bar_enabled()
    encoder.pretrained(str(folder), 2)
    assert capfd.readouterr() == ("", "")
    assert (log.get_verbosity(), log.is_progress_bar_enabled()) == before


@pytest.mark.parametrize("name", ["nobody/nothing", "{tmp}", "{tmp}/none"])
def test_pretrained_of_nothing_is_one_line(name, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    name = name.format(tmp=tmp_path)
    with pytest.raises(
        ValueError, match=f"no pretrained classifier at '{name}': give a folder with config.json"
    ) as raised:
        encoder.pretrained(name, 2)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 500
    assert str(raised.value).endswith("(offline, and not in the hub's cache)") == (name == "nobody/nothing")


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: encoder.wordpiece([]), ValueError, "no words"),
        (lambda: encoder.wordpiece("one text"), TypeError, "one string"),
        (lambda: encoder.wordpiece(TEXTS, vocab_size=50), ValueError, "vocab_size is 50"),
        (lambda: encoder.wordpiece(TEXTS, max_length=2), ValueError, "max_length is 2"),
        (lambda: encoder.small_encoder(200, 1), ValueError, "classes is 1.*at least two"),
        (lambda: encoder.small_encoder(200, 2, hidden=130), ValueError, "hidden is 130 and heads 4"),
        (lambda: encoder.pretrained("x", ["only"]), ValueError, r"classes is \['only'\]"),
    ],
)
def test_errors_say_what_was_given(call, error, message):
    with pytest.raises(error, match=message):
        call()
