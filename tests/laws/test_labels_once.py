"""An event of a label is stored once, whoever else stores it at the same moment."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from classifier.labels.events import append_new_events
from pipeline.storage.store import Store
from tests.laws.recording import Log, RecordingStore

EVENTS = [
    {
        "event_id": f"event-{number}", "clip_id": f"clip-{number}", "rating": 5, "kind": "rate", "annotator": "ann",
        "resolved": True, "origin": "test", "labelled_at": datetime(2026, 11, 20, tzinfo=UTC),
    }
    for number in range(3)
]  # fmt: skip


def test_two_that_append_the_same_events_at_once_leave_each_once(tmp_path: Path) -> None:
    other = Store(tmp_path / "root")
    append_new_events(other, EVENTS[:1])
    # the other one comes in right after this one has looked which events are there
    log = Log(after=0, arrival=lambda: append_new_events(other, EVENTS))
    append_new_events(RecordingStore(tmp_path / "root", log), EVENTS)
    assert log.events[0].kind == "read"
    assert sorted(other.read("labels", ["event_id"])["event_id"].to_pylist()) == ["event-0", "event-1", "event-2"]
