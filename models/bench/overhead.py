"""How much of a training step is neither forward, nor backward, nor optimizer.

The real loop runs, with its loader, noise, masks, metrics and event files; checkpoints are measured apart. The parts
are timed inside of the same steps, so the share depends on no other run.

On one CPU thread it is CPU-seconds of that thread; on a GPU seconds, with a wait for the GPU around each part.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from models.bench.presets import SpeedPreset, speed_preset
from models.runtime.compute import choose_compute, hold_memory, intra_op_threads
from models.runtime.peak import wait
from models.training.data import Clip, ClipWindows
from models.training.event_files import EventFiles
from models.training.loop import run
from models.training.tokenizer_training import TokenizerTraining
from models.training.tracker import TrackedRun
from models.training.world_training import WorldTraining
from pipeline.config import PRESETS, Config, preset
from pipeline.config.training import TrainingConfig

_CLIPS, _WARM_UP, _FIRST = 8, 2, 1
_NEVER = 1 << 40
Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class Overhead:
    """Where the time of a step goes, in seconds a step."""

    training: str
    """`tokenizer` or `world`."""
    preset: str
    batch: int
    steps: int
    step_s: float
    passes_s: float
    """Forward and backward, with those of frozen networks."""
    optimizer_s: float
    """Clipping, AdamW or Muon, and the update of codes."""

    @property
    def share(self) -> float:
        """Return the share of a step that is none of these."""
        return 1 - (self.passes_s + self.optimizer_s) / self.step_s


def bench_overhead(name: str, steps: int, *, device: Device = "cpu") -> Iterator[Overhead]:
    """Yield the cost of the steps of both trainings of a preset.

    Args:
        name: `cc-small` and its like, with a batch of 1, or a preset of the configuration, with its own batch.
        steps: that are measured, of each.
        device: `auto`, `cpu` or `cuda`.
    """
    sizes = speed_preset(name)
    config = _config(name, sizes, device)
    compute = choose_compute(config.training)
    hold_memory()
    with intra_op_threads():
        windows = _windows(sizes, config.training)
        tokenizer = TokenizerTraining(
            dataclasses.replace(config.tokenizer, steps=_WARM_UP + steps), windows, compute, seed=0
        )
        yield _measure(tokenizer, name, config.tokenizer.batch, steps, compute.device)
        lam = config.latent_actions
        world = WorldTraining(
            dataclasses.replace(lam, unquantized_steps=min(_FIRST, lam.unquantized_steps)),
            dataclasses.replace(config.dynamics, steps=_WARM_UP + steps),
            tokenizer.tokenizer, windows, compute, seed=0, cache_tokens=config.training.cache_tokens,
        )  # fmt: skip
        yield _measure(world, name, config.dynamics.batch, steps, compute.device)


class _Clock:
    """Adds up the time of functions; one that another one calls counts once, there."""

    def __init__(self, device: torch.device) -> None:
        self.seconds: dict[str, float] = {}
        self._device, self._inside = device, False

    def now(self) -> float:
        wait(self._device)
        return time.thread_time() if self._device.type == "cpu" else time.perf_counter()

    def follow(self, owner: Any, name: str, part: str) -> None:
        """Time a method of an object from here on."""
        function: Callable[..., Any] = getattr(owner, name)

        def timed(*arguments: Any, **named: Any) -> Any:
            if self._inside:
                return function(*arguments, **named)
            self._inside, began = True, self.now()
            try:
                return function(*arguments, **named)
            finally:
                self._inside = False
                self.seconds[part] = self.seconds.get(part, 0.0) + self.now() - began

        setattr(owner, name, timed)


def _measure(
    training: TokenizerTraining | WorldTraining, name: str, batch: int, steps: int, device: torch.device
) -> Overhead:
    clock = _Clock(device)
    for optimizer in training.optimizers().values():
        clock.follow(optimizer, "apply", "optimizer")
    clock.follow(training.parallel, "backward_sum", "passes")
    for network in _networks(training):
        clock.follow(network.quantizer, "update", "optimizer")
        clock.follow(network, "encode", "passes")
    begun: dict[str, float] = {}
    first = training.total_steps - steps

    def after(step: int, metrics: object) -> None:
        if step == first:
            begun.update(clock.seconds, step=clock.now())

    kind = "tokenizer" if isinstance(training, TokenizerTraining) else "world"
    with tempfile.TemporaryDirectory(prefix="lampworks-bench-") as folder:
        # after the step in which a world's codes are initialized, which is long and comes once
        begun_at = training.alone_steps + 1
        run(
            training, None, begin=lambda: (begun_at, []),
            stage=f"{kind}, {name}", checkpoint_every=_NEVER, on_step=after,
            make_tracker=lambda step: EventFiles(TrackedRun("overhead", kind, {}, step), Path(folder)),
        )  # fmt: skip
        ended = clock.now()
    parts = {part: (clock.seconds[part] - begun[part]) / steps for part in ("passes", "optimizer")}
    return Overhead(kind, name, batch, steps, (ended - begun["step"]) / steps, parts["passes"], parts["optimizer"])


def _networks(training: TokenizerTraining | WorldTraining) -> list[Any]:
    found: list[nn.Module] = [training.tokenizer]
    return found if isinstance(training, TokenizerTraining) else [*found, training.lam]


def _config(name: str, sizes: SpeedPreset, device: Device) -> Config:
    if name in PRESETS:
        config = preset(name)
    else:
        config = Config(
            # made-up frames are no start for codes
            tokenizer=dataclasses.replace(sizes.tokenizer, batch=sizes.batch, start="random"),
            latent_actions=dataclasses.replace(sizes.latent_actions, start="random"),
            dynamics=dataclasses.replace(sizes.dynamics, batch=sizes.batch),
        )
    training = dataclasses.replace(
        config.training, device=device, threads=1, dtype="fp32" if device == "cpu" else "auto"
    )
    return dataclasses.replace(config, training=training)


def _windows(sizes: SpeedPreset, training: TrainingConfig) -> ClipWindows:
    """Return windows of made-up clips that are in memory."""
    frames = 4 * max(sizes.tokenizer.window, sizes.dynamics.drawn_frames)
    rng = np.random.default_rng(0)

    def clip(number: int) -> Clip:
        video = rng.integers(0, 256, (frames, sizes.height, sizes.width, 3), np.uint8)
        return Clip(f"made-up-{number}", lambda: video, num_frames=frames)

    return ClipWindows([clip(number) for number in range(_CLIPS)], cache_clips=_CLIPS, training=training)
