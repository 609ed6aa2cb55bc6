"""Measure what cutting a video costs beside decoding it with ffmpeg alone, and how much memory a worker needs.

In turns in one run, on the same film: `ffmpeg -f null` with one thread (the limit: it decodes and throws away), our
frames in memory, and our whole stage (frames, encode, measures, tar). Each is counted in CPU-seconds of its own
process; ours without the start of the interpreter, which a worker pays once for many videos.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import imageio_ffmpeg

from pipeline.progress import ProgressCallback

MEMORY_LIMIT_MB = 400
"""What a worker may hold while it cuts a video of 1080 rows."""

PARTS = {
    "encoding": ["cut_video.encode_clip"],
    "strip of frames": ["cut_video.encode_frames"],
    "scene cuts": ["features.coarse_pictures", "features.cuts_of"],
    "measurements of play": ["features.play_of"],
    "hashes and signature": ["features.look_of"],
}
"""Functions of `pipeline.clips` that a clip's time goes into, by the name of their part. What `measure` does beside the
last three is the part `other measurements`."""
_OTHER = "other measurements"

# a worker as the engine starts it: cut each file that is named, and print CPU-seconds and memory after each
_WORKER = """
import hashlib, importlib, json, sys, tempfile, time
from pathlib import Path
from pipeline.clips.cut_video import CutJob, cut_video
from pipeline.clips.decode import open_video
from pipeline.config import ClipConfig
from pipeline.storage.store import Store

def memory(field):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024

step, film, times, parts = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4])
spent = dict.fromkeys(parts, 0.0)

def timed(part, function):
    def call(*args, **kwargs):
        begun = time.process_time()
        try:
            return function(*args, **kwargs)
        finally:
            spent[part] += time.process_time() - begun
    return call

for part, functions in parts.items():
    for name in functions:
        module, function = name.split(".")
        module = importlib.import_module(f"pipeline.clips.{module}")
        setattr(module, function, timed(part, getattr(module, function)))
config = ClipConfig()
with tempfile.TemporaryDirectory() as folder:
    store = Store(Path(folder) / "root")
    store.write_blob("raw/film", film.read_bytes())
    digest = hashlib.sha256(film.read_bytes()).hexdigest()
    for number in range(times):
        start = time.process_time()
        if step == "frames":
            clips = sum(1 for _ in open_video(film, config).clips())
        else:
            job = CutJob(store, config, "bench", f"film-{number}", "raw/film", digest, folder)
            clips = cut_video(job).clipping["num_clips"]
        used = time.process_time() - start
        print(json.dumps({"cpu_s": used, "clips": clips, "mb": memory("VmRSS"), "peak_mb": memory("VmHWM"), **spent}))
"""


@dataclass(frozen=True)
class Cutting:
    """CPU-seconds for a film of one size, one value per round."""

    rows: int
    """Height of its picture."""
    seconds: int
    clips: int
    limit: list[float]
    """ffmpeg -f null, one thread."""
    frames: list[float]
    """Our frames in memory."""
    everything: list[float]
    """Our whole stage."""
    parts_ms: dict[str, list[float]] = field(default_factory=dict)
    """CPU-ms a clip of the parts of our whole stage, by name, from a process of its own per round."""

    @property
    def frames_ratio(self) -> float:
        """Frames in memory over the limit, of the medians."""
        return statistics.median(self.frames) / statistics.median(self.limit)

    @property
    def everything_ratio(self) -> float:
        """The whole stage over the limit, of the medians."""
        return statistics.median(self.everything) / statistics.median(self.limit)


@dataclass(frozen=True)
class Memory:
    """Memory of one worker process, in MB."""

    peak_mb: float
    """Peak while it cuts a film of 1080 rows."""
    videos: int
    """Small videos that a second worker cut one after the other."""
    early_mb: float
    """What it held after a tenth of them."""
    late_mb: float
    """What it held after all of them."""


def bench_cutting(rows: int, rounds: int, on_progress: ProgressCallback, seconds: int = 64) -> Cutting:
    """Cut a film of `rows` rows in turns with ffmpeg, and return what each cost."""
    with tempfile.TemporaryDirectory(prefix="lampworks-bench-") as folder:
        film = _film(Path(folder) / "film.mp4", rows, seconds)
        limit: list[float] = []
        frames: list[float] = []
        everything: list[float] = []
        parts_ms: dict[str, list[float]] = {}
        for number in range(rounds):
            limit.append(_decode_alone(film))
            (shown,) = _worker("frames", film, 1)
            (whole,) = _worker("everything", film, 1)
            for name, cpu_s in _parts(film).items():
                parts_ms.setdefault(name, []).append(1000 * cpu_s / whole["clips"])
            frames.append(shown["cpu_s"])
            everything.append(whole["cpu_s"])
            if not whole["clips"] == shown["clips"] == seconds // 16:
                raise RuntimeError(f"{shown['clips']} and {whole['clips']} clips of {seconds} s")
            on_progress(
                f"{rows} rows, round {number + 1}: ffmpeg {limit[-1]:.2f} CPU-s, frames {frames[-1]:.2f}, "
                f"everything {everything[-1]:.2f}"
            )
        return Cutting(rows, seconds, seconds // 16, limit, frames, everything, parts_ms)


def bench_memory(videos: int, on_progress: ProgressCallback) -> Memory:
    """Return the peak of a worker at 1080 rows, and what another holds after many small videos."""
    with tempfile.TemporaryDirectory(prefix="lampworks-bench-") as folder:
        (large,) = _worker("everything", _film(Path(folder) / "large.mp4", 1080, 20), 1)
        on_progress(f"1080 rows: a worker's peak is {large['peak_mb']:.0f} MB")
        many = _worker("everything", _film(Path(folder) / "small.mp4", 144, 17), videos)
        return Memory(large["peak_mb"], videos, many[max(0, videos // 10 - 1)]["mb"], many[-1]["mb"])


def _film(path: Path, rows: int, seconds: int) -> Path:
    """Write a film at 30 FPS in which noise and shapes move, at about the bit rate of the web."""
    picture = f"testsrc2=size={rows * 16 // 9 // 2 * 2}x{rows}:rate=30:duration={seconds}"
    kilobits = max(150, rows * rows // 160)
    coding = ("-c:v", "libx264", "-preset", "veryfast", "-b:v", f"{kilobits}k", "-pix_fmt", "yuv420p")
    _ffmpeg("-f", "lavfi", "-i", picture, "-vf", "noise=alls=8:allf=t", *coding, "-g", "60", str(path))
    return path


def _ffmpeg(*arguments: str) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-nostdin", *arguments]
    subprocess.run(command, check=True)


def _decode_alone(film: Path) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _ffmpeg("-threads", "1", "-i", str(film), "-an", "-f", "null", "-")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _parts(film: Path) -> dict[str, float]:
    """Return the CPU-seconds of each part of cutting a film; wrapped functions cost microseconds a call."""
    whole = "measure"
    (found,) = _worker("everything", film, 1, PARTS | {whole: ["cut_video.measure"]})
    inside = [name for name, functions in PARTS.items() if any(each.startswith("features.") for each in functions)]
    parts = {name: found[name] for name in PARTS}
    return parts | {_OTHER: found[whole] - sum(parts[name] for name in inside)}


def _worker(
    step: str, film: Path, times: int, parts: Mapping[str, Sequence[str]] | None = None
) -> list[dict[str, float]]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", _WORKER, step, str(film), str(times), json.dumps(parts or {})]
    done = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE)
    return [json.loads(line) for line in done.stdout.splitlines()]
