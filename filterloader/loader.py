"""FilteringDataLoader: builds the chain of stages from a data set to the batches that still teach, and walks it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils.data import DataLoader

from filterloader.data.batch import Batch
from filterloader.data.candidates import Candidates
from filterloader.data.checks import check_same, integer
from filterloader.data.portable import pack, unpack
from filterloader.data.position import Position
from filterloader.data.rows import Reader
from filterloader.data.source import BLOCK, Source
from filterloader.feedback.ledger import Ledger
from filterloader.feedback.report import LossHook
from filterloader.policies.base import complete
from filterloader.policies.three_stage import ThreeStage
from filterloader.predictors.features import features_of
from filterloader.stages import arguments, survey
from filterloader.stages.collate import Collate, Collator, Ready
from filterloader.stages.keep_last import KeepLast
from filterloader.stages.one_pass import Pass
from filterloader.stages.plan import plan_of
from filterloader.stages.read import Read
from filterloader.stages.rebuilding import Refusing, tell_if_left_out
from filterloader.stages.refill import Refill
from filterloader.stages.regroup import Regroup
from filterloader.stages.score import Score
from filterloader.stages.screen import Screen
from filterloader.stages.tokenize import Tokenize

VERSION = 3  # of states


class FilteringDataLoader:
    """A ``DataLoader`` that yields only what its policy finds worth training on.

    Every argument of ``torch.utils.data.DataLoader`` is taken, means the same and has the same default, also by
    place. With ``policy=TrainAll()`` the batches are those of a ``DataLoader``. It is no subclass of one, so that
    nothing can rebuild it without its filter.

    Batches are mappings ready for ``model(**batch)`` where this class pads them: rows of ``input_ids``, or raw text
    with a tokenizer, and no ``collate_fn``. A ``collate_fn`` gets the untouched rows; other rows, and batches that
    the data set makes itself (``input_ids`` of two dimensions), go to torch's ``default_collate``. Of padded rows
    every column that holds numbers is in the batch, and a value that is missing there raises; columns of text, times
    and the like are left out (``filterloader.data.rows.Reader``).

    Args:
        dataset: map-style or iterable, ``datasets.Dataset``, ``datasets.IterableDataset``, or a list of rows.
        tokenizer: one of transformers for raw text, taken as it is now (``model_max_length`` is where texts are cut:
            set it before); best a fast one: it is copied, and one with parts in Python is called. Default None, for
            rows that hold ``input_ids``, or no text.
        text (str, int or a pair): the column of raw text, or two; default None, ``"text"``.
        label (str or int): the column that becomes ``labels``; None for none; default ``"label"``.
        policy (Policy): what to train on, or any object with ``screen``, ``judge``, ``state_dict`` and
            ``load_state_dict``; default None, ``ThreeStage()``.
        granularity (str): ``"example"`` (default) decides on examples and refills full batches of similar length;
            ``"batch"`` decides on each batch as it stands.
        features: what counts as a word: ``"auto"``, ``"tokens"``, ``"tokens*label"`` (``TokenFeatures``),
            ``"words"``, ``"words*label"``, ``"words+bigrams"``, ``"words+bigrams*label"`` (``WordFeatures``: read
            from raw text, so that only what is kept is tokenized), one of these classes, or a function
            ``Candidates -> Bag``; default None, what the policy wants.
        score_fn: function ``batch -> losses [batch] or logits [batch, classes]``, run without gradients on what
            passed the screening, so that the backward gate decides before batches are made; policies that look over
            the whole data set score it with this, and say what it must return. Default None.
        seed (int): of shuffling and of the policy; default None, the generator's, else torch's.
        total_examples (int): length of a stream that does not know its own; default None.
        buffer_batches (int): batches held back to group similar lengths; default None, 8 where examples are
            filtered, else 0. With a ``score_fn`` they wait before they are scored, since scores age with every step;
            at batch granularity before the policy is asked.

    Attributes:
        hook: ``hook.report``, the same as ``report``.
        ledger: what was skipped, what it cost and what it saved.
        policy: what was given.
        position: where the run stands (``epoch``, ``consumed``, ``progress``, which the loader has, too).

    Every argument of a ``DataLoader`` is an attribute by its name; ``collate_fn`` refuses to be called by others.

    Raises:
        TypeError, ValueError: an argument does not fit; what ``DataLoader`` raises for its own.

    Example:
        >>> from filterloader import FilteringDataLoader, Random
        >>> rows = [{"input_ids": [2, i, 3], "label": i % 2} for i in range(100)]
        >>> loader = FilteringDataLoader(rows, batch_size=8, shuffle=True, policy=Random(0.5), seed=0)
        >>> for batch in loader:
        ...     losses = batch["input_ids"].float().mean(dim=1)  # one for each example, of your model
        ...     loss = loader.report(losses, batch)  # None: nothing in this batch is worth a backward pass
        >>> loader.ledger.scalars()["seen"], loader.consumed, loader.epoch
        (100, 100, 1)
    """

    dataset: Any
    sampler: Any
    batch_sampler: Any
    pin_memory: bool
    drop_last: bool
    use_stateful_dataloader = True  # tells accelerate to save the state of a loader that it holds

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Any = None,
        batch_sampler: Any = None,
        num_workers: int = 0,
        collate_fn: Callable | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable | None = None,
        multiprocessing_context: Any = None,
        generator: torch.Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
        tokenizer: Any = None,
        text: str | int | tuple | None = None,
        label: str | int | None = "label",
        policy: Any = None,
        granularity: str = "example",
        features: str | Callable[[Candidates], Any] | None = None,
        score_fn: Callable | None = None,
        seed: int | None = None,
        total_examples: int | None = None,
        buffer_batches: int | None = None,
    ) -> None:
        self.policy = ThreeStage() if policy is None else policy
        self._policy = complete(self.policy)
        arguments.check(dataset, tokenizer, text, label, self._policy, granularity, score_fn)
        self.seed = None if seed is None else integer("seed", seed, least=0)
        if generator is None and seed is not None:
            generator = torch.Generator().manual_seed(seed)
        self._reference = reference = DataLoader(
            dataset, batch_size, shuffle, sampler, batch_sampler, num_workers, collate_fn, pin_memory, drop_last,
            timeout, worker_init_fn, multiprocessing_context, generator, prefetch_factor=prefetch_factor,
            persistent_workers=persistent_workers, pin_memory_device=pin_memory_device, in_order=in_order,
        )  # fmt: skip
        for name in arguments.DATALOADER_ARGUMENTS:
            setattr(self, name, getattr(reference, name))
        self.collate_fn = Refusing(reference.collate_fn)
        self.granularity, self.score_fn, self.tokenizer = granularity, score_fn, tokenizer
        self._policy.bind(arguments.seed_of(self.seed, generator))
        features = self._policy.features if features is None else features
        self.features = features_of(features, vocabulary=arguments.vocabulary_of(tokenizer))
        self.position = Position()
        self.ledger = Ledger(self._policy, self.position)
        total = None if total_examples is None else integer("total_examples", total_examples)
        text = tuple(text) if isinstance(text, list) else text
        self._chain = self._build(text, label, collate_fn, buffer_batches, total)
        self._consumed_before = 0  # examples of the passes that are over
        self._passes = 0  # begun in this process; an iterator of an earlier one is stale
        self._resuming = False  # the next pass goes on with a saved one
        self._empty = True  # this pass has handed out nothing yet
        self._set_epoch: int | None = None

    def _build(
        self, text: Any, label: Any, collate_fn: Callable | None, buffer_batches: int | None, total: int | None
    ) -> Collate:
        """The chain of stages, from the data set to a batch."""
        policy, ledger, reference, score_fn = self._policy, self.ledger, self._reference, self.score_fn
        reads = getattr(self.features, "reads", "tokens")
        words = self.features if reads == "texts" or policy.needs_words else None
        plan = plan_of(policy, reference, granularity=self.granularity, texts=reads == "texts", score_fn=score_fn,
                       buffer_batches=buffer_batches)  # fmt: skip
        reader = Reader(
            tokenizer=self.tokenizer, text=text, label=label, collate_fn=collate_fn, single=plan.single,
            default_collate=reference.collate_fn, collate_here=not (plan.apart or plan.keeps_last),
            reads=None if words is None else reads,
        )  # fmt: skip
        self._reader = reader
        self._source = source = Source(
            reference, reader, apart=plan.apart, total=total,
            at_once=1 if plan.scores and not plan.regroups else BLOCK,  # scores age with every step
            overlap=torch.accelerator.is_available(),  # on a CPU the model wants every core itself
        )  # fmt: skip
        collate = Collator(tokenizer=self.tokenizer, label=label, collate_fn=reference.collate_fn, single=plan.single,
                           pin_memory=self.pin_memory)  # fmt: skip
        self.hook = LossHook(
            policy, ledger, self.position, granularity=self.granularity, single=plan.single, remake=collate.remake
        )
        survey.check(policy, source, features=self.features, score_fn=score_fn)
        self._survey = survey.Survey(policy, source, collate, features=words, finish=reader.tokenized,
                                     score_fn=score_fn, size=plan.size, ledger=ledger)  # fmt: skip

        self._read = Read(source)
        stage: Any = self._read
        if plan.regroups:
            stage = Regroup(stage, plan.size, plan.batches, drop_last=self.drop_last and not plan.refills)
        by_example = self.granularity == "example"
        stage = Screen(stage, policy, ledger, features=words, by_example=by_example, refilling=plan.refills)
        if plan.texts:
            stage = Tokenize(stage, reader.tokenized)
        if plan.scores and score_fn is not None:
            size = plan.size if plan.regroups or plan.refills else None
            stage = Score(stage, policy, ledger, self.hook, score_fn=score_fn, collate=collate, size=size)
        if plan.refills:
            batches = 2 if plan.single else 1 if plan.scores else plan.batches
            stage = Refill(stage, plan.size, batches, drop_last=self.drop_last)
        elif plan.keeps_last:
            stage = KeepLast(stage)
        return Collate(stage, collate)

    # -- what a DataLoader has -----------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Batches in one pass if nothing were filtered, the upper bound; TypeError where the stream has no length."""
        return len(self._reference)

    def __iter__(self) -> Pass:
        """Begin a pass, or go on with the one that ``load_state_dict`` brought back."""
        if self._resuming:
            self._resuming = False
            self._read.go_on()
        else:
            self._begin_pass()
        if not self._passes:
            tell_if_left_out(self)
        self._passes += 1
        return Pass(self)

    def _begin_pass(self) -> None:
        """End the pass before, where its last batch is out, or forget what is left of it; then begin the next one."""
        if self._read.running and self._chain.ends():
            self._end_pass()
        self.hook.begin_pass(broken_off=self._read.running)
        self._consumed_before = self.consumed
        self._chain.clear()
        self._policy.begin_pass()
        self._survey.before_pass()
        self._read.start()
        self._empty = True
        self._move()

    def set_epoch(self, epoch: int) -> None:
        """Tell data set and sampler which epoch begins, where they have a ``set_epoch`` (streams, samplers)."""
        self._set_epoch = epoch
        samplers = (self.sampler, self.batch_sampler, getattr(self.batch_sampler, "sampler", None))
        parts: tuple[Any, ...] = (self.dataset, *samplers)
        for part in {id(part): part for part in parts}.values():
            if hasattr(part, "set_epoch"):
                part.set_epoch(epoch)

    def report(self, losses: torch.Tensor, batch: Any = None) -> torch.Tensor | None:
        """The same as ``hook.report``: takes the losses of a batch, returns what to call ``backward`` on, or None."""
        return self.hook.report(losses, batch)

    # -- where the stream stands ---------------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """Passes that are over."""
        return self.position.epoch

    @property
    def progress(self) -> float:
        """Share of this pass consumed, in [0, 1], filtered examples included; what waits for its batch is not
        consumed yet.

        Where the length of the stream is not known (no ``total_examples``), 0 until the pass is over, then 1.
        """
        return self.position.progress

    @property
    def consumed(self) -> int:
        """Examples of the stream consumed since the first pass: dropped by the policy, or handed out in a batch."""
        return self.position.consumed

    @property
    def total_examples(self) -> int | None:
        """Examples in one pass; None where not known (yet: the first whole pass tells)."""
        return self._source.total

    def _move(self) -> None:
        """Bring the position up to date."""
        total, in_pass = self._source.total, self._read.place.rows - self._chain.all_waiting
        if not self._read.running:
            in_pass = 0
            self.position.progress = float(self.position.epoch > 0)
        elif self._chain.over:
            in_pass, self.position.progress = self._read.place.rows, 1.0
        else:
            self.position.progress = min(in_pass / total, 1.0) if total else 0.0
        self.position.consumed = self._consumed_before + in_pass

    # -- one batch -----------------------------------------------------------------------------------------------------

    def _next_ready(self) -> Ready:
        """The next batch, for which a report is expected now; it is still in the chain."""
        if not self._read.running:
            raise StopIteration
        try:
            ready = self._chain.next()
        except StopIteration as error:  # which would end the pass in silence
            raise RuntimeError("a row, a policy or a function of this loader raised StopIteration") from error
        if ready is None:
            self._end_pass()
            raise StopIteration
        if ready.batch_id is None:
            if type(ready.batch) is dict:
                ready.batch = Batch(ready.batch)
            ready.batch_id = self.hook.hand_out(ready.decided.asked, ready.batch)
            self.ledger.handed_out(ready.decided.asked)
            self._empty = False
        return ready

    def _end_pass(self) -> None:
        if self._empty and self._read.place.rows:
            warnings.warn(
                f"this pass handed out nothing: of its {self._read.place.rows} examples {self.policy!r} kept none, or "
                "too few for a batch under drop_last=True; keep more, or train on everything with TrainAll()",
                stacklevel=4,
            )
        self.hook.settle()
        rows, epoch = self._read.place.rows, self.position.epoch
        self._source.finish(rows)
        # in one step: an interrupt finds the pass under way or closed, and counts it once
        self._consumed_before, self.position.epoch, self._read.running = self._consumed_before + rows, epoch + 1, False
        self._chain.clear()
        self._move()
        self._policy.end_pass()

    # -- state ---------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict:
        """Everything needed to go on as if never stopped, as plain containers and tensors (``torch.save`` it).

        Position, what waits in every stage, policy with predictor and threshold, batches awaiting their report,
        ledger, and the random states that shuffle and decide. A stream is read again up to its position on resuming
        (an iterable data set must repeat itself); a map-style data set is not. With neither ``seed`` nor
        ``generator``, passes are shuffled by torch's global random state, as a ``DataLoader``'s are: the pass under
        way is brought back, but the order of later ones hangs on that state, which is yours to save
        (``torch.get_rng_state()``). Save this, not the stream's own ``state_dict``, which does not follow while the
        stream is read by column. A sampler that draws as it goes from Python's ``random`` (or, with workers, from
        torch's global generator) is not brought back exactly: give it a generator of its own."""
        return pack({
            "version": VERSION,
            "granularity": self.granularity,
            "policy": {"class": self._policy.name, "state": self._policy.state_dict()},
            "chain": self._chain.state_dict(),
            "hook": self.hook.state_dict(),
            "ledger": self.ledger.state_dict(),
            "epoch": self.epoch,
            "set_epoch": self._set_epoch,
            "consumed_before": self._consumed_before,
            "empty": self._empty,
        })  # fmt: skip

    def load_state_dict(self, state: dict) -> None:
        """Bring back what ``state_dict`` saved, in a loader built with the same arguments; the next ``iter`` goes on
        from there.

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
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            self._load(before)
            raise ValueError(
                f"this state is not complete: {type(error).__name__} {error}; pass what state_dict() returned"
            ) from error
        except ValueError:
            self._load(before)
            raise

    def _load(self, state: dict) -> None:
        check_same("granularity", state["granularity"], self.granularity)
        check_same("policy", state["policy"]["class"], self._policy.name)
        self._chain.load_state_dict(state["chain"])
        self._policy.load_state_dict(state["policy"]["state"])
        self.hook.load_state_dict(state["hook"])
        self.ledger.load_state_dict(state["ledger"])
        if state["set_epoch"] is not None:
            self.set_epoch(state["set_epoch"])
        self.position.epoch, self._consumed_before = int(state["epoch"]), int(state["consumed_before"])
        self._empty = bool(state["empty"])
        self._resuming = self._read.running
        self._passes += 1
        self._move()
