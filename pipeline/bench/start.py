"""Measure how soon a batch starts in a full store: seconds to its first request, and memory.

A store of a million videos and three million attempts is made of rows alone (nothing is downloaded for them), as it
would grow: searches add videos by the thousand, and rounds of attempts follow each other over months. One batch is
real: a file on loopback under 250 names. Measured is the process that downloads it, from the start of its interpreter
to the first request at the server.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.progress import Progress, ProgressCallback
from pipeline.storage.arrow import Column, pc
from pipeline.storage.schemas import SCHEMAS
from pipeline.storage.store import Store

BATCH = "2026w52-0001"
_STEP = 100_000
_DESCRIPTION = "A playthrough of all levels, recorded without commentary. " * 10
_PROGRAM = """
import json, resource, sys
from pipeline.config import Config, DownloadConfig, SourceConfig
from pipeline.download.batch import download_batch
from pipeline.job import BatchJob
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
root, batch = sys.argv[1:]
store = Store(root)
config = Config(
    source=SourceConfig(spec="urls:/unused", allow_private=True),
    download=DownloadConfig(workers=4, host_workers=4, min_free_gb=0.0)
)
report = download_batch(BatchJob(store, config, home_of(store), batch=batch))
# not ru_maxrss of this process: it begins with what its parent held
own = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
peaks = [own / 1024, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024]
print(json.dumps({"ok": report.ok, "pending": report.pending, "failed": report.failed, "peaks_mb": peaks}))
"""


@dataclass(frozen=True)
class Start:
    """How a batch started."""

    videos: int
    """Rows of `videos`."""
    attempts: int
    """Rows of `downloads` before the batch."""
    ok: int
    """Videos of the batch that were downloaded; all of them where nothing went wrong."""
    first_request_s: float
    """From the start of the interpreter to the first request."""
    parent_mb: float
    """Peak memory of the downloading process, in MB."""
    child_mb: float
    """Peak memory of its largest worker, in MB."""


def bench_start(
    media: Path, videos: int = 1_000_000, rounds: int = 3, batch: int = 250, on_progress: ProgressCallback | None = None
) -> Start:
    """Fill a store with rows, then download one batch of it.

    Args:
        media: a real video.
        videos: rows of `videos`.
        rounds: attempts at each of them.
        batch: real videos of the batch.
        on_progress: called with lines of progress.
    """
    with tempfile.TemporaryDirectory(prefix="lampworks-bench-") as folder:
        store = Store(Path(folder) / "root")
        attempts = fill(store, videos - batch, rounds, on_progress)
        return start_batch(store, media, videos, attempts, batch)


def start_batch(store: Store, media: Path, videos: int, attempts: int, batch: int = 250) -> Start:
    """Add a batch of real videos to a store that `fill` has filled, and download it.

    Args:
        store: the store.
        media: a real video.
        videos: rows of `videos`, with those of the batch.
        attempts: rows of `downloads`.
        batch: real videos of the batch.

    Raises:
        RuntimeError: no video of the batch was asked for.
    """
    with _server(media.read_bytes()) as server:
        rows = [_real(f"{server.url}/{index}.mp4", index) for index in range(batch)]
        store.merge("videos", rows, on=["video_id"])
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        start = time.monotonic()
        command = [sys.executable, "-c", _PROGRAM, store.root, BATCH]
        done = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        report = json.loads(done.stdout.splitlines()[-1])
        if server.first is None:
            raise RuntimeError(f"the batch made no request: {report}")
        return Start(videos, attempts, report["ok"], server.first - start, *report["peaks_mb"])


def fill(store: Store, videos: int, rounds: int, on_progress: ProgressCallback | None = None) -> int:
    """Append rows of videos and rounds of attempts at them; return the number of attempts."""
    began = datetime(2026, 1, 1, tzinfo=UTC)
    attempts = 0
    with Progress("rows", total=videos * (rounds + 1), unit="rows", on_progress=on_progress) as progress:
        for start in range(0, videos, _STEP):
            size = min(_STEP, videos - start)
            store.append("videos", _videos(start, size))
            progress.advance(size)
        for number in range(rounds):
            for start in range(0, videos, _STEP):
                size = min(_STEP, videos - start)
                store.append("downloads", _attempts(start, size, number, number == rounds - 1, began))
                progress.advance(size)
                attempts += size
    return attempts


def video_ids(numbers: Iterable[int]) -> list[str]:
    """Return the ids of the made-up videos of these numbers."""
    return [f"youtube-{number:011d}" for number in numbers]


def batches_of(numbers: Iterable[int]) -> list[str]:
    """Return the batches of the made-up videos of these numbers, 250 videos each."""
    places = [number // 250 for number in numbers]
    return [f"2026w{1 + place // 100 % 50:02d}-{1 + place % 100:04d}" for place in places]


def _names(start: int, size: int) -> Column:
    return _padded(np.arange(start, start + size), 11)


def _padded(numbers: np.ndarray, width: int) -> Column:
    return pc.utf8_lpad(pa.array(numbers).cast(pa.string()), width, "0")


def _texts(*parts: str | Column) -> Column:
    """Return the texts that parts make together; a part that is no array is the same in each of them."""
    return pc.binary_join_element_wise(*parts, "")


def _hex(numbers: np.ndarray) -> Column:
    """Return numbers as the 64 digits of a hash."""
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)[(numbers[:, None] >> 4 * np.arange(15, -1, -1)) & 15]
    padded = np.pad(digits, ((0, 0), (48, 0)), constant_values=ord("0"))
    return pa.array(padded.view("S64")[:, 0]).cast(pa.string())


def _batches(start: int, size: int) -> Column:
    places = np.arange(start, start + size) // 250
    return _texts("2026w", _padded(1 + places // 100 % 50, 2), "-", _padded(1 + places % 100, 4))


def _videos(start: int, size: int) -> pa.Table:
    names = _names(start, size)
    columns: dict[str, Any] = {
        "video_id": _texts("youtube-", names),
        "source": pa.repeat("youtube", size),
        "extractor": pa.repeat("youtube", size),
        "native_id": names,
        "url": _texts("https://www.youtube.com/watch?v=", names),
        "title": _texts("Platformer speedrun ", names),
        "description": _texts(_DESCRIPTION, names),
        "channel_id": _texts("UC", pa.array(np.arange(start, start + size) % 50_000).cast(pa.string())),
        "duration_s": pa.repeat(600.0, size),
        "queries": pa.repeat(pa.scalar(["platformer speedrun"]), size),
        "verdict": pa.repeat("kept", size),
        "rule": pa.repeat("kept:platformer+speedrun", size),
        "batch": _batches(start, size),
    }
    return table_of("videos", size, columns)


def _attempts(start: int, size: int, number: int, last: bool, began: datetime) -> pa.Table:
    names, numbers = _names(start, size), np.arange(start, start + size)
    good = pa.array((numbers - start) % 10 > 0 if last else np.zeros(size, bool))
    begun = np.datetime64((began + timedelta(days=7 * number)).replace(tzinfo=None), "us")
    times = begun + numbers.astype("timedelta64[s]")
    columns: dict[str, Any] = {
        "attempt_id": _texts(f"{number}-", names),
        "video_id": _texts("youtube-", names),
        "batch": _batches(start, size),
        "attempt": pa.repeat(number + 1, size),
        "state": pc.if_else(good, "ok", "failed" if last else "pending"),
        "error_class": pc.if_else(good, None, "transient"),
        "message": pc.if_else(good, None, _texts("HTTP Error 503 of ", names)),
        "started_at": times,
        "finished_at": times,
        "bytes": pc.if_else(good, 7_000_000, None),
        "sha256": pc.if_else(good, _hex(numbers), None),
        "path": pc.if_else(good, _texts("raw/", names, ".mp4"), None),
        "site": pa.repeat("youtube", size),
    }
    if not last:
        columns["next_try_at"] = times + np.timedelta64(1, "D")
    return table_of("downloads", size, columns)


def table_of(name: str, size: int, columns: Mapping[str, Any]) -> pa.Table:
    """Return rows of a table; a column that is not given is null."""
    schema = SCHEMAS[name]
    arrays = [
        pa.array(columns[field.name], field.type) if field.name in columns else pa.nulls(size, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _real(url: str, index: int) -> dict[str, Any]:
    return {
        "video_id": f"generic-{index:016x}",
        "source": "urls",
        "extractor": "generic",
        "url": url,
        "title": f"real {index}",
        "queries": ["bench"],
        "verdict": "kept",
        "rule": "off",
        "batch": BATCH,
    }


class _Server:
    """A file on loopback under every name, and when it was first asked for."""

    def __init__(self, body: bytes) -> None:
        self.first: float | None = None
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if server.first is None:
                    server.first = time.monotonic()
                self.send_response(200)
                self.send_header("Content-Type", "video/mp4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None: ...

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"


@contextmanager
def _server(body: bytes) -> Iterator[_Server]:
    server = _Server(body)
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()
        thread.join()
