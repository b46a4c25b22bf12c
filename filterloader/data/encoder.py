"""Encoder: the one place where texts become tokens, with the ids that the user's tokenizer gives them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from filterloader.data import utf8, values
from filterloader.data.candidates import Ragged

_UNLIMITED = 2**62  # tokenizers without a limit report a model_max_length of about 1e30
_PROBES = ("", "a", "Hello, wörld! 12\n 日本 🙂")
# What stands between tokenizer(texts) and the Rust tokenizer, in transformers 4 and 5: with a part replaced, only the
# call will do.
_PARTS = (
    "__call__", "_call_one", "encode_plus", "batch_encode_plus", "_encode_plus", "_batch_encode_plus",
    "_convert_encoding", "_get_padding_truncation_strategies", "set_truncation_and_padding", "_switch_to_input_mode",
    "backend_tokenizer",
)  # fmt: skip
# Models of transformers 4 whose own _encode_plus only checks that is_split_into_words is not asked for.
_GUARDED = {
    "bart", "blenderbot", "bloom", "codegen", "cohere", "deberta", "gpt2", "led", "longformer", "mvp", "roberta",
    "whisper",
}  # fmt: skip


class Encoder:
    """Makes columns of text into the tokens of ``tokenizer(text)``, cut at its ``model_max_length``.

    A fast tokenizer of transformers is copied as it is now, so that padding, truncation and threads of others do not
    matter. One with parts in Python, of a class that does more than transformers' own, or a slow one, is called
    itself, and left as it was.

    Args:
        tokenizer: of transformers.
        names: the columns of text, one or two, for errors.

    Attributes:
        private: whether it works on a copy, so that it may run in a thread beside whoever uses the tokenizer.
    """

    def __init__(self, tokenizer: Any, names: Sequence[Any] = ("text",)):
        self.names = tuple(names)
        limit = getattr(tokenizer, "model_max_length", None)
        self._limit = int(limit) if limit and limit < _UNLIMITED else None
        second = _PROBES[-1:] if len(self.names) == 2 else ()
        probes = [(text, *second) for text in _probes_of(tokenizer)]
        self._copy: Any = _faithful_copy(tokenizer, self._limit, probes)
        self.private = self._copy is not None
        self._split = self.private and self._copy.encode_special_tokens
        self._tokenizer: Any = None if self.private else tokenizer
        self._one_by_one = not self.private and self._differs_in_bulk(probes)
        self._segments = self.private and "token_type_ids" in tokenizer.model_input_names
        self._one_segment = self.private and len(self.names) == 1 and not any(self._copy.encode("a").type_ids)

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        if self.private:
            self._copy.encode_special_tokens = self._split  # which a copy in another process has forgotten

    def __call__(self, texts: Sequence[list[str]]) -> dict[str, Ragged | np.ndarray]:
        """Tokens of texts.

        Args:
            texts: one or two columns of ``n`` texts.

        Returns:
            ``input_ids``, and what else the tokenizer makes, by name, ``n`` rows each.

        Raises:
            ValueError: a text is no string, or no Unicode.
        """
        if not texts[0]:
            names = ("input_ids", "token_type_ids") if self._segments else ("input_ids",)
            return dict.fromkeys(names, values.ragged([]))
        try:
            return self._by_copy(texts) if self.private else self._by_call(texts)
        except (TypeError, UnicodeEncodeError):
            for name, column in zip(self.names, texts, strict=True):
                utf8.encode(column, name)  # says which text is none
            raise

    def _by_copy(self, texts: Sequence[list[str]]) -> dict[str, Ragged | np.ndarray]:
        encoded = self._copy.encode_batch_fast(texts[0] if len(texts) == 1 else list(zip(*texts, strict=True)))
        tokens = values.ragged([one.ids for one in encoded])
        columns: dict[str, Ragged | np.ndarray] = {"input_ids": tokens}
        if self._segments and self._one_segment:
            columns["token_type_ids"] = Ragged(np.zeros(tokens.values.size, np.int64), tokens.offsets)
        elif self._segments:
            columns["token_type_ids"] = values.ragged([one.type_ids for one in encoded])
        return columns

    def _by_call(self, texts: Sequence[list[str]]) -> dict[str, Ragged | np.ndarray]:
        with _left_as_it_was(self._tokenizer):
            if self._one_by_one:
                rows = [self._called(*row) for row in zip(*texts, strict=True)]
                found = {name: [row[name] for row in rows] for name in rows[0]}
            else:
                found = {name: list(column) for name, column in self._called(*texts).items()}
        n = len(texts[0])
        if any(len(column) != n for column in found.values()):
            got = {name: len(column) for name, column in found.items()}
            raise ValueError(f"the tokenizer made rows of {n} texts, and these many: {got}; it must make one of each")
        wanted = {name: "input_ids" if name == "input_ids" else None for name in found}
        columns = {name: values.column(name, column, wanted=wanted[name]) for name, column in found.items()}
        return {name: column for name, column in columns.items() if column is not None}

    def _called(self, *texts: Any) -> Any:
        return self._tokenizer(*texts, padding=False, truncation=self._limit is not None)

    def _differs_in_bulk(self, probes: list) -> bool:
        """Whether the tokenizer gives a text other ids, or none, when it gets several at once."""
        with _left_as_it_was(self._tokenizer):
            try:
                single = [list(self._called(*row)["input_ids"]) for row in probes]
            except Exception:
                return False  # it takes no such text; what it says of the user's own will be told
            try:
                return [list(ids) for ids in self._called(*map(list, zip(*probes, strict=True)))["input_ids"]] != single
            except Exception:
                return True


def _probes_of(tokenizer: Any) -> list[str]:
    """Texts that are likely to tell one tokenizer from another, some of its own words and special tokens among them."""
    try:
        n = len(tokenizer)
        words = [*tokenizer.convert_ids_to_tokens(range(0, n, n // 32 + 1)), *tokenizer.all_special_tokens]
    except Exception:
        return list(_PROBES)
    return [*_PROBES, " ".join(str(word) for word in words if word)]


def _faithful_copy(tokenizer: Any, limit: int | None, probes: list) -> Any:
    """A copy of the Rust tokenizer that gives the same ids as the call; None where there is none."""
    from transformers import PreTrainedTokenizerFast

    if not isinstance(tokenizer, PreTrainedTokenizerFast) or any(_replaced(tokenizer, part) for part in _PARTS):
        return None
    try:
        copy = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    except Exception:  # tokenizers raises it plain: a part in Python cannot be written down
        return None
    copy.no_padding()
    copy.no_truncation()
    copy.encode_special_tokens = bool(getattr(tokenizer, "split_special_tokens", False))
    if limit is not None:
        copy.enable_truncation(limit, strategy="longest_first", direction=tokenizer.truncation_side)
    copied = copy.encode_batch_fast([row if len(row) > 1 else row[0] for row in probes])
    with _left_as_it_was(tokenizer):
        called = [tokenizer(*row, truncation=limit is not None) for row in probes]
    same = all(one["input_ids"] == other.ids for one, other in zip(called, copied, strict=True))
    types = all(
        one.get("token_type_ids", two.type_ids) == two.type_ids for one, two in zip(called, copied, strict=True)
    )
    return copy if same and types else None


def _replaced(tokenizer: Any, part: str) -> bool:
    """Whether a tokenizer has a part of its own in place of one of ``_PARTS``."""
    from transformers import PreTrainedTokenizerFast

    found, plain = (getattr(kind, part, None) for kind in (type(tokenizer), PreTrainedTokenizerFast))
    room = getattr(found, "__module__", "").split(".")
    guarded = room[:2] == ["transformers", "models"] and room[2] in _GUARDED
    return part in vars(tokenizer) or (found is not plain and not guarded)


@contextmanager
def _left_as_it_was(tokenizer: Any) -> Iterator[None]:
    """A call sets padding and truncation of a fast tokenizer; afterwards they are what they were."""
    inner = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(inner, Tokenizer):
        yield
        return
    truncation, padding, special = inner.truncation, inner.padding, inner.encode_special_tokens
    try:
        yield
    finally:
        inner.no_truncation() if truncation is None else inner.enable_truncation(**truncation)
        inner.no_padding() if padding is None else inner.enable_padding(**padding)
        inner.encode_special_tokens = special
