"""How long do naive Bayes' predict and update take, against scikit-learn, river and the memory they touch?

    python -m benchmarks.predictor_throughput [--data DIR] [--tokenizer DIR] [--out FILE]

Text: what ``filterloader train`` reads in DIR, through a saved tokenizer; without, sentences from the docstrings of the
installed libraries through a WordPiece trained on them. Labels above 0 are class 1.

All contenders see the same batches in the same order, one after the other within each repeat; a time is the median over
the repeats of the mean over the batches, so that a slow moment of the machine hits all. Predict means ``predict_proba``
and update ``partial_fit``, called from Python; ours get ragged ids and integer labels and validate them, scikit-learn
gets a CSR matrix with its repeats summed, river a dict a row, all built before the clock starts. "scikit-learn from
ids" starts where ours do: its CSR matrix is built from the same ragged ids inside the clock, its repeats summed where
the model needs that (Bernoulli; the multinomial adds them up itself). river sees few batches. After the timing all of
ours that are not calibrated must equal both scikit-learns, which have seen the same updates.

The floor is what the memory allows: a bare compiled loop, called from Python, that reads the table row of every id
(predict) or adds 1 to one count of it (update), on a copy of the same table, without validation or arithmetic.
"""

import argparse
import json
import time
from pathlib import Path

import numba
import numpy as np
import scipy.sparse
import sklearn.naive_bayes
from numba import njit

from benchmarks.machine import date, described
from benchmarks.throughput.corpus import corpora
from filterloader.data.candidates import Bag
from filterloader.predictors.naive_bayes import BernoulliNB, MultinomialNB

try:
    import river.naive_bayes
except ImportError:
    river = None

MODELS = (BernoulliNB, MultinomialNB)
SIZES = (8, 32, 256)
LEAST = (1, 16)  # ids a text: all texts, and longer ones only
WARM, TIMED, RIVER = 8192, 8192, 512  # examples learnt before the clock, examples timed, of which river sees


@njit
def gather(table, ids, offsets, out):
    for i in range(out.size):
        total = 0.0
        for j in range(offsets[i], offsets[i + 1]):
            total += table[ids[j], 0]
        out[i] = total


@njit
def scatter(table, ids):
    for j in range(ids.size):
        table[ids[j], 0] += 1.0


# --- data


def csr(bag):
    """The counts of a bag as scikit-learn takes them, repeats summed."""
    matrix = scipy.sparse.csr_matrix(
        (np.ones(bag.ids.size), bag.ids.copy(), bag.offsets.copy()), (bag.offsets.size - 1, bag.n_features)
    )
    matrix.sum_duplicates()
    return matrix


