"""`lampworks bench loader`: what loading windows costs, beside decoding alone, and how long a step waits for them."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

from pipeline.errors import UserError

_SAMPLE, _CLIPS = 100_000, 10_000_000
_SPEED_CLIPS = 48
_STEPS = 60  # of each training whose waiting is measured, at most


def add_options(bench: argparse.ArgumentParser) -> None:
    """Add the options that only `loader` has."""
    bench.add_argument(
        "--device", choices=["auto", "cpu", "cuda"], default="auto", help="of loader: where the steps are taken"
    )
    bench.add_argument(
        "--workers", type=int, default=1, metavar="N", help="of loader: processes that decode for the speeds (1)"
    )


def run_loader(args: argparse.Namespace) -> int:
    """Measure and print."""
    from pipeline.bench.loader import bench_resume, bench_speeds, bench_start, rows_of, write_set
    from pipeline.config import preset
    from pipeline.storage.store import Store

    clips = _CLIPS if args.clips is None else args.clips
    steps = _STEPS if args.steps is None else args.steps
    limits = {"clips": (clips, 512), "rounds": (args.rounds, 1), "workers": (args.workers, 1), "steps": (steps, 1)}
    for name, (value, least) in limits.items():
        if value < least:
            raise UserError(f"--{name} = {value}: must be at least {least}")
    with tempfile.TemporaryDirectory(prefix="lampworks-bench-") as folder:
        store = Store(Path(folder) / "root")
        mp4s = write_set(store, _SPEED_CLIPS)
        speeds = bench_speeds(store, mp4s, args.rounds, args.workers, _print_progress)
        # one tar under many rows: as many windows as a large set has
        [row] = rows_of(store)
        store.replace("shards", [row] * (3 * _SAMPLE // 10 // _SPEED_CLIPS))
        resume = bench_resume(store, _SAMPLE, args.workers)
        store.replace("shards", [row] * 4)
        waiting = _waiting(store, rows_of(store), preset("demo"), args.device, min(steps, _STEPS))
    start = bench_start(clips)
    found = {
        "machine": _machine(),
        "speeds": dataclasses.asdict(speeds),
        "resume": dataclasses.asdict(resume),
        "start": start,
        "waiting": [dataclasses.asdict(one) | {"share": one.share} for one in waiting],
    }
    if args.json:
        print(json.dumps(found))
    else:
        _print(found)
    return 0


def _waiting(store: Any, rows: list[dict[str, Any]], config: Any, device: str, steps: int) -> list[Any]:
    try:
        from models.bench.loader import bench_waiting
    except ImportError as exc:
        _print_progress(f"how long steps wait is not measured: {exc}")
        return []
    return bench_waiting(store, rows, config, device=device, steps=steps)


def _machine() -> str:
    names = [line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")]
    cores = len(os.sched_getaffinity(0))
    return f"{names[0] if names else platform.machine()}, {cores} cores"


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def _print(found: dict[str, Any]) -> None:
    speeds, resume, start = found["speeds"], found["resume"], found["start"]
    print(f"{_SPEED_CLIPS} clips of 160 frames, 160x90, windows of 16 ({found['machine']}):")
    print("frames a CPU-second")
    print(f"  decoding alone          {speeds['decode']:9,.0f}")
    print(f"  decode and convert      {speeds['decode_and_convert']:9,.0f}  the limit")
    print(f"  lampworks loader        {speeds['loader']:9,.0f}  {speeds['share']:.0%} of the limit")
    if speeds["webdataset"] is None:
        print("  webdataset with PyAV      not measured: webdataset is not installed (pip install webdataset)")
    else:
        print(f"  webdataset with PyAV    {speeds['webdataset']:9,.0f}  every frame, to_ndarray")
    print("windows a CPU-second")
    print(f"  lampworks loader        {speeds['loader_windows']:9,.0f}  all windows of a clip for one decode")
    print(f"  one window of a clip    {speeds['late_windows']:9,.0f}  only the pictures that it needs are decoded")
    print(f"  a whole clip a window   {speeds['whole_clip_windows']:9,.0f}  as without the loader")
    fresh, cpu_s = resume["fresh_first_batch_s"], resume["first_batch_cpu_s"]
    print(f"resume at sample {resume['sample']:,}")
    print(f"  windows in order after  {resume['position_s']:9.2f} s")
    print(f"  first batch after       {resume['first_batch_s']:9.2f} s ({cpu_s:.2f} CPU-s), at sample 0 {fresh:.2f} s")
    print(f"start over {start['clips']:,} clips")
    print(f"  rows of shards read     {start['rows_s']:9.2f} s")
    print(f"  first batch after       {start['rows_s'] + start['first_batch_s']:9.2f} s")
    print(f"  peak memory             {start['peak_mb']:9,.0f} MB")
    for one in found["waiting"]:
        how = f"{one['workers']} workers" if one["workers"] else "decoded clips kept"
        print(
            f"step of the {one['training']:9s} {1000 * one['step_s']:8.1f} ms, waits {1000 * one['wait_s']:.2f} ms "
            f"({one['share']:.1%})  preset demo, {one['device']}, {how}"
        )


def _print_progress(text: str) -> None:
    print(text, file=sys.stderr)
