"""Measure what loading costs: frames a CPU-second from shards, beside decoding alone, on the same clips.

All figures of a comparison are measured in turns in one run, in CPU-seconds of this process and of the workers. The
clips are recordings of the embedded platformer, 16 s of 160x90, encoded and sharded as the pipeline does.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil

from pipeline.arcade.platformer import record_platformer
from pipeline.clips.encode import encode_clip
from pipeline.clips.stored import decode_clip
from pipeline.clips.tar import TarWriter
from pipeline.config import ClipConfig
from pipeline.ids import clip_id_of
from pipeline.progress import ProgressCallback, notify
from pipeline.shards.index import write_index
from pipeline.shards.loader.clips import ShardClips
from pipeline.shards.loader.loader import WindowLoader
from pipeline.shards.loader.order import OrderSettings
from pipeline.shards.loader.source import WindowSource
from pipeline.shards.loader.workers import WorkerDecoder
from pipeline.storage.store import Store

VERSION = "bench"
ORDER = OrderSettings(seed=0, batch=8, window=16)
_TAR = f"shards/{VERSION}/train/clips-000000.tar"
_SPEC = "0a1b2c3d"
_FIRST_STEPS, _STEPS = 20, 120
_START = """
import json, sys, time
began = time.perf_counter()
from pipeline.shards.loader.clips import shard_clips
from pipeline.shards.loader.order import OrderSettings
from pipeline.shards.loader.source import WindowSource
from pipeline.storage.store import Store
imported, cpu = time.perf_counter(), time.process_time()
def mb(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name)) / 1024
imports_mb = mb("VmHWM")
with WindowSource(shard_clips(Store(sys.argv[1]), "bench", "train"), keep_clips=1, workers=1) as windows:
    listed = time.perf_counter()
    loader = windows.loader(OrderSettings(seed=0, batch=8, window=16))
    next(loader)
    done = time.perf_counter()
    clips = windows.num_clips
print(json.dumps({
    "cpu_s": time.process_time() - cpu, "imports_mb": imports_mb,
    "clips": clips, "imports_s": imported - began, "rows_s": listed - imported, "first_batch_s": done - listed,
    "peak_mb": mb("VmHWM"),
}))
"""


@dataclass(frozen=True)
class Speeds:
    """Frames a CPU-second, medians of the rounds; windows of 16 frames."""

    decode: float
    """Decoding alone; nothing is converted."""
    decode_and_convert: float
    """Every frame of every clip as RGB (`decode_clip`): the limit of a loader."""
    loader: float
    """Frames of the windows that the loader gives, with its workers."""
    share: float
    """Of the limit; the median over the rounds, each beside its own limit."""
    webdataset: float | None
    """webdataset with a naive decode of every frame by PyAV; None where it is not installed."""
    loader_windows: float
    """Windows a CPU-second."""
    late_windows: float
    """Windows a CPU-second where a clip gives one window, of which only the pictures that it needs are decoded."""
    whole_clip_windows: float
    """Windows a CPU-second where each window decodes a whole clip, as before the loader for sets beyond the cache."""


@dataclass(frozen=True)
class Resume:
    """A loader that begins in the middle of an epoch."""

    sample: int
    position_s: float
    """Until the position is found and its windows are in order."""
    first_batch_s: float
    """Until the first batch is there, the start of the workers included."""
    first_batch_cpu_s: float
    """CPU-seconds of this process for it."""
    fresh_first_batch_s: float
    """The time until the first batch at sample 0."""


def write_set(store: Store, clips: int, *, rows: int = 1) -> list[bytes]:
    """Write one tar of recordings with its index, and name it in `rows` rows of `shards`; return the clips."""
    config = ClipConfig()
    mp4s = [encode_clip(np.stack(list(record_platformer(seed, 160, fps=10))), config).mp4 for seed in range(clips)]
    buffer, entries = io.BytesIO(), []
    tar = TarWriter(buffer)
    for number, mp4 in enumerate(mp4s):
        clip_id = clip_id_of(f"bench-{number:04d}", 0, _SPEC)
        tar.add(f"{clip_id}.json", b"{}")
        entries.append({
            "clip_id": clip_id, "video_id": f"bench-{number:04d}", "offset": tar.add(f"{clip_id}.mp4", mp4),
            "size": len(mp4), "sha256": hashlib.sha256(mp4).hexdigest(), "num_frames": 160, "fps": 10.0, "cut_ms": [],
        })  # fmt: skip
    tar.close()
    store.write_blob(_TAR, buffer.getvalue())
    index, digest = write_index(store, _TAR, entries)
    row = {
        "version": VERSION, "split": "train", "path": _TAR, "samples": clips, "bytes": len(buffer.getvalue()),
        "index": index, "index_sha256": digest,
    }  # fmt: skip
    store.replace("shards", [row] * rows)
    return mp4s


def rows_of(store: Store) -> list[dict[str, Any]]:
    """Return the rows of the set."""
    return store.read("shards").to_pylist()


def bench_speeds(
    store: Store, mp4s: list[bytes], rounds: int, workers: int, on_progress: ProgressCallback | None = None
) -> Speeds:
    """Measure all speeds, in turns.

    Args:
        store: has the set that `write_set` wrote.
        mp4s: its clips.
        rounds: times that each is measured.
        workers: processes that decode.
        on_progress: called with a line per round.
    """
    frames = 160 * len(mp4s)
    found: dict[str, list[float]] = {}
    for number in range(rounds):
        tries: Mapping[str, Callable[[], tuple[float, int]]] = {
            "decode": lambda: (_cpu(lambda: _decode_all(mp4s)), frames),
            "decode_and_convert": lambda: (_cpu(lambda: _convert_all(mp4s)), frames),
            "loader": lambda: _loader(store, ORDER, workers),
            "webdataset": lambda: _webdataset(store, frames),
            "late": lambda: _loader(store, replace(ORDER, windows_per_clip=1), workers),
        }
        for name, measure in tries.items():
            seconds, count = measure()
            found.setdefault(name, []).append(count / seconds if seconds else 0.0)
        shown = ", ".join(f"{name} {values[-1]:,.0f}" for name, values in found.items())
        notify(f"round {number + 1} of {rounds}, frames a CPU-second: {shown}", on_progress)
    median = {name: statistics.median(values) for name, values in found.items()}
    shares = [ours / limit for ours, limit in zip(found["loader"], found["decode_and_convert"], strict=True)]
    return Speeds(
        decode=median["decode"],
        decode_and_convert=median["decode_and_convert"],
        loader=median["loader"],
        share=statistics.median(shares),
        webdataset=median["webdataset"] or None,
        loader_windows=median["loader"] / ORDER.window,
        late_windows=median["late"] / ORDER.window,
        whole_clip_windows=median["decode_and_convert"] / 160,
    )


def bench_resume(store: Store, sample: int, workers: int) -> Resume:
    """Measure how soon a loader gives a batch from the middle of an epoch.

    Args:
        store: has a set of more than `sample` windows.
        sample: number of the window at which it begins.
        workers: processes that decode.
    """
    with _windows(store, workers) as windows:
        loader = windows.loader(ORDER)
        loader.skip(sample // ORDER.batch)
        state = json.loads(json.dumps(loader.state()))
    times = []
    for known in (state, None):
        with _windows(store, workers) as windows:
            _ = windows.shape
            began, cpu = time.perf_counter(), time.process_time()
            loader = windows.loader(ORDER, state=known)
            positioned = time.perf_counter()
            next(loader)
            times.append((positioned - began, time.perf_counter() - began, time.process_time() - cpu))
    return Resume(sample, *times[0], times[1][1])


def bench_start(clips: int) -> dict[str, float]:
    """Measure the start of a loader over a set of so many clips, in a process of its own: seconds and memory.

    All rows of the set name one tar; what is not read at the start makes no difference to it.
    """
    with tempfile.TemporaryDirectory(prefix="lampworks-bench-") as folder:
        store = Store(Path(folder) / "root")
        write_set(store, 16)
        [row] = rows_of(store)
        index, digest = write_index(store, "shards/bench/train/many.tar", _repeated(store, row))
        full = row | {"samples": 512, "index": index, "index_sha256": digest}
        store.replace("shards", [full] * -(-clips // 512))
        command = [sys.executable, "-c", _START, store.root]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, timeout=600)
        return dict(json.loads(done.stdout.splitlines()[-1]))


def _repeated(store: Store, row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the index of a tar of 512 samples, of which the bytes are those of 16 clips."""
    from pipeline.shards.index import read_index

    entries = read_index(store, row).to_pylist()
    return [
        entries[number % len(entries)] | {"clip_id": clip_id_of(f"bench-{number:04d}", 0, _SPEC)}
        for number in range(512)
    ]


