"""Whether the memory of a training stays the same over thousands of steps: a tiny world in the real loop."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch

from models.networks.tokenizer import VideoTokenizer
from models.runtime.compute import choose_compute, hold_memory, intra_op_threads
from models.training.checkpoint import Checkpoints
from models.training.data import Clip, ClipWindows
from models.training.event_files import EventFiles
from models.training.loop import run
from models.training.tracker import TrackedRun
from models.training.world_training import WorldTraining
from pipeline.config.training import TrainingConfig
from pipeline.config.world import DynamicsConfig, LatentActionConfig, StackConfig, TokenizerConfig
from pipeline.storage.store import Store

_POINTS, _SETTLED = 20, 0.2
_STACK = StackConfig(layers=1, d_model=16, heads=2, head_dim=8, kv_heads=2)
_HEIGHT, _WIDTH, _FRAMES, _CLIPS = 16, 32, 12, 4


@dataclass(frozen=True)
class Memory:
    """The memory of the process after some steps."""

    steps: list[int]
    mb: list[float]

    @property
    def growth_mb(self) -> float:
        """Return what the last measurement is above the mean of those in the second fifth of the steps."""
        begin = [mb for step, mb in zip(self.steps, self.mb, strict=True) if step <= 2 * _SETTLED * self.steps[-1]]
        settled = begin[len(begin) // 2 :]
        return self.mb[-1] - sum(settled) / len(settled)


def bench_memory(steps: int) -> Memory:
    """Train a tiny world for so many steps, with event files and checkpoints, and measure the process's memory."""
    training = TrainingConfig(device="cpu", dtype="fp32", threads=1)
    compute = choose_compute(training)
    tokenizer = TokenizerConfig(
        patch=8, codebook_size=32, latent_dim=8, encoder=_STACK, decoder=_STACK, window=4, start="random"
    )
    lam = LatentActionConfig(patch=8, latent_dim=8, encoder=_STACK, decoder=_STACK)
    dynamics = DynamicsConfig(stack=_STACK, context=4, batch=2, steps=steps)
    rng = np.random.default_rng(0)
    videos = [rng.integers(0, 256, (_FRAMES, _HEIGHT, _WIDTH, 3), np.uint8) for _ in range(_CLIPS)]
    clips = [
        Clip(str(number), lambda video=video: video, num_frames=_FRAMES)  # type: ignore[misc]
        for number, video in enumerate(videos)
    ]
    found = Memory([], [])
    every = max(1, steps // _POINTS)

    def after(step: int, metrics: object) -> None:
        if step % every == 0:
            found.steps.append(step)
            found.mb.append(psutil.Process().memory_info().rss / 1e6)

    hold_memory()
    with intra_op_threads(), tempfile.TemporaryDirectory(prefix="lampworks-bench-") as folder:
        torch.manual_seed(0)
        world = WorldTraining(
            lam, dynamics, VideoTokenizer(tokenizer, _HEIGHT, _WIDTH),
            ClipWindows(clips, cache_clips=_CLIPS, training=training), compute, seed=0,
        )  # fmt: skip
        run(
            world, Checkpoints(Store(Path(folder) / "root"), "checkpoints"), stage="memory", checkpoint_every=every,
            on_step=after, make_tracker=lambda step: EventFiles(TrackedRun("memory", "world", {}, step), Path(folder)),
        )  # fmt: skip
    return found
