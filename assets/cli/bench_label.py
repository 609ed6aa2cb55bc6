"""`lampworks bench label`: how fast the labelling page shows the next clip and its queue answers, with the limits."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from assets.cli.bench_clips import processor
from pipeline.errors import UserError

if TYPE_CHECKING:
    from classifier.labels.page_bench import Times

_CLIPS, _LABELS = 10_000, 100


def add_options(bench: argparse.ArgumentParser) -> None:
    """Add the options that only `label` has."""
    bench.add_argument("--labels", type=int, default=_LABELS, metavar="N", help="of label: clips to rate (100)")


def run_label_page(args: argparse.Namespace) -> int:
    """Measure and print."""
    from classifier.labels.page_bench import (
        KEY_MEDIAN_MS,
        KEY_P95_MS,
        QUEUE_MS,
        measure_answers,
        measure_keys,
        write_made_up_root,
    )
    from pipeline.bench.browser import why_no_browser

    clips = _CLIPS if args.clips is None else args.clips
    for name, value, least in (("labels", args.labels, 1), ("clips", clips, 100)):
        if value < least:
            raise UserError(f"--{name} = {value}: must be at least {least}")
    if args.labels > clips // 2:
        raise UserError(f"--labels = {args.labels}: must be at most half of --clips = {clips}")
    missing = why_no_browser()
    with tempfile.TemporaryDirectory(prefix="lampworks-bench-") as folder:
        root = Path(folder) / "root"
        _print_progress(f"making up a queue of {clips:,} clips, half of them rated")
        write_made_up_root(root, clips)
        with _served(root) as url:
            answers = measure_answers(url, clips)
            keys = None if missing else measure_keys(url, args.labels, _print_progress)
    if args.json:
        found = {
            "clips": clips,
            "answers": {path: dataclasses.asdict(times) for path, times in answers.items()},
            "keys": keys and dataclasses.asdict(keys),
            "keys_missing": missing,
            "load": os.getloadavg()[0],
            "limits_ms": {"answer": QUEUE_MS, "key_median": KEY_MEDIAN_MS, "key_p95": KEY_P95_MS},
        }
        print(json.dumps(found))
        return 0
    _print(clips, answers, keys, missing)
    return 0


def _print(clips: int, answers: dict[str, Times], keys: Times | None, missing: str | None) -> None:
    from classifier.labels.page_bench import KEY_MEDIAN_MS, KEY_P95_MS, QUEUE_MS

    load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    print(f"a queue of {clips:,} clips, half of them rated ({processor()}, {cores} cores, load {load:.1f}):")
    for path, times in answers.items():
        print(f"  {path:18} {times.median_ms:6.1f} ms median, {times.p95_ms:.1f} p95  limit {QUEUE_MS:.0f} ms")
    print("from a key to the first frame of the next clip")
    if keys is None:
        print(f"  not measured: {missing}")
        return
    print(f"  median of {keys.count:<8} {keys.median_ms:6.1f} ms  limit {KEY_MEDIAN_MS:.0f} ms")
    print(f"  95th percentile    {keys.p95_ms:6.1f} ms  limit {KEY_P95_MS:.0f} ms")
    print(f"  slowest            {keys.worst_ms:6.1f} ms")


@contextmanager
def _served(root: Path) -> Iterator[str]:
    """Serve the page of a root as `lampworks label` does, in a process of its own; yield its address."""
    command = [sys.executable, "-m", "assets.cli.main", "label", "--root", str(root), "--annotator", "bench"]
    with subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            found = re.search(r"http://\S+", line)
            if found is None:
                raise UserError(f"the labelling page does not start: {line.strip() or 'see above'}")
            yield found[0]
        finally:
            server.terminate()


def _print_progress(text: str) -> None:
    print(text, file=sys.stderr)
