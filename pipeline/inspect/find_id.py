"""Find the one video, clip or channel that a person means: by an id or the start of one, an address, or a name."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.errors import UserError
from pipeline.ids import split_clip_id
from pipeline.storage.arrow import pc
from pipeline.storage.store import Store
from pipeline.storage.takedown import stands_for
from pipeline.takedown.targets import Target, find_target
from pipeline.video_names import find_videos

_MOST_SHOWN, _MOST_COMPARED = 5, 20_000


@dataclass(frozen=True)
class FoundId:
    """The id of a video, a clip or a channel."""

    kind: Literal["video", "clip", "channel"]
    id: str


class NotInItError(UserError):
    """Nothing in the store has a name; the message lists similar ones, or says that it was taken down."""


def find_id(store: Store, name: str) -> FoundId:
    """Return the video, clip or channel that `name` identifies.

    A clip's full id comes first, then a video's id, native id, URL (in any spelling from which yt-dlp reads the same
    id) or file name, then a channel's id, URL or name, then the start of an id.

    Raises:
        NotInItError: nothing has that name.
        UserError: several have it (the message lists them).
    """
    if _is_clip(store, name):
        return FoundId("clip", name)
    if name:
        target = find_target(store, name)
        if target.is_known and not _is_clip_id(name):
            return FoundId(target.kind, target.names[0][1])
        # as people write the names of files; an address is exact
        loose = set() if "://" in name else find_videos(store, [name]).get(name, set())
        if len(loose) == 1:
            return FoundId("video", *loose)
        if loose:
            raise UserError(f"{name!r} names {len(loose)} videos; give the id of one: {_shown(sorted(loose))}")
        if stone := _tombstone(store, target):
            raise NotInItError(
                f"{name!r} was taken down on {stone['requested_at']:%Y-%m-%d}: nothing of it is in {store.root}, and "
                "no search brings it back"
            )
    found = _with_prefix(store, name) if name else []
    if len(found) > 1:
        ids = [one.id for one in found]
        raise UserError(f"{name!r} is the start of {len(ids)} ids; give more of it, or one of: {_shown(ids)}")
    if not found:
        raise NotInItError(_unknown(store, name))
    return found[0]


def _tombstone(store: Store, target: Target) -> dict[str, Any] | None:
    """Return the row of `takedowns` that stands for a target; None where it was not taken down."""
    rows = store.read("takedowns").to_pylist()
    return next((row for row in rows for kind, name in target.names if stands_for(row, kind, name)), None)


def _is_clip_id(name: str) -> bool:
    try:
        split_clip_id(name)
    except ValueError:
        return False
    return True


def _is_clip(store: Store, name: str) -> bool:
    return _is_clip_id(name) and len(store.read("clips", ["clip_id"], pc.field("clip_id") == name)) > 0


def _with_prefix(store: Store, prefix: str) -> list[FoundId]:
    """Return the videos whose id starts with `prefix`, and the clips of other videos whose id does."""
    videos = _ids_with_prefix(store, "videos", "video_id", prefix)
    clips = _ids_with_prefix(store, "clips", "clip_id", prefix)
    of_found = tuple(f"{video_id}-" for video_id in videos)
    others = [clip_id for clip_id in clips if not clip_id.startswith(of_found)]
    return [*(FoundId("video", one) for one in videos), *(FoundId("clip", one) for one in others)]


def _ids_with_prefix(store: Store, table: str, column: str, prefix: str) -> list[str]:
    found: set[str] = set()
    for rows in store.scan(table, [column]):
        ids = rows.column(column)
        found.update(map(str, ids.filter(pc.starts_with(ids, prefix)).to_pylist()))
    return sorted(found)


def _shown(ids: Sequence[str]) -> str:
    return ", ".join(ids[:_MOST_SHOWN]) + (", ..." if len(ids) > _MOST_SHOWN else "")


def _unknown(store: Store, name: str) -> str:
    """Return the error for a name that nothing has, with the ids of videos or clips that are similar."""
    videos = store.read("videos", ["video_id", "native_id", "url", "title"])
    if not len(videos):
        return f"nothing is known of {name!r}: {store.root} holds no video yet"
    close: list[str] = []
    try:
        video_id = split_clip_id(name)[0]
        clips = store.read("clips", ["clip_id"], pc.field("video_id") == video_id)
        close = sorted(map(str, clips["clip_id"].to_pylist()))
    except ValueError:
        video_id = name
    if len(video_id) >= 3:
        for column in ("video_id", "native_id", "url", "title"):
            hit = pc.match_substring(videos[column], video_id, ignore_case=True)
            close += map(str, videos.filter(hit)["video_id"].slice(0, _MOST_SHOWN).to_pylist())
    if not close:
        compared = videos.slice(0, _MOST_COMPARED).to_pylist()
        by_id = {str(row["video_id"]): str(row["video_id"]) for row in compared}
        by_title = {str(row["title"]): str(row["video_id"]) for row in compared}
        close = [by_id[text] for text in difflib.get_close_matches(video_id, by_id, n=_MOST_SHOWN, cutoff=0.5)]
        close += [by_title[text] for text in difflib.get_close_matches(name, by_title, n=2, cutoff=0.6)]
    shown = list(dict.fromkeys(close))[:_MOST_SHOWN]
    hint = f"close: {', '.join(shown)}" if shown else "ids are listed by `lampworks export FILE.parquet`"
    return f"nothing is known of {name!r} in {store.root}; {hint}"
