"""Where and in what precision the networks run: device, dtype of matrix products, threads, each with its reason."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch

from pipeline.config.world import TrainingConfig
from pipeline.errors import UserError


@dataclass(frozen=True)
class Compute:
    """A device and the dtype of its matrix products; weights and the residual stream stay fp32."""

    device: torch.device
    dtype: torch.dtype
    reason: str
    """Why this dtype, for people."""

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context under which forward passes run."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16)


def choose_compute(config: TrainingConfig | None = None) -> Compute:
    """Return the compute that a configuration asks for, or the machine's best where it says `auto`."""
    config = config or TrainingConfig()
    has_gpu = torch.cuda.is_available()
    if config.device == "cuda" and not has_gpu:
        raise UserError("training.device = 'cuda': torch sees no GPU here; set it to 'auto' or 'cpu'")
    device = torch.device("cuda" if has_gpu and config.device != "cpu" else "cpu")
    if config.dtype != "auto":
        return Compute(device, {"fp32": torch.float32, "bf16": torch.bfloat16}[config.dtype], "as configured")
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported()
        what = torch.cuda.get_device_name()
    else:
        fast = bool(torch.cpu.get_capabilities().get("avx512_bf16") or torch.cpu.get_capabilities().get("amx_bf16"))
        what = "this CPU"
    if fast:
        return Compute(device, torch.bfloat16, f"{what} multiplies bf16 fast")
    return Compute(device, torch.float32, f"{what} has no fast bf16")


@contextmanager
def limited_threads(threads: int) -> Iterator[int]:
    """Run with so many CPU threads (0: one per core that this process may use); give the old number back."""
    before = torch.get_num_threads()
    wanted = threads or len(os.sched_getaffinity(0))
    torch.set_num_threads(wanted)
    try:
        yield wanted
    finally:
        torch.set_num_threads(before)
