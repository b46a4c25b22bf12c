"""What the ledger counts, times and writes down, against sums made by hand and a clock that only the test turns."""

import json
import pickle
import warnings
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from filterloader import (
    AutoThreshold,
    FilteringDataLoader,
    FixedThreshold,
    Random,
    ThreeStage,
    TrainAll,
    metrics,
    report,
)
from filterloader import hook as hook_module
from filterloader import ledger as ledger_module
from filterloader import loader as loader_module
from filterloader.candidates import Bag, Candidates, Ragged
from filterloader.ledger import Ledger
from tests.conftest import losses_of, sentences, train

POLICIES = {
    "train_all": TrainAll,
    "random": lambda: Random(0.4),
    "fixed_threshold": lambda: FixedThreshold(0.5),
    "auto_threshold": AutoThreshold,
    "three_stage": lambda: ThreeStage(warmup=200),
}


class Clock:
    """Stands still until the test turns it."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        for module in (ledger_module, loader_module, hook_module):
            monkeypatch.setattr(module, "perf_counter", lambda: self.now)

    def turn(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def build(tokenizer, policy, n=1000, **kw):
    kw = {"batch_size": 16, "seed": 5, "shuffle": True, **kw}
    return FilteringDataLoader(sentences(n), tokenizer=tokenizer, policy=policy, **kw)


def may_warn(policy, granularity):
    """The mean of 16 losses follows no words: over batches, ThreeStage says that it never filtered."""
    if (policy, granularity) == ("three_stage", "batch"):
        return pytest.warns(UserWarning, match="the predictor has not earned the filter stage")
    return nullcontext()


def some(lengths, labels=None):
    """Candidates of these lengths."""
    offsets = np.append(0, np.cumsum(lengths)).astype(np.int64)
    ids = np.zeros(offsets[-1], np.int32)
    return Candidates(len(lengths), tokens=Ragged(ids, offsets), bag=Bag(ids, offsets, 10), labels=labels).placed(
        0, None, None
    )


# -- counts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("granularity", ["example", "batch"])
@pytest.mark.parametrize("policy", POLICIES)
def test_counts_add_up_at_the_end_of_a_pass(tokenizer, policy, granularity):
    loader = build(tokenizer, POLICIES[policy](), granularity=granularity)
    with may_warn(policy, granularity):
        out = train(loader)
    n = loader.ledger.scalars()
    sizes = [batch["input_ids"].shape[0] for batch, _ in out]
    trained = [size for size, (_, loss) in zip(sizes, out, strict=True) if loss is not None]
    assert n["seen"] == 1000 == n["screened_out"] + n["forwarded"]
    assert n["forwarded"] == sum(sizes) and n["batches"] == n["reports"] == len(out)
    assert n["backwarded"] <= n["examples_run_back"] == sum(trained)
    assert n["unreported"] == n["nonfinite"] == n["scored"] == 0
    assert n["forwarded_share"] == n["forwarded"] / 1000 and n["backwarded_share"] == n["backwarded"] / 1000
    assert n["alpha_fb"] == n["screened_out"] / 1000 and n["alpha_b"] == (n["forwarded"] - n["backwarded"]) / 1000


@pytest.mark.parametrize("granularity", ["example", "batch"])
@pytest.mark.parametrize("policy", POLICIES)
def test_tokens_are_counted_without_padding(tokenizer, policy, granularity):
    loader = build(tokenizer, POLICIES[policy](), granularity=granularity)
    with may_warn(policy, granularity):
        out = train(loader)
    n = loader.ledger.scalars()
    tokens = [int(batch["attention_mask"].sum()) for batch, _ in out]
    assert n["tokens_seen"] == sum(len(row["text"].split()) + 2 for row in sentences(1000))
    assert n["tokens_seen"] == n["tokens_screened_out"] + n["tokens_forwarded"]
    assert n["tokens_forwarded"] == sum(tokens)
    assert n["tokens_run_back"] == sum(count for count, (_, loss) in zip(tokens, out, strict=True) if loss is not None)
    assert n["tokens_backwarded"] <= n["tokens_run_back"]


def test_what_a_threshold_leaves_out_of_a_batch_is_not_backwarded_yet_was_run(tokenizer):
    loader = build(tokenizer, FixedThreshold(0.5))
    out = train(loader)
    n = loader.ledger.scalars()
    high = [losses_of(batch) >= 0.5 for batch, _ in out]
    assert n["backwarded"] == sum(int(keep.sum()) for keep in high)
    assert n["tokens_backwarded"] == sum(
        int(batch["attention_mask"][keep].sum()) for (batch, _), keep in zip(out, high, strict=True)
    )
    assert n["examples_run_back"] == sum(len(keep) for keep in high if keep.any())


def test_a_batch_that_stands_for_many_counts_as_many():
    ledger = Ledger()
    whole = some([3, 4, 5]).as_one()
    ledger.screened(whole, np.array([False]))
    ledger.screened(whole, np.array([True]))
    ledger.handed_out(whole)
    ledger.judged(whole, np.ones(1, np.float32), 0.5)
    n = ledger.scalars()
    assert (n["seen"], n["screened_out"], n["forwarded"], n["backwarded"], n["examples_run_back"]) == (6, 3, 3, 3, 3)
    assert (n["tokens_seen"], n["tokens_screened_out"], n["tokens_forwarded"], n["tokens_backwarded"]) == (
        24,
        12,
        12,
        12,
    )


def test_batches_never_reported_are_counted_when_the_pass_is_broken_off(tokenizer):
    loader = build(tokenizer, TrainAll())
    iterator = iter(loader)
    batches = [next(iterator) for _ in range(3)]
    loader.hook.report(losses_of(batches[0]), batches[0])
    iter(loader)
    assert loader.ledger.scalars()["unreported"] == 2


def test_losses_that_are_no_numbers_are_counted_and_not_backwarded(tokenizer):
    loader = build(tokenizer, TrainAll())
    batch = next(iter(loader))
    losses = losses_of(batch)
    losses[:3] = torch.tensor([float("nan"), float("inf"), -float("inf")])
    with pytest.warns(UserWarning, match="3 reported losses are NaN or infinite"):
        loader.hook.report(losses)
    assert loader.ledger.scalars()["nonfinite"] == 3 and loader.ledger.scalars()["backwarded"] == 13


def test_rows_without_words_have_no_tokens():
    ledger = Ledger()
    bare = Candidates(4).placed(0, None, None)
    ledger.screened(bare, np.ones(4, bool))
    ledger.handed_out(bare)
    assert ledger.scalars()["tokens_seen"] == 0 and ledger.scalars()["seen"] == 4


# -- time ------------------------------------------------------------------------------------------------------------


def test_each_stretch_between_two_doors_has_one_name(clock):
    ledger = Ledger()
    clock.turn(50)  # before the first pass: nobody's
    for kept in (True, False):
        ledger.enter("loader")
        clock.turn(1)
        ledger.leave("loader")
        clock.turn(10)
        ledger.enter("hook")
        clock.turn(2)
        ledger.leave("backward" if kept else "skipped")
        clock.turn(20 if kept else 5)
    ledger.enter("loader")
    clock.turn(3)
    ledger.leave(None)
    clock.turn(70)  # between two passes: nobody's
    ledger.enter("loader")
    clock.turn(1)
    ledger.leave("loader")
    clock.turn(7)  # a batch that is not reported
    ledger.enter("loader")
    ledger.leave(None)
    scalars = ledger.scalars()
    assert (scalars["loader_s"], scalars["forward_s"], scalars["hook_s"]) == (6, 20, 4)
    assert (scalars["backward_s"], scalars["other_s"], scalars["wall_s"]) == (20, 12, 62)
    assert scalars["overhead_s"] == 10


def test_time_inside_another_is_taken_out_of_it(clock):
    ledger = Ledger()
    ledger.enter("loader")
    clock.turn(10)
    ledger.spent("predictor_s", 3)
    ledger.spent("score_s", 4)
    ledger.leave("loader")
    scalars = ledger.scalars()
    assert (scalars["loader_s"], scalars["predictor_s"], scalars["score_s"], scalars["wall_s"]) == (3, 3, 4, 10)


class Rows:
    """A data set whose every row takes half a second."""

    def __init__(self, clock, n):
        self.clock, self.rows = clock, sentences(n)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        self.clock.turn(0.5)
        return self.rows[i]


class Slow:
    """Keeps the even places and trains on every second batch; takes one second to screen and two to judge."""

    needs_words = False

    def __init__(self, clock):
        self.clock, self.screens, self.reports = clock, 0, 0

    def screen(self, candidates):
        self.clock.turn(1)
        self.screens += 1
        return (candidates.positions % 2 == 0).astype(np.float32)

    def judge(self, candidates, losses):
        self.clock.turn(2)
        self.reports += 1
        return np.full(len(candidates), self.reports % 2, np.float32)

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


def test_a_loops_time_is_split_to_the_second(tokenizer, clock):
    loader = FilteringDataLoader(Rows(clock, 160), tokenizer=tokenizer, batch_size=16, policy=Slow(clock))
    start = clock.now
    for batch in loader:
        clock.turn(10)
        loss = loader.hook.report(losses_of(batch))
        clock.turn(5 if loss is None else 20)
    scalars = loader.ledger.scalars()
    assert scalars["batches"] == 5 and scalars["backwarded"] == 48
    assert scalars["loader_s"] == pytest.approx(80) and scalars["hook_s"] == pytest.approx(0)
    assert scalars["predictor_s"] == pytest.approx(loader.policy.screens * 1 + 5 * 2)
    assert scalars["forward_s"] == pytest.approx(50) and scalars["other_s"] == pytest.approx(2 * 5)
    assert scalars["backward_s"] == pytest.approx(3 * 20)
    assert scalars["wall_s"] == pytest.approx(clock.now - start)


def test_time_of_a_score_function_has_its_own_name(tokenizer, clock):
    def score(batch):
        clock.turn(3)
        return losses_of(batch)

    loader = FilteringDataLoader(
        sentences(64), tokenizer=tokenizer, batch_size=16, policy=FixedThreshold(0.5), score_fn=score
    )
    train(loader)
    scalars = loader.ledger.scalars()
    assert (scalars["scored"], scalars["score_s"], scalars["loader_s"]) == (64, 12, 0)


@pytest.mark.parametrize("granularity", ["example", "batch"])
@pytest.mark.parametrize("policy", POLICIES)
def test_times_add_up_to_the_wall_clock(tokenizer, clock, policy, granularity):
    loader = build(tokenizer, POLICIES[policy](), 400, granularity=granularity)
    start = clock.now
    with may_warn(policy, granularity):
        for batch in loader:
            clock.turn(0.3)
            loss = loader.hook.report(losses_of(batch))
            clock.turn(0.1 if loss is None else 0.7)
    scalars = loader.ledger.scalars()
    assert (
        sum(scalars[name] for name in ledger_module._TIMES)
        == pytest.approx(scalars["wall_s"])
        == pytest.approx(clock.now - start)
    )
    assert all(scalars[name] >= 0 for name in ledger_module._TIMES)


def run_by_hand(tokenizer, clock, policy, **kw):
    loader = build(tokenizer, policy, **kw)
    for batch in loader:
        clock.turn(1)
        if loader.hook.report(losses_of(batch)) is not None:
            clock.turn(2)
    return loader.ledger


def test_modelled_time_is_the_papers_formula_with_this_runs_own_times(tokenizer, clock):
    scalars = run_by_hand(tokenizer, clock, ThreeStage(warmup=200)).scalars()
    t_f, t_b = scalars["batches"] / scalars["forwarded"], scalars["backward_s"] / scalars["examples_run_back"]
    alpha_b, alpha_fb = (scalars["forwarded"] - scalars["backwarded"]) / 1000, scalars["screened_out"] / 1000
    assert 0 < alpha_b < 1 and 0 < alpha_fb < 1
    by_hand = (alpha_b * t_f + (1 - alpha_b - alpha_fb) * (t_f + t_b)) / (t_f + t_b)
    assert (scalars["t_f"], scalars["t_b"]) == pytest.approx((t_f, t_b))
    assert scalars["t_norm_modelled"] == pytest.approx(by_hand)
    assert scalars["t_norm_modelled"] == pytest.approx(metrics.modelled_t_norm(alpha_b, alpha_fb, t_f, t_b))


def test_training_on_everything_costs_one(tokenizer, clock):
    scalars = run_by_hand(tokenizer, clock, TrainAll()).scalars()
    assert scalars["t_norm_modelled"] == pytest.approx(1) and scalars["t_norm_measured"] == pytest.approx(1)
    assert scalars["saved_s"] == pytest.approx(0)


def test_what_waits_in_the_buffer_is_not_saved(tokenizer, clock):
    loader = build(tokenizer, TrainAll(), buffer_batches=8)
    for batch in loader:
        clock.turn(float(batch["attention_mask"].sum()))
        loader.hook.report(losses_of(batch))
        clock.turn(2 * float(batch["attention_mask"].sum()))
        assert loader.ledger.scalars()["saved_s"] == pytest.approx(0, abs=1e-6)
        assert loader.ledger.summary().startswith("kept 100 % · trained 100 %")


def test_measured_time_is_over_what_everything_would_have_cost_at_this_runs_time_a_token(tokenizer, clock):
    scalars = run_by_hand(tokenizer, clock, Random(0.3)).scalars()
    everything = scalars["wall_s"] * scalars["tokens_seen"] / scalars["tokens_forwarded"]
    assert scalars["t_norm_measured"] == pytest.approx(scalars["wall_s"] / everything)
    assert scalars["saved_s"] == pytest.approx(everything - scalars["wall_s"])


def test_a_run_without_a_single_backward_pass_does_not_know_what_it_saved(tokenizer, clock):
    scalars = run_by_hand(tokenizer, clock, FixedThreshold(50.0)).scalars()
    assert np.isnan(scalars["t_norm_modelled"]) and np.isnan(scalars["t_norm_measured"]) and scalars["saved_s"] == 0


def test_what_a_score_function_drops_was_forwarded_and_not_backwarded(tokenizer, clock):
    ledger = run_by_hand(tokenizer, clock, FixedThreshold(0.5), score_fn=losses_of)
    scalars = ledger.scalars()
    assert scalars["backwarded"] < 500
    assert scalars["alpha_b"] == pytest.approx(1 - scalars["backwarded"] / 1000) and scalars["t_norm_modelled"] < 1


def test_energy_is_that_of_the_power_given(clock):
    ledger = Ledger()
    ledger.power = {"cpu_w": 100, "ram_w": 20, "gpu_w": 300, "gpus": 2}
    ledger.enter("loader")
    clock.turn(1800)
    ledger.leave(None)
    assert ledger.scalars()["energy_kwh"] == pytest.approx(1.58 * 0.5 * 720 / 1000)
    assert ledger.scalars()["co2e_lb"] == pytest.approx(0.954 * 1.58 * 0.5 * 720 / 1000)


class Gpus:
    """CUDA as a process sees it: awake or not, and bytes held on each device."""

    def __init__(self, monkeypatch, awake, held):
        self.awake, self.held, self.looks = awake, held, 0
        for name in ("is_initialized", "device_count", "memory_reserved"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))

    def is_initialized(self):
        return self.awake

    def device_count(self):
        assert self.awake, "CUDA was woken"
        self.looks += 1
        return len(self.held)

    def memory_reserved(self, device):
        return self.held[device]


@pytest.mark.parametrize("held, found", [([4096], 1), ([0, 4096, 0, 512], 2), ([0, 0], None)])
def test_gpus_in_use_are_counted_once_at_a_report(monkeypatch, clock, held, found):
    gpus, ledger = Gpus(monkeypatch, False, held), Ledger()
    block = some([2])
    ledger.judged(block, np.ones(1, np.float32), 0.5)
    assert ledger.power["gpus"] is None and not gpus.looks
    gpus.awake = True
    ledger.scalars()  # nothing is looked for where a bar asks at every batch
    assert not gpus.looks
    for _ in range(3):
        ledger.judged(block, np.ones(1, np.float32), 0.5)
    assert ledger.power["gpus"] == found and gpus.looks == (1 if found else 3)
    ledger.enter("loader")
    clock.turn(1800)
    ledger.leave(None)
    assert ledger.scalars()["energy_kwh"] == pytest.approx(1.58 * 0.5 * (65 + 10 + 300 * (found or 0)) / 1000)


@pytest.mark.parametrize("given", [0, 8])
def test_a_number_of_gpus_that_was_given_stands(monkeypatch, given):
    gpus, ledger = Gpus(monkeypatch, True, [4096]), Ledger()
    ledger.power["gpus"] = given
    ledger.judged(some([2]), np.ones(1, np.float32), 0.5)
    assert ledger.power["gpus"] == given and not gpus.looks


@pytest.mark.cuda
def test_a_gpu_in_use_is_found():
    ledger, held = Ledger(), torch.ones(1, device="cuda")
    ledger.judged(some([2]), np.ones(1, np.float32), 0.5)
    assert ledger.power["gpus"] == held.device.index + 1 == 1


def test_accuracy_gain_over_time_takes_this_runs_time_unless_given(tokenizer, clock):
    ledger = run_by_hand(tokenizer, clock, Random(0.3))
    t_norm = ledger.scalars()["t_norm_measured"]
    assert ledger.agot(0.9, 0.5, 0.92) == metrics.agot(0.9, 0.5, 0.92, t_norm)
    assert ledger.agot(0.9, 0.5, 0.92, t_norm=0.5, epsilon=0.8) == metrics.agot(0.9, 0.5, 0.92, 0.5, 0.8)


# -- what comes out --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("batches", [0, 1, 30])
def test_scalars_are_a_flat_dict_of_numbers(tokenizer, policy, batches):
    loader = build(tokenizer, POLICIES[policy]())
    train(loader, batches)
    scalars = loader.ledger.scalars()
    assert all(isinstance(name, str) and type(value) in (int, float) for name, value in scalars.items())
    assert ("predictor_loss" in scalars) == (policy == "three_stage")


def test_the_summary_says_what_a_person_wants_to_know(tokenizer, clock):
    loader = build(tokenizer, ThreeStage(warmup=200))
    assert loader.ledger.summary() == "kept 100 % · trained 0 %"
    for batch in loader:
        clock.turn(30)
        if loader.hook.report(losses_of(batch)) is not None:
            clock.turn(90)
    scalars = loader.ledger.scalars()
    kept, trained = 100 * scalars["forwarded_share"], 100 * scalars["backwarded_share"]
    minutes, seconds = divmod(int(scalars["saved_s"]), 60)
    saved = f"{minutes}m{seconds:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"
    assert loader.ledger.summary() == f"kept {kept:.0f} % · trained {trained:.0f} % · stage filter · saved ~{saved}"


def test_the_summary_counts_what_a_score_function_drops_as_not_kept(tokenizer):
    loader = build(tokenizer, FixedThreshold(0.5), score_fn=losses_of)
    train(loader)
    scalars = loader.ledger.scalars()
    share = scalars["backwarded_share"]
    assert 0.2 < share < 0.4 and scalars["forwarded_share"] == 1 and scalars["forwarded"] == 1000 * share
    assert loader.ledger.summary().startswith(f"kept {100 * share:.0f} % · trained {100 * share:.0f} %")


@pytest.mark.parametrize(
    "seconds, text", [(0, "0s"), (59.9, "59s"), (60, "1m00s"), (3599, "59m59s"), (3600, "1h00m"), (90061, "25h01m")]
)
def test_a_clock_for_people(seconds, text):
    assert ledger_module._clock(seconds) == text


def test_a_stage_is_noted_where_it_begins(tokenizer):
    loader = build(tokenizer, ThreeStage(warmup=200))
    train(loader)
    train(loader)
    names, places = zip(*loader.ledger.stages, strict=True)
    assert names == ("warm-up", "fit", "filter")
    assert 0 < places[0] < places[1] < places[2] < 1000


def test_a_policy_without_stages_has_none(tokenizer):
    loader = build(tokenizer, Random(0.5))
    train(loader)
    assert loader.ledger.stages == []


# -- warnings --------------------------------------------------------------------------------------------------------


def test_dropping_nearly_everything_warns_once_with_share_window_and_what_to_change():
    ledger, rng = Ledger(Random(0.001, seed=0)), np.random.default_rng(0)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(1000):
            block = some([2] * 32)
            ledger.screened(block, rng.random(32) < 0.001)
    assert len(told) == 1
    message = str(told[0].message)
    assert "nearly everything: it kept 0." in message and "% of the last 4096 candidates" in message
    assert "Random(keep=0.001, seed=0)" in message and "keep= keeps more" in message


def test_dropping_nearly_everything_warns_in_a_loader(tokenizer):
    loader = build(tokenizer, Random(0.001), 5000, batch_size=32)
    with pytest.warns(UserWarning, match=r"it kept 0\.\d\d% of the last 4096 candidates.*Random\(keep=0\.001") as told:
        train(loader)
        train(loader)
    assert len(told) == 1


@pytest.mark.parametrize("stage, tells", [("filter", True), ("fit", False)])
def test_dropping_nearly_nothing_warns_in_the_filter_stage_only(stage, tells):
    class Policy:
        def __init__(self):
            self.stage = stage

        def __repr__(self):
            return "Policy(cutoff=0.1)"

    ledger = Ledger(Policy())
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(300):
            ledger.screened(some([2] * 32), np.ones(32, bool))
    assert [("nearly nothing: it kept 100.00% of the last 4096" in str(one.message)) for one in told] == [True] * tells


@pytest.mark.parametrize("policy", ["train_all", "fixed_threshold"])
def test_a_policy_that_cannot_filter_is_not_told_that_it_does_not(tokenizer, policy):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(build(tokenizer, POLICIES[policy](), 5000, batch_size=64))


# -- the log ---------------------------------------------------------------------------------------------------------


def test_the_log_of_a_run_is_read_back(tokenizer, tmp_path):
    loader = build(tokenizer, ThreeStage(warmup=200))
    loader.ledger.log_to(tmp_path / "new" / "run.jsonl", policy="three_stage", seed=5)
    train(loader)
    loader.ledger.note("eval", accuracy=0.875)
    loader.ledger.end(accuracy=0.9)
    run = report.read_run(tmp_path / "new" / "run.jsonl")
    assert run.settings == {"policy": "three_stage", "seed": 5} and run.note is None
    assert [line["stage"] for line in run.of("stage")] == ["warm-up", "fit", "filter"]
    assert [line["position"] for line in run.of("stage")] == [place for _, place in loader.ledger.stages]
    assert run.of("eval")[0]["accuracy"] == 0.875
    scalars = loader.ledger.scalars()
    reports = run.of("report")
    assert len(reports) == scalars["reports"] // 10
    assert [line["position"] for line in reports] == sorted(line["position"] for line in reports)
    assert all(0 <= line["kept"] <= 1 and 0 <= line["trained"] <= 1 for line in reports if line["kept"] is not None)
    assert run.end["accuracy"] == 0.9 and run.end["seen"] == 1000
    assert all(run.end[name] == scalars[name] for name in ("forwarded", "backwarded", "tokens_forwarded", "alpha_b"))


def test_a_line_holds_the_means_since_the_line_before(tokenizer, tmp_path):
    loader = build(tokenizer, FixedThreshold(0.5))
    loader.ledger.every = 4
    loader.ledger.log_to(tmp_path / "run.jsonl")
    out = train(loader)
    lines = report.read_run(tmp_path / "run.jsonl").of("report")
    assert len(lines) == len(out) // 4
    for i, line in enumerate(lines):
        window = [losses_of(batch) for batch, _ in out[4 * i : 4 * i + 4]]
        assert line["loss"] == pytest.approx(np.mean([float(losses.mean()) for losses in window]), rel=1e-6)
        assert line["trained"] == pytest.approx(float((torch.cat(window) >= 0.5).float().mean()), rel=1e-6)
        assert (line["kept"], line["threshold"], line["epoch"]) == (1.0, 0.5, 0)


def test_lines_know_what_a_score_function_dropped(tokenizer, tmp_path):
    loader = build(tokenizer, FixedThreshold(0.5), 4000, score_fn=losses_of)
    loader.ledger.log_to(tmp_path / "run.jsonl")
    train(loader)
    lines = [line for line in report.read_run(tmp_path / "run.jsonl").of("report") if line["kept"] is not None]
    share = loader.ledger.scalars()["backwarded_share"]
    assert np.mean([line["trained"] for line in lines]) == pytest.approx(share, abs=0.05)
    assert {line["kept"] for line in lines} == {1.0}  # all were forwarded, in the score function


def test_every_line_is_strict_json_whatever_it_is_given(tmp_path):
    ledger = Ledger()
    ledger.log_to(tmp_path / "run.jsonl", policy=Random(0.5), folder=tmp_path)
    ledger.note(
        "eval",
        a=float("nan"),
        b=[np.inf, 1.5],
        c={"d": np.float32(0.5)},
        e=torch.tensor(0.25),
        f=np.arange(2),
        g=(True, None, "x"),
    )
    ledger.end()

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    start, note, end = [
        json.loads(line, parse_constant=refuse) for line in (tmp_path / "run.jsonl").read_text().splitlines()
    ]
    assert start["run"] == {"policy": "Random(keep=0.5, seed=None)", "folder": str(tmp_path)}
    assert {name: note[name] for name in "abcefg"} == {
        "a": None, "b": [None, 1.5], "c": {"d": 0.5}, "e": 0.25, "f": [0, 1], "g": [True, None, "x"],
    }  # fmt: skip
    assert end["scalars"]["t_norm_modelled"] is None


def test_without_log_to_nothing_is_written(tokenizer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loader = build(tokenizer, Random(0.5))
    train(loader)
    loader.ledger.note("eval", accuracy=0.5)
    loader.ledger.end()
    assert not list(tmp_path.iterdir())


# -- state -----------------------------------------------------------------------------------------------------------


def test_a_state_goes_on_as_if_never_saved(tokenizer, clock):
    ref = run_by_hand(tokenizer, clock, ThreeStage(warmup=200))
    comp = Ledger(ref.policy)
    comp.load_state_dict(pickle.loads(pickle.dumps(ref.state_dict())))
    assert comp.scalars() == ref.scalars() and comp.summary() == ref.summary() and comp.stages == ref.stages
    clock.turn(1000)  # the time between saving and going on is nobody's
    for ledger in (ref, comp):
        ledger.enter("loader")
        clock.turn(1)
        ledger.leave("loader")
        ledger.screened(some([3, 4]), np.array([True, False]))
    assert comp.scalars() == ref.scalars()


def test_a_state_remembers_that_it_warned():
    def drop(ledger, blocks):
        for _ in range(blocks):
            ledger.screened(some([2] * 32), np.zeros(32, bool))

    ref = Ledger(Random(0.001))
    drop(ref, 100)
    halfway = ref.state_dict()
    with pytest.warns(UserWarning, match="nearly everything"):
        drop(ref, 28)
    told, untold = Ledger(ref.policy), Ledger(ref.policy)
    told.load_state_dict(ref.state_dict())
    untold.load_state_dict(halfway)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drop(told, 300)
        drop(untold, 27)
    with pytest.warns(UserWarning, match="the last 4096 candidates"):
        drop(untold, 1)


def test_a_state_is_a_snapshot(tokenizer):
    loader = build(tokenizer, ThreeStage(warmup=200))
    iterator = iter(loader)
    train(loader, 5, iterator)
    state = loader.ledger.state_dict()
    ref = json.dumps(state)
    train(loader, 30, iterator)
    assert json.dumps(state) == ref
