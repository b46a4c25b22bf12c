"""Gpu: does a GPU wait for the loader? A pretrained encoder trained in bf16, fed by this loader, by a ``DataLoader``,
and from memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, repeat
from typing import Any

import torch
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding

from benchmarks.throughput.clock import figure, interleaved, record
from benchmarks.throughput.corpus import Corpus
from benchmarks.throughput.everything import InCollate, arguments, same_batches
from benchmarks.throughput.filtering import Band, prepared
from benchmarks.throughput.training import fresh_model
from filterloader import FilteringDataLoader, TrainAll

WARM, STEPS, PROFILED = 20, 100, 20  # steps before the clock, on the clock, and under the profiler
WAITS = ("cudaStreamSynchronize", "cudaEventSynchronize", "cudaDeviceSynchronize")
MEMORY = "from memory"


class Judging(Band):
    """The filter stage with its backward gate open, so that each report waits for its losses. It drops nothing."""

    gates_backward = True


def endless(batches: Any) -> Iterator:
    """One pass after the other."""
    return chain.from_iterable(repeat(batches))


def feeds(corpus: Corpus, batch: int) -> dict[str, Any]:
    """What a model can be fed by; ``from memory`` holds batches that are on the GPU already."""
    how, tokenizer = partial(arguments, batch, pin=True), corpus.tokenizer
    band = prepared(corpus)
    filtering = {"tokenizer": tokenizer, "features": "words"}
    made = {
        "ours, tokenized": FilteringDataLoader(corpus.tokenized, tokenizer=tokenizer, policy=TrainAll(), **how(0)),
        "DataLoader, tokenized": DataLoader(corpus.tokenized, collate_fn=DataCollatorWithPadding(tokenizer), **how(0)),
        "DataLoader, tokenized, 2 workers": DataLoader(
            corpus.tokenized, collate_fn=DataCollatorWithPadding(tokenizer), **how(2)
        ),
        "ours, raw text": FilteringDataLoader(corpus.raw, tokenizer=tokenizer, policy=TrainAll(), **how(0)),
        "DataLoader, raw text, 2 workers": DataLoader(corpus.raw, collate_fn=InCollate(tokenizer), **how(2)),
        "ours, filter stage, words, forward gate only": FilteringDataLoader(
            corpus.raw, policy=band, **filtering, **how(0)
        ),
        "ours, filter stage, words, both gates": FilteringDataLoader(
            corpus.raw, policy=Judging(band.predictor, band.low, band.high), **filtering, **how(0)
        ),
    }
    drawn = [_moved(batch) for _, batch in zip(range(64), made["DataLoader, tokenized"], strict=False)]
    return {MEMORY: drawn, **made}


def fed(corpus: Corpus, model: str | None, *, batch: int, repeats: int) -> Iterator[dict]:
    """Steps a second, idle share of the GPU and waits a step, for each feed."""
    net = fresh_model(corpus, model, "cuda").train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-5, fused=True)
    sources = feeds(corpus, batch)
    steps = {
        name: partial(train, net, optimizer, endless(source), getattr(source, "hook", None))
        for name, source in sources.items()
    }
    for step in steps.values():
        step(WARM)
    times = interleaved({name: partial(step, STEPS) for name, step in steps.items()}, repeats)
    checked = same_batches(sources["ours, tokenized"], sources["DataLoader, tokenized"])
    for name, step in steps.items():
        busy, waits = profiled(step, PROFILED)
        a_step = [t / STEPS for t in times[name]]
        over = [a / b for a, b in zip(times[name], times[MEMORY], strict=True)]
        figures = {
            "time of a step over that from memory": figure(over),
            "GPU idle, %": figure([100 * max(1 - busy / t, 0) for t in a_step]),
            "waits a step": figure([sum(waits.values()) / PROFILED]),
        }
        rate = {"ours" if name.startswith("ours") else name: figure([1 / t for t in a_step])}
        yield record(
            f"GPU training in bf16, {name}",
            corpus,
            batch=batch,
            workers=2 if "2 workers" in name else 0,
            unit="steps/s",
            rate=rate,
            figures=figures,
            checked=f"tokenized: {checked}",
            waits={kind: count / PROFILED for kind, count in waits.items()},
        )


def train(net: Any, optimizer: Any, batches: Iterator, hook: Any, steps: int) -> None:
    """``steps`` steps, and wait for the last."""
    for batch in (next(batches) for _ in range(steps)):
        inputs = _moved(batch)
        labels = inputs.pop("labels")
        with torch.autocast("cuda", dtype=torch.bfloat16):
            logits = net(**inputs).logits
        losses = torch.nn.functional.cross_entropy(logits.float(), labels, reduction="none")
        loss = losses.mean() if hook is None else hook.report(losses, batch)
        if loss is not None:
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    torch.cuda.synchronize()


def profiled(step: Callable[[int], None], steps: int) -> tuple[float, Counter]:
    """Seconds a step in which the GPU had something to do, and how often the CPU waited for it. The last wait, ours, is
    not counted.

    The profiler slows the CPU and not the GPU, so busy time is taken from here and the time of a step from runs without
    it.
    """
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as found:
        step(steps)
    events = found.events()
    on_gpu = [
        event
        for event in events
        if event.device_type.name == "CUDA" and not getattr(event, "is_user_annotation", False)
    ]
    waits = Counter(event.name for event in events if event.name in WAITS)
    waits["cudaDeviceSynchronize"] = max(waits["cudaDeviceSynchronize"] - 1, 0)
    busy = union((event.time_range.start, event.time_range.end) for event in on_gpu) / 1e6
    return busy / steps, +waits


def union(spans: Iterable[tuple[float, float]]) -> float:
    """Length that spans cover together, each part counted once."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(end - max(start, reached), 0.0)
        reached = max(reached, end)
    return total


def _moved(batch: Any) -> dict:
    return {name: tensor.to("cuda", non_blocking=True) for name, tensor in batch.items()}
