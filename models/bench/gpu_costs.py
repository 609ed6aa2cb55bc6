"""What the paper's trainings cost on GPUs, by formula: operations, hours and memory, with the settings that fit.

for cost in gpu_costs():
    print(cost.preset, cost.model, cost.gpus, cost.hours, cost.settings)

Nothing is measured and no GPU is needed: the rate of an H100's products is given.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch

from models.runtime.compute import Compute
from models.training.preflight import EXPECTED_SHARE, size_of_training
from pipeline.config import load_config, parse_overrides
from pipeline.training_size.memory_there import MemoryThere
from pipeline.training_size.parameters import Kind

H100_OPERATIONS = 625e12
"""Operations a second that large bf16 products are expected to reach on an H100 (its sheet says 989e12)."""
H100_MEMORY = 79 * 10**9
"""Bytes of 80 GB that are free to a training."""

_KINDS: dict[str, Kind] = {"tokenizer": "video_tokenizer", "world": "world_model"}
_EIGHT = ("training.processes=8",)
_RUNS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("coinrun", "tokenizer", ()),
    ("coinrun", "world", ()),
    ("platformers-192m", "tokenizer", _EIGHT),
    ("platformers-192m", "world", (*_EIGHT, "training.accumulate=8")),
    ("robotics", "world", (*_EIGHT, "training.nodes=4", "training.rendezvous=HOST:29400", "training.weights=sharded",
                           "training.accumulate=2")),
    ("platformers", "tokenizer", _EIGHT),
    ("platformers", "world", (*_EIGHT, "training.nodes=16", "training.rendezvous=HOST:29400",
                              "training.weights=sharded", "training.accumulate=4")),
)  # fmt: skip
"""Preset, what is trained, and settings beside `training.dtype=bf16`."""


@dataclass(frozen=True)
class GpuCost:
    """The cost of one training."""

    preset: str
    model: str
    """`tokenizer` or `world`, as `python -m models.training` calls it."""
    settings: tuple[str, ...]
    gpus: int
    pflop: float
    hours: float
    memory_gb: float
    """Of each GPU."""
    fits: bool
    """Whether an H100 with 80 GB holds it."""

    @property
    def gpu_hours(self) -> float:
        """Hours of all GPUs."""
        return self.hours * self.gpus

    def as_json(self) -> dict[str, Any]:
        """Return all of it as one JSON-able object."""
        return {**asdict(self), "gpu_hours": self.gpu_hours}


def gpu_costs() -> list[GpuCost]:
    """Return what the trainings of the paper's sizes cost on H100s."""
    return [_cost(preset, model, settings) for preset, model, settings in _RUNS]


def assumption() -> str:
    """Return what the hours rest on, as one sentence."""
    return (
        f"By formula, no run of these was made: {EXPECTED_SHARE:.0%} of {H100_OPERATIONS / 1e12:.0f} TFLOP/s of bf16 "
        "products on an H100 with 80 GB, activation checkpointing included."
    )


def _cost(preset: str, model: str, settings: tuple[str, ...]) -> GpuCost:
    config = load_config(None, base=preset, **parse_overrides([*settings, "training.dtype=bf16"]))
    gpu = Compute(torch.device("cuda"), torch.bfloat16, "by formula")
    there = MemoryThere(H100_MEMORY, "on an H100")
    size = size_of_training(config, _KINDS[model], gpu, there=there, peak=H100_OPERATIONS)
    return GpuCost(
        preset, model, settings, size.estimate.place.ranks, size.operations.total / 1e15, size.hours,
        size.estimate.bytes / 1e9, not size.advice,
    )  # fmt: skip
