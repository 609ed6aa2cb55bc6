"""Find what a person means by the name in a takedown or a question: a video, a clip's video, or a channel."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal
from urllib.parse import unquote

from pipeline.errors import UserError
from pipeline.ids import video_id_of
from pipeline.outside import url_path
from pipeline.sources.known_addresses import channel_id_at, is_channel_address, video_id_at, with_scheme
from pipeline.sources.ytdlp import plain_url
from pipeline.storage.arrow import is_one_of, pc
from pipeline.storage.store import Store
from pipeline.storage.takedown import Kind, taken_down

COLUMNS = ("video_id", "extractor", "native_id", "url", "title", "channel_id", "channel", "batch", "thumbnail")
"""Columns of `videos` that name a video."""
_MOST_SHOWN = 5


@dataclass(frozen=True)
class Target:
    """What a name stands for."""

    kind: Literal["video", "channel"]
    videos: Sequence[Mapping[str, Any]]
    """Rows of `videos` (`COLUMNS`); none where nothing of that name is known."""
    names: Sequence[tuple[Kind, str]]
    """By what a later search will know it again."""

    @property
    def is_known(self) -> bool:
        """Whether the store has a row of it."""
        return bool(self.videos)


def find_target(store: Store, name: str, kind: Literal["video", "channel"] | None = None) -> Target:
    """Return what a name stands for: a video's id, native id, URL or file name, or a channel's id, URL or name.

    Args:
        store: the store.
        name: as a person gives it; any spelling of an address that yt-dlp reads the same id from.
        kind: what it must be; None where either may be meant.

    Raises:
        UserError: several have that name, or it is a channel's address that does not hold the channel's id.
    """
    name = name.strip()
    if not name:
        raise UserError("the name is empty: give the id or URL of a video, or the id of a channel")
    videos = _videos_named(store, name) if kind != "channel" else []
    channels = _channels_named(store, name) if kind != "video" else []
    if len(videos) > 1:
        shown = ", ".join(str(row["video_id"]) for row in videos[:_MOST_SHOWN])
        raise UserError(f"{name!r} names {len(videos)} videos; give the id of one: {shown}")
    if len(channels) > 1:
        raise UserError(
            f"{name!r} is the name of {len(channels)} channels; give the id of one: {', '.join(channels[:_MOST_SHOWN])}"
        )
    if videos and channels:
        raise UserError(
            f"{name!r} names a video ({videos[0]['video_id']}) and a channel ({channels[0]}): say which with --video "
            "or --channel"
        )
    if channels:
        rows = _rows(store, pc.field("channel_id") == channels[0])
        return Target("channel", rows, [("channel", channels[0]), *_names_of(rows)])
    if videos:
        return Target("video", videos, _names_of(videos))
    return _unknown(store, name, kind)


def _names_of(rows: Sequence[Mapping[str, Any]]) -> list[tuple[Kind, str]]:
    """Return the ids of videos, then their addresses: a person may ask by an address, and no row tells its id then."""
    ids: list[tuple[Kind, str]] = [("video", str(row["video_id"])) for row in rows]
    return ids + [("url", str(row["url"])) for row in rows if "://" in (row["url"] or "")]


def _unknown(store: Store, name: str, kind: str | None) -> Target:
    """Return the target of a name that nothing in the store has."""
    if kind != "channel" and (ids := _video_ids(name)):
        return Target("video", [], [*(("video", one) for one in ids), ("url", with_scheme(name))])
    if kind != "video" and is_channel_address(name):
        channel = channel_id_at(name)
        if channel is None:
            raise UserError(
                f"the address {name!r} does not hold the channel's id, and the store knows no channel of that name: "
                "give the id (it begins with UC; `yt-dlp --print channel_id --playlist-items 1 URL` prints it)"
            )
        return Target("channel", [], [("channel", channel)])
    hidden = taken_down(store)
    if kind == "channel" or (kind is None and (_is_youtube_channel(name) or hidden.names("channel", name))):
        return Target("channel", [], [("channel", name)])
    return Target("video", [], [("video", _of_clip(name) or name)])


def _is_youtube_channel(name: str) -> bool:
    return len(name) == 24 and name.startswith("UC")


def _video_ids(name: str) -> list[str]:
    """Return the ids that the video at an address may have; none where the name is no address of a video."""
    url = with_scheme(name)
    if "://" not in url or is_channel_address(name):
        return []
    known, plain = video_id_at(url), plain_url(url)
    # a file, or a page of a site that yt-dlp has no extractor for, is known by its address
    return [known] if known else [video_id_of("generic", None, plain)]


def _of_clip(name: str) -> str | None:
    """Return the id of the video that a whole clip id names."""
    match = re.fullmatch(r"(.+)-\d{9}-[0-9a-f]{8}", name)
    return match[1] if match else None


def _videos_named(store: Store, name: str) -> list[Mapping[str, Any]]:
    """Return the rows of the videos that have exactly this name; looser readings could take down another."""
    ids = _ids_with(store, {_normal(name), with_scheme(_normal(name))})
    if not ids:
        ids = {*_video_ids(name), *([video] if (video := _of_clip(name)) else [])}
    return _rows(store, is_one_of("video_id", sorted(ids))) if ids else []


def _ids_with(store: Store, names: set[str]) -> set[str]:
    """Return the ids of the videos with one of these ids, native ids, addresses or file names."""
    found = set()
    for batch in store.scan("videos", ["video_id", "native_id", "url"]):
        for row in batch.to_pylist():
            native, url = row["native_id"] or "", row["url"] or ""
            paths = [native, unquote(url_path(url)) if "://" in url else url]
            # a file name has an ending: the last part of a page's URL ("watch") is none
            files = [file for path in paths if "." in (file := PurePosixPath(path).name)]
            if any(_normal(alias) in names for alias in (row["video_id"], native, url, *files) if alias):
                found.add(str(row["video_id"]))
    return found


def _normal(name: str) -> str:
    # file systems encode accents in different ways
    return unicodedata.normalize("NFC", name)


def _channels_named(store: Store, name: str) -> list[str]:
    """Return the ids of the channels with this id, address or name, sorted."""
    wanted = channel_id_at(name) or name
    ids = store.read("videos", ["channel_id"], pc.field("channel_id") == wanted)
    if len(ids):
        return [wanted]
    named = store.read("videos", ["channel_id"], pc.field("channel") == name)["channel_id"]
    return sorted({str(channel) for channel in named.to_pylist() if channel})


def _rows(store: Store, where: Any) -> list[Mapping[str, Any]]:
    return [*store.read("videos", list(COLUMNS), where).sort_by("video_id").to_pylist()]
