"""Measure how long a training step waits for its windows, at the settings of a preset.

bench_waiting(store, preset("demo"), device="auto", steps=40)
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import torch

from models.networks.tokenizer import VideoTokenizer
from models.runtime.compute import choose_compute, intra_op_threads
from models.runtime.peak import wait
from models.training.data import ClipWindows
from models.training.tokenizer_training import TokenizerTraining
from models.training.world_training import WorldTraining
from pipeline.config import Config
from pipeline.shards.loader.clips import ShardClips
from pipeline.storage.store import Store


@dataclass(frozen=True)
class Waiting:
    """The steps of one training."""

    training: str
    """`tokenizer`, or `world`: latent actions and dynamics together."""
    step_s: float
    """Seconds of a step in all."""
    wait_s: float
    """Seconds of it in which it waited for its windows."""
    workers: int
    """Processes that decoded; 0: decoded clips were kept."""
    device: str

    @property
    def share(self) -> float:
        """Return the share of a step in which it waited."""
        return self.wait_s / self.step_s


def bench_waiting(
    store: Store, rows: list[dict[str, Any]], config: Config, *, device: str, steps: int
) -> list[Waiting]:
    """Measure steps of both trainings of a configuration: with clips that are decoded ahead, and with kept ones.

    Args:
        store: has a set.
        rows: of its tars.
        config: gives the networks and batches.
        device: `auto`, `cpu` or `cuda`.
        steps: that are measured, after some that are not.
    """
    training = replace(config.training, device=device)  # type: ignore[arg-type]
    compute = choose_compute(training)
    found = []
    num_clips = sum(row["samples"] for row in rows)
    with intra_op_threads():
        for kept in (1, num_clips):
            with ClipWindows(ShardClips(store, rows), cache_clips=kept, training=training) as windows:
                _, height, width = windows.shape
                tokens = TokenizerTraining(config.tokenizer, windows, compute, seed=0)
                measured = _measure(tokens, steps, compute.device)
                about = (windows.num_workers, str(compute.device))
                found.append(Waiting("tokenizer", *measured, *about))
                alone = replace(config.latent_actions, unquantized_steps=0)
                tokenizer = VideoTokenizer(config.tokenizer, height, width)
                world = WorldTraining(alone, config.dynamics, tokenizer, windows, compute, seed=0)
                measured = _measure(world, steps, compute.device)
                found.append(Waiting("world", *measured, *about))
    return found


def _measure(training: TokenizerTraining | WorldTraining, steps: int, device: torch.device) -> tuple[float, float]:
    """Return seconds of a step, and seconds that it waited for windows."""
    first = max(3, steps // 4)
    for number in range(first):
        training.step(number)
    wait(device)
    began, waited = time.perf_counter(), training.batches.wait_s
    for number in range(first, first + steps):
        training.step(number)
    wait(device)
    return (time.perf_counter() - began) / steps, (training.batches.wait_s - waited) / steps
