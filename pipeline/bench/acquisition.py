"""Measure the CPU-seconds of our downloads beside those of bare yt-dlp, in turns in one run.

Small videos are published on loopback. In turns, bare yt-dlp (one `YoutubeDL` for all, its fastest way) and a batch of
ours fetch all of them, each in a process of its own. CPU time is counted with all children, from the start of the
interpreter to its end. Our download also verifies every file (decoded until its first picture), hashes it, stores it
and appends its row; bare yt-dlp does none of that. Both fetch one video at a time, because threads side by side on a
few cores slow each other down, which would be counted too.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from pipeline.progress import ProgressCallback

_BARE = """
import sys
from yt_dlp import YoutubeDL
folder, listed = sys.argv[1:]
options = {
    "quiet": True, "noprogress": True, "no_warnings": True, "cachedir": False,
    "paths": {"home": folder}, "outtmpl": "%(id)s.%(ext)s",
    "format": "bv*[height>=90]/b[height>=90]/bv*/b", "format_sort": ["+res:90", "+hasaud", "+size", "+br"],
}
with YoutubeDL(options) as client:
    client.download(open(listed).read().split())
"""
_OURS = """
import sys
from pathlib import Path
from pipeline.config import Config, DownloadConfig, SourceConfig
from pipeline.download.batch import download_batch
from pipeline.job import BatchJob, Job
from pipeline.storage.home import home_of
from pipeline.search.search import search_videos
from pipeline.search.batches import batches
from pipeline.storage.store import Store
step, root, listed = sys.argv[1:]
store = Store(root)
config = Config(
    source=SourceConfig(spec=f"urls:{listed}", batch_size=100_000, allow_private=True),
    download=DownloadConfig(workers=1, min_free_gb=0.0),
)
if step == "search":
    search_videos(Job(store, config, home_of(store)))
else:
    report = download_batch(BatchJob(store, config, home_of(store), batch=batches(store)[0]))
    assert report.ok == report.videos, report
"""


@dataclass(frozen=True)
class Acquisition:
    """CPU-seconds for all videos, one value per round."""

    videos: int
    bytes: int
    bare: list[float]
    """Bare yt-dlp."""
    download: list[float]
    """Our download of a batch: fetch, verify, hash, store, rows."""
    search: list[float]
    """Our search before it: the metadata of every video, which bare yt-dlp requests while it downloads."""

    @property
    def ratio(self) -> float:
        """Our download over bare yt-dlp, of the medians."""
        return statistics.median(self.download) / statistics.median(self.bare)

    @property
    def ratio_with_search(self) -> float:
        """Our search and download over bare yt-dlp, of the medians."""
        ours = [search + download for search, download in zip(self.search, self.download, strict=True)]
        return statistics.median(ours) / statistics.median(self.bare)


def bench_acquisition(videos: int = 500, rounds: int = 3, on_progress: ProgressCallback | None = None) -> Acquisition:
    """Fetch small videos from loopback in turns, with bare yt-dlp and with ours, and return what each cost.

    Args:
        videos: their number.
        rounds: times that each is run.
        on_progress: called with a line per round.
    """
    with tempfile.TemporaryDirectory(prefix="lampworks-bench-") as name:
        folder = Path(name)
        size = _publish(folder / "site", videos)
        found = Acquisition(videos=videos, bytes=size, bare=[], download=[], search=[])
        with _served(folder / "site") as url:
            listed = folder / "urls.txt"
            listed.write_text("".join(f"{url}/{index:05d}.mp4\n" for index in range(videos)))
            for number in range(rounds):
                bare, root = folder / f"bare-{number}", folder / f"root-{number}"
                found.bare.append(cpu_seconds(_BARE, str(bare), str(listed)))
                if len(list(bare.iterdir())) != videos:
                    raise RuntimeError(f"bare yt-dlp left {len(list(bare.iterdir()))} of {videos} files")
                found.search.append(cpu_seconds(_OURS, "search", str(root), str(listed)))
                found.download.append(cpu_seconds(_OURS, "download", str(root), str(listed)))
                if on_progress is not None:
                    on_progress(
                        f"round {number + 1}: bare yt-dlp {found.bare[-1]:.2f} CPU-s, our download "
                        f"{found.download[-1]:.2f}, our search {found.search[-1]:.2f}"
                    )
    return found


def _publish(folder: Path, videos: int) -> int:
    """Write one video under many names; return its bytes."""
    folder.mkdir(parents=True)
    first = small_video(folder / "00000.mp4")
    for index in range(1, videos):
        os.link(first, folder / f"{index:05d}.mp4")
    return first.stat().st_size


def small_video(path: Path) -> Path:
    """Write a video of 10 s, 256x144, 30 FPS, in which something moves."""
    random = np.random.default_rng(0)
    picture = random.integers(0, 255, (18, 32, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "veryfast", "crf": "30"})
        stream.width, stream.height, stream.pix_fmt = 256, 144, "yuv420p"
        for index in range(300):
            frame = av.VideoFrame.from_ndarray(np.roll(picture, 2 * index, 1), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            port = re.search(r"port (\d+)", server.stdout.readline())
            if port is None:
                raise RuntimeError("the loopback server did not start")
            yield f"http://127.0.0.1:{port[1]}"
        finally:
            server.terminate()


def cpu_seconds(program: str, *arguments: str) -> float:
    """Run a program and return the CPU-seconds of its process and of all its children."""
    counted = (
        "import atexit, json, os, sys\n"
        "def report():\n"
        "    used = os.times()\n"
        "    os.write(int(os.environ['LAMPWORKS_BENCH_FD']), json.dumps(list(used[:4])).encode())\n"
        "atexit.register(report)\n"
    )
    reading, writing = os.pipe()
    environment = {**os.environ, "LAMPWORKS_BENCH_FD": str(writing), "PYTHONPATH": os.pathsep.join(sys.path)}
    try:
        subprocess.run(
            [sys.executable, "-c", counted + program, *arguments],
            check=True,
            env=environment,
            pass_fds=[writing],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
    finally:
        os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        return float(sum(json.loads(pipe.read())))