def batches(ids, labels, width, size, rng):
    """WARM + TIMED examples in random order, as (bag, matrix, dicts, labels)."""
    order, out = rng.choice(len(ids), WARM + TIMED, replace=len(ids) < WARM + TIMED), []
    for start in range(0, len(order), size):
        rows = [ids[i] for i in order[start : start + size]]
        offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
        bag = Bag(np.concatenate(rows).astype(np.int32), offsets, width)
        matrix = csr(bag)
        dicts = []
        for i in range(len(rows)) if start < WARM + RIVER and start >= WARM - RIVER else ():
            part = slice(matrix.indptr[i], matrix.indptr[i + 1])
            dicts.append(dict(zip(matrix.indices[part].tolist(), matrix.data[part].tolist(), strict=True)))
        out.append((bag, matrix, dicts, labels[order[start : start + size]]))
    return out[: WARM // size], out[WARM // size :]


# --- measuring


class Ours:
    def __init__(self, model):
        self.model = model

    def predict(self, batch):
        self.model.predict_proba(batch[0])

    def update(self, batch):
        self.model.partial_fit(batch[0], batch[3])


class Sklearn:
    def __init__(self, name):
        self.model = getattr(sklearn.naive_bayes, name)()

    def predict(self, batch):
        self.model.predict_proba(batch[1])

    def update(self, batch):
        self.model.partial_fit(batch[1], batch[3], classes=[0, 1])


class SklearnFromIds(Sklearn):
    """Builds its matrix inside the clock, as a user has to who has ids."""

    def __init__(self, name):
        super().__init__(name)
        self.presence = name == "BernoulliNB"

    def predict(self, batch):
        self.model.predict_proba(self.matrix(batch[0]))

    def update(self, batch):
        self.model.partial_fit(self.matrix(batch[0]), batch[3], classes=[0, 1])

    def matrix(self, bag):
        data = (np.ones(bag.ids.size), bag.ids, bag.offsets)
        matrix = scipy.sparse.csr_array(data, (bag.offsets.size - 1, bag.n_features), copy=self.presence)
        if self.presence:
            matrix.sum_duplicates()
        return matrix


class River:
    def __init__(self, name):
        self.model = getattr(river.naive_bayes, name)()

    def predict(self, batch):
        for row in batch[2]:
            self.model.predict_proba_one(row)

    def update(self, batch):
        for row, label in zip(batch[2], batch[3].tolist(), strict=True):
            self.model.learn_one(row, label)


class Floor:
    def __init__(self, columns, width, size):
        block = np.zeros(width * columns + 8)
        skip = -block.ctypes.data % 64 // 8
        self.table, self.out = block[skip : skip + width * columns].reshape(width, columns), np.empty(size)

    def predict(self, batch):
        gather(self.table, batch[0].ids, batch[0].offsets, self.out)

    def update(self, batch):
        scatter(self.table, batch[0].ids)


def clock(call, timed):
    """Mean microseconds a batch."""
    start = time.perf_counter()
    for batch in timed:
        call(batch)
    return (time.perf_counter() - start) / len(timed) * 1e6


def measure(ids, labels, width, repeats, *, sizes=SIZES, leasts=LEAST):
    """One record for each kind of text, batch size, model and operation."""
    for least in leasts:
        kept = [i for i, row in enumerate(ids) if len(row) >= least]
        texts, classes = [ids[i] for i in kept], labels[kept]
        for size in sizes:
            warm, timed = batches(texts, classes, width, size, np.random.default_rng(0))
            few = max(1, RIVER // size)
            for Model in MODELS:
                name = Model.__name__
                who = {
                    "ours": Ours(Model(width)),
                    "ours calibrated": Ours(Model(width, calibrate=True)),
                    "scikit-learn": Sklearn(name),
                    "scikit-learn from ids": SklearnFromIds(name),
                    "floor": Floor(4 if Model is BernoulliNB else 2, width, size),
                }
                if river is not None:
                    who["river"] = River(name)
                for key, one in who.items():
                    for batch in warm[-few:] if key == "river" else warm:
                        one.update(batch)
                    one.predict(warm[-1])
                for operation in ("predict", "update"):
                    times = {key: [] for key in who}
                    for _ in range(repeats):
                        for key, one in who.items():
                            part = timed[:few] if key == "river" else timed
                            times[key].append(clock(getattr(one, operation), part))
                    yield record(least, size, timed, name, operation, times)
                check(who["ours"].model, who["scikit-learn"].model, who["scikit-learn from ids"], timed)


def check(ours, theirs, from_ids, timed):
    """Ours and both of scikit-learn, after the same updates, say the same."""
    for bag, matrix, _, _ in timed[:4]:
        for model, X in ((theirs, matrix), (from_ids.model, from_ids.matrix(bag))):
            ref = np.diff(model.predict_joint_log_proba(X), axis=1)[:, 0]
            np.testing.assert_allclose(ours.decision_function(bag), ref, rtol=1e-8, atol=1e-6)
            np.testing.assert_allclose(ours.predict_proba(bag), model.predict_proba(X), atol=1e-6)


def record(least, size, timed, name, operation, times):
    """What is written: microseconds a batch, and how many times longer the others take than ours."""
    median = {key: float(np.median(value)) for key, value in times.items()}
    words = float(np.mean([batch[0].ids.size for batch in timed]))
    line = {"least_ids_a_text": least, "batch": size, "ids_a_batch": round(words, 1), "model": name, "op": operation}
    line["us"] = {key: round(value, 2) for key, value in median.items()}
    line["us a repeat"] = {key: [round(value, 2) for value in values] for key, values in times.items()}
    for key in ("ours", "ours calibrated"):
        others = [other for other in median if other.startswith("scikit-learn") or other == "river"]
        line[f"times faster, {key}"] = {other: round(median[other] / median[key], 1) for other in others}
        line[f"times the floor, {key}"] = round(median[key] / median["floor"], 2)
    return line


# --- saying


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="folder or file of labelled texts (default: sentences from docstrings)")
    parser.add_argument("--tokenizer", help="folder or name of a saved tokenizer")
    parser.add_argument("--out", help="file for the results, JSON lines")
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    if numba.config.DISABLE_JIT:
        raise SystemExit("NUMBA_DISABLE_JIT is set: the times would be of the interpreter; unset it")
    if river is None:
        print("river is not installed: left out")
    corpus, *_ = corpora(args.data, args.tokenizer, None)
    head = described("numpy", "scipy", "numba", "scikit-learn", "river") | {
        "data": corpus.name,
        "tokenizer": Path(args.tokenizer).name if args.tokenizer else "WordPiece trained on the texts",
        "n_features": len(corpus.tokenizer),
        "repeats": args.repeats,
        "date": date(),
    }
    print(json.dumps(head))
    print("microseconds a batch; (x) times longer than ours; [x] times the floor")
    lines = [head]
    for line in measure(
        corpus.ids, (corpus.labels > 0).astype(int), len(corpus.tokenizer), args.repeats, sizes=SIZES, leasts=LEAST
    ):
        lines.append(line)
        print(said(line), flush=True)
    if args.out:
        Path(args.out).write_text("".join(json.dumps(line) + "\n" for line in lines))


def said(line):
    us, slow = line["us"], line["times faster, ours"]
    parts = [f"{key} {us[key]:.1f} [{line[f'times the floor, {key}']}]" for key in ("ours", "ours calibrated")]
    parts += [f"{key} {us[key]:.0f} ({ratio:.0f})" for key, ratio in slow.items()] + [f"floor {us['floor']:.1f}"]
    title = f"{line['model']:13} {line['op']:7} {line['batch']:3} rows, {line['ids_a_batch']:6.0f} ids: "
    return title + ", ".join(parts)


if __name__ == "__main__":
    main()
