"""`lampworks bench`: what things cost here, always beside what they are compared with, in one run."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys

from assets.cli_options import Parsers
from pipeline.errors import UserError


def add_commands(commands: Parsers) -> None:
    """Add `bench`."""
    bench = commands.add(
        "bench",
        run_bench,
        "Measure what a stage costs, side by side with a limit.",
        "acquisition: CPU-seconds of our download (fetch, verify, hash, store, ledger) beside those of bare yt-dlp, on\n"
        "small videos that are published on loopback; in turns, every process and child counted, medians compared.",
        "  lampworks bench acquisition --videos 500 --rounds 3",
        root=False,
    )
    bench.add_argument("what", choices=["acquisition"], help="what to measure")
    bench.add_argument("--videos", type=int, default=500, metavar="N", help="videos to fetch (default 500)")
    bench.add_argument("--rounds", type=int, default=3, metavar="N", help="times that each is run (default 3)")
    bench.add_argument("--json", action="store_true", help="print one JSON object")


def run_bench(args: argparse.Namespace) -> int:
    """Measure and print."""
    from pipeline.bench import bench_acquisition

    for name in ("videos", "rounds"):
        if getattr(args, name) < 1:
            raise UserError(f"--{name} = {getattr(args, name)}: must be at least 1")
    found = bench_acquisition(args.videos, args.rounds, lambda text: print(text, file=sys.stderr))
    medians = {name: statistics.median(getattr(found, name)) for name in ("bare", "download", "search")}
    if args.json:
        print(json.dumps({**vars(found), "ratio": found.ratio, "ratio_with_search": found.ratio_with_search}))
        return 0
    print(
        f"{found.videos} videos of {found.bytes / 1000:.0f} kB on loopback, {args.rounds} rounds, {platform.machine()}:"
    )
    print(
        f"  bare yt-dlp           {medians['bare']:6.2f} CPU-s  {1000 * medians['bare'] / found.videos:6.1f} ms a video"
    )
    print(f"  lampworks download    {medians['download']:6.2f} CPU-s  {found.ratio:6.2f} x bare")
    print(
        f"  with its search       {medians['download'] + medians['search']:6.2f} CPU-s  {found.ratio_with_search:6.2f} x bare"
    )
    return 0
