"""What a training needs, before it starts: parameters, memory and steps, and which setting makes it fit.

    estimate = estimate_training(config, "video_tokenizer")
    print(estimate.line(memory_there()))

Memory is weights, gradients and AdamW's two moments (16 bytes a parameter), what the windows of a micro-batch keep for
the backward pass, decoded clips, and a copy of the state from which checkpoints are written. Tests compare it with what
trainings take.
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.config import PRESETS, Config, preset
from pipeline.config.training import TrainingConfig
from pipeline.training_size.activations import (
    Kept,
    Products,
    dynamics_activations,
    latent_action_activations,
    tokenizer_activations,
)
from pipeline.training_size.memory_there import MemoryThere
from pipeline.training_size.parameters import FrameSize, Kind, count_parameters, is_checkpointed

_FP32 = 4
_STATE = 4 * _FP32
"""Bytes of a parameter: weight, gradient, two moments."""
_SAVED = 3 * _FP32
"""Bytes of a parameter in the copy from which a checkpoint is written beside the steps."""
_RECALLED = 3 * 4
"""Bytes of a predicted token that is kept: in use, gathered for a checkpoint, and in the copy that is written."""
_AHEAD = 16
"""Clips that the loader asks for before their turn."""
_GROUPS = tuple(2**power for power in range(1, 11))
"""Numbers of processes that a refusal can name."""
_BASE = 400_000_000
"""Bytes of libraries, threads and fragments."""


class Placement(NamedTuple):
    """Where a training runs."""

    products: Products
    threads: int = 1
    """Threads of a process, which each hold gradients of their own (`models.runtime.cpu_parallel`)."""
    on_gpu: bool = False
    """Whether networks and windows lie on a GPU; decoded clips and copies of checkpoints are in the memory beside it.
    """
    ranks: int = 1
    """Processes that train together."""
    sharded: bool = False
    """Whether each holds a part of the large network's state (`training.weights`)."""


def place_of(config: Config) -> Placement:
    """Return where a training runs by its settings alone: in fp32 where `training.dtype` is `auto`, on one thread."""
    bf16, training = config.training.dtype == "bf16", config.training
    ranks = training.processes * training.nodes
    return Placement(Products(2 if bf16 else _FP32, bf16), 1, False, ranks, training.weights == "sharded")


