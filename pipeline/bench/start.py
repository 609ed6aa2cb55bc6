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

import pyarrow as pa

from pipeline.progress import Progress, ProgressCallback
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
    with tempfile.TemporaryDirectory(prefix="lampworks-bench-") as folder, _server(media.read_bytes()) as server:
        store = Store(Path(folder) / "root")
        attempts = fill(store, videos - batch, rounds, on_progress)
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


def _names(start: int, size: int) -> list[str]:
    return [f"{index:011d}" for index in range(start, start + size)]


def _batches(start: int, size: int) -> list[str]:
    return batches_of(range(start, start + size))


def _videos(start: int, size: int) -> pa.Table:
    names = _names(start, size)
    columns: dict[str, Any] = {
        "video_id": [f"youtube-{name}" for name in names],
        "source": ["youtube"] * size,
        "extractor": ["youtube"] * size,
        "native_id": names,
        "url": [f"https://www.youtube.com/watch?v={name}" for name in names],
        "title": [f"Platformer speedrun {name}" for name in names],
        "description": [f"{_DESCRIPTION}{name}" for name in names],
        "channel_id": [f"UC{index % 50_000}" for index in range(start, start + size)],
        "duration_s": [600.0] * size,
        "queries": [["platformer speedrun"]] * size,
        "verdict": ["kept"] * size,
        "rule": ["kept:platformer+speedrun"] * size,
        "batch": _batches(start, size),
    }
    return table_of("videos", size, columns)


def _attempts(start: int, size: int, number: int, last: bool, began: datetime) -> pa.Table:
    names = _names(start, size)
    ok = [last and index % 10 > 0 for index in range(size)]
    times = [began + timedelta(days=7 * number, seconds=index) for index in range(start, start + size)]
    columns: dict[str, Any] = {
        "attempt_id": [f"{number}-{name}" for name in names],
        "video_id": [f"youtube-{name}" for name in names],
        "batch": _batches(start, size),
        "attempt": [number + 1] * size,
        "state": ["ok" if good else "failed" if last else "pending" for good in ok],
        "error_class": [None if good else "transient" for good in ok],
        "message": [None if good else f"HTTP Error 503 of {name}" for good, name in zip(ok, names, strict=True)],
        "started_at": times,
        "finished_at": times,
        "next_try_at": [None if last else moment + timedelta(days=1) for moment in times],
        "bytes": [7_000_000 if good else None for good in ok],
        "sha256": [f"{index:064x}" if good else None for index, good in enumerate(ok, start)],
        "path": [f"raw/{name}.mp4" if good else None for good, name in zip(ok, names, strict=True)],
        "site": ["youtube"] * size,
    }
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
