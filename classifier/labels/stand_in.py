"""The embedded source as a labeller: it recorded its games itself and kept what every second shows.

Its events have the annotator `arcade`. They count only for clips that no person rated.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from classifier.labels.events import append_new_events
from pipeline.arcade.truth import load_truth
from pipeline.ids import short_hash
from pipeline.job import Job
from pipeline.label_events import STAND_IN, existing_clips
from pipeline.storage.arrow import pc


def import_truth(job: Job) -> int:
    """Rate the embedded source's clips by what it recorded; return the number of new labels.

    A clip that spans two kinds of play stays unrated.
    """
    return append_new_events(job.store, truth_events(job))


def truth_events(job: Job) -> list[dict[str, Any]]:
    """Return a row of `labels` for every clip that the embedded source can rate, sorted by clip_id."""
    videos = job.store.read("videos", ["video_id", "native_id"], pc.field("source") == STAND_IN)
    truths = {}
    for row in videos.to_pylist():
        truth = load_truth(job.home, row["native_id"])
        if truth is not None:
            truths[row["video_id"]] = truth
    if not truths:
        return []
    where = pc.field("video_id").isin(sorted(truths))
    clips = job.store.read("clips", ["clip_id", "video_id", "start_ms", "end_ms"], where).to_pylist()
    there = existing_clips(job.store, {clip["clip_id"] for clip in clips}, job.config)
    events: dict[str, dict[str, Any]] = {}
    for clip in sorted(clips, key=lambda clip: clip["clip_id"]):
        rating = truths[clip["video_id"]].rating(clip["start_ms"] / 1000, clip["end_ms"] / 1000)
        if rating is not None and clip["clip_id"] in there:
            event = _event(clip["clip_id"], rating)
            events[event["event_id"]] = event
    return list(events.values())


def _event(clip_id: str, rating: int) -> dict[str, Any]:
    return {
        "event_id": short_hash(f"truth\n{clip_id}\n{rating}", 32), "clip_id": clip_id, "rating": int(rating),
        "kind": "rate", "annotator": STAND_IN, "stream": "truth", "resolved": True, "origin": "arcade truth",
        "labelled_at": datetime.now(UTC),
    }  # fmt: skip
