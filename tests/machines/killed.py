"""Killed: a training loop that is killed in the midst of the library, and begun again from its last checkpoint.

``python -m tests.machines.killed FOLDER KILLS SOURCE...`` trains once without being stopped, then once more while
being killed ``KILLS`` times, for each source, and writes what came out to ``FOLDER/SOURCE.pt``. Each life is a process
of its own, forked from one that has but imported and compiled everything, which would take it seconds.
"""

import os
import signal
import sys
import warnings
from pathlib import Path

import datasets
import numpy as np
import torch
from tokenizers import Tokenizer, models
from torch.nn.functional import cross_entropy
from transformers import PreTrainedTokenizerFast

from filterloader import AutoAssist, FilteringDataLoader, Random, ThreeStage, get_scheduler
from tests.conftest import Stream
from tests.machines.setups import IDS, rows

PASSES, EVERY, COUNT = 2, 4, 300
SOURCES = ("list", "arrow", "workers", "stream", "arrow stream")
_LIBRARY = str(Path(sys.modules["filterloader"].__file__).parent)


class Net(torch.nn.Module):
    """A few hundred parameters: the mean of the words' vectors, and one layer."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.words, self.out = torch.nn.Embedding(64, 8), torch.nn.Linear(8, 2)

    def forward(self, input_ids):
        seen = (input_ids > 0).unsqueeze(-1)
        return self.out((self.words(input_ids) * seen).sum(1) / seen.sum(1))


def tokenizer():
    """Rows are tokenized; this one tells how many words there are, so that a state is small."""
    words = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, **IDS}
    inner = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]")


def build(source):
    policy = {"arrow": AutoAssist(lr=1.0), "workers": Random(0.6)}.get(source, ThreeStage(warmup=60, cutoff=0.5))
    how = {"batch_size": 4, "policy": policy, "tokenizer": tokenizer(), "seed": 0}
    data = rows(COUNT)
    if source == "list":
        return FilteringDataLoader(data, shuffle=True, **how)
    if source == "stream":
        return FilteringDataLoader(Stream(data), total_examples=COUNT, **how)
    data = datasets.Dataset.from_list(data)
    if source == "arrow stream":
        data = data.to_iterable_dataset(num_shards=4).shuffle(seed=3, buffer_size=64)
        return FilteringDataLoader(data, total_examples=COUNT, **how)
    return FilteringDataLoader(data, shuffle=True, num_workers=2 if source == "workers" else 0, **how)


def live(source, file, death=None):
    """Train to the end, from the last checkpoint if there is one; a checkpoint every few steps, put in place at once.

    death: after how many batches of this life, and how many calls of the library from there on, it is killed.
    """
    loader, net = build(source), Net()
    optimizer = torch.optim.AdamW(net.parameters(), 2e-2)
    schedule, trace = get_scheduler("linear", optimizer, loader, epochs=PASSES), []
    parts = {"loader": loader, "net": net, "optimizer": optimizer, "schedule": schedule}
    if file.exists():
        saved = torch.load(file)
        trace = saved["trace"]
        for name, part in parts.items():
            part.load_state_dict(saved[name])
    begun = len(trace)
    while loader.epoch < PASSES:
        for batch in loader:
            if death is not None and len(trace) - begun == death[0]:
                die_at(death[1])
            labels, ids = batch.pop("labels"), batch["idx"].tolist()
            loss = loader.hook.report(cross_entropy(net(batch["input_ids"]), labels, reduction="none"))
            if loss is not None:
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
            schedule.step()
            rate = optimizer.param_groups[0]["lr"]
            trace.append([ids, None if loss is None else float(loss.detach()), rate, loader.epoch, loader.consumed])
            if len(trace) % EVERY == 0:
                put(file, {"trace": trace, **{name: part.state_dict() for name, part in parts.items()}})
    counts = {name: value for name, value in loader.ledger.scalars().items() if isinstance(value, int)}
    put(file.with_suffix(".end"), {"trace": trace, "net": net.state_dict(), "counts": counts})


def put(file, state):
    """Write aside, then replace: whoever is killed meanwhile has the last state still."""
    aside = file.with_suffix(".aside")
    torch.save(state, aside)
    os.replace(aside, file)


def import_and_compile(folder):
    """What the first life would wait for: kernels, optimizers, schedules."""
    for source in ("list", "arrow"):
        live(source, folder / f"{source} first.state")


def die_at(calls):
    """Kill this process as the library is called for the n-th time, inside ``next``, ``report`` or ``state_dict``."""
    left = calls

    def count(frame, event, argument):
        nonlocal left
        if frame.f_code.co_filename.startswith((_LIBRARY, __file__)):
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.settrace(count)


def forked(source, file, death=None):
    """One life; returns how it ended, as ``os.waitstatus_to_exitcode`` says it."""
    child = os.fork()
    if not child:
        code = 1
        try:
            live(source, file, death)
            code = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stderr.flush()
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def drive(folder, kills, source):
    """Train once undisturbed and once with kills; returns both ends and how often it was killed."""
    rng = np.random.default_rng([kills, SOURCES.index(source)])
    whole, broken = folder / f"{source} whole.state", folder / f"{source} broken.state"
    ends = [forked(source, whole)]
    killed, longest = 0, max(2 * PASSES * COUNT // 4 // kills, 2 * EVERY)
    for life in range(kills):  # every other life is just long enough to save once or twice before more rows are read
        steps = rng.integers(EVERY, 3 * EVERY) if life % 2 else rng.integers(0, longest)
        ends.append(forked(source, broken, (int(steps), int(rng.integers(1, 120)))))
        killed += ends[-1] == -signal.SIGKILL
        if ends[-1] != -signal.SIGKILL:
            break
    if ends[-1] == -signal.SIGKILL:
        ends.append(forked(source, broken))
    files = [file.with_suffix(".end") for file in (whole, broken)]
    return {"ends": ends, "killed": killed, "runs": [torch.load(f) if f.exists() else None for f in files]}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    import_and_compile(Path(sys.argv[1]))
    for name in sys.argv[3:]:
        torch.save(drive(Path(sys.argv[1]), int(sys.argv[2]), name), Path(sys.argv[1]) / f"{name}.pt")
