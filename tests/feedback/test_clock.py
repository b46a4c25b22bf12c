"""Where the ledger says the time went, what that saved, and the energy of it, by a clock that only the test turns."""

import numpy as np
import pytest
import torch

from filterloader import FilteringDataLoader, FixedThreshold, Random, ThreeStage, TrainAll
from filterloader.experiments import metrics
from filterloader.feedback.clock import TIMES
from filterloader.feedback.ledger import Ledger
from tests.conftest import everywhere, losses_of, sentences, train
from tests.feedback.test_ledger import POLICIES, build, may_warn, run_by_hand, some


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


@pytest.mark.parametrize("policy, granularity", everywhere(POLICIES))
def test_times_add_up_to_the_wall_clock(tokenizer, clock, policy, granularity):
    loader = build(tokenizer, POLICIES[policy](), 400, granularity=granularity)
    start = clock.now
    with may_warn(policy, granularity):
        for batch in loader:
            clock.turn(0.3)
            loss = loader.hook.report(losses_of(batch))
            clock.turn(0.1 if loss is None else 0.7)
    scalars = loader.ledger.scalars()
    assert sum(scalars[name] for name in TIMES) == pytest.approx(scalars["wall_s"]) == pytest.approx(clock.now - start)
    assert all(scalars[name] >= 0 for name in TIMES)


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
    assert held.is_cuda and ledger.power["gpus"] == 1


def test_accuracy_gain_over_time_takes_this_runs_time_unless_given(tokenizer, clock):
    ledger = run_by_hand(tokenizer, clock, Random(0.3))
    t_norm = ledger.scalars()["t_norm_measured"]
    assert ledger.agot(0.9, 0.5, 0.92) == metrics.agot(0.9, 0.5, 0.92, t_norm)
    assert ledger.agot(0.9, 0.5, 0.92, t_norm=0.5, epsilon=0.8) == metrics.agot(0.9, 0.5, 0.92, 0.5, 0.8)
