"""Say what a training needs before it starts, refuse one that cannot fit, and say at its start how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from models.runtime.compute import Compute
from models.runtime.peak import machine_peak
from models.training.loop import OnStep
from models.training.schedules import long_warm_ups
from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.progress import ProgressCallback, notify
from pipeline.training_size.activations import Products
from pipeline.training_size.estimate import (
    Placement,
    TrainingEstimate,
    estimate_training,
    size_text,
    what_would_fit,
)
from pipeline.training_size.memory_there import MemoryThere, memory_there
from pipeline.training_size.operations import TrainingOperations, training_operations
from pipeline.training_size.parameters import FrameSize, Kind
from pipeline.training_size.patches import PatchFit, fit_patches

EXPECTED_SHARE = 0.4
"""Of the peak of products, that a training is expected to reach (measured on a CPU: 0.38 at the demo's widths, 0.5 to
0.8 at 256)."""
_FIRST, _MEASURED = 1, 3
"""Steps that do not count (caches, compilation), and steps whose time is measured."""


@dataclass(frozen=True)
class TrainingSize:
    """What a training needs beside what is there."""

    estimate: TrainingEstimate
    operations: TrainingOperations
    peak: float
    """Operations a second that products of this machine reach."""
    there: MemoryThere
    advice: str
    """Which settings make it fit; "" where it fits."""
    patches: PatchFit
    """How the patches lie on the frames."""

    @property
    def line(self) -> str:
        """All of it as one line."""
        operations = self.operations
        speed = f"{EXPECTED_SHARE:.0%} of the {_number(self.peak / 1e12)} TFLOP/s of products here"
        speed += f" times {self.estimate.place.ranks}" if self.estimate.place.ranks > 1 else ""
        cost = f"{_number(operations.total / 1e15)} PFLOP ({_duration(self.hours * 3600)} at {speed})"
        return self.estimate.line(self.there, cost)

    @property
    def hours(self) -> float:
        """Return how long the training takes, if it reaches the expected share of the peak."""
        operations = self.operations.total + self.operations.repeated
        return operations / (EXPECTED_SHARE * self.peak * self.estimate.place.ranks) / 3600

    @property
    def refusal(self) -> str:
        """Why it does not fit, and what to set; "" where it fits."""
        if not self.advice:
            return ""
        return (
            f"{self.estimate.kind} needs about {size_text(self.estimate.bytes)} of memory and "
            f"{size_text(self.there.bytes)} are there ({self.there.where}): {self.advice}. "
            "training.check_memory: false trains all the same."
        )


def size_of_training(
    config: Config,
    kind: Kind,
    compute: Compute,
    size: FrameSize | None = None,
    *,
    clips: int | None = None,
    there: MemoryThere | None = None,
    peak: float | None = None,
) -> TrainingSize:
    """Return what a training needs beside what is there; no network is built.

    Args:
        config: the settings.
        kind: what is trained.
        compute: where.
        size: of a frame; by default that of the configured clips.
        clips: training clips; by default as many as are kept decoded.
        there: memory that is there; by default it is looked up, on a GPU the GPU's.
        peak: operations a second of products; by default it is measured, once a process.
    """
    place = _place(config, compute)
    size = size or FrameSize(config.clips.height, config.clips.width)
    estimate = estimate_training(config, kind, size, place=place, clips=clips)
    there = there or _memory_of(config, compute)
    advice = ""
    if estimate.bytes > there.bytes:
        advice = what_would_fit(config, kind, size, there.bytes, place)
    operations = training_operations(config, kind, size)
    peak = machine_peak(compute) if peak is None else peak
    return TrainingSize(estimate, operations, peak, there, advice, fit_patches(config, kind, size))


def check_memory(
    config: Config,
    kind: Kind,
    compute: Compute,
    size: FrameSize,
    *,
    clips: int,
    there: MemoryThere | None = None,
    peak: float | None = None,
    on_progress: ProgressCallback | None = None,
) -> None:
    """Say how large a training is, before its networks are built; how its frames are padded; too long a warm-up.

    Args:
        config: the settings.
        kind: what is trained.
        compute: where.
        size: of a frame.
        clips: training clips.
        there: memory that is there; by default it is looked up, on a GPU the GPU's.
        peak: operations a second of products; by default it is measured, once a process.
        on_progress: receives the lines.

    Raises:
        UserError: a patch is larger than the frames, or the memory needed is not there; the message says which setting
            to lower, and to what.
    """
    found = size_of_training(config, kind, compute, size, clips=clips, there=there, peak=peak)
    notify(found.line, on_progress)
    if found.patches.refusal:
        raise UserError(found.patches.refusal)
    if found.refusal and config.training.check_memory:
        raise UserError(found.refusal)
    for line in (*found.patches.padded, *long_warm_ups(config, kind)):
        notify(f"{kind}: {line}", on_progress)


def _place(config: Config, compute: Compute) -> Placement:
    gpu, bf16 = compute.device.type == "cuda", compute.dtype == torch.bfloat16
    training, group = config.training, compute.ranks
    # before the group is started, its size is a setting
    ranks = training.processes * training.nodes if group.alone else group.count
    return Placement(
        Products(2 if bf16 else 4, keeps_scores=bf16 and not gpu),
        threads=1 if gpu else compute.threads,
        on_gpu=gpu,
        ranks=ranks,
        sharded=training.weights == "sharded" and ranks > 1,
    )


def _memory_of(config: Config, compute: Compute) -> MemoryThere:
    """Return the memory for each process: of its GPU, or its part of the machine's."""
    if compute.device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(compute.device)
        # what this process has reserved and does not use, as after the peak was measured, is there too
        free += torch.cuda.memory_reserved(compute.device) - torch.cuda.memory_allocated(compute.device)
        return MemoryThere(free, f"on {torch.cuda.get_device_name(compute.device)}")
    here = config.training.processes if compute.ranks.alone else compute.ranks.local_count
    there = memory_there()
    return there if here == 1 else MemoryThere(there.bytes // here, f"{there.where}, for each of {here} processes")


def say_pace(
    kind: Kind,
    total: int,
    on_step: OnStep | None,
    on_progress: ProgressCallback | None,
    clock: Callable[[], float] = time.perf_counter,
) -> OnStep:
    """Return a callback of steps that, once a few have been taken, says how long the others will take.

    Args:
        kind: what is trained.
        total: steps of the whole training.
        on_step: is called with every step as well.
        on_progress: receives the line.
        clock: returns seconds.
    """
    taken, begun = 0, 0.0

    def step_taken(step: int, metrics: Mapping[str, float]) -> None:
        nonlocal taken, begun
        taken += 1
        if taken == _FIRST:
            begun = clock()
        if taken == _FIRST + _MEASURED and step < total:
            pace = (clock() - begun) / _MEASURED
            left = total - step
            notify(f"{kind}: {pace:.3g} s a step, {_duration(pace * left)} for the other {left:,}", on_progress)
        if on_step is not None:
            on_step(step, metrics)

    return step_taken


def _duration(seconds: float) -> str:
    for unit, length, most in (("seconds", 1, 90), ("minutes", 60, 90 * 60), ("hours", 3600, 48 * 3600)):
        if seconds < most:
            number = f"{seconds / length:.0f}"
            return f"about {number} {unit.removesuffix('s') if number == '1' else unit}"
    return f"about {seconds / 86400:,.0f} days ({seconds / 3600:,.0f} hours)"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}"
