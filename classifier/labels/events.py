"""Append label events to the store, each once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.storage.store import Store


def append_new_events(store: Store, events: Sequence[Mapping[str, Any]]) -> int:
    """Append those rows of `labels` whose event_id the store does not have, in one commit; return how many.

    Without a new event nothing is committed.
    """
    known = set(store.read("labels", ["event_id"])["event_id"].to_pylist())
    new = [event for event in events if event["event_id"] not in known]
    # a merge, so that two processes that append the same events at once leave each event once
    store.merge("labels", new, on=["event_id"])
    return len(new)
