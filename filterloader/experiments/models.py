"""Encoders: a WordPiece tokenizer and a small BERT made on the spot, or a pretrained pair from a folder or the hub."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from filterloader.experiments.cause import cause
from filterloader.experiments.names import MODEL, check_model

SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}


def wordpiece(texts: Iterable[str], vocab_size: int = 4000, max_length: int = 64) -> PreTrainedTokenizerFast:
    """A lower-casing WordPiece tokenizer as BERT's, trained on ``texts``; the same texts give the same tokenizer.

    texts: strings, for pairs both sides. vocab_size: words at most, the five special ones included.
    max_length: tokens kept of a row under ``truncation=True``. One text becomes ``[CLS] a [SEP]``, a pair
    ``[CLS] a [SEP] b [SEP]``; it returns ``input_ids``, ``token_type_ids`` and ``attention_mask``.
    Raises ValueError if there is no text, vocab_size is below 100 or max_length below 3; TypeError for one bare string.
    """
    if isinstance(texts, str):
        raise TypeError("texts is one string: give an iterable of strings, such as a column of the training set")
    if vocab_size < 100:
        raise ValueError(f"vocab_size is {vocab_size}: give at least 100, room for letters and special tokens")
    if max_length < 3:
        raise ValueError(f"max_length is {max_length}: give at least 3, room for [CLS], a word and [SEP]")
    tokenizer = _bert(models.WordPiece(_vocabulary(list(texts), vocab_size), unk_token="[UNK]"))
    marks = [(mark, tokenizer.token_to_id(mark)) for mark in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=marks
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=max_length,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **SPECIAL,
    )


def small_encoder(
    vocab_size: int,
    classes: int | Sequence[str],
    *,
    hidden: int = 128,
    layers: int = 2,
    heads: int = 4,
    max_length: int = 64,
    dropout: float = 0.0,
    seed: int = 0,
) -> BertForSequenceClassification:
    """A small BERT classifier with random weights drawn from ``seed``; torch's global random state stays untouched.

    vocab_size: as the tokenizer's ``len``. classes: how many, or their names. hidden: width, a multiple of heads; the
    feed-forward is four times as wide. max_length: tokens at most. dropout: in [0, 1). pad id 0, as `wordpiece` has it.
    With AdamW, a peak rate of 1e-3 and a short warm-up suit the default size.
    Raises ValueError for fewer than two classes or a width that the heads do not divide.
    """
    if hidden < 1 or heads < 1 or hidden % heads:
        raise ValueError(f"hidden is {hidden} and heads {heads}: give a hidden size that is a multiple of heads")
    config = BertConfig(
        vocab_size=vocab_size,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * hidden,
        max_position_embeddings=max_length,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        initializer_range=0.05,  # BERT's 0.02 is for a width of 768: at 128 it learns far less in a first epoch
        **_labels(classes),
    )
    with _seeded(seed):
        return BertForSequenceClassification(config)


def pretrained(
    name: str, classes: int | Sequence[str], seed: int = 0, max_length: int = 128
) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    """A pretrained ``(tokenizer, model)`` with a new classification head drawn from ``seed``.

    name: a folder with a model and its tokenizer, or a hub name. classes: how many, or their names.
    max_length: tokens kept of a row under ``truncation=True``; less if the model takes less.
    Raises ValueError if name holds no such pair or cannot be fetched, or for fewer than two classes.
    """
    labels = _labels(classes)
    check_model(str(name))
    try:
        with _quiet(), _seeded(seed):
            tokenizer = AutoTokenizer.from_pretrained(name)
            model = AutoModelForSequenceClassification.from_pretrained(name, ignore_mismatched_sizes=True, **labels)
    except Exception as error:  # OSError, ValueError, KeyError, safetensors' own: all mean "no model there"
        hub: Any = transformers.utils.hub
        offline = hub.is_offline_mode() and isinstance(error, OSError) and not Path(name).exists()
        why = "offline, and not in the hub's cache" if offline else cause(error)
        raise ValueError(f"no pretrained classifier at {str(name)!r}: {MODEL} ({why})") from error
    tokenizer.model_max_length = min(tokenizer.model_max_length, max_length)
    if tokenizer.pad_token is None:  # decoders such as GPT-2 have none
        tokenizer.pad_token = tokenizer.eos_token
    model.config.pad_token_id = tokenizer.pad_token_id
    return tokenizer, model


def _bert(model: models.WordPiece) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def _vocabulary(texts: list[str], size: int) -> dict[str, int]:
    """Word -> id: special tokens, letters, then merges.

    The trainer numbers letters inside words (``##a``) in the order of a hash map, another one in each call, and breaks
    ties between merges by number. Handing it all letters as special tokens fixes their numbers, and so the result.
    """
    tokenizer = _bert(models.WordPiece(unk_token="[UNK]"))
    seen = Counter(chain.from_iterable(map(tokenizer.normalizer.normalize_str, texts)))
    counts = {letter: count for letter, count in seen.items() if not letter.isspace()}
    letters = sorted(sorted(counts, key=lambda letter: (-counts[letter], letter))[: size // 4])
    if not letters:
        raise ValueError("texts has no words: give at least one text that is not blank")
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        special_tokens=[*SPECIAL.values(), *letters, *(f"##{letter}" for letter in letters)],
        initial_alphabet=letters,
        limit_alphabet=len(letters),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer.get_vocab()


def _labels(classes: int | Sequence[str]) -> dict:
    names = [f"LABEL_{i}" for i in range(classes)] if isinstance(classes, int) else [str(name) for name in classes]
    if len(names) < 2:
        raise ValueError(f"classes is {classes!r}: give at least two, as a number or as names")
    return {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide what transformers says while it loads: that the head is new is the point of loading it."""
    log = transformers.utils.logging
    level, bar = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bar:
            log.enable_progress_bar()
