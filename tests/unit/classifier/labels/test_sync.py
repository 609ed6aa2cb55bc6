"""Labels of the page's journal come into the store once."""

from __future__ import annotations

from classifier.labels.journal import Journal, check_event
from classifier.labels.sync import labels_are_current, sync_journal
from pipeline.label_events import current_labels


def test_the_journal_is_appended_once(job, clips):
    assert sync_journal(job) == 0
    assert job.store.version("labels") == -1
    base = {"clip_id": clips[0], "stream": "uncertain", "inclusion": 0.25, "seconds": 1.5, "rating": None}
    ids = [f"00000000-0000-4000-8000-00000000000{i}" for i in range(3)]
    with Journal(job.home.journal) as journal:
        journal.append([check_event({**base, "event_id": ids[0], "kind": "rate", "rating": 5})], "ann")
        journal.append([check_event({**base, "event_id": ids[1], "kind": "undo"})], "ann")
        last = {**base, "event_id": ids[2], "kind": "rate", "rating": 2, "reasons": ["face"], "repeat": False}
        journal.append([check_event(last)], "ann")
    assert not labels_are_current(job)
    assert sync_journal(job) == 3
    assert labels_are_current(job)
    version = job.store.version("labels")
    assert sync_journal(job) == 0
    assert job.store.version("labels") == version
    [row] = [row for row in job.store.read("labels").to_pylist() if row["event_id"] == ids[2]]
    assert (row["stream"], row["inclusion"], row["reasons"], row["repeat"]) == ("uncertain", 0.25, ["face"], False)
    assert current_labels(job.store, job.config) == {clips[0]: 2}
