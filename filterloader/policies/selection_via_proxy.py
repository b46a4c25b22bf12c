"""SelectionViaProxy: a cheap model learns everything first, and the share it finds hardest is trained on."""

from __future__ import annotations

import numpy as np

from filterloader.data.candidates import Bag, Candidates
from filterloader.data.checks import check_same, paste, share, truth, whole
from filterloader.policies.base import everything
from filterloader.policies.parts import selection
from filterloader.predictors.linear_proxy import LinearProxy, check_lr, entropy, least_confidence

SCORES = ("entropy", "least_confidence", "forgetting", "k_centres")
_SETTINGS = ("keep", "score", "bigrams", "dim", "lr", "epochs")


class SelectionViaProxy:
    """Keep the share of the data set that a cheap proxy model finds hardest (Coleman et al. 2020).

    Before the first pass a bag-of-words linear model (``LinearProxy``, on the CPU) learns the whole data set and scores it; what
    it chooses is kept for the whole run. Its time is ``survey_s`` in the ledger. The data set needs class labels, and its
    examples by index; its words (4 bytes each) are held in memory while the proxy learns.

    keep: share of the data set, in (0, 1]. score: ``"entropy"`` or ``"least_confidence"`` of the proxy's probabilities;
    ``"forgetting"``, how often an example went from right to wrong between the proxy's epochs, never right counting as
    infinitely often; ``"k_centres"``, greedy k-centres over the mean word embeddings (its cost: ``selection.k_centres``). Chance
    decides among equal scores. bigrams, dim, lr, epochs: of the proxy; a few thousand rows want a higher ``lr`` or more
    ``epochs``. seed: of the proxy and of ties; None takes the loader's.
    """

    gates_forward = True
    gates_backward = False
    needs_words = True
    needs_index = True
    granularities = ("example",)
    features = "tokens"  # the proxy is to find the label, so no word may tell it
    predicts_labels = True
    survey_scores = False

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
        if score not in SCORES:
            raise ValueError(f"score={score!r} is not known; choose one of {', '.join(map(repr, SCORES))}")
        self.keep, self.score, self.bigrams = share("keep", keep, zero=False), score, truth("bigrams", bigrams)
        self.dim, self.lr = whole("dim", dim), check_lr(lr)
        self.epochs = whole("epochs", epochs, low=2 if score == "forgetting" else 1)
        self.seed = None if seed is None else whole("seed", seed, low=0)
        self._rng = np.random.default_rng(self.seed)
        self._selection = selection.Selection("SelectionViaProxy")

    def __repr__(self) -> str:
        return paste(self, *_SETTINGS, "seed")

    @property
    def surveys(self) -> bool:
        return self._selection.chosen is None

    @property
    def stage(self) -> str:
        return "warm-up" if self.surveys else "filter"

    def bind(self, seed: int) -> None:
        if self.seed is None:
            self._rng = np.random.default_rng(seed)

    def survey(self, blocks) -> None:
        words, labels = _everything_in(blocks)
        proxy = LinearProxy(words.n_features, dim=self.dim, lr=self.lr, epochs=self.epochs, bigrams=self.bigrams,
                            seed=int(self._rng.integers(2**62))).fit(words, labels)  # fmt: skip
        if self.score == "k_centres":
            return self._selection.choose(selection.k_centres(proxy.transform(words), self.keep, self._rng), blocks)
        if self.score == "forgetting":
            scores = proxy.forgetting
        else:
            scores = (entropy if self.score == "entropy" else least_confidence)(proxy.predict_proba(words))
        self._selection.choose(selection.top_share(scores, self.keep, self._rng), blocks)

    def screen(self, candidates: Candidates) -> np.ndarray:
        return self._selection.weights(candidates)

    def judge(self, candidates: Candidates, losses: np.ndarray) -> np.ndarray:
        return everything(candidates)

    def state_dict(self) -> dict:
        return {
            "settings": paste(self, *_SETTINGS),
            "rng": self._rng.bit_generator.state,
            "selection": self._selection.state_dict(),
        }

    def load_state_dict(self, state: dict) -> None:
        check_same("settings", state["settings"], paste(self, *_SETTINGS))
        self._rng.bit_generator.state = state["rng"]
        self._selection.load_state_dict(state["selection"])


def _everything_in(blocks) -> tuple[Bag, np.ndarray]:
    """All words and labels of the data set, in its order."""
    ids, lengths, labels = [], [], []
    for candidates, _ in blocks:
        if candidates.bag is None or candidates.labels is None:
            lacks = "no words" if candidates.bag is None else "no class label (one whole number)"
            raise ValueError(
                f"SelectionViaProxy learns the label of a row from its words, and row {candidates.example_ids[0]} has {lacks}; give the "
                "loader tokenizer= and text= (or rows with input_ids), and label="
            )
        ids.append(candidates.bag.ids)
        lengths.append(np.diff(candidates.bag.offsets))
        labels.append(candidates.labels)
    offsets = np.append(0, np.cumsum(np.concatenate(lengths))).astype(np.int64)
    return Bag(np.concatenate(ids), offsets, candidates.bag.n_features), np.concatenate(labels)
