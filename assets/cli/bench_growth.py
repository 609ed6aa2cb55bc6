"""`lampworks bench growth`: how time and memory of the steps over a whole store grow with its size."""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import os
import platform
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec

from assets.cli.bench_clips import processor
from pipeline.bench.measure import Cost, slope
from pipeline.errors import UserError

_VIDEOS, _CLIPS_A_VIDEO = 16_000, 5
_LEAST = 1600
_SHARES = (16, 4, 1)
_BYTES_A_VIDEO, _BYTES_A_CLIP = 1200, 500  # on disk
LIMIT_MB = 1000
"""Memory that `status` and the sensor may take at any size, imports included."""
_BOUNDED = ("sensor", "status")
_WORSE, _LEAST_CPU_S, _LEAST_MB = 1.2, 1.0, 100.0
"""A step grows worse than linearly from this exponent on, where it takes enough for the exponent to mean anything."""
P = ParamSpec("P")


@dataclass(frozen=True)
class Growth:
    """One step at several sizes."""

    name: str
    costs: tuple[Cost, ...]
    """At each size, from small to large."""
    cpu_exponent: float
    """CPU-seconds grow as clips to the power of it, over the last two sizes."""
    memory_exponent: float
    """The same of the peak memory above the imports."""

    @property
    def worse(self) -> tuple[str, ...]:
        """What of it grows worse than linearly: `time`, `memory`, both or neither."""
        last = self.costs[-1]
        found = (
            ("time", self.cpu_exponent, last.cpu_s >= _LEAST_CPU_S),
            ("memory", self.memory_exponent, last.above_mb >= _LEAST_MB),
        )
        return tuple(what for what, exponent, enough in found if enough and exponent >= _WORSE)


def add_options(bench: argparse.ArgumentParser) -> None:
    """Add the option that only `growth` has."""
    bench.add_argument(
        "--step", action="append", metavar="NAME", help="of growth: a step to measure; again for more (all by default)"
    )


def run_growth(args: argparse.Namespace) -> int:
    """Measure and print; 1 where `status` or the sensor takes more memory than it may."""
    from assets.cli.growth_stages import DUPLICATES, LOADER, STAGES

    videos = _VIDEOS if args.videos is None else args.videos
    clips = _CLIPS_A_VIDEO * videos if args.clips is None else args.clips
    for name, value in (("videos", videos), ("clips", clips)):
        if value < _LEAST:
            raise UserError(f"--{name} = {value}: must be at least {_LEAST}")
    every = [*STAGES, LOADER, DUPLICATES]
    chosen = args.step or every
    if unknown := [name for name in chosen if name not in every]:
        raise UserError(f"--step {unknown[0]!r}: choose one of {', '.join(every)}")
    found, sizes = bench_growth(videos, clips, [name for name in every if name in chosen], _print_progress)
    over = [step.name for step in found if step.name in _BOUNDED and step.costs[-1].peak_mb > LIMIT_MB]
    if args.json:
        print(json.dumps(_as_json(found, sizes, over)))
    else:
        _print(found, sizes, over)
    return 1 if over else 0


