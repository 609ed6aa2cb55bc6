"""Append label events to the store, each once, and none of a video that was taken down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.ids import split_clip_id
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down


def of_videos_taken_down(store: Store, clip_ids: Iterable[str | None]) -> set[str]:
    """Return those of some clips whose video was taken down."""
    video_of = {clip_id: video for clip_id in clip_ids if clip_id and (video := _video_of(clip_id))}
    hidden = taken_down(store).hidden_among(store, set(video_of.values()))
    return {clip_id for clip_id, video in video_of.items() if video in hidden}


def _video_of(clip_id: str) -> str | None:
    try:
        return split_clip_id(clip_id)[0]
    except ValueError:
        return None  # files name clips of other programs too


def append_new_events(store: Store, events: Sequence[Mapping[str, Any]]) -> int:
    """Append those rows of `labels` whose event_id the store does not have, in one commit; return how many.

    Without a new event nothing is committed. Events of a video that was taken down are left out.
    """
    gone = of_videos_taken_down(store, {event["clip_id"] for event in events})
    known = set(store.read("labels", ["event_id"])["event_id"].to_pylist())
    new = [event for event in events if event["event_id"] not in known and event["clip_id"] not in gone]
    # a merge, so that two processes that append the same events at once leave each event once
    store.merge("labels", new, on=["event_id"])
    return len(new)
