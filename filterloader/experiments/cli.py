"""The command line: ``filterloader train`` and ``filterloader report``."""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filterloader.experiments.names import look_for

SMALL: dict[str, Any] = {
    "lr": 1e-3,
    "max_length": 64,
    "warmup": 0.4,
}  # a model that starts from nothing first has to learn something
PRETRAINED: dict[str, Any] = {"lr": 5e-5, "max_length": 128}
NAMES = (
    "train_all",
    "random",
    "fixed_threshold",
    "auto_threshold",
    "three_stage",
    "class_balanced",
    "autoassist",
    "infobatch",
    "selective_backprop",
    "selection_via_proxy",
    "static_el2n",
    "dynamic_el2n",
)
DEMO: dict[str, Any] = {"per_library": 1200, "epochs": 2, "seeds": [0, 1], "warmup": 1.0}
REQUIRED = {"keep": 0.3, "threshold": 0.3}  # for policies that have no default of it
ABOUT = """
Train a text classifier three times: on everything (train_all), under a policy, and on a random share that costs as much
time as the policy took. Prints accuracy and cost side by side. Without arguments: a small encoder learns from which
library a sentence of documentation comes; about a minute on 2 cores, nothing is downloaded.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 2 for bad input (one line on stderr), 130 when interrupted."""
    given = _parser().parse_args(arguments)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    try:
        with warnings.catch_warnings(), _silent():
            warnings.showwarning = lambda message, *_: _say(f"note: {message}")
            return given.run(given)
    except (ValueError, TypeError, OSError) as error:
        if os.environ.get("FILTERLOADER_TRACEBACK"):
            raise
        _say(f"filterloader {given.command}: error: {' '.join(str(error).split())}")
        return 2
    except KeyboardInterrupt:
        _say("interrupted")
        return 130


