"""What a training step and a played frame cost, beside what this machine can multiply: one run, one table.

The peak is measured here too, before and after every step: large products in the same dtype and with as many threads.
Utilisation is the step's operations (`models.bench.flops`) over its CPU-seconds (one CPU thread) or seconds (several,
or a GPU) and the peak around it; the median of the steps counts.

    bench_model("cc-small", tasks=("dynamics", "play"), dtype="fp32", threads=1)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from models.bench.presets import speed_preset
from models.bench.tasks import DTYPES, TASKS, Bench
from models.bench.timing import peak_memory_mb, sheet_peak
from models.runtime.compute import Compute, intra_op_threads
from pipeline.errors import UserError

DEFAULT_TASKS = ("tokenizer", "lam", "dynamics", "cotrain", "play")


def bench_model(
    name: str,
    *,
    tasks: Sequence[str] = DEFAULT_TASKS,
    dtype: str = "fp32",
    threads: int = 1,
    repeats: int = 3,
    batch: int | None = None,
    compare_compiled: bool = False,
    compare_checkpointed: bool = False,
    on_progress: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Measure tasks of a preset and return one JSON-able object.

    Args:
        name: `cc-small`, `cc-90p`, or a preset of the configuration.
        tasks: of `TASKS`.
        dtype: of the matrix products, `fp32` or `bf16`.
        threads: CPU threads.
        repeats: measured steps of each task, after one that is not; the median counts.
        batch: windows a step; the preset's own by default.
        compare_compiled: measure training steps and played frames with compiled blocks too.
        compare_checkpointed: measure training steps with activation checkpointing too.
        on_progress: hears a line per task.

    Raises:
        UserError: a name that is none of these.
    """
    preset = speed_preset(name)
    for value, known in ((dtype, DTYPES), *((task, TASKS) for task in tasks)):
        if value not in known:
            raise UserError(f"{value!r} is unknown: choose one of {', '.join(known)}")
    if batch is not None:
        preset = replace(preset, batch=batch)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    compute = Compute(device, DTYPES[dtype], "as asked", threads)
    variants = [(False, False)]
    variants += [(True, False)] * compare_compiled + [(False, True)] * compare_checkpointed
    with intra_op_threads(threads):
        bench = Bench(preset, compute, repeats)
        found: dict[str, Any] = {}
        for task in tasks:
            found[task] = bench.measured(task)
            for compiled, checkpointed in variants[1:]:
                extra = bench.beside(task, compiled=compiled, checkpointed=checkpointed)
                found[task] |= {} if extra is None else {"compiled" if compiled else "checkpointed": extra}
            on_progress(_told(task, found[task], dtype))
    sheet = sheet_peak(device, compute.dtype)
    return {
        "preset": name,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "dtype": dtype,
        "threads": threads,
        "batch": preset.batch,
        "data_sheet_gflops": None if sheet is None else sheet / 1e9,
        "peak_memory_mb": peak_memory_mb(device),
        "parameters": bench.parameters,
        "tasks": found,
    }


def _told(task: str, found: dict[str, Any], dtype: str) -> str:
    peak = f", beside {found['peak_gflops']:.0f} GFLOP/s of products alone" if "peak_gflops" in found else ""
    lines = [f"{task} ({dtype}{peak})"]
    if task == "play":
        lines += [
            f"  {found['frames_per_s']:.2f} frames/s, {found['frames_per_s_after_prefill']:.2f} after the prefill "
            f"({found['prefill_s']:.2f} s)",
            f"  {found['speedup_after_prefill']:.1f} x the full recompute, {found['speedup']:.1f} x with the prefill, "
            f"{found['share_of_ids_that_differ']:.2%} of ids differ",
        ]
    elif task == "frame":
        lines += [f"  {found['wall_s'] * 1000:.1f} ms a pass over one frame, {found['utilisation']:.0%} of the peak"]
    else:
        lines += [
            f"  {found['cpu_s']:.3f} CPU-s a step, {found['gflop']:.0f} GFLOP, {found['gflops']:.1f} GFLOP/s, "
            f"{found['utilisation']:.0%} of the peak, {found['kept_mb']:.0f} MB kept for the backward pass",
        ]
    for name in ("compiled", "checkpointed"):
        if name in found:
            kept = f", {found[name]['kept_mb']:.0f} MB kept" if "kept_mb" in found[name] else ""
            lines.append(f"  {name}: {found[name]['time_ratio']:.2f} x the time{kept}")
    return "\n".join(lines)
