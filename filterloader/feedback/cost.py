"""Cost: time, energy and carbon of a run, modelled from plain numbers as the papers model them."""

from __future__ import annotations

import math


def agot(accuracy: float, base: float, full: float, t_norm: float, epsilon: float = 0.95) -> float:
    """Accuracy gain over time: ``(accuracy - base) / (full - base) / t_norm ** (1 - epsilon)``.

    accuracy, base, full: fractions in [0, 1] after this training, before any, and after training on everything.
    t_norm: time over TrainAll's, > 0, no unit. epsilon: in [0, 1]; 1 takes no account of time.
    Returns: a number without unit; TrainAll scores 1. Raises ValueError outside these ranges or if ``full == base``.
    Source: online data filtering, equation 5.
    """
    for name, value in (("accuracy", accuracy), ("base", base), ("full", full), ("epsilon", epsilon)):
        _fraction(name, value)
    check_positive("t_norm", t_norm)
    if full == base:
        raise ValueError(f"full and base are both {full}: AGOT measures a gain, so they must differ")
    return float((accuracy - base) / (full - base) / t_norm ** (1 - epsilon))


def modelled_t_norm(alpha_b: float, alpha_fb: float, t_f: float, t_b: float) -> float:
    """Time over TrainAll's, modelled: ``(alpha_b * t_f + (1 - alpha_b - alpha_fb) * (t_f + t_b)) / (t_f + t_b)``.

    alpha_b: share of the examples that skip only the backward pass. alpha_fb: share that skips both passes.
    t_f, t_b: time of one forward and one backward pass, > 0, in any one unit.
    Returns: a number in [0, 1]. Raises ValueError outside these ranges or if the shares add up to more than 1.
    Source: online data filtering, section 5.1. The predictor's own time is not in it; measure that.
    """
    _fraction("alpha_b", alpha_b)
    _fraction("alpha_fb", alpha_fb)
    check_positive("t_f", t_f)
    check_positive("t_b", t_b)
    both = 1 - alpha_b - alpha_fb
    if both < -1e-9:
        raise ValueError(
            f"alpha_b + alpha_fb is {alpha_b + alpha_fb:g}: they are shares of one stream, at most 1 in all"
        )
    return float((alpha_b * t_f + max(both, 0.0) * (t_f + t_b)) / (t_f + t_b))


def modelled(counts: dict[str, int], times: dict[str, float]) -> dict[str, float]:
    """The paper's quantities (section 5.1) by a ledger's counts and times: ``alpha_b``, ``alpha_fb``, ``t_f``, ``t_b``
    and what they come to, ``t_norm_modelled``, with the forward passes of surveys; nan where not known yet."""
    n, seen = counts, counts["seen"] or math.nan
    t_f, t_b = times["forward_s"] / max(n["forwarded"], 1), times["backward_s"] / max(n["examples_run_back"], 1)
    alpha_fb = n["screened_out"] / seen
    alpha_b = max((n["forwarded"] + n["scored_out"] - n["backwarded"]) / seen, 0.0)
    t_norm = math.nan
    if t_f > 0 and t_b > 0 and n["seen"] and alpha_b + alpha_fb <= 1:
        t_norm = modelled_t_norm(alpha_b, alpha_fb, t_f, t_b) + n["surveyed"] / seen * t_f / (t_f + t_b)
    return {"alpha_b": alpha_b, "alpha_fb": alpha_fb, "t_f": t_f, "t_b": t_b, "t_norm_modelled": t_norm}


def of_everything(counts: dict[str, int], times: dict[str, float]) -> float:
    """Seconds that training on all that was decided on would have taken, at a ledger's own time a token (an example,
    where rows have none); 0 while nothing had a backward pass, since what that costs is not known."""
    n = counts
    if not n["examples_run_back"]:
        return 0.0
    if not n["tokens_seen"]:
        t_f, t_b = times["forward_s"] / max(n["forwarded"], 1), times["backward_s"] / n["examples_run_back"]
        return (t_f + t_b) * decided(n)
    scored_out = n["tokens_seen"] * n["scored_out"] / max(n["seen"], 1)
    tokens = n["tokens_forwarded"] + n["tokens_screened_out"] + scored_out
    t_f, t_b = times["forward_s"] / max(n["tokens_forwarded"], 1), times["backward_s"] / max(n["tokens_run_back"], 1)
    return (t_f + t_b) * tokens


def decided(counts: dict[str, int]) -> int:
    """Examples dropped or handed out: what was seen, less what waits for its batch."""
    return counts["screened_out"] + counts["scored_out"] + counts["forwarded"]


def energy_kwh(hours: float, cpu_w: float, ram_w: float, gpu_w: float, gpus: int) -> float:
    """Energy of a run in kWh: ``1.58 * hours * (cpu_w + ram_w + gpus * gpu_w) / 1000``.

    hours: wall-clock time. cpu_w, ram_w, gpu_w: mean power in W of the processors, the memory and one GPU.
    gpus: how many GPUs. All are >= 0, else ValueError. 1.58 is what a data centre draws per watt of computing.
    Source: online data filtering, equation 6, after Strubell et al. 2019.
    """
    for name, value in (("hours", hours), ("cpu_w", cpu_w), ("ram_w", ram_w), ("gpu_w", gpu_w), ("gpus", gpus)):
        check_not_negative(name, value)
    return float(1.58 * hours * (cpu_w + ram_w + gpus * gpu_w) / 1000)


def co2e_lb(kwh: float) -> float:
    """Carbon dioxide equivalent in pounds of ``kwh`` (>= 0, else ValueError) of United States grid energy: 0.954 a kWh.

    Source: online data filtering, equation 6, after Strubell et al. 2019.
    """
    check_not_negative("kwh", kwh)
    return float(0.954 * kwh)


def _fraction(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}: give a fraction between 0 and 1 (a percentage divided by 100)")


def check_positive(name: str, value: float) -> None:
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"{name} is {value}: give a finite number above 0")


def check_not_negative(name: str, value: float) -> None:
    if not (value >= 0 and math.isfinite(value)):
        raise ValueError(f"{name} is {value}: give a finite number, 0 or above")
