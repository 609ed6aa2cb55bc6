"""Remove videos from token files at once: affected files are written again without them, the others stay as they are.

for row in token_files_of(store, {"youtube-abc123"}):
    print(row["path"])
removed = remove_videos(store, {"youtube-abc123"})
withdraw_tokens(store)                             # whatever was taken down since the tokens were made
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.storage.arrow import rows_with, unique
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down
from pipeline.tokens.files import (
    TOKEN_INDEX,
    EncodedClip,
    clips_digest,
    layout_of,
    read_token_index,
    write_token_file,
)

_SOURCE = ("clip_id", "video_id", "clip_sha256", "cut_ms")


@dataclass(frozen=True)
class RemovedTokens:
    """What a removal did."""

    clips: int = 0
    """Clips whose tokens are gone."""
    deleted: tuple[str, ...] = ()
    """Blobs that were deleted: tars and their indexes."""
    written: tuple[str, ...] = ()
    """Tars that took their places, without the videos; none where no clip was left."""


def token_files_of(store: Store, videos: Collection[str]) -> list[dict[str, Any]]:
    """Return the rows of `tokens` whose files name one of some videos; every index is read."""
    rows = store.read("tokens").sort_by("path").to_pylist()
    return [row for row in rows if len(rows_with(read_token_index(store, row), "video_id", videos))]


def remove_videos(store: Store, videos: Collection[str]) -> RemovedTokens:
    """Write the files that hold some videos again without them, replace their rows, and delete the old files.

    Nothing is encoded: the tokens of the other clips are copied. Doing it twice is harmless.

    Raises:
        DamagedError: an index is not what was written.
    """
    affected = token_files_of(store, videos) if videos else []
    if not affected:
        return RemovedTokens()
    old = {str(row["path"]): row for row in affected}
    new = {path: row for path, before in old.items() if (row := _without(store, before, videos)) is not None}
    present = store.read("tokens").to_pylist()
    rows = [new.get(row["path"], row) for row in present if row["path"] in new or row["path"] not in old]
    store.replace("tokens", rows, inputs=store.inputs("tokens"))
    gone = [key for row in affected for key in (row["path"], row["index"])]
    for key in gone:
        if store.exists(key):
            store.delete(key)
    clips = sum(row["clips"] for row in affected) - sum(row["clips"] for row in new.values())
    return RemovedTokens(clips, tuple(gone), tuple(str(row["path"]) for row in new.values()))


def withdraw_tokens(store: Store) -> RemovedTokens:
    """Remove every video that was taken down since the tokens were made; where none was, no index is read."""
    inputs, now = store.inputs("tokens"), store.version("takedowns")
    if store.version("tokens") < 0 or inputs.get("takedowns") == now:
        return RemovedTokens()
    videos: set[str] = set()
    for row in store.read("tokens").to_pylist():
        videos.update(unique(read_token_index(store, row)["video_id"]))
    removed = remove_videos(store, taken_down(store).hidden_among(store, videos))
    # what was looked at is recorded, so that the next pass reads no index
    store.replace("tokens", store.read("tokens"), inputs={**inputs, "takedowns": now})
    return removed


def _without(store: Store, row: dict[str, Any], videos: Collection[str]) -> dict[str, Any] | None:
    """Write a file without some videos and return its row; None where no clip is left."""
    kept = [entry for entry in read_token_index(store, row).to_pylist() if entry["video_id"] not in videos]
    if not kept:
        return None
    stem = str(row["path"]).removesuffix(".tar").rpartition("-")[0]
    key = f"{stem}-{clips_digest(kept)}.tar"
    return write_token_file(store, layout_of(row), row["split"], key, _copied(store, row, kept))


def _copied(store: Store, row: dict[str, Any], entries: list[dict[str, Any]]) -> Iterator[EncodedClip]:
    assert entries[0].keys() == set(TOKEN_INDEX.names)
    for entry in entries:
        has_tokens = entry["problem"] is None
        data = store.read_range(row["path"], entry["offset"], entry["size"]) if has_tokens else b""
        source = {name: entry[name] for name in _SOURCE}
        yield EncodedClip(source, entry["num_frames"], entry["starts"] or (), data, entry["problem"])