@dataclass(frozen=True)
class TrainingEstimate:
    """The size of one training, in each of its processes."""

    kind: Kind
    parameters: int
    """Of the networks that learn."""
    steps: int
    batch: int
    """Windows a step, over all processes."""
    accumulate: int
    place: Placement
    fixed_bytes: int
    """Whatever the batch: state of the networks, its copy for a checkpoint, decoded clips, libraries."""
    kept: tuple[Kept, ...]
    """What each window of a micro-batch needs, by network."""

    @property
    def local_batch(self) -> int:
        """Windows a step of the process that takes most."""
        return -(-self.batch // self.place.ranks)

    @property
    def windows(self) -> int:
        """Windows of a micro-batch."""
        return -(-self.local_batch // self.accumulate)

    @property
    def bytes(self) -> int:
        """Memory needed."""
        return self.bytes_with(self.windows)

    def bytes_with(self, windows: int) -> int:
        """Return the memory needed with so many windows a micro-batch."""
        return self.fixed_bytes + sum(kept.peak(windows, min(windows, self.place.threads)) for kept in self.kept)

    def most_windows(self, there: int) -> int:
        """Return how many windows a micro-batch may have in so much memory; 0 where not even one fits."""
        return bisect_right(range(1, self.local_batch + 1), there, key=self.bytes_with)

    def line(self, there: MemoryThere | None = None, cost: str = "") -> str:
        """Return the estimate as one line, with what the training costs where that is known."""
        parts = f" in {self.accumulate} parts" if self.accumulate > 1 else ""
        found = "" if there is None else f", {size_text(there.bytes)} are there ({there.where})"
        each = f" in each of {self.place.ranks} processes" if self.place.ranks > 1 else ""
        return (
            f"{self.kind}: {self.parameters / 1e6:,.1f}M parameters, {self.steps:,} steps of {self.batch} "
            f"windows{parts}, {f'{cost}, ' if cost else ''}about {size_text(self.bytes)} of memory needed{each}{found}"
        )


def estimate_training(
    config: Config,
    kind: Kind,
    size: FrameSize | None = None,
    *,
    place: Placement | None = None,
    clips: int | None = None,
) -> TrainingEstimate:
    """Return what a training needs.

    Args:
        config: the settings.
        kind: what is trained.
        size: of the frames; by default that of the configured clips.
        place: where it runs; by default as of `place_of`.
        clips: training clips; by default as many as are kept decoded, or more.
    """
    size = size or FrameSize(config.clips.height, config.clips.width)
    place = place or place_of(config)
    training, products, counts = config.training, place.products, count_parameters(config, size)
    section = config.tokenizer if kind == "video_tokenizer" else config.dynamics
    local = -(-section.batch // place.ranks)
    frame = 3 * size.height * size.width
    data = frame * local * _frames(config, kind)
    if kind == "video_tokenizer":
        large, small, frozen, layers = (
            counts.tokenizer,
            0,
            0,
            config.tokenizer.encoder.layers + config.tokenizer.decoder.layers,
        )
        kept: tuple[Kept, ...] = (
            tokenizer_activations(config, size, products, is_checkpointed(training, counts.tokenizer)),
        )
    else:
        large, small, frozen = counts.dynamics, counts.latent_actions, counts.tokenizer
        layers = config.dynamics.stack.layers
        kept = (dynamics_activations(config, size, products, is_checkpointed(training, counts.dynamics)),)
        if config.dynamics.led_by == "true_actions":
            small, frozen = 0, frozen + small
        else:
            lam = latent_action_activations(config, size, products, is_checkpointed(training, small))
            kept = (lam, *kept)
    pieces = max(1, min(place.threads, -(-local // training.accumulate)))
    # the gradients of pieces and of micro-batches are held beside their sum; autocast keeps weights in bf16
    more = (pieces if max(pieces, training.accumulate) > 1 else 0) * _FP32 * (kind == "video_tokenizer")
    more += products.item * (products.item < _FP32)
    held = large // place.ranks if place.sharded and place.ranks > 1 else large
    # a block of sharded weights is gathered while the next one is fetched, and its gradients are summed in fp32
    gathered = 0 if held == large else large // layers * (2 * products.item + _FP32)
    average = _FP32 * bool(training.ema_decay)
    state = (held + small) * (_STATE + more + average) + gathered + frozen * _FP32
    if not place.on_gpu:
        data += frame * _held_clips(config, local, clips) * config.clips.num_frames
        state += (large + small) * (_SAVED + average)
    if kind == "world_model" and config.dynamics.recalled_share:
        state += _RECALLED * config.dynamics.recalled_frames * size.tokens(config.tokenizer.patch)
    alone = config.dynamics.alone_steps(config.latent_actions) if kind == "world_model" else 0
    return TrainingEstimate(
        kind=kind,
        parameters=large + small,
        steps=section.steps + alone,
        batch=section.batch,
        accumulate=min(training.accumulate, local),
        place=place,
        fixed_bytes=_BASE + data + state,
        kept=kept,
    )


def _held_clips(config: Config, batch: int, clips: int | None) -> int:
    """Return how many decoded clips the loader holds: all of a small set, else those that are in use or come next."""
    cached = config.training.cache_clips
    if clips is not None and clips <= cached:
        return clips
    # windows are held until their turn comes, on average half of those of the mixed clips
    used = config.training.mixed_clips // 2 + max(_AHEAD, batch)
    return used if clips is not None else max(cached, used)


def _frames(config: Config, kind: Kind) -> int:
    return config.tokenizer.window if kind == "video_tokenizer" else config.dynamics.drawn_frames


def what_would_fit(config: Config, kind: Kind, size: FrameSize, there: int, place: Placement) -> str:
    """Return which settings to change so that a training fits into so much memory, and to which values.

    Args:
        config: the settings.
        kind: what is trained.
        size: of the frames.
        there: bytes for each process.
        place: where it runs.
    """

    def windows(changed: Config, at: Placement = place) -> int:
        return estimate_training(changed, kind, size, place=at).most_windows(there)

    section = "tokenizer" if kind == "video_tokenizer" else "dynamics"
    batch = config.tokenizer.batch if kind == "video_tokenizer" else config.dynamics.batch
    local = -(-batch // place.ranks)
    # two parts at least: the gradients of micro-batches are summed beside those of the next
    smaller = dataclasses.replace(config.training, accumulate=max(2, config.training.accumulate))
    checkpointed = dataclasses.replace(smaller, activation_checkpointing="on")
    # in YAML 1.1, and so for PyYAML, `on` without quotes means true
    tries = {
        "": smaller,
        "training.activation_checkpointing: 'on', ": checkpointed,
        "training.activation_checkpointing: 'on', training.cache_clips: 1, ": dataclasses.replace(
            checkpointed, cache_clips=1
        ),
    }
    for also, training in tries.items():
        if fits := windows(dataclasses.replace(config, training=training)):
            return (
                f"set {also}training.accumulate: {-(-local // fits)} (the same model in micro-batches of {fits} "
                f"windows), or {also}{section}.batch: {fits * place.ranks} (another model)"
            )
    least = dataclasses.replace(config, training=dataclasses.replace(checkpointed, cache_clips=1, accumulate=batch))
    # sharded weights ask for as many windows on each process, for no rollouts of different lengths, and for no average
    rollouts = kind == "world_model" and config.dynamics.own_frames > 1
    groups = () if rollouts or config.training.ema_decay else _GROUPS
    for ranks in groups:
        if ranks >= place.ranks and not batch % ranks and windows(least, place._replace(ranks=ranks, sharded=True)):
            return _more_processes(ranks, batch // ranks, place) + _smaller_preset(config, checkpointed, size, windows)
    return "not even one window fits" + _smaller_preset(config, checkpointed, size, windows)


def _more_processes(ranks: int, accumulate: int, place: Placement) -> str:
    where = "each on a GPU like this one" if place.on_gpu else "each with so much memory"
    return (
        f"not even one window fits: train in {ranks} processes, {where}, with training.weights: sharded, "
        f"training.processes times training.nodes: {ranks}, training.activation_checkpointing: 'on', "
        f"training.cache_clips: 1, training.accumulate: {accumulate}"
    )


def _smaller_preset(config: Config, training: TrainingConfig, size: FrameSize, windows: Callable[[Config], int]) -> str:
    others = [dataclasses.replace(preset(name), training=training) for name in PRESETS if name != config.preset]
    fitting = [(sum(count_parameters(other, size)), other.preset) for other in others if windows(other)]
    if fitting:
        return f", or choose a smaller preset, of which the largest that fits is {max(fitting)[1]}"
    return ", and no smaller preset fits: give the machine, or its container, more memory"


def size_text(count: float) -> str:
    """Return a number of bytes for people."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e8 else f"{count / 1e6:,.1f} MB"
