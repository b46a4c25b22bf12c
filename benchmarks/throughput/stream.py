"""Stream: does the cost of a row, and the memory, stay what it is as the stream grows?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.machine import Memory
from benchmarks.throughput.clock import figure, interleaved, rates, record
from benchmarks.throughput.corpus import Corpus
from benchmarks.throughput.everything import arguments, drain
from benchmarks.throughput.filtering import prepared
from filterloader import FilteringDataLoader, TrainAll

LENGTHS = (10_000, 100_000, 1_000_000)


def lengthened(corpus: Corpus, *, batch: int, repeats: int, lengths: tuple[int, ...] = LENGTHS) -> Iterator[dict]:
    """Nanoseconds a row and growth of memory over one pass, shuffled, for streams of each of ``lengths`` rows."""
    tokens = Corpus(corpus.name, corpus.tokenized, corpus.tokenizer, corpus.classes)
    for work, rows, policy in (
        ("TrainAll, tokenized", tokens, None),
        ("filter stage, words, raw text", corpus, prepared(corpus)),
    ):
        how = {"policy": TrainAll()} if policy is None else {"policy": policy, "features": "words"}
        streams = {
            n: FilteringDataLoader(rows.repeated(n).raw, tokenizer=corpus.tokenizer, **how, **arguments(batch, 0))
            for n in lengths
        }
        grown, before = {}, {}
        for n in lengths:  # first of all, so that nobody has left memory to use again
            with Memory() as memory:
                drain(streams[n])
            grown[n], before[n] = memory.grown, streams[n].ledger.scalars()
        drained = dict.fromkeys(lengths, 0)

        def run(n: int, streams: dict = streams, drained: dict = drained) -> None:
            drained[n] += drain(streams[n])

        times = interleaved({str(n): partial(run, n) for n in lengths}, repeats)
        per_row = {n: figure([1e9 * t / n for t in times[str(n)]]) for n in lengths}
        for n in lengths:
            after = streams[n].ledger.scalars()
            seen, forwarded = (int(after[name] - before[n][name]) for name in ("seen", "forwarded"))
            assert (seen, forwarded) == (repeats * n, drained[n]), (
                f"{n} rows: {seen} were seen, {forwarded} let through, {drained[n]} came out"
            )
            assert forwarded == seen or policy is not None, f"{forwarded} rows of {seen} came out"
            growth = [a / b for a, b in zip(times[str(n)], times[str(lengths[0])], strict=True)]
            figures = {"ns a row": per_row[n]}
            figures[f"cost of a row over that in {lengths[0]:,}"] = figure([g * lengths[0] / n for g in growth])
            if grown[n] is not None:
                figures["memory grown, MB"] = figure([grown[n]])
            yield record(
                f"stream of {n:,} rows, {work}",
                corpus,
                batch=batch,
                rows=n,
                unit="rows/s",
                figures=figures,
                rate={"ours": rates(times, n)[str(n)]},
                checked=f"{drained[n]:,} rows came out of {seen:,}, as many as were let through",
            )
        streams.clear()
