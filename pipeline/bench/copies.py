"""Measure the search for copies among many made-up clips: time, memory, how both grow, and what is found.

Measured is what `pipeline.clips.duplicates` does with the rows of a table (`pipeline.bench.made_up_clips` makes them).
Each size runs in a process of its own.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa

from pipeline.bench.made_up_clips import CLIPS_PER_VIDEO, STEP_MS, STEPS, Truth, make_clips
from pipeline.bench.measure import PeakMemory, slope
from pipeline.clips.duplicates import copies_among, duplicate_rows, report_of
from pipeline.clips.load_looks import gather_looks, load_looks
from pipeline.config import Config, DuplicateConfig
from pipeline.errors import UserError
from pipeline.progress import ProgressCallback
from pipeline.storage.store import Store

_BYTES_A_CLIP = 4300  # on disk
_PROGRAM = "import sys; from pipeline.bench.copies import main; main(int(sys.argv[1]), sys.argv[2])"


@dataclass(frozen=True)
class CopiesRun:
    """One size: what it cost and what was found."""

    clips: int
    seconds: float
    """Of the search: reading the rows into arrays, candidates, proof and groups; making the clips is not counted."""
    cpu_s: float
    """CPU-seconds of the search, of all threads."""
    memory_mb: float
    """Most memory that the process had of its own; pages of its files, which the system may drop, are not counted."""
    resident_mb: float
    """Most memory that was resident, with those pages."""
    disk_mb: float
    """Scratch files."""
    tried: int
    """Pairs of clips that were compared over time."""
    proven: int
    """Pairs that proved to be copies."""
    planted: int
    """Clips that are copies of others by at least half."""
    found: int
    """Of these, those that were called copies of the right clip."""
    wrong: int
    """Clips that were called copies of another clip."""
    look_alikes: int
    """Clips that only look like another."""

    @property
    def verified_share(self) -> float:
        """Share of the compared pairs that proved to be copies."""
        return self.proven / max(1, self.tried)


@dataclass(frozen=True)
class CopiesBench:
    """Several sizes, from small to large."""

    runs: list[CopiesRun]

    def slope(self, name: str) -> float:
        """Return the exponent with which a number of a run grows with the clips, over the last two sizes."""
        return slope([run.clips for run in self.runs], [getattr(run, name) for run in self.runs])


def bench_copies(clips: int, folder: Path, on_progress: ProgressCallback | None = None) -> CopiesBench:
    """Search for copies among a sixteenth, a quarter and all of so many clips.

    Args:
        clips: the largest number.
        folder: where scratch files go.
        on_progress: called with a line per size.

    Raises:
        UserError: the disk has no room for the scratch files.
    """
    free = psutil.disk_usage(str(folder)).free
    if free < _BYTES_A_CLIP * clips:
        raise UserError(
            f"--clips = {clips}: the scratch files take {_BYTES_A_CLIP * clips / 1e9:.1f} GB and {folder} has "
            f"{free / 1e9:.1f} GB free; name another folder by TMPDIR, or fewer --clips"
        )
    runs = []
    for size in (clips // 16, clips // 4, clips):
        if on_progress is not None:
            on_progress(f"{size:,} clips")
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, str(size), str(folder)], check=True, stdout=subprocess.PIPE, text=True
        )
        runs.append(CopiesRun(**json.loads(done.stdout)))
    return CopiesBench(runs)


def search_root(store: Store, config: Config) -> dict[str, Any]:
    """Search for copies among a root's clips as the near-duplicates do, and write nothing; return counts and groups."""
    start, cpu = time.monotonic(), time.process_time()
    with tempfile.TemporaryDirectory(prefix="lampworks-copies-") as scratch:
        loaded = load_looks(store, config, Path(scratch))
        found = copies_among(loaded, config.duplicates)
        rows = duplicate_rows(loaded, found)
    table = rows.sort_by("clip_id").to_pylist()
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in table:
        if not row["is_representative"]:
            copy = {name: row[name] for name in ("clip_id", "shift_ms", "mirrored", "distance")}
            groups.setdefault(row["representative"], []).append(copy)
    return {
        "counts": asdict(report_of(rows, written=False)),
        "seconds": time.monotonic() - start,
        "cpu_s": time.process_time() - cpu,
        "tried": found.tried,
        "proven": found.proven,
        "groups": [{"representative": name, "copies": copies} for name, copies in sorted(groups.items())],
        "look_alikes": [{name: row[name] for name in ("clip_id", "similar_to")} for row in table if row["similar_to"]],
    }


def main(clips: int, folder: str) -> None:
    """Run one size in this process and print it as JSON."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="lampworks-copies-") as scratch:
        sys.stdout.write(json.dumps(asdict(run_made_up(clips, Path(scratch)))))


def run_made_up(clips: int, folder: Path) -> CopiesRun:
    """Search for copies among so many made-up clips in this process; scratch files go to an empty folder."""
    truth: Truth = {}
    making = _Stopwatch()
    with PeakMemory() as peak:
        start, cpu = time.monotonic(), time.process_time()
        parts = making.around(make_clips(max(1, clips // CLIPS_PER_VIDEO), truth))
        loaded = gather_looks(parts, float(STEP_MS), folder)
        disk = sum(path.stat().st_size for path in folder.iterdir())
        found = copies_among(loaded, DuplicateConfig())
        seconds = time.monotonic() - start - making.seconds
        cpu_s = time.process_time() - cpu - making.cpu_s
    names = [str(name) for name in loaded.clips["clip_id"].to_pylist()]
    right = wrong = 0
    for clip, representative in enumerate(found.representative.tolist()):
        if representative != clip:
            if _same_footage(names[clip], names[representative], truth):
                right += 1
            else:
                wrong += 1
    return CopiesRun(
        clips=len(names),
        seconds=seconds,
        cpu_s=cpu_s,
        memory_mb=peak.own_mb,
        resident_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        disk_mb=disk / 1e6,
        tried=found.tried,
        proven=found.proven,
        planted=_planted(truth),
        found=right,
        wrong=wrong,
        look_alikes=int((found.similar_to != np.arange(len(names))).sum()),
    )


def _planted(truth: Truth) -> int:
    """Return how many clips share at least half of their time with a clip of the other video."""
    # a copy that starts later by more than half a clip has no counterpart for its last clip
    return sum(CLIPS_PER_VIDEO - (shift > STEPS // 2) for _, shift in truth.values())


def _same_footage(clip: str, other: str, truth: Truth) -> bool:
    """Tell whether two clips share at least half of their time, of the footage that they were made of."""
    places = []
    for name in (clip, other):
        video, start_ms, _ = name.split("-")
        origin, shift = truth.get(video, (video, 0))
        places.append((origin, int(start_ms) // STEP_MS + shift))
    return places[0][0] == places[1][0] and abs(places[0][1] - places[1][1]) <= STEPS // 2


# -- measuring -----------------------------------------------------------------------------------------------------


class _Stopwatch:
    """The time that an iterator takes to make its items."""

    def __init__(self) -> None:
        self.seconds = self.cpu_s = 0.0

    def around(self, items: Iterator[pa.Table]) -> Iterator[pa.Table]:
        """Yield the items, and count the time until each is there."""
        while True:
            start, cpu = time.monotonic(), time.process_time()
            item = next(items, None)
            self.seconds += time.monotonic() - start
            self.cpu_s += time.process_time() - cpu
            if item is None:
                return
            yield item
