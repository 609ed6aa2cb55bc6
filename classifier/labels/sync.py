"""Labels from every side: the page's journal, files, and what the embedded source knows of its own recordings.

All of them end as events in the append-only `labels` table; `current_labels` is what they amount to.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from classifier.labels.files import ImportReport, append_new_events, export_labels, import_labels
from classifier.labels.journal import journal_rows
from classifier.labels.queue import QueueReport, label_queue
from pipeline.arcade.truth import load_truth
from pipeline.config import Config
from pipeline.ids import short_hash
from pipeline.label_events import STAND_IN, Labels, current_labels, existing_clips, load_labels
from pipeline.storage.arrow import pc
from pipeline.storage.home import Home
from pipeline.storage.store import Store

__all__ = [
    "ImportReport", "Labels", "QueueReport", "current_labels", "export_labels", "import_labels", "import_truth",
    "label_queue", "labels_are_current", "load_labels", "sync_journal",
]  # fmt: skip


def sync_journal(store: Store, home: Home) -> int:
    """Append the journal's events that the store does not have yet, and return how many; none, no commit."""
    return append_new_events(store, journal_rows(home.journal))


def labels_are_current(store: Store, home: Home, config: Config) -> bool:
    """Tell whether every label that is known here, by the journal or the embedded source, is in the store."""
    events = journal_rows(home.journal)
    if config.source.kind == STAND_IN:
        events += _truth_events(store, home, config)
    known = set(store.read("labels", ["event_id"])["event_id"].to_pylist())
    return known.issuperset(event["event_id"] for event in events)


def import_truth(store: Store, home: Home, config: Config | None = None) -> int:
    """Rate the embedded source's clips by what it knows it recorded, as annotator `arcade`; return the new labels.

    Clips of which it is not sure (a span across two kinds of play) stay unrated.
    """
    return append_new_events(store, _truth_events(store, home, config))


def _truth_events(store: Store, home: Home, config: Config | None) -> list[dict[str, Any]]:
    videos = store.read("videos", ["video_id", "native_id"], pc.field("source") == STAND_IN)
    truths = {}
    for row in videos.to_pylist():
        truth = load_truth(home, row["native_id"])
        if truth is not None:
            truths[row["video_id"]] = truth
    if not truths:
        return []
    where = pc.field("video_id").isin(sorted(truths))
    clips = store.read("clips", ["clip_id", "video_id", "start_ms", "end_ms"], where).to_pylist()
    there = existing_clips(store, {clip["clip_id"] for clip in clips}, config)
    events: dict[str, dict[str, Any]] = {}
    for clip in sorted(clips, key=lambda clip: clip["clip_id"]):
        rating = truths[clip["video_id"]].rating(clip["start_ms"] / 1000, clip["end_ms"] / 1000)
        if rating is not None and clip["clip_id"] in there:
            event = _truth_event(clip["clip_id"], rating)
            events[event["event_id"]] = event
    return list(events.values())


def _truth_event(clip_id: str, rating: int) -> dict[str, Any]:
    return {
        "event_id": short_hash(f"truth\n{clip_id}\n{rating}", 32), "clip_id": clip_id, "rating": int(rating),
        "kind": "rate", "annotator": STAND_IN, "stream": "truth", "resolved": True, "origin": "arcade truth",
        "labelled_at": datetime.now(UTC),
    }  # fmt: skip
