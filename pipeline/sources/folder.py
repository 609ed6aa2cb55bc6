"""Videos that lie in a folder of this machine: any container, any size, any rate, at any depth.

A `<name>.info.json` beside a video (as yt-dlp writes it) gives title, description and channel; without one the title
is the file's name.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from pipeline.config.source import DownloadConfig
from pipeline.errors import PermanentError, UserError
from pipeline.ids import file_video_id
from pipeline.sources.base import Candidate, Fetched, ReadySource, clean_text

SUFFIXES = (
    ".3gp", ".avi", ".f4v", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts",
    ".vob", ".webm", ".wmv",
)  # fmt: skip


class FolderSource(ReadySource):
    """A folder of recordings."""

    kind = "folder"

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser().absolute()
        self.failures: dict[str, str] = {}

    def search(self, round: int | None = None) -> Iterator[Candidate]:
        """Yield the folder's videos by path; UserError where there is no folder, or none in it."""
        if not self.folder.is_dir():
            what = "is not a folder" if self.folder.exists() else "does not exist"
            raise UserError(f"source.spec = 'folder:{self.folder}': {what}; name the folder that holds your videos")
        found = False
        for path in _videos(self.folder):
            found = True
            yield self._candidate(path)
        if not found:
            raise UserError(f"source.spec = 'folder:{self.folder}': no video in it (looked for {' '.join(SUFFIXES)})")

    def _candidate(self, path: Path) -> Candidate:
        relative = path.relative_to(self.folder).as_posix()
        info = _sidecar(path)
        tags = info.get("tags")
        return Candidate(
            video_id=file_video_id(relative),
            extractor=self.kind,
            native_id=clean_text(relative, 4000),
            url=_url(path),
            query=str(self.folder),
            title=clean_text(info.get("title") or path.stem, 1000),
            description=clean_text(info.get("description"), 20000),
            tags=tuple(clean_text(tag, 1000) for tag in tags[:200]) if isinstance(tags, list) else (),
            channel_id=clean_text(info.get("channel_id") or info.get("uploader_id"), 1000) or None,
            channel=clean_text(info.get("channel") or info.get("uploader"), 1000) or None,
            upload_date=clean_text(info.get("upload_date"), 8) or None,
            licence=clean_text(info.get("license"), 1000) or None,
            language=clean_text(info.get("language"), 40) or None,
        )

    def fetch(self, video: Mapping[str, Any], folder: Path, config: DownloadConfig) -> Fetched:
        """Link (or copy) the file into the attempt's folder; a file that is gone is a PermanentError."""
        path = path_of(str(video["url"])).resolve()
        if not path.is_file():
            raise PermanentError("the file is gone from its folder", error_class="permanent")
        target = folder / f"media{path.suffix.lower()}"
        try:
            os.link(path, target)
        except OSError:  # another file system, or one without links
            shutil.copyfile(path, target)
        return Fetched(path=target, format="file", tool_version="file")


def path_of(url: str) -> Path:
    """Return the path that a folder video's `url` names."""
    if url.startswith("file://"):
        return Path(os.fsdecode(unquote_to_bytes(url.removeprefix("file://"))))
    return Path(url)


def _url(path: Path) -> str:
    """Return the absolute path as it is, or as a file: URL where its bytes are no text."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return path.as_uri()
    return str(path)


def _videos(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(parent, name)
            if not name.startswith(".") and path.suffix.lower() in SUFFIXES and path.is_file():
                yield path


def _sidecar(path: Path) -> dict[str, Any]:
    """Return the metadata beside a video; one that cannot be read is as good as none."""
    try:
        info = json.loads(path.with_name(path.stem + ".info.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return info if isinstance(info, dict) else {}
