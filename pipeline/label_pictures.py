"""Find labels of an earlier picture: those of clips that were replaced since by other pictures under the same id.

A label belongs to the picture that its clip showed when it was given. It counts while the clip shows that picture, and
again once it does: `replaced` has a row for each change, with the hashes of the clip before and after, and whether both
show the same.

    left = of_earlier_pictures(store, events)  # ids of events that do not count
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import pyarrow as pa

from pipeline.ids import split_clip_id
from pipeline.storage.arrow import is_one_of, rows_with
from pipeline.storage.store import Store

BY_NAME = "by_name"
"""Key of an event that names its clip by a video, as its reader found it: the label is of that recording."""


def of_earlier_pictures(store: Store, events: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the `event_id` of each event whose clip showed another picture than now when it was labelled.

    Args:
        store: the store.
        events: rows of `labels` with `clip_id`, `event_id` and `labelled_at`. One with `BY_NAME` is also of an earlier
            picture where its clip is new, and other clips of the video were replaced by other pictures since.
    """
    replaced = store.read("replaced").sort_by("replaced_at")
    if not len(replaced):
        return set()
    listed = [event for event in events if event["clip_id"]]
    ids = pa.array(sorted({event["clip_id"] for event in listed}), pa.string())
    changes: dict[str, list[dict[str, Any]]] = {}
    for row in rows_with(replaced, "clip_id", ids).to_pylist():
        changes.setdefault(row["clip_id"], []).append(row)
    present = {
        row["clip_id"]: row["sha256"]
        for row in store.read("clips", ["clip_id", "sha256"], is_one_of("clip_id", changes)).to_pylist()
    }
    others = _other_recordings(replaced)
    found = set()
    for event in listed:
        clip_id, moment = event["clip_id"], event["labelled_at"]
        if clip_id in changes:
            is_earlier = clip_id in present and _differs(changes[clip_id], present[clip_id], moment)
        else:
            since = others.get(split_clip_id(clip_id)[0]) if event.get(BY_NAME) else None
            is_earlier = since is not None and since > moment
        if is_earlier:
            found.add(str(event["event_id"]))
    return found


def latest_label_moment(store: Store) -> datetime | None:
    """Return the time that a new label must be dated after: that of the last label, and of the last replacement."""
    moments = [store.latest("labels", "labelled_at"), store.latest("replaced", "replaced_at")]
    return max((moment for moment in moments if moment is not None), default=None)


def _other_recordings(replaced: pa.Table) -> dict[str, datetime]:
    """Return, by video, when a clip of it was last replaced by another picture."""
    rows = replaced.filter(replaced["new_sha256"].is_valid()).select(["video_id", "same_picture", "replaced_at"])
    return {row["video_id"]: row["replaced_at"] for row in rows.to_pylist() if not row["same_picture"]}


def _differs(changes: list[dict[str, Any]], present: str, labelled_at: datetime) -> bool:
    """Return whether a clip shows another picture than it did at a moment.

    Args:
        changes: its rows of `replaced`, by time.
        present: hash of its present bytes.
        labelled_at: the moment.
    """
    then = next((row["old_sha256"] for row in changes if row["replaced_at"] > labelled_at), present)
    same = {then}
    # bytes that show the same: chains of re-encodes, in any order
    for _ in changes:
        for row in changes:
            pair = {row["old_sha256"], row["new_sha256"]}
            if row["same_picture"] and pair & same:
                same |= pair
    return present not in same
