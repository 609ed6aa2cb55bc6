"""Clocks of the benchmark: CPU-seconds and seconds, what products reach at most, what a pass keeps."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from models.compute import Compute

_SHEET = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
"""Dense bf16 operations a second of the makers' data sheets (SXM boards)."""


class Cost(NamedTuple):
    """Medians of repeated calls."""

    cpu_s: float
    wall_s: float

    def seconds(self, compute: Compute) -> float:
        """Return what counts: of one CPU thread what it worked; of several, and of a GPU, what passed."""
        return self.cpu_s if compute.threads == 1 and compute.device.type == "cpu" else self.wall_s


def cost_of(call: Callable[[], Any], repeats: int, device: torch.device) -> Cost:
    """Return what a call costs."""
    cpu, wall = [], []
    for _ in range(repeats):
        wait(device)
        started, began = time.process_time(), time.perf_counter()
        call()
        wait(device)
        cpu.append(time.process_time() - started)
        wall.append(time.perf_counter() - began)
    return Cost(statistics.median(cpu), statistics.median(wall))


def matmul_peak(compute: Compute, seconds: float = 1.0) -> float:
    """Return the operations a second of large products: the best size's median, on the clock of `Cost.seconds`."""
    best = 0.0
    # a GPU is not filled by what fills a CPU core; a burst is long enough to be timed
    sizes, burst = ((512, 1024, 2048), 2e9) if compute.device.type == "cpu" else ((4096, 8192), 1e13)
    for size in sizes:
        a, b = (torch.randn(size, size, device=compute.device).to(compute.dtype) for _ in range(2))
        out, count = a @ b, max(1, int(burst / (2 * size**3)))

        def products(a: torch.Tensor = a, b: torch.Tensor = b, out: torch.Tensor = out, count: int = count) -> None:
            for _ in range(count):
                torch.mm(a, b, out=out)

        once = cost_of(products, 1, compute.device).seconds(compute)
        repeats = max(3, min(100, int(seconds / len(sizes) / once)))
        best = max(best, 2 * count * size**3 / cost_of(products, repeats, compute.device).seconds(compute))
    return best


def sheet_peak(device: torch.device, dtype: torch.dtype, name: str | None = None) -> float | None:
    """Return what the maker promises of a GPU in bf16, operations a second; None where that is not known."""
    if device.type != "cuda" or dtype != torch.bfloat16:
        return None
    name = name or torch.cuda.get_device_name(device)
    return next((peak for known, peak in _SHEET.items() if known in name), None)


def kept_mb(forward: Callable[[], torch.Tensor]) -> float:
    """Return how much memory a forward pass keeps for its backward pass, in MB; memory that is shared counts once."""
    found: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if not isinstance(tensor, torch.nn.Parameter):
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        # the loss holds the graph: what was found is alive, and no address is given out twice
        loss = forward()
    del loss
    return sum(found.values()) / 1e6


def peak_memory_mb(device: torch.device) -> float:
    """Return the most memory that this process (on a GPU: its tensors) has held so far, in MB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    lines = Path(f"/proc/{os.getpid()}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e3


def wait(device: torch.device) -> None:
    """Wait until a device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
