"""`lampworks bench cuts`: our scene cuts beside those of other detectors, against what a person sees."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from assets.cli.bench_clips import processor
from pipeline.errors import UserError

if TYPE_CHECKING:
    from pipeline.bench.cuts import Score


def run_cuts(args: argparse.Namespace) -> int:
    """Measure and print."""
    named = os.environ.get("LAMPWORKS_RECORDINGS")
    if not named or not (Path(named) / "videos").is_dir():
        shown = f"{named!r} holds no folder `videos`" if named else "the recordings are not named"
        raise UserError(f"{shown}: set LAMPWORKS_RECORDINGS to the folder that holds `videos`")
    from models.cuts import choose_cut_detector
    from pipeline.bench.cuts import TOLERANCE_S, bench_cuts
    from pipeline.config import ClipConfig

    try:
        network = choose_cut_detector(ClipConfig(cut_detector="transnetv2"))
    except UserError as exc:
        print(f"without TransNetV2: {exc}", file=sys.stderr)
        network = None
    found = bench_cuts(Path(named), args.held_out, network, _print_progress)
    if args.json:
        rates = [{"precision": one.precision, "recall": one.recall, "f1": one.f1} for one in found]
        print(json.dumps([vars(one) | rate for one, rate in zip(found, rates, strict=True)]))
        return 0
    first = found[0]
    print(
        f"{first.found + first.missed} cuts in {first.recordings} recordings, found within {TOLERANCE_S} s, "
        f"{platform.machine()} ({processor()}):"
    )
    print(f"  {'':30}  precision  recall    F1  95 % interval  found wrong missed  CPU-s a minute")
    for one in found:
        print(_line(one))
    return 0


def _line(one: Score) -> str:
    low, high = one.interval
    return (
        f"  {one.detector:30}  {one.precision:9.2f}  {one.recall:6.2f}  {one.f1:4.2f}  {low:6.2f} to {high:.2f}  "
        f"{one.found:5} {one.wrong:5} {one.missed:6}  {one.cpu_s_per_minute:14.2f}"
    )


def _print_progress(text: str) -> None:
    print(text, file=sys.stderr)
