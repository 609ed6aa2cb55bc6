"""Bring labels that are known on this machine into the store: the page's journal, and the embedded source's own."""

from __future__ import annotations

from classifier.labels.events import append_new_events, of_videos_taken_down
from classifier.labels.journal import journal_rows
from classifier.labels.stand_in import truth_events
from pipeline.job import Job
from pipeline.label_events import STAND_IN


def sync_journal(job: Job) -> int:
    """Append the journal's events that the store does not have yet; return how many."""
    return append_new_events(job.store, journal_rows(job.home.journal))


def labels_are_current(job: Job) -> bool:
    """Tell whether every label in the journal, or known to the embedded source if that is used, is in the store."""
    events = journal_rows(job.home.journal)
    gone = of_videos_taken_down(job.store, {event["clip_id"] for event in events})
    events = [event for event in events if event["clip_id"] not in gone]
    if job.config.source.kind == STAND_IN:
        events += truth_events(job)
    known = set(job.store.read("labels", ["event_id"])["event_id"].to_pylist())
    return known.issuperset(event["event_id"] for event in events)
