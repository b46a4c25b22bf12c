"""An interrupt at any line of the library loses no row and doubles none; an error costs what is at fault."""

import datasets
import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from filterloader import FilteringDataLoader, Random, TrainAll
from tests.conftest import EASY, HARD, Stream, losses_of
from tests.machines.interrupts import Lines, apart, drain, places

N, BATCH = 150, 8
WORDS = [*EASY, *HARD]
TEXTS = [
    {"text": " ".join([WORDS[i % 55], WORDS[i // 55], *WORDS[: i % 5]]), "label": i % 2} for i in range(N)
]  # the first two words say which row it is
ROWS = [
    {"input_ids": [2, *(4 + WORDS.index(w) for w in row["text"].split()), 3], "label": row["label"]} for row in TEXTS
]
ARROW, ARROW_TEXTS = datasets.Dataset.from_list(ROWS), datasets.Dataset.from_list(TEXTS)


def ids_of(batch):
    """Which rows a batch has."""
    return (batch["input_ids"][:, 1] - 4 + 55 * (batch["input_ids"][:, 2] - 4)).tolist()


class ByNumber(TrainAll):
    """Screens every third row, or every third batch, out: whoever asks again hears the same. Counts what is judged."""

    gates_forward = gates_backward = True

    def __init__(self):
        self.judged = []

    def screen(self, candidates):
        step = BATCH if candidates.merged > 1 else 1
        return (candidates.example_ids // step % 3 != 0).astype(np.float32)

    def judge(self, candidates, losses):
        self.judged.append(losses.tolist())
        return np.ones(len(candidates), np.float32)


class Reader(ByNumber):
    """The same, and wants words."""

    needs_words = True


def stack(rows):
    width = max(len(row["input_ids"]) for row in rows)
    return {
        "input_ids": torch.tensor([row["input_ids"] + [0] * (width - len(row["input_ids"])) for row in rows]),
        "labels": torch.tensor([row["label"] for row in rows]),
    }


CHAINS = {
    "list": lambda: (ROWS, {}),
    "datasets": lambda: (ARROW, {}),
    "stream": lambda: (Stream(ROWS), {}),
    "arrow stream": lambda: (ARROW.to_iterable_dataset(num_shards=3), {}),
    "batch": lambda: (ROWS, {"granularity": "batch"}),
    "batch, regrouped": lambda: (ROWS, {"granularity": "batch", "buffer_batches": 2}),
    "no buffer": lambda: (ROWS, {"buffer_batches": 0}),
    "score_fn": lambda: (ROWS, {"score_fn": losses_of}),
    "score_fn, regrouped": lambda: (ROWS, {"score_fn": losses_of, "buffer_batches": 2}),
    "words": lambda: (ARROW_TEXTS, {"features": "words"}),
    "words of a stream": lambda: (ARROW_TEXTS.to_iterable_dataset(num_shards=3), {"features": "words"}),
    "collate_fn": lambda: (ROWS, {"collate_fn": stack}),
}


def build(chain, policy, tokenizer):
    data, how = CHAINS[chain]()
    if chain != "collate_fn":
        how = {"tokenizer": tokenizer, **how}
    return FilteringDataLoader(data, batch_size=BATCH, policy=policy, seed=1, **how)


def make(policy, chain):
    """A policy by name; with words in play, one that reads them."""
    if policy == "by number":
        return Reader() if "words" in chain or chain in ("list", "datasets") else ByNumber()
    return TrainAll() if policy == "train_all" else Random(1.0, seed=1)


def report(loader, batch):
    loader.hook.report(losses_of(batch), batch)


def kept(chain):
    """What the policy above lets through."""
    step = BATCH if chain.startswith("batch") else 1
    return [i for i in range(N) if i // step % 3]


def sweep(chain, policy, tokenizer, each, stride=1):
    """Interrupt a pass at every line executed in ``next``; returns what went wrong, a line each.

    stride: only every so many lines, other ones for each chain, which share most of them.
    """
    drain(build(chain, make(policy, chain), tokenizer), Lines(0), report, ids_of)  # kernels are compiled now
    noting = Lines()
    undisturbed, _ = drain(build(chain, make(policy, chain), tokenizer), noting, report, ids_of)
    wrong = []
    regrouped = (
        chain == "batch, regrouped"
    )  # which batches there are depends on lengths; the rows of those kept are pure
    wanted = sorted(i for batch in undisturbed for i in batch) if policy != "by number" or regrouped else kept(chain)
    assert apart(undisturbed, wanted) is None
    offset = list(CHAINS).index(chain) % stride
    for n, line in places(noting.seen, each)[offset::stride]:
        loader, lines = build(chain, make(policy, chain), tokenizer), Lines(n)
        try:
            batches, raised = drain(loader, lines, report, ids_of)
        except Exception as error:
            wrong.append(f"{line}: {type(error).__name__}: {error!s:.150}")
            continue
        found = apart(batches, wanted)
        if found is None and policy != "by number" and batches != undisturbed:
            found = "other batches"
        if found is None and len(raised) != (lines.count >= n):
            found = f"raised {len(raised)} times"
        if found is not None:
            wrong.append(f"{line}: {found}")
    return wrong, len(noting.seen)


def demand(wrong, lines, what):
    told = "\n  ".join(wrong[:12])
    if wrong:
        pytest.fail(f"{what}: interrupts at {len(wrong)} places (of {lines} lines executed) went wrong:\n  {told}")


POLICIES = ["train_all", "random", "by number"]
FEW = [
    *((chain, "by number") for chain in CHAINS),
    *((c, "train_all") for c in ("list", "datasets", "stream", "collate_fn")),
]


@pytest.mark.parametrize("chain, policy", FEW)
def test_an_interrupt_in_next_loses_and_doubles_nothing(tokenizer, chain, policy):
    demand(*sweep(chain, policy, tokenizer, each=1, stride=4), f"{chain}, {policy}")


@pytest.mark.slow
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("chain", CHAINS)
def test_an_interrupt_in_next_at_many_places(tokenizer, chain, policy):
    demand(*sweep(chain, policy, tokenizer, each=4), f"{chain}, {policy}")


# -- report ------------------------------------------------------------------------------------------------------------


def reporting(loader, policy, n):
    """A pass with an interrupt in ``report``; what went wrong, in words, and the lines seen."""
    lines, losses = Lines(n), []
    for batch in loader:
        own, before = losses_of(batch), len(policy.judged)
        try:
            with lines:
                losses.append(loader.hook.report(own, batch))
        except KeyboardInterrupt:
            try:
                losses.append(loader.hook.report(own, batch))
                waits = True
            except ValueError:
                losses.append(None)
                waits = False
            learnt = len(policy.judged) - before
            if learnt != 1:
                still = "still waited" if waits else "waited no more"
                return f"the batch {still} and was learnt from {learnt} times, in all", lines
            if waits and losses[-1] is None:
                return "the second report gave None", lines
    try:
        loader.hook.report(torch.ones(BATCH))
    except ValueError:
        return None, lines
    return "a batch still waits at the end", lines


@pytest.mark.parametrize("granularity", ["example", "batch"])
def test_a_batch_waits_or_is_settled_after_an_interrupt_in_report(tokenizer, granularity):
    def go(n):
        policy = ByNumber()
        loader = FilteringDataLoader(
            ROWS, batch_size=BATCH, policy=policy, tokenizer=tokenizer, granularity=granularity, drop_last=True
        )
        return reporting(loader, policy, n)

    found, noting = go(None)
    assert found is None
    wrong = [f"{line}: {found}" for n, line in places(noting.seen, 2) if (found := go(n)[0]) is not None]
    demand(wrong, len(noting.seen), f"report, {granularity}")


# -- errors of the user's code -----------------------------------------------------------------------------------------

BAD = 37


class Rotten(Dataset):
    def __len__(self):
        return N

    def __getitem__(self, i):
        if i == BAD:
            raise OSError(f"row {i} is rotten")
        return ROWS[i]


def has_bad(batch):
    if BAD in ids_of(batch):
        raise OSError("the batch with the bad row")


def bad_collate(rows):
    batch = stack(rows)
    has_bad(batch)
    return batch


def bad_score(batch):
    has_bad(batch)
    return losses_of(batch)


class BadScreen(ByNumber):
    def screen(self, candidates):
        first = candidates.example_ids
        if ((first <= BAD) & (first + (BATCH if candidates.merged > 1 else 1) > BAD)).any():
            raise OSError("screening the bad row")
        return np.ones(len(candidates), np.float32)


class Once:
    """Fails the second time it is called, and never again."""

    def __init__(self, call):
        self.call, self.left = call, 2

    def __call__(self, *arguments):
        self.left -= 1
        if not self.left:
            raise OSError("only once")
        return self.call(*arguments)


EACH = {"list": {}, "batch": {"granularity": "batch"}, "no buffer": {"buffer_batches": 0}}


def passes(loader, wanted_errors=1):
    batches, raised = drain(loader, Lines(0), report, ids_of, catch=(OSError, RuntimeError))
    came = [i for batch in batches for i in batch]
    assert len(set(came)) == len(came), "a row came twice"
    assert len(raised) == wanted_errors, f"{len(raised)} errors for one fault: {raised}"
    return came


@pytest.mark.parametrize(
    "how",
    [{}, {"granularity": "batch"}, {"buffer_batches": 0}, {"collate_fn": stack}],
    ids=["plain", "batch", "no buffer", "collate_fn"],
)
@pytest.mark.parametrize("policy", [TrainAll, lambda: Random(1.0)], ids=["train_all", "random"])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_row_that_raises_costs_no_more_than_in_a_dataloader(tokenizer, policy, how, workers):
    if "collate_fn" not in how:
        how = {"tokenizer": tokenizer, **how}
    loader = FilteringDataLoader(Rotten(), batch_size=BATCH, policy=policy(), num_workers=workers, **how)
    came = passes(loader)
    lost = sorted(set(range(N)) - set(came))
    assert BAD in lost and set(lost) <= set(range(32, 40)), f"{len(lost)} rows were lost, a DataLoader loses 8: {lost}"


@pytest.mark.parametrize("granularity", ["example", "batch"])
@pytest.mark.parametrize("policy", [TrainAll, lambda: Random(1.0)], ids=["train_all", "random"])
def test_a_batch_that_cannot_be_collated_is_lost_alone(policy, granularity):
    loader = FilteringDataLoader(
        ROWS, batch_size=BATCH, policy=policy(), collate_fn=bad_collate, granularity=granularity
    )
    came = passes(loader)
    assert BAD not in came and len(came) >= N - BATCH, f"{N - len(came)} rows were lost"


@pytest.mark.parametrize("buffer_batches", [None, 0, 2])
def test_a_batch_that_cannot_be_scored_is_lost_alone(tokenizer, buffer_batches):
    loader = FilteringDataLoader(
        ROWS, BATCH, policy=ByNumber(), score_fn=bad_score, tokenizer=tokenizer, buffer_batches=buffer_batches
    )
    came = passes(loader)
    assert BAD not in came and len(came) >= len(kept("list")) - BATCH, f"{len(kept('list')) - len(came)} rows lost"


@pytest.mark.parametrize("granularity", ["example", "batch"])
def test_a_block_that_cannot_be_screened_is_lost_alone(tokenizer, granularity):
    """A policy that raises cannot say which row is at fault; what it was not asked about goes on."""
    loader = FilteringDataLoader(
        ROWS, batch_size=BATCH, policy=BadScreen(), tokenizer=tokenizer, granularity=granularity
    )
    came = passes(loader)
    assert set(came) >= set(range(128, N)) and BAD not in came


@pytest.mark.parametrize("granularity", ["example", "batch"])
def test_features_that_raise_once_cost_one_block(tokenizer, granularity):
    features = FilteringDataLoader(ROWS, tokenizer=tokenizer, policy=Reader()).features
    how = {"tokenizer": tokenizer, "granularity": granularity, "features": Once(features)}
    loader = FilteringDataLoader(ROWS, BATCH, policy=TrainAllReader(), **how)
    came = passes(loader)
    assert len(came) >= (N - BATCH if granularity == "batch" else 128), f"{N - len(came)} rows were lost"


class TrainAllReader(Reader):
    def screen(self, candidates):
        return np.ones(len(candidates), np.float32)


@pytest.mark.parametrize("granularity", ["example", "batch"])
def test_a_batch_still_waits_after_a_policy_failed_to_judge_it(tokenizer, granularity):
    policy = ByNumber()
    policy.judge = Once(policy.judge)
    loader = FilteringDataLoader(ROWS, batch_size=BATCH, policy=policy, tokenizer=tokenizer, granularity=granularity)
    errors = 0
    for batch in loader:
        try:
            loader.hook.report(losses_of(batch), batch)
        except OSError:
            errors += 1
            assert loader.hook.report(losses_of(batch), batch) is not None
    assert errors == 1 and loader.ledger.scalars()["reports"] == loader.ledger.scalars()["batches"]
