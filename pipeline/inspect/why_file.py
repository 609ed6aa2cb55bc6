"""Say whether a file is in the store: by its bytes, then by what its pictures show.

    found = why_file(store, config, Path("my-video.mp4"))

The bytes of a download, or of a clip, are known by their hash. A file with other bytes (another size, format or part
of the video) is cut in memory as a video of the store is, and its clips are compared with all others by picture and
motion.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline.clips.find_copies import find_copies_of, looks_of_file
from pipeline.config import Config
from pipeline.errors import PermanentError, UserError
from pipeline.ids import split_clip_id
from pipeline.inspect.find_id import NotInItError
from pipeline.inspect.why import why
from pipeline.storage.arrow import pc
from pipeline.storage.store import Store


def why_file(store: Store, config: Config, path: Path) -> dict[str, Any]:
    """Return where a file is in the store, as one object for JSON: its matches, and each video that they are of.

    Raises:
        NotInItError: neither its bytes nor its pictures are in the store.
        UserError: it cannot be read, or is no video.
    """
    digest = _sha256(path)
    videos = _ids(store, "downloads", digest)
    clips = [] if videos else _ids(store, "clips", digest)
    matches: list[dict[str, Any]] = []
    if not videos and not clips:
        matches = _by_picture(store, config, path)
    named = {*videos, *(split_clip_id(clip_id)[0] for clip_id in clips), *(match["video_id"] for match in matches)}
    return {
        "kind": "file",
        "id": str(path),
        "sha256": digest,
        "same_bytes": [*videos, *clips],
        "matches": matches,
        "videos": [why(store, config, video_id) for video_id in sorted(named)],
    }


def _by_picture(store: Store, config: Config, path: Path) -> list[dict[str, Any]]:
    try:
        looks = looks_of_file(path, config)
    except PermanentError as exc:
        raise UserError(f"{str(path)!r} cannot be looked for: {exc}") from exc
    if not looks:
        seconds = config.clips.seconds
        raise NotInItError(
            f"{str(path)!r}: its bytes are not in {store.root}, and it is shorter than a clip ({seconds:g} s), so that "
            "its pictures cannot be compared"
        )
    found = find_copies_of(store, config, looks)
    if not found:
        raise NotInItError(f"{str(path)!r}: neither its bytes nor what its {len(looks)} clips show is in {store.root}")
    return [
        {
            "start_ms": match.start_ms,
            "clip_id": match.clip_id,
            "video_id": split_clip_id(match.clip_id)[0],
            "match": match.kind,
            "mirrored": match.mirrored,
            "shift_ms": match.shift_ms,
        }
        for match in found
    ]


def _ids(store: Store, table: str, digest: str) -> list[str]:
    column = "video_id" if table == "downloads" else "clip_id"
    found: Iterable[Any] = store.read(table, [column], pc.field("sha256") == digest)[column].to_pylist()
    return sorted({str(name) for name in found})


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise UserError(f"file {str(path)!r} cannot be read: {exc.strerror or exc}") from exc
