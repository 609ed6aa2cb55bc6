"""What a training needs, before it starts: parameters, memory and steps, and which setting makes it fit.

    estimate = estimate_training(config, "video_tokenizer")
    print(estimate.line(memory_there()))

Memory is weights, gradients and AdamW's two moments (16 bytes a parameter), what the windows of a micro-batch keep for
the backward pass, decoded clips, and a copy of the state while a checkpoint is written. Tests compare it with what
trainings take.
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_right
from dataclasses import dataclass

from pipeline.config import PRESETS, Config, preset
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
"""Bytes of a parameter in a checkpoint; the file is built in memory."""
_AHEAD = 16
"""Clips that the loader asks for before their turn."""
_BASE = 400_000_000
"""Bytes of libraries, threads and fragments."""


@dataclass(frozen=True)
class TrainingEstimate:
    """The size of one training."""

    kind: Kind
    parameters: int
    """Of the networks that learn."""
    steps: int
    batch: int
    """Windows a step."""
    accumulate: int
    fixed_bytes: int
    """Whatever the batch: state of the networks, decoded clips, libraries."""
    kept: tuple[Kept, ...]
    """What each window of a micro-batch needs, by network."""
    pieces: int
    """Threads that a micro-batch is spread over."""
    brief_bytes: int
    """Between steps, while a checkpoint is written."""

    @property
    def windows(self) -> int:
        """Windows of a micro-batch."""
        return -(-self.batch // self.accumulate)

    @property
    def bytes(self) -> int:
        """Memory needed."""
        return self.bytes_with(self.windows)

    def bytes_with(self, windows: int) -> int:
        """Return the memory needed with so many windows a micro-batch."""
        return self.fixed_bytes + max(self.brief_bytes, sum(kept.peak(windows, self.pieces) for kept in self.kept))

    def most_windows(self, there: int) -> int:
        """Return how many windows a micro-batch may have in so much memory; 0 where not even one fits."""
        return bisect_right(range(1, self.batch + 1), there, key=self.bytes_with)

    def line(self, there: MemoryThere | None = None, cost: str = "") -> str:
        """Return the estimate as one line, with what the training costs where that is known."""
        parts = f" in {self.accumulate} parts" if self.accumulate > 1 else ""
        found = "" if there is None else f", {size_text(there.bytes)} are there ({there.where})"
        return (
            f"{self.kind}: {self.parameters / 1e6:,.1f}M parameters, {self.steps:,} steps of {self.batch} "
            f"windows{parts}, {f'{cost}, ' if cost else ''}about {size_text(self.bytes)} of memory needed{found}"
        )


def estimate_training(
    config: Config,
    kind: Kind,
    size: FrameSize | None = None,
    *,
    products: Products | None = None,
    clips: int | None = None,
    pieces: int = 1,
) -> TrainingEstimate:
    """Return what a training needs.

    Args:
        config: the settings.
        kind: what is trained.
        size: of the frames; by default that of the configured clips.
        products: how products are computed; by default as `training.dtype` says, fp32 where it says `auto`.
        clips: training clips; by default as many as are kept decoded, or more.
        pieces: threads that each hold gradients of their own (`models.runtime.cpu_parallel`).
    """
    size = size or FrameSize(config.clips.height, config.clips.width)
    bf16 = config.training.dtype == "bf16"
    products = products or Products(2 if bf16 else _FP32, bf16)
    counts = count_parameters(config, size)
    section = config.tokenizer if kind == "video_tokenizer" else config.dynamics
    frame = 3 * size.height * size.width
    held = _held_clips(config, section.batch, clips)
    data = frame * (held * config.clips.num_frames + section.batch * _frames(config, kind))
    if kind == "video_tokenizer":
        trained, frozen = counts.tokenizer, 0
        kept: tuple[Kept, ...] = (
            tokenizer_activations(config, size, products, is_checkpointed(config.training, counts.tokenizer)),
        )
    else:
        trained, frozen = counts.latent_actions + counts.dynamics, counts.tokenizer
        kept = (
            latent_action_activations(config, size, products, is_checkpointed(config.training, counts.latent_actions)),
            dynamics_activations(config, size, products, is_checkpointed(config.training, counts.dynamics)),
        )
    pieces = max(1, min(pieces, -(-section.batch // config.training.accumulate)))
    # the gradients of pieces and of micro-batches are held beside their sum; autocast keeps weights in bf16
    more = (pieces if max(pieces, config.training.accumulate) > 1 else 0) * _FP32 * (kind == "video_tokenizer")
    more += products.item * (products.item < _FP32)
    alone = config.latent_actions.unquantized_steps if kind == "world_model" else 0
    return TrainingEstimate(
        kind=kind,
        parameters=trained,
        steps=section.steps + alone,
        batch=section.batch,
        accumulate=min(config.training.accumulate, section.batch),
        fixed_bytes=_BASE + data + trained * (_STATE + more) + frozen * _FP32,
        kept=kept,
        pieces=pieces,
        brief_bytes=_SAVED * trained,
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


def what_would_fit(
    config: Config, kind: Kind, size: FrameSize, there: int, *, products: Products | None = None, pieces: int = 1
) -> str:
    """Return which settings to change so that a training fits into so much memory, and to which values."""

    def windows(changed: Config) -> int:
        return estimate_training(changed, kind, size, products=products, pieces=pieces).most_windows(there)

    section = "tokenizer" if kind == "video_tokenizer" else "dynamics"
    batch = config.tokenizer.batch if kind == "video_tokenizer" else config.dynamics.batch
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
                f"set {also}training.accumulate: {-(-batch // fits)} (the same model in micro-batches of {fits} "
                f"windows), or {also}{section}.batch: {fits} (another model)"
            )
    others = [dataclasses.replace(preset(name), training=checkpointed) for name in PRESETS if name != config.preset]
    fitting = [(sum(count_parameters(other, size)), other.preset) for other in others if windows(other)]
    if fitting:
        return f"not even one window fits: choose a smaller preset, of which the largest that fits is {max(fitting)[1]}"
    return "no preset fits: give the machine, or its container, more memory"


def size_text(count: float) -> str:
    """Return a number of bytes for people."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e8 else f"{count / 1e6:,.1f} MB"
