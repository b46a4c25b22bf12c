"""SelectionViaProxy: a cheap model learns everything first, and the share it finds hardest is trained on."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from filterloader.data.candidates import Bag, Candidates
from filterloader.data.checks import boolean, choice, integer, real, share
from filterloader.policies.parts import selection
from filterloader.policies.parts.seeded import Seeded
from filterloader.policies.parts.state import PART, generator
from filterloader.predictors.linear_proxy import LinearProxy, entropy, least_confidence

SCORES = ("entropy", "least_confidence", "forgetting", "k_centres")


class SelectionViaProxy(Seeded):
    """Keep the share of the data set that a cheap proxy model finds hardest.

    Before the first pass a bag-of-words linear model (``LinearProxy``, on the CPU) learns the whole data set and scores
    it; what it chooses is kept for the whole run. Its time is ``survey_s`` in the ledger. The data set needs class
    labels, and its examples by index; its words (4 bytes each) are held in memory while the proxy learns. Chance
    decides among equal scores.

    Args:
        keep (float): share of the data set, in (0, 1].
        score (str): ``"entropy"`` (default) or ``"least_confidence"`` of the proxy's probabilities; ``"forgetting"``:
            how often an example went from right to wrong between the proxy's epochs, never right counting as infinitely
            often; ``"k_centres"``: greedy k-centres over the mean word embeddings (its cost: ``selection.k_centres``).
        bigrams (bool): two neighbouring words are a word too; True by default.
        dim (int): width of the proxy's embeddings; 10 by default.
        lr (float): of the proxy, above 0; .05 by default. A few thousand rows want a higher one, or more epochs.
        epochs (int): of the proxy; 5 by default, at least 2 for ``"forgetting"``.
        seed (int): of the proxy and of ties; None, the default, takes the loader's.

    Example:
        >>> from filterloader import FilteringDataLoader, SelectionViaProxy
        >>> rows = [{"input_ids": [i % 2 + 1, 3], "label": i % 2} for i in range(20)]
        >>> loader = FilteringDataLoader(rows, batch_size=5, policy=SelectionViaProxy(0.5, epochs=1, seed=0))
        >>> len(list(loader))  # of 20 rows, 10
        2

    Source: Coleman et al. 2020, "Selection via Proxy: Efficient Data Selection for Deep Learning", ICLR, arXiv
    1906.11829.
    """

    gates_backward = False
    needs_index = True
    needs_labels = True
    granularities = ("example",)
    features = "tokens"  # the proxy is to find the label, so no word may tell it
    predicts_labels = True
    survey_scores = False
    stages = ("warm-up", "filter")
    example_settings: ClassVar = {"keep": 0.4, "epochs": 1, "seed": 1}
    _settings = ("keep", "score", "bigrams", "dim", "lr", "epochs")
    _remembers: ClassVar = {"_rng": generator, "_selection": PART}

    def __init__(
        self,
        keep: float,
        *,
        score: str = "entropy",
        bigrams: bool = True,
        dim: int = 10,
        lr: float = 0.05,
        epochs: int = 5,
        seed: int | None = None,
    ):
        super().__init__(seed)
        self.keep, self.score = share("keep", keep, zero=False), choice("score", score, SCORES)
        self.bigrams, self.dim, self.lr = boolean("bigrams", bigrams), integer("dim", dim), real("lr", lr, above=0)
        self.epochs = integer("epochs", epochs, least=2 if score == "forgetting" else 1)
        self._selection = selection.Selection("SelectionViaProxy")

    @property
    def surveys(self) -> bool:
        return self._selection.chosen is None

    @property
    def stage(self) -> str:
        return "warm-up" if self.surveys else "filter"

    def survey(self, blocks: Any) -> None:
        words, labels = _everything_in(blocks)
        proxy = LinearProxy(
            words.n_features,
            dim=self.dim,
            lr=self.lr,
            epochs=self.epochs,
            bigrams=self.bigrams,
            seed=int(self._rng.integers(2**62)),
        ).fit(words, labels)
        if self.score == "k_centres":
            kept = selection.k_centres(proxy.transform(words), self.keep, self._rng)
        else:
            if self.score == "forgetting":
                scores = np.asarray(proxy.forgetting)
            else:
                scores = (entropy if self.score == "entropy" else least_confidence)(proxy.predict_proba(words))
            kept = selection.top_share(scores, self.keep, self._rng)
        self._selection.choose(kept, blocks)

    def screen(self, candidates: Candidates) -> np.ndarray:
        return self._selection.weights(candidates)


def _everything_in(blocks: Any) -> tuple[Bag, np.ndarray]:
    """All words and labels of the data set, in its order."""
    ids, lengths, labels = [], [], []
    for candidates, _ in blocks:
        if candidates.bag is None or candidates.labels is None:
            lacks = "no words" if candidates.bag is None else "no class label (one whole number)"
            raise ValueError(
                f"SelectionViaProxy learns the label of a row from its words, and row {candidates.example_ids[0]} has "
                f"{lacks}; give the loader tokenizer= and text= (or rows with input_ids), and label="
            )
        ids.append(candidates.bag.ids)
        lengths.append(np.diff(candidates.bag.offsets))
        labels.append(candidates.labels)
    offsets = np.append(0, np.cumsum(np.concatenate(lengths))).astype(np.int64)
    return Bag(np.concatenate(ids), offsets, candidates.bag.n_features), np.concatenate(labels)
