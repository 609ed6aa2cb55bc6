"""The rate that is shown is that of the steps: counted operations, the clock, and the machine's own peak."""

import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from models.runtime.compute import Compute
from models.runtime.peak import machine_peak
from models.training.observed import Observed
from models.training.rate import Rate, StepSize
from models.training.step_flops import step_size
from models.training.tokenizer_training import TokenizerTraining
from models.training.train import _world_training, train_tokenizer
from tests.synthetic import job_of
from tests.trainings import CONFIG, add_training_shards


def rate_of(times, total=1000, flops=lambda step: 2e9):
    """A rate after steps that ended at these times."""
    now = iter(times)
    rate = Rate(StepSize(windows=8, frames=4, flops=flops), total=total, peak=1e10, clock=lambda: next(now))
    for step in range(1, len(times) + 1):
        rate.taken(step)
    return rate


def test_a_steady_training_has_its_rate_utilisation_and_time_left():
    assert rate_of([7.0]).metrics() == {}, "one step alone may have compiled"
    rate = rate_of([10 * n for n in range(11)], total=371)
    shown = {"samples_per_s": 0.8, "frames_per_s": 3.2, "utilisation": 0.02, "hours_left": 1.0}
    assert rate.metrics() == {name: pytest.approx(value) for name, value in shown.items()}
    assert rate.note() == "0.8 samples/s, 3.2 frames/s, 2% of the peak"


def test_the_rate_is_of_the_last_half_minute_and_the_summary_of_all_steps():
    slow_then_fast = [20.0 * n for n in range(10)] + [180.0 + n for n in range(1, 101)]
    rate = rate_of(slow_then_fast)
    assert rate.metrics()["samples_per_s"] == pytest.approx(8.0)
    assert rate.overall()["samples_per_s"] == pytest.approx(109 * 8 / 280)
    assert len(rate._marks) < 70, "however many steps there are"


def test_a_phase_of_cheaper_steps_counts_its_own_operations():
    rate = rate_of([0.0, 1.0, 2.0, 3.0], flops=lambda step: 1e9 if step <= 2 else 4e9)
    assert rate.overall()["utilisation"] == pytest.approx((1e9 + 4e9 + 4e9) / 3 / 1e10)


@pytest.mark.parametrize("steps", [1, 7, 199, 200, 201, 1000, 12_345])
def test_at_most_200_observations_are_made_and_no_rare_value_is_lost(steps):
    sent = []
    observed = Observed(steps, lambda step, numbers: sent.append((step, numbers)))
    rare = {step for step in range(1, steps + 1) if step % 37 == 0}
    for step in range(1, steps + 1):
        measured = {"held_out/psnr": float(step)} if step in rare else {}
        observed(step, {"loss": 1.0 / step, "bad": math.nan, **measured})
    assert min(steps, 100) <= len(sent) <= 200
    assert all(numbers["train/loss"] == 1.0 / step for step, numbers in sent)
    assert not any("bad" in name for _, numbers in sent for name in numbers)
    passed = [numbers["held_out/psnr"] for _, numbers in sent if "held_out/psnr" in numbers]
    last = max((step for step in rare if step <= sent[-1][0]), default=None)
    assert (passed[-1] if passed else None) == last


@pytest.fixture
def shards(store):
    return add_training_shards(store)


class Frames:
    """Windows of noise."""

    shape = (12, 16, 32)

    def batches(self, **_):
        raise AssertionError


def counted(function):
    """Return the operations that torch counts, backward passes too; in bf16 attention is of plain products."""
    counter = FlopCounterMode(display=False)
    with counter:
        function()
    return counter.get_total_flops()


def test_the_operations_of_a_step_are_about_those_that_torch_counts(shards):
    compute = Compute(torch.device("cpu"), torch.bfloat16, "test")
    video = torch.randint(0, 256, (CONFIG.tokenizer.batch, 4, 16, 32, 3), dtype=torch.uint8)
    training = TokenizerTraining(CONFIG.tokenizer, Frames(), compute, seed=0)
    taken = counted(lambda: training.parallel.backward(training.tokenizer, training._loss, video))
    # the backward pass of the first layer gives no gradient of pixels, and the search for a code has none
    assert step_size(training).flops(1) == pytest.approx(taken, rel=0.15)
    world = _world_training(shards, CONFIG, train_tokenizer(job_of(shards, CONFIG)).model_id, Frames(), compute)
    size = step_size(world)
    alone = counted(lambda: world.lam_steps.take_alone(video, 0))
    assert size.flops(world.alone_steps) == pytest.approx(alone, rel=0.2)
    joint = counted(lambda: world._step_both(video, [], world.alone_steps))
    assert size.flops(world.alone_steps + 1) == pytest.approx(joint, rel=0.2)


def test_the_peak_is_measured_once_and_touches_no_random_state():
    compute = Compute(torch.device("cpu"), torch.float32, "test", 1)
    state = torch.get_rng_state()
    first = machine_peak(compute)
    assert first > 0
    assert machine_peak(compute) == first
    assert torch.equal(torch.get_rng_state(), state)
