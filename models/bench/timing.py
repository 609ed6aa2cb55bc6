"""Compare calls with the peak of matrix products, and measure the memory that a forward pass keeps."""

from __future__ import annotations

import itertools
import os
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from models.runtime.peak import Cost, Peak, cost_of

_SHEET = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
"""Dense bf16 operations per second, from the data sheets (SXM boards)."""


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
