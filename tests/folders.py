"""A folder of recordings that a test changes between runs, and the store that it is collected into."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.clips.cut_batch import cut_batch
from pipeline.config import ClipConfig, Config, DownloadConfig, SourceConfig
from pipeline.download.batch import download_batch
from pipeline.download.due import due_batches
from pipeline.download.ledger import State, download_states
from pipeline.inspect.status import status
from pipeline.job import BatchJob, Job
from pipeline.search.batches import batches
from pipeline.search.search import search_videos
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests.media import write_video
from tests.searches import NOW


def play(seed: int, seconds: float) -> Iterator[np.ndarray]:
    """Yield pictures of a game, the same ones for the same seed however many there are."""
    rng = np.random.default_rng(seed)
    world = rng.integers(0, 255, (6, 60, 3)).repeat(12, 0).repeat(12, 1).astype(np.uint8)
    for frame in range(round(seconds * 10)):
        yield np.roll(world, -3 * frame, 1)[:, :128]


class Folder:
    """A folder of recordings and the store that it is collected into."""

    def __init__(self, store: Store, folder: Path, **download: Any) -> None:
        folder.mkdir(exist_ok=True)
        self.store, self.folder, self.times = store, folder, 0
        self.config = Config(
            source=SourceConfig(spec=f"folder:{folder}"),
            download=DownloadConfig(workers=1, min_free_gb=0.0, max_attempts=2, **download),
            clips=ClipConfig(seconds=2, fps=10),
        )

    def write(self, seed: int, seconds: float, name: str = "level.mp4") -> Path:
        """Write a recording that is at rest, at a time of its own."""
        path = write_video(self.folder / name, play(seed, seconds), fps=10)
        self.touch(name)
        return path

    def touch(self, name: str = "level.mp4") -> None:
        """Give a file another time, an hour back."""
        self.times += 1
        os.utime(self.folder / name, (time.time() - 3600 + self.times,) * 2)

    def search(self) -> None:
        """Search the folder."""
        search_videos(Job(self.store, self.config, home_of(self.store)), now=NOW)

    def job(self) -> BatchJob:
        [batch] = batches(self.store)
        return BatchJob(self.store, self.config, home_of(self.store), batch=batch)

    def collect(self, *, check: bool = False) -> int:
        """Search, download and cut; return the number of attempts.

        With `check`, a second search writes nothing, and every total balances after the download and after the cut.
        """
        self.search()
        if check:
            version = self.store.version("videos")
            self.search()
            assert self.store.version("videos") == version
        tried = download_batch(self.job()).tried
        if check:
            self.check()
        cut_batch(self.job())
        if check:
            self.check()
            assert due_batches(self.store, self.config, NOW) == []
        return tried

    def check(self) -> None:
        """Check that every total of the status balances."""
        assert status(self.store, self.config).violations == []

    def state(self) -> State:
        [found] = download_states(self.store).values()
        return found

    def clips(self) -> dict[int, str]:
        """Return start -> hash of the clips."""
        return {row["start_ms"]: row["sha256"] for row in self.store.read("clips").to_pylist()}
