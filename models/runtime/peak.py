"""Measure the time of calls, and the peak rate of matrix products on this machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import torch

from models.runtime.compute import Compute, intra_op_threads

_BURST_S = 0.5


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
        # a CPU that does not multiply bf16 takes minutes for what others do in a tenth of a second
        self._burst = min(self._burst, _BURST_S * self._first_rate(sizes[0]))
        products = {size: self._products(size) for size in sizes if size == sizes[0] or 2 * size**3 <= self._burst}
        for burst in products.values():
            burst()
        rates = {size: self._rate(size, burst) for size, burst in products.items()}
        self.size = max(rates, key=rates.__getitem__)
        self._best = products[self.size]

    def now(self) -> float:
        """Return the operations per second of one burst, measured now."""
        return self._rate(self.size, self._best)

    def _first_rate(self, size: int) -> float:
        a, b, out = self._matrices(size)
        torch.mm(a, b, out=out)
        return 2 * size**3 / cost_of(lambda: torch.mm(a, b, out=out), 1, self.compute.device).seconds(self.compute)

    def _products(self, size: int) -> Callable[[], None]:
        a, b, out = self._matrices(size)

        def burst() -> None:
            for _ in range(self._count(size)):
                torch.mm(a, b, out=out)

        return burst

    def _matrices(self, size: int) -> Iterator[torch.Tensor]:
        device, dtype = self.compute.device, self.compute.dtype
        return (torch.randn(size, size, device=device).to(dtype) for _ in range(3))

    def _count(self, size: int) -> int:
        return max(1, int(self._burst / (2 * size**3)))

    def _rate(self, size: int, burst: Callable[[], None]) -> float:
        return 2 * self._count(size) * size**3 / cost_of(burst, 1, self.compute.device).seconds(self.compute)


def machine_peak(compute: Compute) -> float:
    """Return the operations per second of large matrix products here, on all threads of a compute.

    It is measured once in a process, and takes about 0.1 s of each thread, or a few milliseconds of a GPU. The best of
    a few products counts, so that other programs on the machine lower it little.
    """
    return _measured_peak(compute.device, compute.dtype, compute.threads)


@cache
@torch.inference_mode(False)
def _measured_peak(device: torch.device, dtype: torch.dtype, threads: int) -> float:
    sizes, repeats = ((512, 1024), 3) if device.type == "cpu" else ((4096, 8192), 5)
    # a generator of its own: the noise of a training is not touched
    generator = torch.Generator(device).manual_seed(0)
    best = 0.0
    with intra_op_threads(threads), torch.no_grad():
        for size in sizes:
            if best and 2 * size**3 > best * _BURST_S:
                break
            a, b = (torch.randn(size, size, device=device, generator=generator).to(dtype) for _ in range(2))
            out = torch.mm(a, b)
            for _ in range(repeats):
                wait(device)
                began = time.perf_counter()
                torch.mm(a, b, out=out)
                wait(device)
                best = max(best, 2 * size**3 / (time.perf_counter() - began))
    return best


def wait(device: torch.device) -> None:
    """Wait until a device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
