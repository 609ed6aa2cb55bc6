"""`lampworks bench training`: what a training costs beside its forward, backward and optimizer."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from assets.cli.bench_clips import processor
from pipeline.errors import UserError

_OVERHEAD = {"cc-small": (0.05, 4), "demo": (0.08, 60)}
"""By preset: the largest share that is aimed at, and the steps that are measured."""
_BLOCKED_S, _MEMORY_STEPS, _RANK_STEPS, _OPTIMIZER_STEPS = 1.0, 10_000, 20, 150


def add_options(bench: argparse.ArgumentParser) -> None:
    """Add the options that only `training` has."""
    bench.add_argument(
        "--millions",
        type=int,
        default=200,
        metavar="N",
        help="of training: parameters of the network whose checkpoint is saved, in millions (200: 5 GB of memory)",
    )


def run_training(args: argparse.Namespace) -> int:
    """Measure and print."""
    chosen = args.task or list(_TASKS)
    for task in chosen:
        if task not in _TASKS:
            raise UserError(f"--task {task}: choose one of {', '.join(_TASKS)}")
    for name in ("millions", "rounds", "steps"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise UserError(f"--{name} = {value}: must be at least 1")
    found: dict[str, Any] = {"processor": processor()}
    print(found["processor"], file=sys.stderr if args.json else sys.stdout, flush=True)
    for task in chosen:
        found[task], lines = _TASKS[task](args)
        print(*lines, sep="\n", file=sys.stderr if args.json else sys.stdout, flush=True)
    if args.json:
        print(json.dumps(found))
    return 0


def _overhead(args: argparse.Namespace) -> tuple[Any, list[str]]:
    from models.bench.overhead import bench_overhead

    lines = ["overhead: the share of a step that is neither forward, nor backward, nor optimizer (one CPU thread)"]
    rows = []
    for name, (aim, steps) in _OVERHEAD.items():
        for row in bench_overhead(name, args.steps or steps):
            rows.append(dataclasses.asdict(row) | {"share": row.share, "aim": aim})
            lines.append(
                f"  {name:<9}{row.training:<10}{1000 * row.step_s:9.1f} ms a step of {row.batch}: passes "
                f"{1000 * row.passes_s:.1f}, optimizer {1000 * row.optimizer_s:.1f}, rest {row.share:.1%} "
                f"(aim {aim:.0%})"
            )
    return rows, lines


def _checkpoint(args: argparse.Namespace) -> tuple[Any, list[str]]:
    from models.bench.saving import bench_saving

    found = bench_saving(args.millions, args.rounds)
    lines = [
        f"checkpoint: {found.parameters / 1e6:.0f} million parameters with two moments, {found.bytes / 1e9:.2f} GB",
        f"  blocks a step for     {found.blocked_s:7.2f} s (aim {_BLOCKED_S:g} s), {found.blocked_cpu_s:.2f} CPU-s; "
        f"the first one {found.first_s:.2f} s",
        f"  is written after      {found.written_s:7.2f} s",
    ]
    return dataclasses.asdict(found), lines


def _memory(args: argparse.Namespace) -> tuple[Any, list[str]]:
    from models.bench.memory import bench_memory

    found = bench_memory(args.steps or _MEMORY_STEPS)
    lines = [
        f"memory: a tiny world over {found.steps[-1]:,} steps, with checkpoints and event files",
        "  after steps  " + "".join(f"{step:>8,}" for step in found.steps[:: max(1, len(found.steps) // 5)]),
        "  MB           " + "".join(f"{mb:8.1f}" for mb in found.mb[:: max(1, len(found.mb) // 5)]),
        f"  grew by {found.growth_mb:.1f} MB from the second fifth of the steps to the last",
    ]
    return dataclasses.asdict(found) | {"growth_mb": found.growth_mb}, lines


def _ranks(args: argparse.Namespace) -> tuple[Any, list[str]]:
    from models.bench.ranks import bench_ranks

    rows = bench_ranks(args.steps or _RANK_STEPS, args.rounds)
    lines = ["ranks: the demo's steps in one process and in two, one thread each, the same batch, by turns"]
    for row in rows:
        far = max(abs(one - two) for one, two in zip(row.alone.losses, row.together.losses, strict=True))
        lines.append(
            f"  CPU-s a step  {row.alone.cpu_s:.3f} alone, {row.together.cpu_s:.3f} in two: efficiency "
            f"{row.of_cpu:.2f}; seconds {row.alone.wall_s:.3f} and {row.together.wall_s:.3f}: {row.of_time:.2f}; "
            f"losses differ by {far:.1g} at most"
        )
    return [dataclasses.asdict(row) | {"of_cpu": row.of_cpu, "of_time": row.of_time} for row in rows], lines


def _optimizers(args: argparse.Namespace) -> tuple[Any, list[str]]:
    from models.bench.optimizers import ALGORITHMS, bench_optimizers, difference

    steps = args.steps or _OPTIMIZER_STEPS
    rows = bench_optimizers(steps, range(args.rounds))
    lines = [f"optimizers: the demo's dynamics after {steps} steps from the same seeds, on held-out levels"]
    for name in ALGORITHMS:
        own = [row for row in rows if row.algorithm == name]
        losses = ", ".join(f"{row.cross_entropy:.4f}" for row in own)
        right = ", ".join(f"{row.changed_right:.3f}" for row in own)
        cost = sum(row.cpu_s for row in own) / len(own)
        lines.append(f"  {name:<6} {losses} nat a token; changed tokens right {right}; {cost:.3f} CPU-s a step")
    by_figure = {figure: difference(rows, figure) for figure in ("cross_entropy", "changed_right")}
    for figure, found in by_figure.items():
        interval = "" if found.low is None else f" [{found.low:+.4f}, {found.high:+.4f}], 95 % by seed"
        lines.append(f"  muon less adamw, {figure.replace('_', ' ')}: {found.mean:+.4f}{interval}")
    differences = {figure: dataclasses.asdict(found) for figure, found in by_figure.items()}
    return {"rows": [dataclasses.asdict(row) for row in rows], "muon_less_adamw": differences}, lines


_TASKS: Mapping[str, Callable[[argparse.Namespace], tuple[Any, list[str]]]] = {
    "overhead": _overhead,
    "checkpoint": _checkpoint,
    "memory": _memory,
    "ranks": _ranks,
    "optimizers": _optimizers,
}
