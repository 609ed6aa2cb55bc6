"""Clocks of the benchmark: CPU-seconds and seconds, what products reach at most, what a pass keeps."""

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


class Peak:
    """What this machine multiplies at most: large products of the size that it is best at, on the clock of `Cost`."""

    def __init__(self, compute: Compute) -> None:
        """Find the size."""
        self.compute = compute
        # a GPU is not filled by what fills a CPU core; a burst is long enough to be timed, and to ride out a hiccup
        sizes, self._burst = ((512, 1024, 2048), 2e10) if compute.device.type == "cpu" else ((4096, 8192), 1e13)
        products = {size: self._products(size) for size in sizes}
        for burst in products.values():
            burst()
        rates = {size: self._rate(size, burst) for size, burst in products.items()}
        self.size = max(rates, key=rates.__getitem__)
        self._best = products[self.size]

    def now(self) -> float:
        """Return the operations a second of one burst, now."""
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
    """Return what a call costs, the peak, and its utilisation: medians, each call compared with the peak around it.

    A shared machine's speed drifts by more than what is measured: a peak of a minute ago says little.
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
