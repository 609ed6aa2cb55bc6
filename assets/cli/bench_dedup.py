"""`lampworks bench dedup`: the search for copies, of a root's clips or of many made-up ones."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

from assets.cli.options import bench_settings
from pipeline.errors import UserError
from pipeline.outside import shown_text

_CLIPS = 5_000_000
_LEAST = 1600
_SHOWN = 20


def run_dedup(args: argparse.Namespace) -> int:
    """Measure and print: of `--root` if it is given, else of made-up clips."""
    if args.root is not None:
        return _of_root(args)
    clips = _CLIPS if args.clips is None else args.clips
    if clips < _LEAST:
        raise UserError(f"--clips = {clips}: must be at least {_LEAST}")
    return _made_up(args, clips)


def _made_up(args: argparse.Namespace, clips: int) -> int:
    from pipeline.bench.copies import bench_copies

    found = bench_copies(clips, Path(tempfile.gettempdir()), lambda text: print(text, file=sys.stderr))
    slopes = {name: round(found.slope(name), 2) for name in ("cpu_s", "memory_mb")}
    if args.json:
        runs = [vars(run) | {"verified_share": run.verified_share} for run in found.runs]
        print(json.dumps({"runs": runs, "slopes": slopes}))
        return 0
    print(f"made-up clips, 6 % of the videos copies, 25 % of one screen; one thread, {platform.machine()}:")
    print("       clips        s    CPU-s  ms/clip  memory MB  resident MB   disk MB")
    for run in found.runs:
        each = 1000 * run.cpu_s / run.clips
        print(
            f"  {run.clips:10,} {run.seconds:8.1f} {run.cpu_s:8.1f} {each:8.2f} {run.memory_mb:10.0f} "
            f"{run.resident_mb:12.0f} {run.disk_mb:9.0f}"
        )
    last = found.runs[-1]
    print(f"  slope: CPU time grows as clips^{slopes['cpu_s']}, memory as clips^{slopes['memory_mb']} (1 is linear)")
    print(f"  copies     {last.found:,} of {last.planted:,} found, {last.wrong:,} clips called copies of others")
    print(f"  verified   {last.proven:,} of {last.tried:,} compared pairs ({100 * last.verified_share:.1f} %)")
    print(f"  look-alikes kept  {last.look_alikes:,}")
    return 0


def _of_root(args: argparse.Namespace) -> int:
    from pipeline.bench.copies import search_root

    settings = bench_settings(args)
    found = search_root(settings.store, settings.config)
    if args.json:
        print(json.dumps(found))
        return 0
    counts, groups = found["counts"], found["groups"]
    print(f"{counts['clips']} clips, compared in {found['seconds']:.1f} s ({found['cpu_s']:.1f} CPU-s):")
    print(f"  groups       {counts['groups']} of two clips and more, the largest of {counts['largest']}")
    copies = f"{counts['mirrored']} mirrored, {counts['shifted']} shifted"
    print(f"  verified     {counts['copies']} copies ({copies}); {found['proven']} of {found['tried']} compared pairs")
    print(f"  look-alikes  {counts['look_alikes']} clips, kept")
    for line in [*map(_group, groups[:_SHOWN]), *_more(groups)]:
        print(f"  {shown_text(line)}")
    for pair in found["look_alikes"][:_SHOWN]:
        print(f"  {shown_text(pair['clip_id'])} looks like {shown_text(pair['similar_to'])}")
    for line in _more(found["look_alikes"]):
        print(f"  {line}")
    return 0


def _group(group: dict[str, Any]) -> str:
    members = ", ".join(
        f"{copy['clip_id']} ({copy['shift_ms'] / 1000:+g} s{', mirrored' if copy['mirrored'] else ''})"
        for copy in group["copies"]
    )
    return f"{group['representative']} represents {members}"


def _more(items: list[Any]) -> list[str]:
    return [f"and {len(items) - _SHOWN} more (--json lists all)"] if len(items) > _SHOWN else []
