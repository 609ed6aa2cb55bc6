"""What it costs to take the same steps in two processes (ranks) instead of one: the demo's world, one thread each.

    python -m models.bench.ranks FILE STEPS        # what each process runs, alone or under torchrun

The batch is the same, so each of two processes computes half of it. Efficiency is the CPU-seconds of one process over
those of both together: 1 where nothing is computed twice and nothing waits. Half of the time as well takes two free
cores; the seconds are printed beside it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from models.bench.levels import drawn_clip
from models.networks.tokenizer import VideoTokenizer
from models.runtime.compute import choose_compute, hold_memory, intra_op_threads
from models.runtime.process import end_with_parent
from models.runtime.ranks import ALONE, Ranks, joined_ranks
from models.training.data import Clip, ClipWindows
from models.training.loop import run
from models.training.world_training import WorldTraining
from pipeline.config import Config, preset

_LEVELS, _FRAMES, _WARM_UP, _FIRST, _TIMEOUT_S = 4, 40, 3, 1, 1800


@dataclass(frozen=True)
class RankCost:
    """What steps cost in a number of processes."""

    ranks: int
    cpu_s: float
    """CPU-seconds a step, of all processes together."""
    wall_s: float
    """Seconds a step."""
    losses: list[float]
    """Of the dynamics, of each step."""


@dataclass(frozen=True)
class RankEfficiency:
    """One process beside several."""

    alone: RankCost
    together: RankCost

    @property
    def of_cpu(self) -> float:
        """Return the CPU-seconds of one process over those of all."""
        return self.alone.cpu_s / self.together.cpu_s

    @property
    def of_time(self) -> float:
        """Return the seconds of one process over those of several, a process."""
        return self.alone.wall_s / self.together.wall_s / self.together.ranks


def bench_ranks(steps: int, rounds: int, ranks: int = 2) -> list[RankEfficiency]:
    """Take steps in one process and in several, by turns."""
    return [RankEfficiency(_measure(1, steps), _measure(ranks, steps)) for _ in range(rounds)]


def _measure(ranks: int, steps: int) -> RankCost:
    with tempfile.TemporaryDirectory(prefix="lampworks-bench-") as folder:
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", "--max-restarts=0"]
        command = [sys.executable, *(torchrun if ranks > 1 else []), "-m", "models.bench.ranks", folder, str(steps)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=_TIMEOUT_S, preexec_fn=end_with_parent,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{ranks} processes ended with status {done.returncode}:\n{done.stdout[-3000:]}")
        found = [json.loads(path.read_text()) for path in sorted(Path(folder).glob("rank-*.json"))]
    assert len(found) == ranks
    return RankCost(
        ranks, sum(each["cpu_s"] for each in found) / steps, max(each["wall_s"] for each in found) / steps,
        found[0]["losses"],
    )  # fmt: skip


def measured_steps(config: Config, steps: int, ranks: Ranks = ALONE) -> dict[str, Any]:
    """Take the joint steps of a world, as one of the ranks, and return `cpu_s`, `wall_s` and `losses`."""
    training = dataclasses.replace(config.training, device="cpu", dtype="fp32", threads=1)
    compute = choose_compute(training, ranks)
    clips = [_clip(seed) for seed in range(_LEVELS)]
    first = min(_FIRST, config.latent_actions.unquantized_steps)
    size = (config.clips.height, config.clips.width)
    began: dict[str, float] = {}
    losses: list[float] = []
    hold_memory()
    torch.manual_seed(0)  # of the tokenizer: one that each process draws for itself gives each other tokens
    with intra_op_threads():
        windows = ClipWindows(clips, cache_clips=len(clips), training=training, ranks=ranks)
        world = WorldTraining(
            dataclasses.replace(config.latent_actions, unquantized_steps=first),
            dataclasses.replace(config.dynamics, steps=_WARM_UP + steps),
            VideoTokenizer(config.tokenizer, *size), windows, compute, seed=0,
        )  # fmt: skip
        take = world.step

        def step(number: int) -> Mapping[str, float]:
            if number == world.total_steps - steps:
                ranks.wait()
                began.update(cpu_s=time.process_time(), wall_s=time.perf_counter())
            metrics = take(number)
            losses.append(metrics.get("loss", 0.0))
            return metrics

        world.step = step  # type: ignore[method-assign, assignment]
        # after the step in which the codes are initialized
        run(world, None, begin=lambda: (first + 1, []), stage="ranks", checkpoint_every=1 << 40, ranks=ranks)
        spent = {"cpu_s": time.process_time() - began["cpu_s"], "wall_s": time.perf_counter() - began["wall_s"]}
    return {**spent, "losses": losses[-steps:]}


def _clip(seed: int) -> Clip:
    video = drawn_clip(seed, _FRAMES).frames_THWC
    return Clip(f"level-{seed}", lambda: video, num_frames=_FRAMES)


if __name__ == "__main__":
    demo = preset("demo")
    with joined_ranks(dataclasses.replace(demo.training, device="cpu")) as own:
        path = Path(sys.argv[1]) / f"rank-{own.rank}.json"
        path.write_text(json.dumps(measured_steps(demo, int(sys.argv[2]), own)))
