"""`lampworks bench clips`: what cutting costs, with the limit beside each figure."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys

from pipeline.errors import UserError

_ROWS = (144, 360)
_VIDEOS = 100


def run_clips(args: argparse.Namespace) -> int:
    """Measure and print."""
    from pipeline.bench.clips import MEMORY_LIMIT_MB, bench_cutting, bench_memory

    videos = _VIDEOS if args.videos is None else args.videos
    for name, value in (("videos", videos), ("rounds", args.rounds)):
        if value < 1:
            raise UserError(f"--{name} = {value}: must be at least 1")
    found = [bench_cutting(rows, args.rounds, _print_progress) for rows in _ROWS]
    memory = bench_memory(videos, _print_progress)
    if args.json:
        ratios = [{"frames_ratio": one.frames_ratio, "everything_ratio": one.everything_ratio} for one in found]
        cutting = [vars(one) | ratio for one, ratio in zip(found, ratios, strict=True)]
        print(json.dumps({"cutting": cutting, "memory": vars(memory) | {"limit_mb": MEMORY_LIMIT_MB}}))
        return 0
    print(f"one thread, {args.rounds} rounds, {platform.machine()} ({processor()}):")
    for one in found:
        limit, frames, everything = (statistics.median(part) for part in (one.limit, one.frames, one.everything))
        print(f"  {one.rows} rows, {one.seconds} s of film, {one.clips} clips:")
        print(f"    ffmpeg -f null    {limit:7.2f} CPU-s  limit: it decodes and throws away")
        print(f"    frames in memory  {frames:7.2f} CPU-s  {one.frames_ratio:.2f} x limit")
        print(f"    everything        {everything:7.2f} CPU-s  {one.everything_ratio:.2f} x limit")
        for name, values in one.parts_ms.items():
            print(f"      {name:21} {statistics.median(values):6.1f} CPU-ms a clip")
    print(f"  memory of a worker at 1080 rows  {memory.peak_mb:5.0f} MB at its peak  limit {MEMORY_LIMIT_MB} MB")
    print(
        f"  after {memory.videos} videos               {memory.late_mb:5.0f} MB  "
        f"{memory.early_mb:.0f} MB after a tenth of them"
    )
    return 0


def processor() -> str:
    """Return the name of the processor, as this system has it."""
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or "unknown processor"


def _print_progress(text: str) -> None:
    print(text, file=sys.stderr)
