"""Ledger: what was skipped, what it cost and what it saved, counted as it happens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from filterloader.data.candidates import Candidates
from filterloader.data.position import Position
from filterloader.feedback import cost
from filterloader.feedback.clock import Clock, duration
from filterloader.feedback.log import Log
from filterloader.feedback.warn import warn
from filterloader.policies.base import with_defaults

_COUNTS = (
    "seen", "screened_out", "forwarded", "backwarded", "scored", "scored_out", "surveyed", "batches", "reports",
    "unreported", "nonfinite",
    "tokens_seen", "tokens_screened_out", "tokens_forwarded", "tokens_backwarded",
    "examples_run_back", "tokens_run_back",
)  # fmt: skip
_NEARLY_NOTHING_KEPT = 0.03  # what audits alone would let through counts as nothing
_NEARLY_ALL_KEPT = 0.995
_WATCHED = 4096  # candidates between two looks at the share that is dropped


class Ledger:
    """Counts examples and tokens, measures where the time goes, and writes it down.

    Time in a pass is split where the loop enters and leaves the loader: inside ``next(loader)`` is ``loader_s`` (less
    ``predictor_s`` inside the policy and ``score_s`` inside ``score_fn``), from there to ``report`` is ``forward_s``,
    inside ``report`` is ``hook_s``, and from a report that returned a loss to the next batch is ``backward_s``, the
    optimizer's step with it. A survey of the whole data set before a pass is ``survey_s``. Whatever else a loop does in
    between is counted with these. On a GPU, work that nobody waits for is counted where the next wait is.

    Args:
        policy: whose stage, threshold and scalars are shown; default None.
        position: where the run stands in its stream; default None, a position that nobody moves.

    Attributes:
        power: watts of ``cpu_w``, ``ram_w`` and one ``gpu_w``, and the number of ``gpus``, behind ``energy_kwh``; set
            it to yours. ``gpus`` is None until a report finds CUDA devices that hold memory of this process; their
            number then stands for the whole run. Other accelerators are yours to count.
        every: reports between two lines of the log; default 10.
        stages: ``[stage, examples consumed when it began]``, in the order in which they came.

    Example:
        >>> ledger = Ledger()
        >>> ledger.count(seen=100, forwarded=40, screened_out=60)
        >>> ledger.summary(), ledger.scalars()["forwarded_share"]
        ('kept 40 % · trained 0 %', 0.4)
    """

    def __init__(self, policy: Any = None, position: Position | None = None):
        self.policy, self.position = with_defaults(policy), Position() if position is None else position
        self.power: dict[str, Any] = {"cpu_w": 65.0, "ram_w": 10.0, "gpu_w": 300.0, "gpus": None}
        self.every = 10
        self.stages: list[list] = []
        self.clock, self._log = Clock(), Log()
        self._n = dict.fromkeys(_COUNTS, 0)
        self._recent = [0, 0, 0, 0]  # seen, kept, reported, trained since the last line
        self._losses: list[float] = []  # since the last line
        self._watched = [0, 0]  # candidates, kept
        self._warned = False

    # -- time ----------------------------------------------------------------------------------------------------------

    def enter(self, door: str) -> None:
        """The loop comes in: ``"loader"``, ``"survey"`` or ``"hook"``; see ``Clock.enter``."""
        self.clock.enter(door)

    def leave(self, door: str | None) -> None:
        """The loop goes out: ``"loader"``, ``"backward"``, ``"skipped"`` or None; see ``Clock.leave``."""
        self.clock.leave(door)

    def spent(self, kind: str, seconds: float) -> None:
        """``seconds`` of ``kind`` passed inside, and are taken out of the time there; see ``Clock.spent``."""
        self.clock.spent(kind, seconds)

    # -- counts --------------------------------------------------------------------------------------------------------

    def screened(self, candidates: Candidates, keep: np.ndarray | None) -> None:
        """A block of candidates was decided on before its forward pass; keep: bool ``[n]``, None where all go on."""
        n = kept = len(candidates)
        self.count(seen=n * candidates.merged, tokens_seen=_all_tokens(candidates))
        if keep is not None:
            kept = int(keep.sum())
            dropped = int(_tokens(candidates)[~keep].sum())
            self.count(screened_out=(n - kept) * candidates.merged, tokens_screened_out=dropped)
        self._recent[0] += n
        self._recent[1] += kept
        self._watch(n, kept)

    def _watch(self, n: int, kept: int) -> None:
        """Warn once where a filtering policy drops nearly everything or nearly nothing."""
        self._watched[0] += n
        self._watched[1] += kept
        if self._watched[0] < _WATCHED:
            return
        share = self._watched[1] / self._watched[0]
        window, self._watched = self._watched[0], [0, 0]
        too_few = share < _NEARLY_NOTHING_KEPT
        too_many = share > _NEARLY_ALL_KEPT and self.policy.stage == "filter"
        if not self._warned and (too_few or too_many):
            self._warned = True
            much = "nearly everything" if too_few else "nearly nothing"
            warn(
                f"the policy drops {much}: it kept {share:.2%} of the last {window} candidates; change the "
                f"settings of {self.policy!r} (a lower cutoff= or a higher keep= keeps more), or train on everything "
                "with TrainAll()"
            )

    def handed_out(self, candidates: Candidates) -> None:
        """A batch of these went to the model."""
        self.count(batches=1, forwarded=len(candidates) * candidates.merged, tokens_forwarded=_all_tokens(candidates))

    def judged(self, candidates: Candidates, weights: np.ndarray, loss: float | None) -> None:
        """A report was decided on.

        Args:
            candidates: whose it was.
            weights: float32 ``[n]``, 0 where not trained on.
            loss: mean of what was reported; None where nothing was finite.
        """
        tokens, keep = _tokens(candidates), weights > 0
        kept = int(keep.sum())
        self.count(reports=1, backwarded=kept * candidates.merged, tokens_backwarded=int(tokens[keep].sum()))
        if kept:
            self.count(examples_run_back=len(keep) * candidates.merged, tokens_run_back=int(tokens.sum()))
        self._recent[2] += len(keep)
        self._recent[3] += kept
        if loss is not None:
            self._losses.append(loss)
        if self.power.get("gpus") is None and torch.cuda.is_initialized():  # asked of CUDA, never waking it
            held = [torch.cuda.memory_reserved(device) > 0 for device in range(torch.cuda.device_count())]
            self.power["gpus"] = sum(held) or None

    def count(self, **counts: int) -> None:
        """Add to counts, by name."""
        for name, count in counts.items():
            self._n[name] += count
        self._recent[2] += counts.get("scored_out", 0)  # judged, and not trained on

    # -- what comes out ------------------------------------------------------------------------------------------------

    def scalars(self) -> dict[str, float]:
        """Everything as a flat dict of numbers; ``nan`` where something is not known (yet).

        ``t_norm_modelled``, ``t_norm_measured`` and ``saved_s`` hold within one run: a second run that trains on
        everything is the better yardstick.

        | key | what it is |
        |---|---|
        | **where the run stands** |  |
        | `epoch` | passes that are over |
        | `progress` | share of this pass consumed, in [0, 1]; 0 where the length of the stream is not known |
        | `stage` | the policy's stage: 0 for the warm-up, then 1, 2, … in the policy's order of stages |
        | `threshold` | the policy's `loss_threshold`: losses below it are not trained on |
        | **examples** |  |
        | `seen` | examples that the policy was asked about |
        | `screened_out` | dropped before their forward pass |
        | `forwarded` | handed out in batches |
        | `backwarded` | trained on |
        | `scored` | forwarded by `score_fn`, without gradients |
        | `scored_out` | of these, dropped by the policy |
        | `surveyed` | forward passes of surveys before a pass |
        | `examples_run_back` | in batches that had a backward pass, whether or not they weighed in it |
        | `nonfinite` | reported losses that were NaN or infinite |
        | **batches** |  |
        | `batches` | handed out |
        | `reports` | losses that were reported and learnt from |
        | `unreported` | batches that were given up without a report |
        | **tokens** | without padding; words where rows were decided on by their text; 0 where rows have neither |
        | `tokens_seen` | of the examples seen |
        | `tokens_screened_out` | of those screened out |
        | `tokens_forwarded` | of those handed out |
        | `tokens_backwarded` | of those trained on |
        | `tokens_run_back` | of `examples_run_back` |
        | **seconds** |  |
        | `loader_s` | inside `next(loader)`, less what follows |
        | `predictor_s` | inside the policy |
        | `score_s` | inside `score_fn` |
        | `survey_s` | surveys, with what the policy makes of them |
        | `hook_s` | inside `report` |
        | `forward_s` | from a batch to its report |
        | `backward_s` | from a report that returned a loss to the next batch |
        | `other_s` | from a report that returned None, or none at all, to the next batch |
        | `wall_s` | all of these |
        | `overhead_s` | `loader_s + predictor_s + hook_s` |
        | `t_f` | forward time an example handed out |
        | `t_b` | backward time an example run back |
        | `saved_s` | what training on everything would have cost at this run's own time a token, less `wall_s` |
        | **shares** | of what was seen, unless said otherwise |
        | `forwarded_share` | handed out or scored |
        | `backwarded_share` | trained on |
        | `alpha_fb` | skipped both passes |
        | `alpha_b` | skipped the backward pass only |
        | `t_norm_modelled` | the paper's time over that of training on everything (§5.1), with surveys |
        | `t_norm_measured` | `wall_s` over what training on everything would have cost at this run's own time a token |
        | **energy** |  |
        | `energy_kwh` | by `power` and `wall_s` |
        | `co2e_lb` | pounds of CO2 equivalent, on the United States grid |
        | **the policy's own** | those of its `scalars()` |
        | `predictor_loss` | `ThreeStage`: loss of the predictor in nats |
        | `overlap` | `ThreeStage`: of what threshold or predictor would have skipped, the share that both would |
        | `audited` | `ThreeStage`: candidates that were trained on to check the predictor |
        | `false_skip_rate` | `ThreeStage`: share of these whose loss was high after all |
        | `confidence` | `AutoAssist`: running share of right guesses |
        | `acceptance` | `AutoAssist`: share of all candidates let through |
        | `floor` | `AutoAssist`: least chance to be let through |
        | `classes` | `ClassBalanced`: classes seen |
        | `balance` | `ClassBalanced`: fewest kept of a class over most kept of a class; 1 is even |
        | `selectivity` | `SelectiveBackprop`: share kept of what was judged since the warm-up |
        | `median_loss` | `SelectiveBackprop`: of its window |

        Returns:
            Numbers by name, those of the table; the policy's own come last.
        """
        n, t = self._n, self.clock.times
        wall, seen = sum(t.values()), n["seen"] or float("nan")
        everything = cost.of_everything(n, t)
        energy = cost.energy_kwh(wall / 3600, **{**self.power, "gpus": self.power.get("gpus") or 0})
        threshold = self.policy.loss_threshold
        return {
            "epoch": self.position.epoch,
            "progress": self.position.progress,
            "stage": self._stage_number(),
            "threshold": float("nan") if threshold is None else float(threshold),
            **n,
            **t,
            "wall_s": wall,
            "overhead_s": t["loader_s"] + t["predictor_s"] + t["hook_s"],
            "forwarded_share": (n["forwarded"] + n["scored_out"]) / seen,
            "backwarded_share": n["backwarded"] / seen,
            **cost.modelled(n, t),
            "t_norm_measured": wall / everything if everything > 0 else float("nan"),
            "saved_s": everything - wall if everything > 0 else 0.0,
            "energy_kwh": energy,
            "co2e_lb": cost.co2e_lb(energy),
            **self.policy.scalars(),
        }

    def _stage_number(self) -> float:
        """0 in the warm-up, then 1, 2, … in the policy's order of stages; nan where the policy has none.

        A policy that does not say its order (``stages``) has that in which this run came to them.
        """
        stage = self.policy.stage
        if stage is None:
            return float("nan")
        seen = [name for name, _ in self.stages]
        return list(dict.fromkeys(["warm-up", *self.policy.stages, *seen, stage])).index(stage)

    def agot(
        self, accuracy: float, base: float, full: float, t_norm: float | None = None, epsilon: float = 0.95
    ) -> float:
        """Accuracy gain over time (paper, equation 5).

        Args:
            accuracy, base, full: fractions in [0, 1] after this training, before any, and after training on everything.
            t_norm: time over that of training on everything; default None, this run's own ``t_norm_measured``.
            epsilon: in [0, 1], default 0.95; 1 takes no account of time.

        Returns:
            A number without unit; training on everything scores 1.
        """
        t_norm = self.scalars()["t_norm_measured"] if t_norm is None else t_norm
        return cost.agot(accuracy, base, full, t_norm, epsilon)

    def summary(self) -> str:
        """One line for a person.

        Returns:
            Such as ``kept 21 % · trained 20 % · stage filter · saved ~3m12s``. Kept is the share handed out or about to
            be, neither screened out nor scored out; trained is the share that had a backward pass.
        """
        n = self._n
        kept = 100 * (1 - (n["screened_out"] + n["scored_out"]) / n["seen"]) if n["seen"] else 100.0
        parts = [f"kept {kept:.0f} %", f"trained {100 * n['backwarded'] / max(cost.decided(n), 1):.0f} %"]
        if self.stages:
            parts.append(f"stage {self.stages[-1][0]}")
        saved = self.scalars()["saved_s"]
        if saved >= 1:
            parts.append(f"saved ~{duration(saved)}")
        return " · ".join(parts)

    # -- the log -------------------------------------------------------------------------------------------------------

    def log_to(self, path: str | Path, **run: Any) -> None:
        """Append JSON lines to a file from now on (``filterloader report`` reads them).

        Args:
            path: the file; its folder is made.
            run: what to call this run, such as ``policy="three_stage", seed=0``.
        """
        self._log.open(path)
        self._log.write("start", run=run)

    def note(self, event: str, **values: Any) -> None:
        """Write one line of your own; nothing happens without ``log_to``.

        Args:
            event: its kind, such as ``"eval"``.
            values: what it says, such as ``accuracy=0.91``.
        """
        self._log.write(event, **values)

    def end(self, **values: Any) -> None:
        """Write the last line: all scalars, and the ``values`` that the caller adds."""
        self._log.write("end", scalars=self.scalars(), **values)

    def stage(self, stage: str | None, position: int) -> None:
        """Note a stage where it is another than before; position: examples consumed when it began."""
        if stage is not None and (not self.stages or self.stages[-1][0] != stage):
            self.stages.append([stage, position])
            self._log.write("stage", stage=stage, position=position)

    def report(self, position: int, epoch: int, stage: str | None, threshold: float | None) -> None:
        """Every few reports, write the mean loss since the last line and the shares kept and trained."""
        if self._n["reports"] % self.every or not self._losses:
            return
        seen, kept, reported, trained_on = self._recent
        share = kept / seen if seen else None
        run = {"position": position, "epoch": epoch, "stage": stage, "threshold": threshold}
        trained = None if share is None else share * trained_on / max(reported, 1)
        self._log.write("report", loss=float(np.mean(self._losses)), kept=share, trained=trained, **run)
        self._losses.clear()
        self._recent = [0, 0, 0, 0]

    # -- state ---------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict:
        """Everything counted, measured and told so far.

        Returns:
            Plain containers; only ``times`` differs from run to run.
        """
        stages = [list(stage) for stage in self.stages]
        return {
            "counts": dict(self._n),
            "times": dict(self.clock.times),
            "stages": stages,
            "recent": list(self._recent),
            "losses": list(self._losses),
            "watched": list(self._watched),
            "warned": self._warned,
        }

    def load_state_dict(self, state: dict) -> None:
        """Go on counting from a state.

        Args:
            state: what ``state_dict`` returned.
        """
        self._n.update(state["counts"])
        self.clock.resume(state["times"])
        self.stages = [list(stage) for stage in state["stages"]]
        self._recent, self._losses = list(state["recent"]), list(state["losses"])
        self._watched, self._warned = list(state["watched"]), bool(state["warned"])


def _tokens(candidates: Candidates) -> np.ndarray:
    """Tokens of each candidate, or words where it was decided on by its text, int64 ``[n]``; 0 where it has none."""
    if candidates.sizes is not None:
        return candidates.sizes
    if candidates.lengths is not None:
        return candidates.lengths
    return np.zeros(len(candidates), np.int64) if candidates.bag is None else np.diff(candidates.bag.offsets)


def _all_tokens(candidates: Candidates) -> int:
    """Sum of ``_tokens``."""
    if candidates.sizes is None and candidates.tokens is not None:
        return int(candidates.tokens.offsets[-1] - candidates.tokens.offsets[0])
    return int(_tokens(candidates).sum())
