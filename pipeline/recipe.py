"""A data set as a recipe: which videos and spans it is made of, without a pixel of them.

JSON Lines, packed with gzip where the name ends in `.gz`. The first line says how the clips were cut and divided, each
further line is a video with its clips:

    {"lampworks_recipe": 1, "clip_spec": "5f0c12ab", "clips": {"seconds": 16, ...}, "split": {...}, ...}
    {"video_id": "youtube-abc", "url": "https://...", "licence": "CC BY", "clips": [{"start_ms": 0, ...}]}

A recipe may come from a stranger: lines and numbers are bounded, ids must be ids, and addresses are http or https, or
paths of files that lie in a folder that its reader names.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from pipeline.errors import UserError
from pipeline.ids import CLIP_ID_PATTERN
from pipeline.outside import clean_count, clean_seconds, clean_text, parse_json
from pipeline.regular_file import open_regular

FORMAT = 1
_LONGEST_LINE = 64 << 20
"""Bytes of a line: a video of 12 hours has 2,700 clips of 400 bytes."""
_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")
_HEX = re.compile(r"[0-9a-f]{64}")
_HASHES = re.compile(r"(?:[0-9a-f]{2}){1,4096}")


@dataclass(frozen=True)
class RecipeClip:
    """One clip of a recipe."""

    clip_id: str
    start_ms: int
    end_ms: int
    split: str
    sha256: str
    """Of the clip's mp4: equal where the same file is cut by the same programs."""
    hashes: bytes
    """Of its pictures, as in `clips.hashes`: alike where the same video is fetched in another format."""


@dataclass(frozen=True)
class RecipeVideo:
    """One video of a recipe with its clips."""

    video_id: str
    extractor: str
    native_id: str
    url: str
    """Where to fetch it; "" for a file of its owner's disk, which `native_id` names by its relative path."""
    title: str
    channel_id: str | None
    channel: str | None
    licence: str | None
    duration_s: float | None
    source_sha256: str | None
    """Of the file that was cut."""
    clips: tuple[RecipeClip, ...]


@dataclass(frozen=True)
class RecipeHead:
    """The first line of a recipe."""

    clip_spec: str
    clips: Mapping[str, Any]
    """Settings of the section `clips`."""
    split: Mapping[str, Any]
    """Settings of the section `split`."""
    shards: Mapping[str, Any]
    """Settings of the section `shards`."""
    videos: int
    num_clips: int


class Recipe:
    """A recipe in a file of this machine; its videos are read one at a time."""

    def __init__(self, path: str | Path) -> None:
        """Open a recipe and read its head; UserError where it cannot be read or is none."""
        self.path = Path(path)
        with self._open() as file:
            self.head = _head(self._line(file, 1), self._where(1))

    def videos(self) -> Iterator[RecipeVideo]:
        """Yield the videos in the order of the file; UserError names the line of one that is malformed."""
        seen: set[str] = set()
        with self._open() as file:
            self._line(file, 1)
            number = 1
            while line := self._line(file, number := number + 1):
                video = _video(line, self._where(number))
                if video.video_id in seen:
                    raise UserError(f"{self._where(number)}: video {video.video_id} is there twice")
                seen.add(video.video_id)
                yield video

    def sha256(self) -> str:
        """Return the hash of the file."""
        with open_regular(self.path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]

    @contextmanager
    def _open(self) -> Iterator[IO[bytes]]:
        try:
            file = open_regular(self.path)
        except OSError as exc:
            raise UserError(f"recipe {str(self.path)!r} cannot be read: {exc.strerror or exc}") from exc
        with file:
            if self.path.suffix != ".gz":
                yield file
                return
            with gzip.open(file, "rb") as unpacked:
                yield cast("IO[bytes]", unpacked)

    def _line(self, file: IO[bytes], number: int) -> bytes:
        try:
            line = file.readline(_LONGEST_LINE + 1)
        except (OSError, EOFError) as exc:
            raise UserError(f"{self._where(number)}: it cannot be unpacked ({exc})") from exc
        if len(line) > _LONGEST_LINE:
            raise UserError(f"{self._where(number)}: longer than {_LONGEST_LINE >> 20} MB")
        return line

    def _where(self, number: int) -> str:
        return f"recipe {self.path.name!r}, line {number}"


