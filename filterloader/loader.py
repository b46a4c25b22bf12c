"""FilteringDataLoader: pulls candidates, asks the policy, refills, and yields the batches that still teach."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch.utils.data import DataLoader

from filterloader.data.candidates import Candidates
from filterloader.data.checks import check_same, whole
from filterloader.data.portable import pack, unpack
from filterloader.data.rows import Reader
from filterloader.data.source import Source
from filterloader.feedback.ledger import Ledger
from filterloader.feedback.report import LossHook
from filterloader.policies.three_stage import ThreeStage
from filterloader.predictors.features import features_of
from filterloader.stages import arguments, survey
from filterloader.stages.batching import Batching
from filterloader.stages.collate import Batch, Collator
from filterloader.stages.refill import RefillBuffer
from filterloader.stages.screen import Screening

VERSION = 2


class FilteringDataLoader:
    """A ``DataLoader`` that yields only what its policy finds worth training on.

    ::

        loader = FilteringDataLoader(dataset, tokenizer=tokenizer, text="sentence", batch_size=32, shuffle=True)
        for batch in loader:
            loss = loader.hook.report(per_example_losses(model, batch))  # or the scalar batch loss
            if loss is None:  # nothing in this batch is worth a backward pass
                continue
            loss.backward(); optimizer.step(); optimizer.zero_grad()

    dataset: map-style or iterable, ``datasets.Dataset``, ``datasets.IterableDataset``, or a list of rows. All other arguments
    of ``torch.utils.data.DataLoader`` mean the same and have the same defaults.

    tokenizer: one of transformers for raw text, taken as it is now (``model_max_length`` is where texts are cut: set it before), best
    a fast one: it is copied, and any other, or one with parts in Python, is called; None
    for rows that hold ``input_ids`` already, or hold no text. text: the column of raw text, or a pair of columns; None is
    ``"text"``. label: the column that becomes ``labels``; None for none. policy: what to train on; None is ``ThreeStage()``.
    granularity: ``"example"`` screens examples and refills dense batches of similar length; ``"batch"`` asks whether to yield
    each batch as it stands. features: what counts as a word: ``"auto"``,
    ``"tokens"``, ``"tokens*label"`` (``TokenFeatures``), ``"words"``, ``"words*label"``, ``"words+bigrams"``, ``"words+bigrams*label"``
    (``WordFeatures``: raw text, so that only survivors are tokenized) or a function ``Candidates -> Bag``; None leaves it to the
    policy. score_fn: ``batch -> losses [batch] or logits [batch, classes]``, run without gradients on what passed the screening:
    the backward gate then decides before the refill, so that every batch is dense. Policies that look over the whole data set
    before a pass score it with this, and say what it must return. seed: of shuffling and of the policy; None: the generator's,
    else torch's. total_examples: length of a stream that does not know its own.
    buffer_batches: batches held back to group similar lengths; None is 8 where the policy filters examples, and 0, batches as the
    sampler made them, where it filters nothing, or batches. At example granularity they are of survivors; with a ``score_fn`` that
    judges they wait before they are scored, since scores age with every step, and training on what was hard eight batches ago
    can ruin a run. At batch granularity they are regrouped before the policy is asked about each.

    Batches are mappings ready for ``model(**batch)`` where this class pads them: rows of ``input_ids``, or raw text with a
    tokenizer, and no ``collate_fn``. A ``collate_fn`` gets the untouched rows. Other rows, and whole batches (``input_ids`` of two dimensions), go to
    torch's ``default_collate``. Raw text gives tokens and labels. Rows of ``input_ids`` give every column of numbers, or lists of them;
    side columns of anything else (text, times, mappings, None only) are left out. A value that is missing among numbers, or a label that
    is no number, raises an error that names row and column, wherever it stands and whatever holds it.

    Attributes: ``hook`` (``report``), ``ledger``, ``policy``, ``progress``, ``epoch`` (finished passes), and every
    ``DataLoader`` argument by its name. It is no ``DataLoader`` subclass, so that nothing can rebuild it without its filter.

    Raises ValueError or TypeError for arguments that do not fit, and whatever ``DataLoader`` raises for its own.
    """

    def __init__(
        self,
        dataset,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler=None,
        batch_sampler=None,
        num_workers: int = 0,
        collate_fn: Callable | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable | None = None,
        multiprocessing_context=None,
        generator: torch.Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
        tokenizer=None,
        text: str | int | tuple | None = None,
        label: str | int | None = "label",
        policy=None,
        granularity: str = "example",
        features: str | Callable[[Candidates], Any] | None = None,
        score_fn: Callable | None = None,
        seed: int | None = None,
        total_examples: int | None = None,
        buffer_batches: int | None = None,
    ):
        self.policy = ThreeStage() if policy is None else policy
        arguments.check(dataset, tokenizer, text, label, self.policy, granularity, score_fn)
        self.seed = None if seed is None else whole("seed", seed, low=0)
        if generator is None and seed is not None:
            generator = torch.Generator().manual_seed(seed)
        reference = DataLoader(
            dataset, batch_size, shuffle, sampler, batch_sampler, num_workers, collate_fn, pin_memory, drop_last, timeout,
            worker_init_fn, multiprocessing_context, generator, prefetch_factor=prefetch_factor,
            persistent_workers=persistent_workers, pin_memory_device=pin_memory_device, in_order=in_order,
        )  # fmt: skip
        for name in arguments.DATALOADER_ARGUMENTS:
            setattr(self, name, getattr(reference, name))
        if hasattr(self.policy, "bind"):
            self.policy.bind(arguments.seed_of(self.seed, generator))
        self.granularity, self.score_fn, self.tokenizer = granularity, score_fn, tokenizer
        features = getattr(self.policy, "features", "auto") if features is None else features
        self.features = features_of(features, vocabulary=arguments.vocabulary_of(tokenizer))

        screens = getattr(self.policy, "gates_forward", True)
        scores = score_fn is not None and getattr(type(self.policy), "gates_backward", True) is not False
        single = batch_size is None and batch_sampler is None
        if buffer_batches is None:
            buffer_batches = 8 if granularity == "example" and (scores or screens) else 0
        batches = whole("buffer_batches", buffer_batches, low=0)
        refilling = granularity == "example" and (screens or scores or batches > 0)
        regrouping = batches > 0 and not single and (granularity == "batch" or scores)
        anew = refilling or regrouping  # the sampler's batches are taken apart
        hold = granularity == "batch" and screens
        early = (
            getattr(self.features, "reads", "tokens") == "texts"
        )  # decided on before it is tokenized, whatever the policy reads
        words = self.features if early or getattr(self.policy, "needs_words", True) else None
        self._reference = reference
        self._reader = Reader(
            tokenizer=tokenizer, text=tuple(text) if isinstance(text, list) else text, label=label, collate_fn=collate_fn,
            default_collate=reference.collate_fn, collate_here=not (anew or hold),
            reads=None if words is None else getattr(words, "reads", "tokens"), single=single,
        )  # fmt: skip
        total = None if total_examples is None else whole("total_examples", total_examples)
        overlap = torch.accelerator.is_available()  # on a CPU the model wants every core itself
        self._source = Source(
            reference,
            self._reader,
            whole=anew,
            total=total,
            overlap=overlap,
            **({"at_once": 1} if scores and not regrouping else {}),
        )
        self._collate = Collator(
            tokenizer=tokenizer, label=label, collate_fn=reference.collate_fn, single=single, pin_memory=pin_memory
        )
        size = (
            getattr(reference.batch_sampler, "batch_size", None) if reference.batch_sampler is not None else batch_size
        )
        size = 1 if single else size if isinstance(size, int) else None
        gathered = RefillBuffer(size, batches) if regrouping else None
        refill = None
        if refilling:
            aside = (
                ThreadPoolExecutor(1, thread_name_prefix="filterloader-tokenize")
                if overlap and self._reader.reads == "texts"
                else None
            )
            refill = RefillBuffer(
                size, 2 if single else 1 if scores else batches, finish=self._reader.tokenized, thread=aside
            )
        self.ledger = Ledger(self.policy)
        survey.check(self.policy, self._source, features=self.features, score_fn=score_fn)
        self._survey = survey.Survey(
            self.policy, self._source, self._collate, features=words, finish=self._reader.tokenized, score_fn=score_fn,
            size=size, ledger=self.ledger,
        )  # fmt: skip
        self.hook = LossHook(
            self.policy, self.ledger, granularity=granularity, single=single, after_report=self._note_report
        )
        self._screening = Screening(
            self.policy, self.ledger, self.hook, features=words, by_example=granularity == "example", refilling=refilling,
            score_fn=score_fn, collate=self._collate,
        )  # fmt: skip
        self._batching = Batching(
            self._source, self._screening, gathered=gathered, refill=refill, hold=hold, finish=self._reader.tokenized, drop_last=drop_last,
        )  # fmt: skip
        self.epoch = 0
        self._consumed_before = 0  # examples of the passes that are over
        self._passes = 0  # begun in this process; an iterator of an earlier one is stale
        self._running = self._resuming = False  # a pass is under way; the next one goes on with a saved pass
        self._empty = False  # it has handed out nothing yet
        self._set_epoch: int | None = None

    # -- what a DataLoader has -----------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Batches in one pass if nothing were filtered: the upper bound. Raises TypeError where the stream has no length."""
        return len(self._reference)

    def __iter__(self) -> _Pass:
        """Begin a pass, or go on with the one that ``load_state_dict`` brought back."""
        if self._resuming:
            self._resuming = False
            if not self._batching.exhausted:
                self._source.start()
        else:
            self.hook.begin_pass(broken_off=self._running)
            if self._running:
                self._consumed_before += self._batching.place
                self._running = False
            self._batching.clear()
            if hasattr(self.policy, "begin_pass"):
                self.policy.begin_pass()
            self._survey.before_pass()
            self._source.start()
            self._running = self._empty = True
        self._passes += 1
        return _Pass(self)

    def set_epoch(self, epoch: int) -> None:
        """Tell data set and sampler which epoch begins, where they have a ``set_epoch`` (shuffled streams, distributed samplers)."""
        self._set_epoch = epoch
        samplers = (self.sampler, self.batch_sampler, getattr(self.batch_sampler, "sampler", None))
        for part in {id(part): part for part in (self.dataset, *samplers)}.values():
            if hasattr(part, "set_epoch"):
                part.set_epoch(epoch)

    # -- where the stream stands ---------------------------------------------------------------------------------------

    @property
    def progress(self) -> float:
        """Share of this pass consumed, in [0, 1], filtered examples included; what waits in the buffer is not consumed yet.

        Where the length of the stream is not known (no ``total_examples``), 0 until the pass is over, then 1.
        """
        if not self._running:
            return float(self.epoch > 0)
        if self._batching.over:
            return 1.0
        total = self._source.total
        return min(self._batching.place / total, 1.0) if total else 0.0

    @property
    def consumed(self) -> int:
        """Examples of the stream consumed since the first pass, filtered ones included."""
        return self._consumed_before + (self._batching.place if self._running else 0)

    @property
    def total_examples(self) -> int | None:
        """Examples in one pass; None where not known (yet: the first whole pass tells)."""
        return self._source.total

    # -- one batch -----------------------------------------------------------------------------------------------------

    def _next_batch(self) -> Any:
        if not self._running:
            raise StopIteration
        found = self._batching.next()
        if found is None:
            self._end_pass()
            raise StopIteration
        try:
            batch = self._hand_out(*found)
        except Exception:
            self._batching.gone()  # as with a DataLoader, the next call goes on behind a batch that cannot be made
            raise
        self._batching.gone()
        return batch

    def _end_pass(self) -> None:
        if self._empty and self._source.rows:
            warnings.warn(
                f"this pass handed out nothing: of its {self._source.rows} examples {self.policy!r} kept none, or too few for a batch under "
                "drop_last=True; keep more, or train on everything with TrainAll()", stacklevel=4,
            )  # fmt: skip
        self.hook.settle()
        self._batching.clear()
        self._consumed_before += self._source.total
        self._running = False
        self.epoch += 1
        if hasattr(self.policy, "end_pass"):
            self.policy.end_pass()

    def _hand_out(self, candidates: Candidates, payload: Candidates) -> Any:
        batch = self._collate(self._reader.tokenized(payload))
        if type(batch) is dict:
            batch = Batch(batch)
        self._empty = False
        self.ledger.handed_out(candidates)
        batch_id = self.hook.hand_out(candidates, batch)
        if isinstance(batch, Batch):
            batch.batch_id = batch_id
        return batch

    def _note_report(self) -> None:
        stage = getattr(self.policy, "stage", None)
        self.ledger.stage(stage, self.consumed)
        self.ledger.report(self.consumed, self.epoch, stage, getattr(self.policy, "loss_threshold", None))

    # -- state ---------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict:
        """Everything needed to go on as if never stopped, as plain containers and tensors (``torch.save`` it).

        Position, refill buffer, policy with predictor and threshold, batches awaiting their report, ledger, and the random
        states that shuffle and decide. A stream is read again up to its position on resuming (an iterable data set must
        repeat itself); a map-style data set is not. With neither ``seed`` nor ``generator``, passes are shuffled by torch's global random
        state, as a ``DataLoader``'s are: the pass under way is brought back, but the order of later ones hangs on that state, which is
        yours to save (``torch.get_rng_state()``). Save this, not the stream's own ``state_dict``, which does not follow while the
        stream is read by column. A sampler that draws as it goes from Python's ``random`` (or, with workers, from torch's global
        generator) is not brought back exactly: give it a generator of its own.
        """
        return pack({
            "version": VERSION,
            "granularity": self.granularity,
            "policy": {"class": type(self.policy).__name__, "state": self.policy.state_dict()},
            "source": self._source.state_dict(),
            **self._batching.state_dict(),
            "hook": self.hook.state_dict(),
            "ledger": self.ledger.state_dict(),
            "epoch": self.epoch,
            "set_epoch": self._set_epoch,
            "consumed_before": self._consumed_before,
            "running": self._running,
        })  # fmt: skip

    def load_state_dict(self, state: dict) -> None:
        """Bring back what ``state_dict`` saved, in a loader built with the same arguments; the next ``iter`` goes on from there.

        Raises ValueError where the state is of another version, policy, granularity or batch size, or (streams only) of
        another number of workers.
        """
        if not isinstance(state, Mapping) or "version" not in state:
            raise ValueError(
                f"this is no state of a FilteringDataLoader: {state!r:.80}; pass what state_dict() returned"
            )
        check_same("state version", state["version"], VERSION)
        before = unpack(self.state_dict())
        try:
            self._load(unpack(dict(state)))
        except (KeyError, TypeError, IndexError) as error:
            self._load(before)
            raise ValueError(
                f"this state is not whole: {type(error).__name__} {error}; pass what state_dict() returned"
            ) from error
        except ValueError:
            self._load(before)
            raise

    def _load(self, state: dict) -> None:
        check_same("granularity", state["granularity"], self.granularity)
        check_same("policy", state["policy"]["class"], type(self.policy).__name__)
        self._batching.load_state_dict(state)
        self._source.load_state_dict(state["source"], running=state["running"] and not state["exhausted"])
        self.policy.load_state_dict(state["policy"]["state"])
        self.hook.load_state_dict(state["hook"])
        self.ledger.load_state_dict(state["ledger"])
        if state["set_epoch"] is not None:
            self.set_epoch(state["set_epoch"])
        self.epoch, self._consumed_before = state["epoch"], state["consumed_before"]
        self._running, self._empty = state["running"], False
        self._passes += 1
        self._resuming = self._running

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self.hook.tell(self._note_report)


class _Pass:
    """The iterator over one pass; all its state lives in the loader, so that it can be saved at any batch."""

    def __init__(self, loader: FilteringDataLoader):
        self._loader, self._number = loader, loader._passes

    def __iter__(self) -> _Pass:
        return self

    def __del__(self) -> None:
        if self._loader._passes == self._number:
            self._loader._source.close()  # a loop that broke off keeps no workers; its state can still be saved

    def __next__(self) -> Any:
        loader = self._loader
        if loader._passes != self._number:
            raise ValueError(
                "this iterator is stale: its loader has begun another pass since; iterate over the newest one"
            )
        loader.ledger.enter("loader")
        door = None
        try:
            batch = loader._next_batch()
            door = "loader"
            return batch
        finally:
            loader.ledger.leave(door)