def bench_growth(
    videos: int, clips: int, steps: Sequence[str], on_progress: Callable[[str], None]
) -> tuple[list[Growth], list[tuple[int, int]]]:
    """Measure steps at a sixteenth, a quarter and all of a size; each in a process of its own.

    Args:
        videos: of the largest store.
        clips: of the largest store.
        steps: names of steps, in the order of `growth_stages`. Those that a later one needs are done, too.
        on_progress: called with a line per size and step.

    Returns:
        The steps, and the sizes (videos, clips).

    Raises:
        UserError: the disk has no room for the store.
    """
    from assets.cli.growth_stages import NEEDS, STAGES, fill_root, measure_stage

    with tempfile.TemporaryDirectory(prefix="lampworks-growth-") as folder:
        needed = _BYTES_A_VIDEO * videos + _BYTES_A_CLIP * clips
        if (free := shutil.disk_usage(folder).free) < needed:
            raise UserError(
                f"--videos = {videos}, --clips = {clips}: the store takes {needed / 1e9:.1f} GB and {folder} has "
                f"{free / 1e9:.1f} GB free; name another folder by TMPDIR, or smaller numbers"
            )
        sizes = [(videos // share, clips // share) for share in _SHARES]
        wanted = {*steps, *(other for name in steps for other in NEEDS.get(name, ()))}
        on_store = [name for name in STAGES if name in wanted]
        costs: dict[str, list[Cost]] = {name: [] for name in steps}
        for number, (size, of_clips) in enumerate(sizes):
            root = Path(folder) / f"root-{number}"
            root.mkdir()
            on_progress(f"{size:,} videos, {of_clips:,} clips")
            if on_store:
                made = _apart(fill_root, str(root), size, of_clips)
                on_progress(f"  {'made-up rows':<16}{made.cpu_s:9.1f} CPU-s")
            for name in [*on_store, *(name for name in steps if name not in STAGES)]:
                cost = _apart(measure_stage, name, str(root), of_clips)
                on_progress(f"  {name:<16}{cost.cpu_s:9.1f} CPU-s {cost.peak_mb:8.0f} MB")
                if name in costs:
                    costs[name].append(cost)
            shutil.rmtree(root)
        growths = []
        for name, measured in costs.items():
            of = [clips for _, clips in sizes]
            growths.append(
                Growth(
                    name,
                    tuple(measured),
                    slope(of, [cost.cpu_s for cost in measured]),
                    slope(of, [cost.above_mb for cost in measured]),
                )
            )
        return growths, sizes


def _apart(call: Callable[P, Cost], *args: P.args, **kwargs: P.kwargs) -> Cost:
    """Call a function in a fresh process that has imported what it needs, and no more."""
    # of a server without threads, which no step has run in
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["assets.cli.growth_stages"])
    with ProcessPoolExecutor(1, context, initializer=_end_with_bench) as pool:
        return pool.submit(call, *args, **kwargs).result()


def _end_with_bench() -> None:
    """Have this process of a step end with the bench: a step of hours would go on where that is killed.

    Its server goes on as long as a step does, so the death of its parent says nothing.
    """
    bench = multiprocessing.parent_process()
    assert bench is not None

    def watch() -> None:
        bench.join()
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def _as_json(found: list[Growth], sizes: list[tuple[int, int]], over: list[str]) -> dict[str, Any]:
    steps = [dataclasses.asdict(step) | {"worse_than_linear": step.worse} for step in found]
    return {
        "machine": processor(),
        "sizes": [{"videos": videos, "clips": clips} for videos, clips in sizes],
        "steps": steps,
        "limit_mb": LIMIT_MB,
        "over_limit": over,
    }


def _print(found: list[Growth], sizes: list[tuple[int, int]], over: list[str]) -> None:
    print(f"made-up rows, {processor()}, {platform.machine()}; CPU-seconds and the peak memory of a process (MB)")
    print("  videos / clips  " + "".join(f"{f'{videos:,} / {clips:,}':>24}" for videos, clips in sizes) + "   exponent")
    print("  step            " + f"{'CPU-s':>10}{'MB':>8}{'+ MB':>6}" * len(sizes) + "   CPU  + MB")
    for step in found:
        cells = "".join(f"{cost.cpu_s:10.1f}{cost.peak_mb:8.0f}{cost.above_mb:6.0f}" for cost in step.costs)
        print(f"  {step.name:<16}{cells}  {step.cpu_exponent:4.2f}  {step.memory_exponent:4.2f}")
    print("  + MB: above what the imports take; exponent: of clips, over the last two sizes (1 is linear)")
    worse = [f"{step.name} ({' and '.join(step.worse)})" for step in found if step.worse]
    print(f"worse than linear: {', '.join(worse) or 'no step'}")
    for step in found:
        if step.name in _BOUNDED:
            verdict = "MORE THAN" if step.name in over else "within"
            print(f"{step.name}: {step.costs[-1].peak_mb:.0f} MB, {verdict} the limit of {LIMIT_MB} MB")


def _print_progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