def video_line(video: RecipeVideo) -> dict[str, Any]:
    """Return a video as the object of its line."""
    clips = [{**vars(clip), "hashes": clip.hashes.hex()} for clip in video.clips]
    return {**vars(video), "clips": clips}


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        found = parse_json(line)
    except ValueError as exc:
        raise UserError(f"{where}: not JSON ({exc})") from exc
    if not isinstance(found, dict):
        raise UserError(f"{where}: not an object")
    return found


def _head(line: bytes, where: str) -> RecipeHead:
    found = _object(line, where)
    if found.get("lampworks_recipe") != FORMAT:
        raise UserError(
            f"{where}: no recipe of format {FORMAT}: `lampworks export FILE --recipe` writes one. Another format needs "
            "another version of lampworks."
        )
    sections = {name: _section(found.get(name), f"{where}: {name}") for name in ("clips", "split", "shards")}
    videos, clips = clean_count(found.get("videos")), clean_count(found.get("num_clips"))
    if videos is None or clips is None:
        raise UserError(f"{where}: videos and num_clips must be counts")
    return RecipeHead(clip_spec=_matching(found, "clip_spec", _ID, where), videos=videos, num_clips=clips, **sections)


def _section(found: object, where: str) -> dict[str, Any]:
    if not isinstance(found, dict) or not all(isinstance(value, str | int | float | bool) for value in found.values()):
        raise UserError(f"{where}: must be an object of plain values")
    return {str(name): value for name, value in found.items()}


def _video(line: bytes, where: str) -> RecipeVideo:
    found = _object(line, where)
    video_id = _matching(found, "video_id", _ID, where)
    clips = found.get("clips")
    if not isinstance(clips, list) or not all(isinstance(clip, dict) for clip in clips):
        raise UserError(f"{where}: clips must be a list of objects")
    url, native_id = clean_text(found.get("url"), 20000), clean_text(found.get("native_id"), 4000)
    path = PurePosixPath(native_id)
    if url and not url.startswith(("http://", "https://")):
        raise UserError(f"{where}: url {url[:80]!r} is neither http nor https")
    if not url and (not native_id or path.is_absolute() or ".." in path.parts):
        raise UserError(f"{where}: video {video_id} has no url, and native_id {native_id[:80]!r} is no relative path")
    return RecipeVideo(
        video_id=video_id,
        extractor=_matching(found, "extractor", _ID, where),
        native_id=native_id,
        url=url,
        title=clean_text(found.get("title"), 1000),
        channel_id=clean_text(found.get("channel_id"), 1000) or None,
        channel=clean_text(found.get("channel"), 1000) or None,
        licence=clean_text(found.get("licence"), 1000) or None,
        duration_s=clean_seconds(found.get("duration_s")),
        source_sha256=clean_text(found.get("source_sha256"), 64) or None,
        clips=tuple(_clip(clip, video_id, where) for clip in clips),
    )


def _clip(found: Mapping[str, Any], video_id: str, where: str) -> RecipeClip:
    clip_id = clean_text(found.get("clip_id"), 400)
    match = re.fullmatch(CLIP_ID_PATTERN, clip_id)
    start_ms, end_ms = clean_count(found.get("start_ms")), clean_count(found.get("end_ms"))
    if match is None or match["video_id"] != video_id or start_ms is None or end_ms is None or end_ms <= start_ms:
        raise UserError(f"{where}: clip {clip_id[:100]!r} is no clip of video {video_id} with a span")
    return RecipeClip(
        clip_id=clip_id,
        start_ms=start_ms,
        end_ms=end_ms,
        split=_matching(found, "split", re.compile(r"train|val|test"), where),
        sha256=_matching(found, "sha256", _HEX, where),
        hashes=bytes.fromhex(_matching(found, "hashes", _HASHES, where)),
    )


def _matching(found: Mapping[str, Any], name: str, pattern: re.Pattern[str], where: str) -> str:
    text = clean_text(found.get(name), 10000)
    if pattern.fullmatch(text) is None:
        raise UserError(f"{where}: {name} is {text[:80]!r}, which it cannot be")
    return text


@contextmanager
def opened_for_writing(path: Path) -> Iterator[IO[bytes]]:
    """Yield a file for a recipe, packed where its name ends in `.gz`, with the same bytes for the same lines."""
    with path.open("wb") as file:
        if path.suffix != ".gz":
            yield file
            return
        with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
            yield cast("IO[bytes]", packed)
