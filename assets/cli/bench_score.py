"""`lampworks bench score`: what scoring costs beside the network alone."""

from __future__ import annotations

import argparse
import json
import platform
import sys

from assets.cli.bench_clips import processor
from assets.cli.options import bench_settings
from pipeline.config import Config
from pipeline.errors import UserError

_CLIPS = 64


def run_score(args: argparse.Namespace) -> int:
    """Measure and print: of `--root` if it is given, else of made-up clips."""
    clips = _CLIPS if args.clips is None else args.clips
    for name, value in (("clips", clips), ("rounds", args.rounds)):
        if value < 1:
            raise UserError(f"--{name} = {value}: must be at least 1")
    settings = None if args.root is None else bench_settings(args)
    from classifier.decision.bench_scoring import LIMIT, bench_scoring

    config = Config() if settings is None else settings.config
    store = None if settings is None else settings.store
    found = bench_scoring(store, config, clips, args.rounds, lambda text: print(text, file=sys.stderr))
    if args.json:
        print(json.dumps({"limit": LIMIT, "scoring": [vars(one) | {"share": one.share} for one in found]}))
        return 0
    where = "made-up clips" if settings is None else settings.store.root
    print(f"{found[0].clips} clips of {where}, {args.rounds} rounds, {platform.machine()} ({processor()}):")
    for one in found:
        alone, whole = one.clips_per_cpu_s
        each = 1000 / whole
        print(f"  {one.kind}:")
        print(f"    alone    {alone:9.1f} clips a CPU-s  on arrays that are ready")
        print(f"    scoring  {whole:9.1f} clips a CPU-s  {each:.2f} CPU-ms a clip, {100 * one.share:.0f} % of that")
    print(f"  limit: at least {100 * LIMIT:.0f} % where pictures are computed with")
    return 0
