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
    threads: int = 1
    """CPU threads to spread work over."""

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
    threads = config.threads or len(os.sched_getaffinity(0))
    if config.dtype != "auto":
        return Compute(device, {"fp32": torch.float32, "bf16": torch.bfloat16}[config.dtype], "as configured", threads)
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported()
        what = torch.cuda.get_device_name()
    else:
        fast = bool(torch.cpu.get_capabilities().get("avx512_bf16") or torch.cpu.get_capabilities().get("amx_bf16"))
        what = "this CPU"
    if fast:
        return Compute(device, torch.bfloat16, f"{what} multiplies bf16 fast", threads)
    return Compute(device, torch.float32, f"{what} has no fast bf16", threads)


@contextmanager
def threads_a_product(count: int = 1) -> Iterator[None]:
    """Run each product on so many threads inside the block; `models.lanes` puts the others to work."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
