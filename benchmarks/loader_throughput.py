"""How fast is the loader, against what everybody uses today, and against what it was meant to reach?

    python -m benchmarks.loader_throughput --data DIR --model DIR [--out FILE.jsonl] [--rows N] [--repeats 5]
                                           [--threads 1] [--only WORK …] [--device cuda] [--profile]
    python -m benchmarks.loader_throughput --markdown FILE.jsonl

--data: a folder that holds ``sst2`` and ``ag_news``, or is one set of labelled texts (train.jsonl.gz or whatever
``filterloader train`` reads); without, sentences from docstrings. --model: a pretrained encoder with its tokenizer;
without, small ones made on the spot. Needs the "bench" extra.

Contenders take turns, repeat by repeat, in one process; a figure is the median over the repeats, with its range. A
ratio is taken within each repeat, so that a slow moment of the machine hits both sides. A pass is drawn to its end
without a model, with shuffling. After the timing, what came out is compared: batches tensor for tensor, decisions
candidate by candidate. An inequality ends the run. One thread a process for the tokenizer, torch and ours, unless
--threads says more.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from benchmarks import machine

WORKS = ("tokenized", "raw", "filter", "screening", "predictor", "training", "stream", "startup", "gpu")


def parsed(arguments=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data", help="folder with sst2 and ag_news, or one set (default: sentences from docstrings)")
    add("--model", help="folder or hub name of a pretrained encoder (default: a small one with random weights)")
    add("--out", help="file for the results, JSON lines")
    add("--rows", type=int, default=20_000, help="rows of each set, 0 for all (default: 20000)")
    add("--repeats", type=int, default=5, help="turns of each contender (default: 5; training and streams: at most 3)")
    add("--threads", type=int, default=1, help="threads a process, for the tokenizer and torch (default: 1)")
    add(
        "--batches",
        type=int,
        nargs="+",
        default=[32, 256],
        help="batch sizes (default: 32 256; predictor, training and streams: the first)",
    )
    add("--workers", type=int, nargs="+", default=[0, 2], help="numbers of workers (default: 0 2)")
    add("--training-rows", type=int, default=3000, help="rows of the training runs (default: 3000)")
    add("--only", nargs="+", choices=WORKS, default=list(WORKS), metavar="WORK", help=f"some of {', '.join(WORKS)}")
    add(
        "--device",
        choices=("cpu", "cuda"),
        default="cpu",
        help="where models train, and batches are pinned for (default: cpu)",
    )
    add("--profile", action="store_true", help="print where the time goes instead")
    add("--markdown", metavar="FILE", help="print the table of a file that --out wrote, and do nothing else")
    return parser.parse_args(arguments)


def measured(given: argparse.Namespace, sets: list) -> Iterator[dict]:
    """A record for each line of the table, in its order."""
    from benchmarks.throughput import everything, filtering, gpu, prediction, screening, startup, stream, training

    few, pin, batch = min(given.repeats, 3), given.device == "cuda", given.batches[0]
    each = [(corpus, size) for corpus in sets for size in given.batches]
    first = sets[0]  # the costly questions are asked of one set
    if "tokenized" in given.only:
        for corpus, size in each:
            for workers in given.workers:
                yield from everything.tokenized(corpus, batch=size, workers=workers, repeats=given.repeats, pin=pin)
    if "raw" in given.only:
        for corpus, size in each:
            for workers in given.workers:
                yield from everything.raw(corpus, batch=size, workers=workers, repeats=given.repeats, pin=pin)
    if "filter" in given.only:
        for corpus, size in each:
            yield from filtering.kept_words(corpus, batch=size, repeats=given.repeats, pin=pin)
    if "screening" in given.only:
        for corpus in sets:
            yield from screening.screened(corpus, repeats=given.repeats)
    if "predictor" in given.only:
        yield from prediction.predicted(first, batch=batch, repeats=given.repeats)
    if "training" in given.only:
        part = first.head(given.training_rows)
        yield from training.trained(part, given.model, batch=batch, repeats=few, device=given.device)
    if "stream" in given.only:
        yield from stream.lengthened(first, batch=batch, repeats=few)
    if "startup" in given.only:
        yield from startup.started(first, repeats=given.repeats)
    if "gpu" in given.only:
        for size in given.batches:
            if given.device == "cuda":
                yield from gpu.fed(first, given.model, batch=size, repeats=few)
            else:
                yield {"work": f"GPU training in bf16, batch {size}", "not run": "needs --device cuda"}


def main() -> None:
    given = parsed()
    from benchmarks.throughput import table

    if given.markdown:
        lines = [json.loads(line) for line in Path(given.markdown).read_text().splitlines()]
        print("\n".join(table.markdown(lines)))
        return
    machine.settle_threads(given.threads)
    import numba
    import torch

    from benchmarks.throughput import profiling
    from benchmarks.throughput.corpus import corpora

    if numba.config.DISABLE_JIT:
        raise SystemExit("NUMBA_DISABLE_JIT is set: the times would be of the interpreter; unset it")
    if given.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("--device cuda, and torch finds no CUDA GPU here; leave it out")
    torch.set_num_threads(given.threads)
    sets = corpora(given.data, given.model, given.rows or None)
    if given.profile:
        for corpus in sets:
            for title, batches, rows in profiling.profiles(corpus, given.batches[0]):
                print(
                    "\n".join(table.profile(f"{title}, {corpus.name}, batch {given.batches[0]}", batches, rows)),
                    flush=True,
                )
        return
    head = machine.described(*machine.LIBRARIES, threads=given.threads) | {
        "libraries": list(machine.LIBRARIES),
        "commit": machine.commit(),
        "date": machine.date(),
        "device": given.device,
        "repeats": given.repeats,
        "model": Path(given.model).name if given.model else "small, random weights",
        "data": {corpus.name: {"rows": len(corpus), "bytes": corpus.bytes} for corpus in sets},
    }
    lines = [head]
    print(json.dumps(head))
    for line in measured(given, sets):
        lines.append(line)
        print(
            "\n".join(table.said(line) if "figures" in line else [f"{line['work']}: not run, {line['not run']}"]),
            flush=True,
        )
        if given.out:  # a run that is cut off leaves what it has measured
            Path(given.out).write_text("".join(json.dumps(line) + "\n" for line in lines))
    print("\n".join(["", *table.markdown(lines)]))


if __name__ == "__main__":
    main()
