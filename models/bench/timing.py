"""Measure time, the peak of matrix products, and the memory that a forward pass keeps."""

from __future__ import annotations

import itertools
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from models.runtime.compute import Compute

_SHEET = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
"""Dense bf16 operations per second, from the data sheets (SXM boards)."""


class Cost(NamedTuple):
    """Medians of repeated calls."""

    cpu_s: float
    wall_s: float

    def seconds(self, compute: Compute) -> float:
        """Return CPU-seconds for a single CPU thread, else wall-clock seconds."""
        return self.cpu_s if compute.threads == 1 and compute.device.type == "cpu" else self.wall_s


def cost_of(call: Callable[[], Any], repeats: int, device: torch.device) -> Cost:
    """Return the median time of repeated calls, in seconds."""
    cpu, wall = [], []
    for _ in range(repeats):
        wait(device)
        started, began = time.process_time(), time.perf_counter()
        call()
        wait(device)
        cpu.append(time.process_time() - started)
        wall.append(time.perf_counter() - began)
    return Cost(statistics.median(cpu), statistics.median(wall))


class Peak:
    """The peak rate of large matrix products on this machine, at the size that is fastest here."""

    def __init__(self, compute: Compute) -> None:
        """Find the fastest size."""
        self.compute = compute
        # a GPU needs larger products than a CPU core; a burst is long enough for a stable time
        sizes, self._burst = ((512, 1024, 2048), 2e10) if compute.device.type == "cpu" else ((4096, 8192), 1e13)
        products = {size: self._products(size) for size in sizes}
        for burst in products.values():
            burst()
        rates = {size: self._rate(size, burst) for size, burst in products.items()}
        self.size = max(rates, key=rates.__getitem__)
        self._best = products[self.size]

    def now(self) -> float:
        """Return the operations per second of one burst, measured now."""
        return self._rate(self.size, self._best)

    def _products(self, size: int) -> Callable[[], None]:
        device, dtype = self.compute.device, self.compute.dtype
        a, b, out = (torch.randn(size, size, device=device).to(dtype) for _ in range(3))

        def burst() -> None:
            for _ in range(self._count(size)):
                torch.mm(a, b, out=out)

        return burst

    def _count(self, size: int) -> int:
        return max(1, int(self._burst / (2 * size**3)))

    def _rate(self, size: int, burst: Callable[[], None]) -> float:
        return 2 * self._count(size) * size**3 / cost_of(burst, 1, self.compute.device).seconds(self.compute)


def beside_peak(call: Callable[[], Any], flops: float, repeats: int, peak: Peak) -> tuple[Cost, float, float]:
    """Return the cost of a call, the peak, and the utilisation, all as medians.

    Each call is compared with the peak measured just before and after it, because the speed of a shared machine drifts
    by more than the differences of interest.
    """
    costs, peaks = [], [peak.now()]
    for _ in range(repeats):
        costs.append(cost_of(call, 1, peak.compute.device))
        peaks.append(peak.now())
    around = [(before + after) / 2 for before, after in itertools.pairwise(peaks)]
    used = [flops / cost.seconds(peak.compute) / beside for cost, beside in zip(costs, around, strict=True)]
    cost = Cost(*(statistics.median(values) for values in zip(*costs, strict=True)))
    return cost, statistics.median(peaks), statistics.median(used)


def sheet_peak(device: torch.device, dtype: torch.dtype, name: str | None = None) -> float | None:
    """Return the bf16 operations per second on the data sheet of a GPU; None where they are unknown."""
    if device.type != "cuda" or dtype != torch.bfloat16:
        return None
    name = name or torch.cuda.get_device_name(device)
    return next((peak for known, peak in _SHEET.items() if known in name), None)


def kept_mb(forward: Callable[[], torch.Tensor]) -> float:
    """Return the memory in MB that a forward pass keeps for its backward pass.

    Shared memory counts once, and weights do not count: they are there anyway.
    """
    found: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        # a layer keeps its weight turned: a view of it
        if not isinstance(tensor if tensor._base is None else tensor._base, torch.nn.Parameter):
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        # the loss keeps the graph and its tensors alive, so no address is used twice
        loss = forward()
    del loss
    return sum(found.values()) / 1e6


def peak_memory_mb(device: torch.device) -> float:
    """Return the peak memory of this process so far in MB; on a GPU that of its tensors."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    lines = Path(f"/proc/{os.getpid()}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e3


def wait(device: torch.device) -> None:
    """Wait until a device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
