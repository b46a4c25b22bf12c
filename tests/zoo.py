"""A zoo of policies, each with settings that make it do something, and the stream that they are shown."""

import numpy as np
import torch

import filterloader
from filterloader import (
    POLICIES,
    AutoAssist,
    AutoThreshold,
    BernoulliNB,
    ClassBalanced,
    DynamicEL2N,
    FixedThreshold,
    InfoBatch,
    Random,
    SelectionViaProxy,
    SelectiveBackprop,
    StaticEL2N,
    ThreeStage,
)
from filterloader.data.candidates import Bag, Candidates, Ragged
from filterloader.feedback.report import checked
from filterloader.policies.base import complete

WORDS = 300

VARIANTS = {
    "three_stage, forward only": lambda: ThreeStage(warmup=50, alt=0.4, backward_gate=False, cutoff=0.2, seed=1),
    "three_stage, bernoulli": lambda: ThreeStage(
        warmup=50, alt=0.6, window=4, predictor="bernoulli", audit=0.1, seed=1
    ),
    "three_stage, own predictor": lambda: ThreeStage(
        warmup=50, predictor=BernoulliNB(WORDS, 0.5, calibrate=True), seed=1
    ),
    "reference_script": lambda: ThreeStage.reference_script(warmup=50, seed=1),
    "class_balanced, forgetting": lambda: ClassBalanced(0.4, half_life=100, seed=1),
    "autoassist, paper": lambda: AutoAssist(gamma=0.3, warmup="paper", seed=1),
    "infobatch, annealing": lambda: InfoBatch(epochs=2, prune_ratio=0.8, delta=1.0, seed=1),
    "selective_backprop, warm-up": lambda: SelectiveBackprop(beta=1, window=30, warmup=None, seed=1),
    "selection_via_proxy, centres": lambda: SelectionViaProxy(0.4, score="k_centres", epochs=1, bigrams=False, seed=1),
    "dynamic_el2n, random": lambda: DynamicEL2N(0.4, score="random", seed=1),
}


def makers():
    """Every policy of the registry as it is built for tests, and the variants: name -> function that makes one."""
    return {**{name: kind.example for name, kind in POLICIES.items()}, **VARIANTS}


MAKE = makers()
OTHERWISE = {  # the same class with another setting, and what the error says of the two
    "random": (lambda: Random(0.3), r"keep=0\.4.*keep=0\.3"),
    "fixed_threshold": (lambda: FixedThreshold(0.7), r"threshold=0\.5.*threshold=0\.7"),
    "auto_threshold": (lambda: AutoThreshold(warmup=60), "warmup=50.*warmup=60"),
    "three_stage": (lambda: ThreeStage(warmup=50, audit=0.3), r"audit=0\.2.*audit=0\.3"),
    "three_stage, bernoulli": (
        lambda: ThreeStage(warmup=50, alt=0.6, window=4, audit=0.1),
        "'BernoulliNB'.*MultinomialNB has 'MultinomialNB'",
    ),
    "three_stage, own predictor": (
        lambda: ThreeStage(warmup=50, predictor=BernoulliNB(WORDS, 0.9, calibrate=True)),
        r"alpha=0\.5.*0\.9",
    ),
    "reference_script": (
        lambda: ThreeStage.reference_script(warmup=50, threshold=filterloader.MovingAverageThreshold()),
        "unit='example'.*unit='batch'",
    ),
    "autoassist": (lambda: AutoAssist(lr=1.0, gamma=0.3), r"gamma=0\.5.*gamma=0\.3"),
    "autoassist, paper": (lambda: AutoAssist(gamma=0.3), "warmup='paper'.*warmup='text'"),
    "infobatch": (lambda: InfoBatch(epochs=10), "epochs=None.*epochs=10"),
    "infobatch, annealing": (lambda: InfoBatch(epochs=2, delta=1.0), r"prune_ratio=0\.8.*prune_ratio=0\.5"),
    "selective_backprop": (lambda: SelectiveBackprop(window=100, beta=3), r"beta=2\.0.*beta=3\.0"),
    "selective_backprop, warm-up": (lambda: SelectiveBackprop(beta=1, window=30), r"warmup=None.*warmup=0\.0"),
    "class_balanced": (lambda: ClassBalanced(0.3), r"keep=0\.4.*keep=0\.3"),
    "class_balanced, forgetting": (lambda: ClassBalanced(0.4), r"half_life=100\.0.*half_life=None"),
    "selection_via_proxy": (lambda: SelectionViaProxy(0.4, epochs=2), "epochs=1.*epochs=2"),
    "static_el2n": (lambda: StaticEL2N(0.4, average=3), "average=2.*average=3"),
    "dynamic_el2n": (
        lambda: DynamicEL2N(0.4, tau=0, offset=0.2, smoothing=0.8, deviations=1.0),
        r"offset=0\.1.*offset=0\.2",
    ),
}
PASS = 60  # blocks in one pass of the stream below
GRANULARITIES = ("example", "batch")


def block(i, n=16, *, granularity="example", total=4000, words=True, hard=None, seed=0):
    """``(candidates, losses)`` number ``i`` of a stream: words of the upper half of the vocabulary mean a high loss.

    Half of the rows have them, or half of the blocks, where a block is one candidate.
    Every ``PASS`` blocks the indices return.
    """
    rng = np.random.default_rng([seed, i])
    if hard is None:
        hard = rng.random(n) < 0.5 if granularity == "example" else np.full(n, rng.random() < 0.5)
    lengths = rng.integers(3, 9, n)
    ids = rng.integers(0, WORDS // 2, lengths.sum()).astype(np.int32) + np.repeat(hard, lengths).astype(np.int32) * (
        WORDS // 2
    )
    offsets = np.append(0, lengths.cumsum()).astype(np.int64)
    candidates = Candidates(n, tokens=Ragged(ids, offsets), labels=rng.integers(0, 2, n))
    candidates.placed(i * n, i % PASS * n + np.arange(n), total)
    if words:
        candidates.bag = Bag(ids.copy(), offsets, WORDS)
    losses = (np.where(hard, 1.5, 0.05) + rng.uniform(0, 0.2, n)).astype(np.float32)
    if granularity == "batch":
        return candidates.as_one(), losses.mean(keepdims=True)
    return candidates, losses


class Blocks:
    """The whole data set, as a survey gives it; logits are surer of the label where the loss is low."""

    examples = PASS * 16

    def __iter__(self):
        for i in range(PASS):
            candidates, losses = block(i)
            logits = np.zeros((16, 2))
            logits[np.arange(16), candidates.labels] = 2 - losses
            yield candidates, torch.from_numpy(logits)


def border(policy, i):
    """The loader's part between two passes."""
    if i % PASS:
        return policy
    asked = complete(policy)
    if i:
        asked.end_pass()
    asked.begin_pass()
    if asked.surveys:
        asked.survey(Blocks())
    return policy


def steps(policy, granularity, start=0, stop=120):
    """What the policy says of a stretch of the stream, with the loader's part played: only survivors are judged."""
    said, asked = [], complete(policy)
    for i in range(start, stop):
        border(policy, i)
        candidates, losses = block(i, granularity=granularity)
        screened = checked(policy.screen(candidates), len(candidates), policy, "screen")
        keep = np.flatnonzero(screened)
        judged = policy.judge(candidates.take(keep), losses[keep]) if keep.size else np.zeros(0, np.float32)
        said.append((screened.tolist(), judged.tolist(), asked.stage, asked.loss_threshold))
    return said
