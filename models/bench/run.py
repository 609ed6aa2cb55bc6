"""Measure the cost of training steps and played frames, next to the peak of matrix products on this machine.

The peak is measured in the same run, before and after every step, by large products in the same dtype with the same
number of threads. Utilisation is the number of operations of a step (`models.runtime.flops`), divided by its time and
by the peak around it. The time is CPU-seconds with one CPU thread, and wall-clock seconds with several or on a GPU.
The median over the steps is reported.

    bench_model(BenchRequest(preset="cc-small", tasks=("dynamics", "play")))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from models.bench.presets import speed_preset
from models.bench.tasks import DTYPES, TASKS, Bench
from models.bench.timing import peak_memory_mb, sheet_peak
from models.runtime.compute import Compute, intra_op_threads
from pipeline.errors import UserError
from pipeline.progress import ProgressCallback

DEFAULT_TASKS = ("tokenizer", "lam", "dynamics", "cotrain", "play")


@dataclass(frozen=True, kw_only=True)
class BenchRequest:
    """What to measure, and how.

    Raises:
        UserError: a task or a dtype is unknown.
    """

    preset: str = "cc-small"
    """`cc-small`, `cc-90p`, or a preset of the configuration."""
    tasks: Sequence[str] = DEFAULT_TASKS
    """Names of `models.bench.tasks.TASKS`."""
    dtype: str = "fp32"
    """Of the matrix products: `fp32` or `bf16`."""
    threads: int = 1
    """CPU threads."""
    repeats: int = 3
    """Measured steps of each task, after one that is not measured; the median is reported."""
    batch: int | None = None
    """Windows per step; by default that of the preset."""
    compare_compiled: bool = False
    """Also measure training steps and played frames with compiled blocks."""
    compare_checkpointed: bool = False
    """Also measure training steps with activation checkpointing; with compiled blocks too where both are asked for."""

    def __post_init__(self) -> None:
        for value, known in ((self.dtype, DTYPES), *((task, TASKS) for task in self.tasks)):
            if value not in known:
                raise UserError(f"{value!r} is unknown: choose one of {', '.join(known)}")


def bench_model(request: BenchRequest, *, on_progress: ProgressCallback | None = None) -> dict[str, Any]:
    """Measure the tasks of a request, and return one JSON-able object.

    Args:
        request: what to measure.
        on_progress: called with a few lines per task.

    Raises:
        UserError: the preset is unknown.
    """
    preset = speed_preset(request.preset)
    if request.batch is not None:
        preset = replace(preset, batch=request.batch)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    compute = Compute(device, DTYPES[request.dtype], "as asked", request.threads)
    both = request.compare_compiled and request.compare_checkpointed
    variants = [("compiled", True, False)] * request.compare_compiled
    variants += [("checkpointed", False, True)] * request.compare_checkpointed
    variants += [("compiled_checkpointed", True, True)] * both
    with intra_op_threads(request.threads):
        bench = Bench(preset, compute, request.repeats)
        found: dict[str, Any] = {}
        for task in request.tasks:
            found[task] = bench.measured(task)
            for name, compiled, checkpointed in variants:
                try:
                    extra = bench.beside(task, compiled=compiled, checkpointed=checkpointed)
                except torch.OutOfMemoryError as exc:
                    # a network beside the first one needs memory of its own; what is measured stays
                    extra = {"reason": str(exc).partition(". ")[0]}
                if extra is not None:
                    found[task][name] = extra
            if on_progress is not None:
                on_progress(_summary(task, found[task], request.dtype))
    sheet = sheet_peak(device, compute.dtype)
    return {
        "preset": request.preset,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "dtype": request.dtype,
        "threads": request.threads,
        "batch": preset.batch,
        "data_sheet_gflops": None if sheet is None else sheet / 1e9,
        "peak_memory_mb": peak_memory_mb(device),
        "parameters": bench.parameters,
        "tasks": found,
    }


def _summary(task: str, found: dict[str, Any], dtype: str) -> str:
    peak = f", peak {found['peak_gflops']:.0f} GFLOP/s" if "peak_gflops" in found else ""
    lines = [f"{task} ({dtype}{peak})"]
    if task == "play":
        lines += [
            f"  {found['frames_per_s']:.2f} frames/s, {found['frames_per_s_after_prefill']:.2f} after the prefill "
            f"({found['prefill_s']:.2f} s)",
            f"  {found['speedup_after_prefill']:.1f} x the full recompute, {found['speedup']:.1f} x with the prefill, "
            f"{found['share_of_ids_that_differ']:.2%} of ids differ",
        ]
    elif task == "frame":
        lines += [f"  {found['wall_s'] * 1000:.1f} ms per pass over one frame, {found['utilisation']:.0%} of the peak"]
    else:
        lines += [
            f"  {found['cpu_s']:.3f} CPU-s per step, {found['gflop']:.0f} GFLOP, {found['gflops']:.1f} GFLOP/s, "
            f"{found['utilisation']:.0%} of the peak, {found['kept_mb']:.0f} MB kept for the backward pass",
        ]
    for name in ("compiled", "checkpointed", "compiled_checkpointed"):
        said = name.replace("_", " and ")
        if "reason" in found.get(name, {}):
            lines.append(f"  {said}: not measured ({found[name]['reason']}): lower --batch")
        elif name in found:
            kept = f", {found[name]['kept_mb']:.0f} MB kept" if "kept_mb" in found[name] else ""
            lines.append(f"  {said}: {found[name]['time_ratio']:.2f} x the time{kept}")
    return "\n".join(lines)
