"""Measure the labelling page: how fast it shows the next clip after a key, and how fast its queue answers.

A root is made up with a queue of many clips: eight real clips of the embedded platformer, under many ids, so that a
browser loads each anew. A real Chromium rates clips on the real server as a person does who knows the answer: the key
is pressed a moment after the clip is there.
"""

from __future__ import annotations

import io
import json
import statistics
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from classifier.labels.queue import load_queue, write_queue
from pipeline.arcade.platformer import record_platformer
from pipeline.bench.browser import browser_page
from pipeline.clip_spec import clip_spec
from pipeline.clips.encode import encode_clip, encode_frames
from pipeline.clips.tar import TarWriter
from pipeline.config import Config
from pipeline.ids import clip_id_of
from pipeline.job import Job
from pipeline.storage.home import home_of
from pipeline.storage.store import Store

KEY_MEDIAN_MS, KEY_P95_MS, QUEUE_MS = 50.0, 120.0, 20.0
"""Limits: from a key to the first frame of the next clip, and of an answer about the queue."""
ANNOTATOR = "bench"
_EARLIER = datetime(2026, 1, 1, tzinfo=UTC)
_CLIPS_PER_VIDEO = 40
_FILMS = 8
_LOOK_S = 0.35
"""Seconds for which a clip is looked at; faster than people rate, so that loading ahead is put to the test."""
_WAIT_S = 60.0


@dataclass(frozen=True)
class Times:
    """Milliseconds of a thing that was done many times."""

    count: int
    median_ms: float
    p95_ms: float
    worst_ms: float


def times_of(values_ms: list[float]) -> Times:
    """Return the summary of measured milliseconds."""
    ordered = sorted(values_ms)
    return Times(len(ordered), statistics.median(ordered), ordered[int(0.95 * (len(ordered) - 1))], ordered[-1])


def write_made_up_root(folder: Path, clips: int) -> Job:
    """Fill a root with a queue of so many clips, the first half of which is rated, and return a job on it."""
    config = Config()
    job = Job(Store(folder), config, home_of(Store(folder)))
    spec, batch = clip_spec(config.clips), "2026w47-0001"
    tar, buffer, places = f"clips/{spec}/{batch}/bench.tar", io.BytesIO(), []
    writer = TarWriter(buffer)
    for seed in range(_FILMS):
        frames = np.stack(list(record_platformer(seed, 160, fps=10)))
        mp4, jpeg = encode_clip(frames, config.clips).mp4, encode_frames(frames)
        offset, at = writer.add(f"{seed}.mp4", mp4), writer.add(f"{seed}.frames.jpg", jpeg)
        places.append({"offset": offset, "size": len(mp4), "frames_offset": at, "frames_size": len(jpeg)})
    writer.close()
    job.store.write_blob(tar, buffer.getvalue())
    videos = [f"bench-{number:06d}" for number in range(-(-clips // _CLIPS_PER_VIDEO))]
    rows = []
    for number in range(clips):
        video_id, start_ms = videos[number // _CLIPS_PER_VIDEO], 16000 * (number % _CLIPS_PER_VIDEO)
        clip_id = clip_id_of(video_id, start_ms, spec)
        rows.append({
            "clip_id": clip_id, "video_id": video_id, "batch": batch, "clip_spec": spec, "source_sha256": "0" * 64,
            "start_ms": start_ms, "end_ms": start_ms + 16000, "tar": tar, "sha256": clip_id, "flags": [],
            **places[number % _FILMS],
        })  # fmt: skip
    named = [{"video_id": name, "batch": batch} for name in videos]
    title = "A made-up recording of the embedded platformer"
    job.store.append("videos", [{**row, "extractor": "bench", "title": title} for row in named])
    job.store.append("clips", rows)
    per_video = {name: min(_CLIPS_PER_VIDEO, clips - _CLIPS_PER_VIDEO * at) for at, name in enumerate(videos)}
    done = {"clip_spec": spec, "source_sha256": "0" * 64, "state": "ok"}
    job.store.append("clippings", [{**row, **done, "num_clips": per_video[row["video_id"]]} for row in named])
    write_queue(job)
    rated = [item["clip_id"] for item in load_queue(job.store)[: clips // 2]]
    labels = [
        {"event_id": f"bench-{number}", "clip_id": clip_id, "kind": "rate", "rating": 1 + number % 5,
         "annotator": ANNOTATOR, "stream": "random", "origin": "bench", "labelled_at": _EARLIER}
        for number, clip_id in enumerate(rated)
    ]  # fmt: skip
    job.store.append("labels", labels)
    return job


def measure_answers(url: str, clips: int, rounds: int = 50) -> dict[str, Times]:
    """Return how long the server takes to answer about a queue, by request, as a client on this machine sees it."""
    found = {}
    paths = {
        "api/state": "api/state", "next clips": f"api/clips?after={clips // 2}", "from the start": "api/clips?after=0",
    }  # fmt: skip
    for name, path in paths.items():
        taken = []
        for _ in range(rounds):
            began = time.perf_counter()
            with urllib.request.urlopen(url + path, timeout=_WAIT_S) as answer:
                json.load(answer)
            taken.append(1000 * (time.perf_counter() - began))
        found[name] = times_of(taken)
    return found


def measure_keys(url: str, labels: int, on_progress: Callable[[str], None]) -> Times:
    """Rate clips in Chromium, and return the time from each key to the first frame of the next clip.

    It is taken from the time stamp of the key's event until the page's `requestVideoFrameCallback` of the next clip.
    """
    with browser_page() as page:
        page.add_init_script(_WATCH)
        page.goto(url)
        clip = _painted(page, "")
        taken = []
        for number in range(labels):
            page.wait_for_timeout(1000 * _LOOK_S)
            page.keyboard.press(str(1 + number % 5))
            clip = _painted(page, clip)
            taken.append(float(page.evaluate("window.benchPainted - window.benchPressed")))
            if (number + 1) % 25 == 0:
                on_progress(f"{number + 1} of {labels} clips rated")
        _until(page, "document.getElementById('unsaved').dataset.count === '0'")
    return times_of(taken)


_WATCH = """
addEventListener("keydown", (event) => { window.benchPressed = event.timeStamp; }, true);
addEventListener("DOMContentLoaded", () => {
  new MutationObserver(() => { window.benchPainted = performance.now(); })
    .observe(document.body, { attributeFilter: ["data-painted"] });
});
"""
"""The page names a clip in `data-painted` once a frame of it is on the screen."""


def _painted(page: Any, before: str) -> str:
    """Wait until another clip than before has a frame on the screen, and return its id."""
    _until(page, f"(document.body.dataset.painted || '') !== '{before}'")
    return str(page.evaluate("document.body.dataset.painted"))


def _until(page: Any, condition: str) -> None:
    # Playwright's own waiting needs `eval`, which the page's policy forbids
    deadline = time.monotonic() + _WAIT_S
    while not page.evaluate(condition):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the page did not get there within {_WAIT_S:.0f} s: {condition}")
        page.wait_for_timeout(20)