@contextmanager
def _silent() -> Iterator[None]:
    """Keep what other libraries log off the screen: an error is told once, in one line."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _parser() -> argparse.ArgumentParser:
    about = "Finetune a language model on only the examples that still teach it."
    parser = argparse.ArgumentParser(prog="filterloader", description=about)
    commands = parser.add_subparsers(dest="command", required=True, metavar="{train,report}")
    short = "train under a policy, beside training on everything and an equal-budget random control"
    _train_arguments(commands.add_parser("train", help=short, description=ABOUT))
    about = "Print a table of runs, and draw loss and threshold, kept shares, and accuracy against time."
    report = commands.add_parser("report", help="print a table of finished runs and draw them", description=about)
    report.epilog = "Drawing needs the 'report' extra: pip install 'filterloader[report]'."
    report.add_argument("paths", nargs="+", metavar="RUN", help="ledgers (.jsonl), or folders of them")
    report.add_argument("--out", metavar="DIR", help="where the pictures go (default: beside the first run)")
    report.add_argument("--no-pictures", action="store_true", help="print the table only")
    report.set_defaults(run=_report)
    return parser


def _train_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", help="a directory or hub name of a pretrained encoder (default: a small one, trained from nothing)")
    about = "a folder or file of JSON lines, CSV, TSV or Parquet (.gz allowed), or a hub name"
    add("--data", help=f"{about} (default: docstring sentences)")
    about = "the text column, or a pair of them (default: found by its usual names)"
    add("--text", nargs="+", metavar="COLUMN", help=about)
    add("--label", default="label", metavar="COLUMN", help="the label column (default: label)")
    add("--policy", default="three_stage", metavar="NAME", help=f"{', '.join(NAMES)} (default: three_stage)")
    about = (
        "a setting of the policy, e.g. --option cutoff=0.3; repeatable. warmup=0.2 is a fifth of a pass and warmup=1.0 "
        "the whole of it; whole numbers count examples, so warmup=1 is a single one"
    )
    add("--option", action="append", default=[], metavar="NAME=VALUE", help=about)
    about = "decide on examples (default) or on whole batches"
    add("--granularity", choices=("example", "batch"), default="example", help=about)
    add("--epochs", type=_count, help=f"passes over the data (default: 1, without --data: {DEMO['epochs']})")
    add("--batch-size", type=_count, help="examples a batch (default: 32)", default=32)
    add("--lr", type=_rate, help=f"peak learning rate (default: {PRETRAINED['lr']:g}, small encoder {SMALL['lr']:g})")
    lengths = f"{PRETRAINED['max_length']}, small encoder {SMALL['max_length']}"
    add("--max-length", type=_count, help=f"tokens kept of a text (default: {lengths})")
    add("--limit", type=_count, help="use only N training examples", metavar="N")
    about = "one run of everything for each seed, e.g. --seeds 0 1 2 (default: 0, without --data: 0 1)"
    add("--seeds", type=_seed, help=about, nargs="+", metavar="SEED")
    about = "CPU threads for torch (default: torch's own choice; on a machine that is busy otherwise, fewer are faster)"
    add("--threads", type=_count, help=about)
    add("--out", metavar="DIR", help="keep the ledger of each run, results.json and the table there")
    parser.set_defaults(run=_train)


def _train(given: argparse.Namespace) -> int:
    look_for(given.data, given.model)
    from filterloader.policies import POLICIES

    if given.policy not in POLICIES:
        raise ValueError(f"--policy {given.policy!r} is not known; choose one of {', '.join(POLICIES)}")
    epochs = given.epochs or (1 if given.data else DEMO["epochs"])
    warmup = None if given.model else SMALL["warmup"] if given.data else DEMO["warmup"]
    how = {"granularity": given.granularity, "warmup": warmup, "epochs": epochs}
    policy = _configured(given.policy, given.option, **how)
    out = None if given.out is None else Path(given.out)
    if out is not None and out.exists() and not out.is_dir():
        raise ValueError(f"--out {given.out} is a file; name a folder")

    import torch

    if given.threads or not given.model:  # more than two threads only slow the small encoder down
        torch.set_num_threads(given.threads or min(2, torch.get_num_threads()))
    from filterloader.experiments import comparison
    from filterloader.experiments.recipe import Recipe

    task, make, defaults = _task(given)
    seeds = list(dict.fromkeys(given.seeds or ([0] if given.data else DEMO["seeds"])))
    text = task.text if len(task.text) > 1 else task.text[0]
    shared = {"batch_size": given.batch_size, "granularity": given.granularity, "lr": given.lr or defaults["lr"]}
    recipe = Recipe(text=text, label=task.label, epochs=epochs, **shared)
    rows = task.train
    if given.limit is not None:
        rows = rows.shuffle(seed=0).select(range(min(given.limit, len(rows))))
    _say(f"{task.name}: {len(rows)} training and {len(task.test)} test examples, {len(task.classes)} classes")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for old in _own_files(out):
            old.unlink()
    found = comparison.compare(make, rows, task.test, policy, recipe, seeds=seeds, out=out, bars=True)
    sys.stdout.write(f"{found}\n")
    _say(_legend(found.rows(), len(seeds)))
    for result in found.results:
        if result.policy == given.policy and given.policy != comparison.BASELINE:
            _say(_cost(result))
    if out is not None:
        _keep(out, task.name, found)
    return 0


def _keep(out: Path, name: str, found) -> None:
    """Write what was found beside the ledgers."""
    from filterloader.feedback.log import finite

    results = finite({"task": name, "rows": found.rows(), "untrained_accuracy": found.untrained})
    _write(out / "results.json", json.dumps(results, indent=1) + "\n")
    _write(out / "table.txt", f"{found}\n")
    _say(f"ledgers, results.json and table.txt are in {out}; draw them with: filterloader report {out}")


def _own_files(folder: Path) -> list[Path]:
    """What an earlier run left in a folder: ledgers (their first line says so), tables and pictures; nothing else."""
    ledgers = [
        path
        for path in folder.glob("*-seed*.jsonl")
        if path.open(encoding="utf-8", errors="replace").readline().startswith('{"event": "start"')
    ]
    made = ("results.json", "table.txt", "loss.png", "shares.png", "accuracy.png") if ledgers else ()
    return ledgers + [folder / name for name in made if (folder / name).is_file()]


def _task(given: argparse.Namespace):
    """What to learn, how to make a model for it from a seed, and the defaults that suit that model."""
    from filterloader.experiments import data_files, models

    if given.data is None:
        if given.text or given.label != "label":
            raise ValueError("--text and --label name columns of --data; give --data, or leave them out")
        task = _demo()
    else:
        text = None if given.text is None else tuple(given.text)
        if text is not None and len(text) > 2:
            raise ValueError(f"--text takes one column or a pair, got {len(text)}: {' '.join(text)}")
        task = data_files.load(given.data, text=text, label=given.label)
    defaults = PRETRAINED if given.model else SMALL
    length = given.max_length or defaults["max_length"]
    if given.model:
        models.pretrained(given.model, task.classes, 0, length)  # so that a wrong name is told at once
        return task, lambda seed: models.pretrained(given.model, task.classes, seed, length), defaults
    tokenizer = models.wordpiece([text for name in task.text for text in task.train[name]], max_length=length)

    def make(seed: int):
        return tokenizer, models.small_encoder(len(tokenizer), task.classes, max_length=length, seed=seed)

    return task, make, defaults


def _demo():
    """Which library a sentence of documentation comes from."""
    import datasets

    from filterloader.experiments import data_files, demo_corpus

    train, test, names = demo_corpus.train_test(DEMO["per_library"])
    train, test = datasets.Dataset.from_list(train), datasets.Dataset.from_list(test)
    return data_files.Task(train, test, ("text",), "label", tuple(names), "documentation sentences")


def _configured(
    name: str, options: list[str], *, granularity: str = "example", warmup: float | None, epochs: int
) -> Callable[[], Any]:
    """A function that makes the policy with the settings given as ``NAME=VALUE``; tried once, to find errors early."""
    from filterloader.policies import POLICIES
    from filterloader.stages.arguments import check_granularity

    kind = POLICIES[name]
    parameters = inspect.signature(kind.__init__).parameters
    known = [setting for setting in parameters if setting not in ("self", "args", "kwargs")]
    without = [name for name in known if parameters[name].default is inspect.Parameter.empty]
    settings: dict[str, Any] = {name: value for name, value in REQUIRED.items() if name in without}
    if "epochs" in known:
        settings["epochs"] = epochs
    if warmup is not None and "warmup" in known and isinstance(parameters["warmup"].default, float):
        settings["warmup"] = warmup
    for option in options:
        setting, equals, value = option.partition("=")
        if not equals or setting not in known:
            choices = f"write NAME=VALUE with one of {', '.join(known)}" if known else "it has none"
            raise ValueError(f"--option {option!r} is no setting of {name}: {choices}")
        try:
            settings[setting] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            settings[setting] = value
    check_granularity(kind(**settings), granularity)
    return lambda: kind(**settings)


def _legend(rows: list[dict], seeds: int) -> str:
    control = "; random has the same measured time as the policy" if len(rows) == 3 else ""
    one = "the test examples (one seed: differences between runs are not in it)"
    over = f"{seeds} seeds and the test examples" if seeds > 1 else one
    times = "T_norm: time over train_all's, measured and modelled"
    return f"accuracy with its 95 % bootstrap interval over {over}; {times}{control}"


def _cost(result) -> str:
    """What the filter itself cost, and how often it was wrong where that was looked into."""
    scalars = result.scalars
    share = f"{100 * scalars['overhead_s'] / result.wall_s:.1f} % of its time"
    line = f"{result.policy}, seed {result.seed}: loader, predictor and hook took {share}"
    if scalars.get("survey_s"):
        line += f", its looks over the whole data set {100 * scalars['survey_s'] / result.wall_s:.1f} %"
    if scalars.get("audited", 0):
        wrong = f"{100 * scalars['false_skip_rate']:.0f} % had a high loss after all"
        line += f"; of {scalars['audited']:.0f} audited skips {wrong}"
    return line


def _report(given: argparse.Namespace) -> int:
    from filterloader.experiments import pictures
    from filterloader.experiments import tables as report

    if given.out is not None and Path(given.out).is_file():
        raise ValueError(f"--out {given.out} is a file; name a folder")
    runs = report.find_runs(given.paths)
    for run in runs:
        if run.note:
            _say(f"note: {run.note}")
    sys.stdout.write(report.table(report.summarise(runs)) + "\n")
    if not given.no_pictures:
        folder = Path(given.out) if given.out else runs[0].path.parent
        for picture in pictures.draw(runs, folder):
            _say(f"drawn: {picture}")
    return 0


def _write(path: Path, text: str) -> None:
    """Whole or not at all: written beside its place, then renamed into it."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def _seed(text: str) -> int:
    if not text.isdigit() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 to 4294967295")
    return int(text)


def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no learning rate; give a number between 0 and 1, e.g. 5e-5")
    return value


if __name__ == "__main__":
    sys.exit(main())
