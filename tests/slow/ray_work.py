"""What the test of a Ray cluster runs: a driver, and a detector of scene cuts that fails as a video's picture says.

Nodes and drivers find this file by PYTHONPATH. Where LAMPWORKS_GATES names a folder, every cut is noted there, and a
video may wait for a file in it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import time
import uuid
from pathlib import Path

import numpy as np

from pipeline.clips import row_writer
from pipeline.clips.cut_batch import cut_batch
from pipeline.config import ClipConfig, Config, DownloadConfig, EngineConfig, SourceConfig
from pipeline.download.batch import download_batch
from pipeline.job import BatchJob, Job
from pipeline.search.batches import batches
from pipeline.search.search import search_videos
from pipeline.storage.home import home_of
from pipeline.storage.store import Store

RAISES, KILLS, HANGS, WAITS, WAITS_TOO = 60, 90, 120, 150, 180
"""Levels of grey of the videos that are no plain play."""
NODE = "LAMPWORKS_TEST_NODE"


def config_of(folder: Path, engine: EngineConfig) -> Config:
    return Config(
        source=SourceConfig(spec=f"folder:{folder}"),
        download=DownloadConfig(min_free_gb=0.0),
        engine=dataclasses.replace(engine, deadline_s=30.0, max_attempts=3),
        clips=ClipConfig(seconds=2, fps=10, cut_detector="transnetv2"),
    )


def detect(luma: np.ndarray, chroma: np.ndarray, fps: int) -> list[int]:
    """Find no cut; raise, die, hang or wait where the picture is of one such grey."""
    level = round(float(np.mean(luma)) / 30) * 30 if np.std(luma) < 2 else 0
    gates = os.environ.get("LAMPWORKS_GATES")
    if gates:
        note = {"level": level, "node": os.environ.get(NODE, "none"), "pid": os.getpid()}
        note["package"] = str(Path(row_writer.__file__).parents[2])
        (Path(gates) / f"note-{uuid.uuid4().hex}").write_text(json.dumps(note))
    if level == RAISES:
        raise ValueError("this picture is too grey")
    if level == KILLS:
        os.kill(os.getpid(), signal.SIGKILL)
    if level == HANGS:
        time.sleep(600)
    if gates and level in (WAITS, WAITS_TOO):
        while not (Path(gates) / f"open-{level}").exists():
            time.sleep(0.05)
    return []


def main(root: str, videos: str, engine: str) -> None:
    """Search, download and cut a folder of videos; commit the rows of every video at once."""
    row_writer._COMMIT_VIDEOS = 1
    store, config = Store(root), config_of(Path(videos), EngineConfig(**json.loads(engine)))
    if not batches(store):
        search_videos(Job(store, config, home_of(store)))
    [batch] = batches(store)
    job = BatchJob(store, config, home_of(store), batch=batch)
    download_batch(job)
    cut_batch(job, detect_cuts=detect)


if __name__ == "__main__":
    import ray_work  # the functions must be of a module that nodes can import

    ray_work.main(*sys.argv[1:])
