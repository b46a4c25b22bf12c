"""Features: what counts as a word when the predictor looks at a candidate."""

from __future__ import annotations

import numpy as np

from filterloader.candidates import Bag, Candidates
from filterloader.kernels import ragged

FEATURES = ("auto", "tokens", "tokens*label")
N_FEATURES = 2**18
_UNKNOWN_VOCABULARY = 65_537


class TokenFeatures:
    """Token ids as words, optionally crossed with the label of the example.

    Crossing tells "great" in a positive review from "great" in a negative one; the label is known before the forward pass,
    and on SST-2 crossing is the largest single gain of any feature. ``"auto"`` crosses where every example has one class
    label. Word ``w`` of class ``c`` becomes ``(w + c · vocabulary) mod 2**18``, so small vocabularies never collide.

    kind: one of ``FEATURES``. vocabulary: number of token ids, None where not known.
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
            ids = ragged.fold(tokens.values, N_FEATURES)
        else:
            ids = ragged.cross_labels(tokens.values, tokens.offsets, np.ascontiguousarray(candidates.labels), self.stride, N_FEATURES)
        return Bag(ids, tokens.offsets, N_FEATURES)
