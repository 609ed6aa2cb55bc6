"""Tombstones: videos and channels that must not be published from now on.

`request_takedown` records one. Every writer reads them again just before it publishes, so that a request that arrives
while a batch is processed still counts. What was published before is replaced by the next pass (near-duplicates,
decision and shards depend on the version of the table `takedowns`), and then `lampworks gc` deletes the blobs.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from pipeline.errors import UserError
from pipeline.storage.arrow import pc
from pipeline.storage.store import Store

KINDS = ("video", "channel")
Made = TypeVar("Made")


@dataclass(frozen=True)
class TakenDown:
    """The tombstones as of one read of the table."""

    videos: frozenset[str]
    """Ids of videos that were taken down themselves."""
    channels: frozenset[str]
    """Ids of channels that were taken down with all their videos."""

    def hides(self, video: str | Mapping[str, Any], channel_id: str | None = None) -> bool:
        """Tell whether a video must not be published.

        Args:
            video: its row of `videos`, or its id.
            channel_id: its channel's id, where `video` is an id.
        """
        if not isinstance(video, str):
            channel_id = video.get("channel_id") or channel_id
            video = str(video["video_id"])
        return video in self.videos or (channel_id is not None and channel_id in self.channels)

    def hidden_videos(self, store: Store) -> frozenset[str]:
        """Return the ids of all videos that must not be published, those of the channels included."""
        if not self.channels:
            return self.videos
        rows = store.read("videos", ["video_id"], pc.field("channel_id").isin(sorted(self.channels)))
        return self.videos | frozenset(str(video) for video in rows["video_id"].to_pylist())


def taken_down(store: Store) -> TakenDown:
    """Return the tombstones as committed now."""
    rows = store.read("takedowns", ["kind", "target"]).to_pylist()
    named = {kind: frozenset(row["target"] for row in rows if row["kind"] == kind) for kind in KINDS}
    return TakenDown(videos=named["video"], channels=named["channel"])


def repeat_after_takedown(store: Store, make: Callable[[], Made]) -> Made:
    """Return what `make` returns; where a takedown was recorded while it ran, call it again."""
    while True:
        version = store.version("takedowns")
        made = make()
        if store.version("takedowns") == version:
            return made


def request_takedown(store: Store, kind: str, target: str, reason: str) -> bool:
    """Record a takedown; return False if it was recorded before.

    Args:
        store: the store.
        kind: `video` or `channel`.
        target: a video's id or URL, or a channel's id. An unknown one is recorded too, so that it stays out if a later
            search finds it.
        reason: who asked and why, for readers of the table.

    Raises:
        UserError: the kind is unknown, or the target or the reason is empty.
    """
    if kind not in KINDS:
        raise UserError(f"takedown kind {kind!r} is unknown; choose one of: {', '.join(KINDS)}")
    target, reason = target.strip(), reason.strip()
    if not target or not reason:
        raise UserError(f"takedown of a {kind} needs a target and a reason; got target {target!r}, reason {reason!r}")
    if kind == "video":
        known = store.read("videos", ["video_id"], pc.field("url") == target)["video_id"].to_pylist()
        target = str(known[0]) if known else target
    hidden = taken_down(store)
    if target in (hidden.videos if kind == "video" else hidden.channels):
        return False
    store.append(
        "takedowns",
        [
            {
                "takedown_id": str(uuid.uuid4()),
                "kind": kind,
                "target": target,
                "reason": reason,
                "requested_at": datetime.now(UTC),
            }
        ],
    )
    return True