@contextmanager
def _windows(store: Store, workers: int) -> Iterator[WindowSource]:
    with WindowSource(ShardClips(store, rows_of(store)), keep_clips=1, workers=workers) as windows:
        yield windows


def _cpu(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


def _decode_all(mp4s: list[bytes]) -> None:
    for mp4 in mp4s:
        with av.open(io.BytesIO(mp4)) as container:
            container.streams.video[0].codec_context.thread_count = 1
            for _ in container.decode(container.streams.video[0]):
                pass


def _convert_all(mp4s: list[bytes]) -> None:
    for mp4 in mp4s:
        decode_clip(mp4)


def _loader(store: Store, order: OrderSettings, workers: int) -> tuple[float, int]:
    """Return CPU-seconds of the loader with its workers, and the frames that it gave; the start is not counted."""
    with _windows(store, workers) as windows:
        loader = windows.loader(order)
        for _ in range(_FIRST_STEPS):
            next(loader)
        began = _cpu_with_workers(loader)
        for _ in range(_STEPS):
            next(loader)
        return _cpu_with_workers(loader) - began, _STEPS * order.batch * order.window


def _cpu_with_workers(loader: WindowLoader) -> float:
    decoder = loader.decoder
    assert isinstance(decoder, WorkerDecoder)
    times = [psutil.Process(pid).cpu_times() for pid in decoder.pids]
    return time.process_time() + sum(spent.user + spent.system for spent in times)


def _webdataset(store: Store, frames: int) -> tuple[float, int]:
    """Return CPU-seconds of webdataset with a naive decode, and the frames; zeros where it is not installed."""
    try:
        import webdataset
    except ImportError:
        return 0.0, 0

    def decode_all() -> None:
        for sample in webdataset.WebDataset(store.url(_TAR), shardshuffle=False, empty_check=False):
            with av.open(io.BytesIO(sample["mp4"])) as container:
                np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])

    return _cpu(decode_all), frames
