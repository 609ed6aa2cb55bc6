"""Labels of the page's journal come into the store once."""

from __future__ import annotations

from classifier.labels.journal import Journal
from classifier.labels.sync import labels_are_current, sync_journal
from pipeline.label_events import current_labels


def test_the_journal_is_appended_once(job, clips):
    assert sync_journal(job) == 0
    assert job.store.version("labels") == -1
    base = {"clip_id": clips[0], "stream": "random", "seconds": 1.5, "rating": None}
    ids = [f"00000000-0000-4000-8000-00000000000{i}" for i in range(3)]
    with Journal(job.home.journal) as journal:
        journal.append([{**base, "event_id": ids[0], "kind": "rate", "rating": 5}], "ann")
        journal.append([{**base, "event_id": ids[1], "kind": "undo"}], "ann")
        journal.append([{**base, "event_id": ids[2], "kind": "rate", "rating": 2}], "ann")
    assert not labels_are_current(job)
    assert sync_journal(job) == 3
    assert labels_are_current(job)
    version = job.store.version("labels")
    assert sync_journal(job) == 0
    assert job.store.version("labels") == version
    assert current_labels(job.store, job.config) == {clips[0]: 2}
