"""Ledger: what was skipped, what it cost and what it saved, counted and timed as it happens."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from filterloader.data.candidates import Candidates
from filterloader.feedback import cost

_COUNTS = (
    "seen", "screened_out", "forwarded", "backwarded", "scored", "scored_out", "surveyed", "batches", "reports", "unreported", "nonfinite",
    "tokens_seen", "tokens_screened_out", "tokens_forwarded", "tokens_backwarded", "examples_run_back", "tokens_run_back",
)  # fmt: skip
_TIMES = ("loader_s", "predictor_s", "score_s", "survey_s", "hook_s", "forward_s", "backward_s", "other_s")
_NEARLY_NOTHING_KEPT = 0.03  # what audits alone would let through counts as nothing
_WATCHED = 4096  # candidates between two looks at the share that is dropped


class Ledger:
    """Counts examples and tokens, measures where the time goes, and writes it down.

    Time in a pass is split at the loader's own doors: inside ``next(loader)`` is ``loader_s`` (with ``predictor_s`` inside
    the policy and ``score_s`` inside ``score_fn`` taken out), from there to ``report`` is ``forward_s``, inside ``report``
    is ``hook_s``, and from a report that returned a loss to the next batch is ``backward_s`` (the optimizer's step with it).
    A survey of the whole data set before a pass, with all that the policy makes of it, is ``survey_s``.
    Whatever else a loop does between those doors is counted with them. On a GPU, work that nobody waits for is counted where
    the next wait is.

    Attributes: ``power``: watts of ``(cpu, ram, one gpu)`` and the number of gpus, behind ``energy_kwh``; set it to yours.
    ``gpus`` is None until a report finds CUDA devices that hold memory of this process; their number then stands for the
    whole run. Other accelerators are yours to count. ``every``: reports between two lines of the log.
    """

    def __init__(self, policy: Any = None):
        self.policy = policy
        self.power = {"cpu_w": 65.0, "ram_w": 10.0, "gpu_w": 300.0, "gpus": None}
        self.every = 10
        self.stages: list[list] = []  # [stage, place in the stream where it began]
        self._n = dict.fromkeys(_COUNTS, 0)
        self._t = dict.fromkeys(_TIMES, 0.0)
        self._door, self._since = None, 0.0
        self._inside = "hook_s"  # the time that runs now
        self._recent = np.zeros(4)  # seen, kept, reported, trained since the last line
        self._watched = [0, 0]  # candidates, kept
        self._warned = False
        self._losses: list[float] = []
        self._started = perf_counter()
        self._log: Path | None = None

    # -- time ----------------------------------------------------------------------------------------------------------

    def enter(self, door: str) -> None:
        """The loop comes in: ``"loader"``, ``"survey"`` or ``"hook"``. What passed since it last went out is the loop's own time."""
        now = perf_counter()
        gap = now - self._since
        if self._door is not None:
            work = "forward_s" if door == "hook" else "backward_s" if self._door == "backward" else "other_s"
            self._t[work] += gap
        self._since, self._inside = now, f"{door}_s"

    def leave(self, door: str | None) -> None:
        """The loop goes out: of ``"loader"`` with a batch, of the hook with a loss (``"backward"``) or with None
        (``"skipped"``), or out of the survey or the pass (None)."""
        now = perf_counter()
        self._t[self._inside] += now - self._since
        self._door, self._since = door, now

    def spent(self, kind: str, seconds: float) -> None:
        """``seconds`` of ``kind`` that happened behind the door last entered, and are taken out of its time."""
        self._t[kind] += seconds
        self._t[self._inside] -= seconds

    # -- counts --------------------------------------------------------------------------------------------------------

    def screened(self, candidates: Candidates, keep: np.ndarray) -> None:
        """A block of candidates was decided on before its forward pass; keep: bool ``[n]``, None where all go on."""
        n = kept = len(candidates)
        self._n["seen"] += n * candidates.merged
        self._n["tokens_seen"] += _all_tokens(candidates)
        if keep is not None:
            kept = int(keep.sum())
            self._add(
                screened_out=(n - kept) * candidates.merged, tokens_screened_out=int(_tokens(candidates)[~keep].sum())
            )
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
        if not self._warned and (
            share < _NEARLY_NOTHING_KEPT or (share > 0.995 and getattr(self.policy, "stage", None) == "filter")
        ):
            self._warned = True
            much = "nearly everything" if share < 0.5 else "nearly nothing"
            warnings.warn(
                f"the policy drops {much}: it kept {share:.2%} of the last {window} candidates; change the settings of {self.policy!r} "
                "(a lower cutoff= or a higher keep= keeps more), or train on everything with TrainAll()",
                stacklevel=6,
            )

    def handed_out(self, candidates: Candidates) -> None:
        self._n["batches"] += 1
        self._n["forwarded"] += len(candidates) * candidates.merged
        self._n["tokens_forwarded"] += _all_tokens(candidates)

    def judged(self, candidates: Candidates, weights: np.ndarray, loss: float | None) -> None:
        """A report was decided on; weights: float32 ``[n]``; loss: mean of what was reported, None where none was finite."""
        tokens, keep = _tokens(candidates), weights > 0
        run = bool(keep.any())
        self._add(reports=1, backwarded=int(keep.sum()) * candidates.merged, tokens_backwarded=int(tokens[keep].sum()),
                  examples_run_back=len(keep) * candidates.merged * run, tokens_run_back=int(tokens.sum()) * run)  # fmt: skip
        self._recent[2:] += len(keep), keep.sum()
        if loss is not None:
            self._losses.append(loss)
        if self.power.get("gpus") is None and torch.cuda.is_initialized():  # asked of CUDA, never waking it
            self.power["gpus"] = (
                sum(torch.cuda.memory_reserved(i) > 0 for i in range(torch.cuda.device_count())) or None
            )

    def count(self, **counts: int) -> None:
        self._add(**counts)
        self._recent[2] += counts.get("scored_out", 0)  # judged, and not trained on

    def _add(self, **counts: int) -> None:
        for name, count in counts.items():
            self._n[name] += count

    # -- what comes out ------------------------------------------------------------------------------------------------

    def scalars(self) -> dict[str, float]:
        """Everything as a flat dict of numbers; ``nan`` where something was not measured yet.

        Counts are examples (``scored_out``: what a ``score_fn`` forwarded and the policy dropped; ``surveyed``: forward passes of
        surveys, which both times below include; ``seen``, ``screened_out``, ``forwarded``, ``backwarded``, …) and tokens; times are seconds.
        ``forwarded_share`` and ``backwarded_share`` are of what was seen. ``t_norm_modelled`` is the paper's time (§5.1) with
        this run's own forward and backward time an example; ``t_norm_measured`` is this run's wall-clock over what training
        on everything would have cost at this run's own time a token; ``saved_s`` is the difference. All three hold within
        one run: a second run that trains on everything is the better yardstick. The policy's own scalars come last.
        """
        n, t = self._n, self._t
        wall = sum(t.values())
        kept_back, forward = max(n["examples_run_back"], 1), max(n["forwarded"], 1)
        t_f, t_b = t["forward_s"] / forward, t["backward_s"] / kept_back
        seen = n["seen"] or float("nan")
        alpha_fb = n["screened_out"] / seen
        alpha_b = max((n["forwarded"] + n["scored_out"] - n["backwarded"]) / seen, 0.0)
        everything = self._cost_of_everything()
        modelled = float("nan")
        if t_f > 0 and t_b > 0 and n["seen"] and alpha_b + alpha_fb <= 1:
            modelled = cost.modelled_t_norm(alpha_b, alpha_fb, t_f, t_b) + n["surveyed"] / seen * t_f / (t_f + t_b)
        energy = cost.energy_kwh(wall / 3600, **{**self.power, "gpus": self.power.get("gpus") or 0})
        return {
            **n,
            **t,
            "wall_s": wall,
            "overhead_s": t["loader_s"] + t["predictor_s"] + t["hook_s"],
            "forwarded_share": (n["forwarded"] + n["scored_out"]) / seen,
            "backwarded_share": n["backwarded"] / seen,
            "alpha_b": alpha_b,
            "alpha_fb": alpha_fb,
            "t_f": t_f,
            "t_b": t_b,
            "t_norm_modelled": modelled,
            "t_norm_measured": wall / everything if everything > 0 else float("nan"),
            "saved_s": everything - wall if everything > 0 else 0.0,
            "energy_kwh": energy,
            "co2e_lb": cost.co2e_lb(energy),
            **(self.policy.scalars() if hasattr(self.policy, "scalars") else {}),
        }

    def agot(
        self, accuracy: float, base: float, full: float, t_norm: float | None = None, epsilon: float = 0.95
    ) -> float:
        """Accuracy gain over time (paper, equation 5). t_norm: None takes this run's own measured one."""
        t_norm = self.scalars()["t_norm_measured"] if t_norm is None else t_norm
        return cost.agot(accuracy, base, full, t_norm, epsilon)

    def _cost_of_everything(self) -> float:
        n, t, unit = self._n, self._t, "tokens_"
        if not n["examples_run_back"]:
            return 0.0  # what a backward pass costs is not known yet
        if not n["tokens_seen"]:
            return (t["forward_s"] / max(n["forwarded"], 1) + t["backward_s"] / n["examples_run_back"]) * self._decided
        forward = t["forward_s"] / max(n[unit + "forwarded"], 1)
        tokens = (
            n[unit + "forwarded"] + n[unit + "screened_out"] + n[unit + "seen"] * n["scored_out"] / max(n["seen"], 1)
        )
        return (forward + t["backward_s"] / max(n[unit + "run_back"], 1)) * tokens

    @property
    def _decided(self) -> int:
        """Examples dropped or handed out: what was seen, less what waits for its batch."""
        return self._n["screened_out"] + self._n["scored_out"] + self._n["forwarded"]

    def summary(self) -> str:
        """One line for a person: ``kept 21 % · trained 20 % · stage filter · saved ~3m12s``.

        Kept is the share handed out or about to be: neither screened out nor scored out. Trained is the share backwarded.
        """
        n = self._n
        kept = 100 * (1 - (n["screened_out"] + n["scored_out"]) / n["seen"]) if n["seen"] else 100.0
        parts = [f"kept {kept:.0f} %", f"trained {100 * n['backwarded'] / max(self._decided, 1):.0f} %"]
        if self.stages:
            parts.append(f"stage {self.stages[-1][0]}")
        saved = self.scalars()["saved_s"]
        if saved >= 1:
            parts.append(f"saved ~{_clock(saved)}")
        return " · ".join(parts)

    # -- the log -------------------------------------------------------------------------------------------------------

    def log_to(self, path: str | Path, **run: Any) -> None:
        """Append JSON lines to ``path`` from now on (``filterloader report`` reads them). run: what to call this run."""
        self._log = Path(path)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        if self._log.is_file() and not self._log.read_bytes().endswith(b"\n"):
            self._log.open("a").write("\n")  # a run that was killed left half a line
        self._write("start", run=run)

    def note(self, event: str, **values: Any) -> None:
        """Write one line of your own, e.g. ``note("eval", accuracy=.91)``; nothing happens without ``log_to``."""
        self._write(event, **values)

    def end(self, **values: Any) -> None:
        """Write the last line: all scalars and what the caller adds."""
        self._write("end", scalars=self.scalars(), **values)

    def stage(self, stage: str | None, position: int) -> None:
        if stage is not None and (not self.stages or self.stages[-1][0] != stage):
            self.stages.append([stage, position])
            self._write("stage", stage=stage, position=position)

    def report(self, position: int, epoch: int, stage: str | None, threshold: float | None) -> None:
        """Every few reports, write the mean loss since the last line and the shares kept and trained."""
        if self._n["reports"] % self.every or not self._losses:
            return
        seen, kept, reported, trained = self._recent
        share = kept / seen if seen else None
        self._write("report", position=position, epoch=epoch, stage=stage, loss=float(np.mean(self._losses)), threshold=threshold,
                    kept=share, trained=None if share is None else share * trained / max(reported, 1))  # fmt: skip
        self._losses.clear()
        self._recent[:] = 0

    def _write(self, event: str, **values: Any) -> None:
        if self._log is not None:
            line = {"event": event, "time": round(perf_counter() - self._started, 4), **values}
            with self._log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(finite(line), default=str) + "\n")

    def state_dict(self) -> dict:
        return {"counts": dict(self._n), "times": dict(self._t), "stages": [list(stage) for stage in self.stages],
                "watched": list(self._watched), "warned": self._warned}  # fmt: skip

    def load_state_dict(self, state: dict) -> None:
        self._n.update(state["counts"])
        self._t.update(state["times"])
        self.stages = [list(stage) for stage in state["stages"]]
        self._watched, self._warned = list(state["watched"]), bool(state["warned"])
        self._door = None


def _tokens(candidates: Candidates) -> np.ndarray:
    """Tokens of each candidate, or words where it was decided on by its text, int64 ``[n]``; zeros where rows hold none."""
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


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{seconds:02d}s" if minutes else f"{seconds}s"


def finite(value: Any) -> Any:
    """The same value as JSON wants it: arrays and tensors as lists or numbers, nan and infinities as None."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
