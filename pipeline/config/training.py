"""Configuration of what all training runs share: seed, device, precision, memory, checkpoints, bad samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import NonNegativeInt

from pipeline.config.section import Count, Section, Share


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(Section, name="training"):
    """What all training runs share."""

    seed: int = 0
    """Same seed, same weights on the same machine."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes the GPU where there is one."""
    dtype: Literal["auto", "fp32", "bf16"] = "auto"
    """Of the matrix products; `auto` takes bf16 where the hardware multiplies it fast."""
    threads: NonNegativeInt = 0
    """CPU threads; 0 means one per core."""
    accumulate: Count = 1
    """Micro-batches: a step computes its batch in this many parts, one after another, so its memory is that of a part.
    The gradient is that of the whole batch up to rounding (as `threads`), so the model's id stays the same."""
    checkpoint_every: Count = 1000
    """Steps between checkpoints, from which a killed run goes on."""
    activation_checkpointing: Literal["auto", "on", "off"] = "auto"
    """Compute each block again in the backward pass instead of keeping it (same weights, less memory, about a quarter
    more time); `auto` does so for networks of 200 million parameters and more."""
    compile: bool = False
    """Compile each block with torch.compile (on a CPU that takes g++); `lampworks bench model` prints the gain."""
    cache_clips: Count = 64
    """Decoded clips kept in memory, 6.9 MB each."""
    eval_windows: NonNegativeInt = 64
    """Held-out windows measured after training."""
    tracker: Literal["tensorboard", "none"] = "tensorboard"
    """Where metrics of each step go beside Dagster's plots: event files in the home's `tensorboard/`, or nowhere."""
    max_bad_share: Share = 0.05
    """A training on shards of which a larger share of samples cannot be used (damaged, of another size) is refused."""
