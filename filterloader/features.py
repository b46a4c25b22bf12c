"""Features: what counts as a word when the predictor looks at a candidate."""

from __future__ import annotations

import numpy as np

from filterloader.candidates import Bag, Candidates
from filterloader.kernels import ragged

FEATURES = ("auto", "tokens", "tokens*label")
CROSSED = 2**18
_UNKNOWN_VOCABULARY = 65_537


class TokenFeatures:
    """Token ids as words, optionally crossed with the label of the example.

    Crossing tells "great" in a positive review from "great" in a negative one; the label is known before the forward pass,
    and on SST-2 crossing is the largest single gain of any feature. ``"auto"`` crosses where every example has one class
    label. Word ``w`` of class ``c`` becomes ``(w + c · vocabulary) mod 2**18``, so small vocabularies never collide. Uncrossed,
    there are as many features as token ids: a Bernoulli model counts every absent word, so features that cannot occur hurt.

    kind: one of ``FEATURES``. vocabulary: number of token ids, None (2**16 + 1 are assumed) where not known.
    """

    def __init__(self, kind: str = "auto", *, vocabulary: int | None = None):
        if kind not in FEATURES:
            raise ValueError(f"features={kind!r} is not known; choose one of {', '.join(map(repr, FEATURES))}")
        self.kind = kind
        self.stride = vocabulary or _UNKNOWN_VOCABULARY

    def __repr__(self) -> str:
        return f"TokenFeatures({self.kind!r}, vocabulary={self.stride})"

    def __call__(self, candidates: Candidates) -> Bag | None:
        """The bag of words of each candidate; None where the rows hold no text."""
        tokens = candidates.tokens
        if tokens is None:
            return None
        if self.kind == "tokens*label" and candidates.labels is None:
            raise ValueError(
                "features='tokens*label' needs one integer class label an example, and these rows have none; "
                "name the label column with label=, or choose features='tokens'"
            )
        if self.kind == "tokens" or candidates.labels is None:
            return Bag(ragged.fold(tokens.values, self.stride), tokens.offsets, self.stride)
        labels = np.ascontiguousarray(candidates.labels)
        return Bag(ragged.cross_labels(tokens.values, tokens.offsets, labels, self.stride, CROSSED), tokens.offsets, CROSSED)
