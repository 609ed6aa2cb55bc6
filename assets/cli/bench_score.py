"""`lampworks bench score`: what scoring costs beside the forward passes alone."""

from __future__ import annotations

import argparse
import json
import platform
import sys

from assets.cli.bench_clips import processor
from assets.cli.options import bench_settings
from pipeline.config import Config
from pipeline.config.demo import demo
from pipeline.errors import UserError

_CLIPS = 128


def run_score(args: argparse.Namespace) -> int:
    """Measure and print: of `--root` if it is given, else of made-up clips; exit code 1 where one is below the limit.

    Of made-up clips, the sizes by default and those of the demo are measured.
    """
    clips = _CLIPS if args.clips is None else args.clips
    for name, value in (("clips", clips), ("rounds", args.rounds)):
        if value < 1:
            raise UserError(f"--{name} = {value}: must be at least 1")
    settings = None if args.root is None else bench_settings(args)
    from classifier.decision.bench_scoring import LIMITED_FROM_MS, bench_network, bench_scoring

    def said(text: str) -> None:
        print(text, file=sys.stderr)

    if settings is None:
        found = [*bench_scoring(None, Config(), clips, args.rounds, said)]
        found.append(bench_network(demo(), clips, args.rounds, said))
    else:
        found = bench_scoring(settings.store, settings.config, clips, args.rounds, said)
    code = 0 if all(one.passes for one in found) else 1
    if args.json:
        shares = [vars(one) | {"share": one.share, "limit": one.limit, "passes": one.passes} for one in found]
        print(json.dumps({"scoring": shares}))
        return code
    where = "made-up clips" if settings is None else f"clips of {settings.store.root}"
    print(f"scoring a batch of {where} beside the forward passes on the same arrays in memory,")
    print(f"medians of {args.rounds} rounds in turns, {platform.machine()} ({processor()}):")
    for one in found:
        alone, whole = one.clips_per_cpu_s
        print(f"  {one.kind}, {one.clips:,} clips:")
        print(f"    forward  {alone:9.1f} clips a CPU-s  {1000 / alone:.3f} CPU-ms a clip")
        print(f"    scoring  {whole:9.1f} clips a CPU-s  {1000 / whole:.3f} CPU-ms a clip")
        short = f"no limit under {LIMITED_FROM_MS:.0f} CPU-ms a clip"
        verdict = "" if one.passes else ": BELOW THE LIMIT"
        limit = short if one.limit is None else f"limit {100 * one.limit:.0f} %{verdict}"
        print(f"    forward / scoring  {100 * one.share:.0f} %, {limit}")
    return code
