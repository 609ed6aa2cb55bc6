"""What a training costs beside its passes: the parts of a step, checkpoints, memory, and a second process."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest
import torch

from assets.cli.main import main
from models.bench import optimizers, overhead
from models.bench.memory import Memory, bench_memory
from models.bench.optimizers import Trained, bench_optimizers, difference
from models.bench.overhead import _Clock, bench_overhead
from models.bench.presets import speed_preset
from models.bench.ranks import bench_ranks
from models.bench.saving import bench_saving
from tests.trainings import CONFIG


def test_a_part_inside_of_another_counts_once(monkeypatch):
    class Network:
        def inner(self):
            ticks.append(1)

        def outer(self):
            ticks.append(10)
            self.inner()

    ticks = []
    clock, network = _Clock(torch.device("cpu")), Network()
    monkeypatch.setattr(clock, "now", lambda: float(sum(ticks)))
    clock.follow(network, "inner", "passes")
    clock.follow(network, "outer", "optimizer")
    network.outer()
    network.inner()
    assert clock.seconds == {"optimizer": 11.0, "passes": 1.0}


def test_all_parts_of_a_step_of_both_trainings_are_found_and_lie_inside_of_it(monkeypatch):
    tiny = dataclasses.replace(
        speed_preset("cc-small"), height=16, width=32, tokenizer=CONFIG.tokenizer, batch=2,
        latent_actions=dataclasses.replace(CONFIG.latent_actions, pca_start=False), dynamics=CONFIG.dynamics,
    )  # fmt: skip
    tiny = dataclasses.replace(tiny, tokenizer=dataclasses.replace(CONFIG.tokenizer, start="random"))
    monkeypatch.setattr(overhead, "speed_preset", lambda name: tiny)
    rows = list(bench_overhead("tiny", 4))
    assert [(row.training, row.steps, row.batch) for row in rows] == [("tokenizer", 4, 2), ("world", 4, 2)]
    for row in rows:
        assert min(row.passes_s, row.optimizer_s) > 0
        assert 0 < row.share < 1


def test_the_checkpoints_of_a_network_are_as_large_as_its_weights_and_moments():
    found = bench_saving(1, 2)
    assert found.parameters == 2**20
    assert found.bytes == pytest.approx(3 * 4 * 2**20, rel=0.01)
    assert found.blocked_cpu_s > 0
    assert 0 < found.blocked_s <= found.written_s


def test_growth_is_what_lies_above_the_memory_of_the_settled_training():
    steps = list(range(100, 1100, 100))
    assert Memory(steps, [50.0, 70.0, 80.0, 80.0, *[80.0] * 6]).growth_mb == 0
    assert Memory(steps, [50.0, 70.0, 80.0, 80.0, 82.0, 84.0, 86.0, 88.0, 90.0, 92.0]).growth_mb == 12
    found = bench_memory(20)
    assert found.steps == list(range(1, 21))
    assert min(found.mb) > 10


def test_the_command_prints_one_object_and_names_its_tasks(capsys):
    assert main(["bench", "training", "--task", "checkpoint", "--millions", "1", "--rounds", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"processor", "checkpoint"}
    for wrong, why in (
        (["--task", "nothing"], "--task nothing: choose one of overhead, checkpoint, memory, ranks, optimizers"),
        (["--millions", "0"], "--millions = 0: must be at least 1"),
        (["--steps", "0"], "--steps = 0: must be at least 1"),
    ):
        assert main(["bench", "training", *wrong]) != 0
        assert why in capsys.readouterr().err


def test_a_difference_of_algorithms_is_taken_seed_by_seed():
    losses = {("adamw", 0): 1.0, ("muon", 0): 0.8, ("adamw", 1): 3.0, ("muon", 1): 2.6}
    found = [Trained(*key, loss, 0.0, 0.0) for key, loss in losses.items()]
    both = difference(found, "cross_entropy")
    # the seeds differ by 2, their differences by 0.2: the interval is that of the latter, 12.7 times its error
    assert both.mean == pytest.approx(-0.3)
    assert (both.low, both.high) == pytest.approx((-0.3 - 1.2706, -0.3 + 1.2706), abs=1e-3)
    alone = difference(found[:2], "cross_entropy")
    assert (alone.mean, alone.low) == (pytest.approx(-0.2), None)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_both_algorithms_learn_from_the_same_start(monkeypatch):
    for name, few in {"_TRAIN": range(3), "_HELD_OUT": range(500, 502), "_FRAMES": 24, "_WINDOWS": 8}.items():
        monkeypatch.setattr(optimizers, name, few)
    first, last = bench_optimizers(1, [0]), bench_optimizers(12, [0])
    assert [row.algorithm for row in first] == ["adamw", "muon"]
    assert all(after.cross_entropy < before.cross_entropy for before, after in zip(first, last, strict=True))


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_memory_of_a_training_is_flat():
    # in a process of its own: this one has held other things, and what of their memory is given back is the system's
    command = [
        sys.executable,
        "-m",
        "assets.cli.main",
        "bench",
        "training",
        "--task",
        "memory",
        "--steps",
        "800",
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1100)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout)["memory"]["growth_mb"] < 5


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_processes_take_the_steps_of_one():
    [found] = bench_ranks(2, 1)
    assert found.together.losses == pytest.approx(found.alone.losses, abs=1e-5)
    assert found.together.ranks == 2
    assert 0 < found.of_cpu < 1.5
