"""Count the requests that each stage of a batch sends to an S3 store, per batch and per clip.

Made-up films go the real way: search of a folder, download, clips, near-duplicates, and what the caller adds. An S3
server and a proxy that counts run on loopback, so the counts hold for any server; times do not, and none are given.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from pipeline.arcade.platformer import record_platformer
from pipeline.bench.s3_counts import S3Proxy
from pipeline.bench.s3_proxy import Seen
from pipeline.bench.s3_server import s3_server
from pipeline.clips.cut_batch import cut_batch
from pipeline.clips.duplicates import find_duplicates
from pipeline.clips.encode import encode_clip
from pipeline.config import ClipConfig, Config, DecisionConfig, SourceConfig, SplitConfig
from pipeline.download.batch import download_batch
from pipeline.job import BatchJob, Job
from pipeline.progress import ProgressCallback
from pipeline.search.search import search_videos
from pipeline.storage.home import home_of
from pipeline.storage.store import Store

Stage = Callable[[BatchJob], object]
"""Works on a batch, or on the whole store of it."""
_BUCKET = "bench"
_CLIP_S = 4
_WRITES = ("PUT", "begin", "end", "COPY", "LIST")
"""Operations that S3 charges as writes; listings are charged as such, deletions are free, all others are reads."""


@dataclass(frozen=True)
class StageRequests:
    """What one stage sent."""

    stage: str
    by_operation: dict[str, int]
    bytes_sent: int
    bytes_received: int

    @property
    def total(self) -> int:
        """All requests."""
        return sum(self.by_operation.values())

    @property
    def writes(self) -> int:
        """Requests that S3 charges as writes, listings included."""
        return sum(number for name, number in self.by_operation.items() if name.startswith(_WRITES))


@dataclass(frozen=True)
class BatchRequests:
    """What the stages of one batch sent."""

    videos: int
    clips: int
    stages: list[StageRequests]


def count_requests(
    videos: int, seconds: int, later: Sequence[tuple[str, Stage]], on_progress: ProgressCallback
) -> BatchRequests:
    """Run one batch on a loopback S3 server and return what each stage sent.

    Args:
        videos: of the batch.
        seconds: length of each; clips have 4 s.
        later: name and work of the stages behind the near-duplicates.
        on_progress: receives a line per stage.

    Raises:
        UserError: the server (moto) is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="lampworks-") as folder, s3_server(_BUCKET) as options:
        films = Path(folder) / "films"
        films.mkdir()
        for number in range(videos):
            (films / f"film-{number:05d}.mp4").write_bytes(_film(number, seconds))
        with S3Proxy(options["endpoint_url"]) as proxy:
            store = Store(f"s3://{_BUCKET}/root", {**options, "endpoint_url": proxy.url})
            job = Job(store, _config(films, videos), home_of(store, Path(folder) / "home"))
            return _run(job, videos, proxy, later, on_progress)


def _config(films: Path, videos: int) -> Config:
    return replace(
        Config(),
        source=SourceConfig(spec=f"folder:{films}", batch_size=max(videos, 1), settle_s=0.0),
        clips=ClipConfig(seconds=_CLIP_S),
        split=SplitConfig(val_share=0.4, test_share=0.0),
        decision=DecisionConfig(mode="flags", middle="keep"),  # so that a few films give a set, too
    )


def _run(
    job: Job, videos: int, proxy: S3Proxy, later: Sequence[tuple[str, Stage]], on_progress: ProgressCallback
) -> BatchRequests:
    found: list[StageRequests] = []

    def counted(stage: str, work: Callable[[], object]) -> None:
        proxy.faults()
        work()
        found.append(_of(stage, proxy.seen()))
        on_progress(f"{stage}: {found[-1].total} requests")

    counted("search", lambda: search_videos(job))
    [batch] = job.store.read("videos", ["batch"])["batch"].unique().to_pylist()
    of_batch = job.of_batch(str(batch))
    counted("download", lambda: download_batch(of_batch))
    counted("clips", lambda: cut_batch(of_batch))
    clips = len(job.store.read("clips", ["clip_id"]))  # before a later stage takes some away
    counted("near-duplicates", lambda: find_duplicates(job))
    for name, stage in later:
        counted(name, partial(stage, of_batch))
    return BatchRequests(videos, clips, found)


def _of(stage: str, seen: list[Seen]) -> StageRequests:
    return StageRequests(
        stage,
        dict(sorted(Counter(f"{one['operation']}, {one['kind']}" for one in seen).items())),
        sum(one["sent"] for one in seen),
        sum(one["received"] for one in seen),
    )


def _film(seed: int, seconds: int) -> bytes:
    fps = ClipConfig().fps
    frames = np.stack(list(record_platformer(seed, seconds * 10, fps=round(fps))))
    return encode_clip(frames, ClipConfig()).mp4
