"""Videos that lie in a folder of this machine or under a prefix of an object store: any container, size, rate, depth.

A `<name>.info.json` beside a video (as yt-dlp writes it) gives title, description, channel, licence, duration and the
like; without one the title is the file's name.

    folder:/videos
    folder:s3://bucket/prefix        # with the storage options of the store

Only regular files are opened. A pipe, a device or a socket that is named like a video becomes a row that is rejected
with what it is; one that is named like a sidecar, a folder that cannot be read and a link to a folder are failures of
the search, by name. A link to a regular file is followed, because the folder is the user's own; one that leads out of
the folder is named in the log.
"""

from __future__ import annotations

import dataclasses
import errno
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from pipeline.config.source import DownloadConfig
from pipeline.errors import PermanentError, RetryableError, UserError
from pipeline.ids import file_video_id
from pipeline.outside import clean_age, clean_date, clean_seconds, clean_text, clean_texts, parse_json
from pipeline.regular_file import OddFileError, open_regular, read_regular, too_large, what_it_is
from pipeline.rules import ODD_FILE
from pipeline.sources.base import Candidate, Fetched, Known, ReadySource, unknown
from pipeline.storage.store import Store

SUFFIXES = (
    ".3gp", ".avi", ".f4v", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts",
    ".vob", ".webm", ".wmv",
)  # fmt: skip
_LARGEST_SIDECAR = 16 << 20
_LOGGER = logging.getLogger(__name__)
_MOST_LINKS = 20
"""Links out of the folder that are named; the others are counted."""


class FolderSource(ReadySource):
    """A folder, or a prefix, of recordings."""

    kind = "folder"

    def __init__(self, folder: str | Path, storage_options: Mapping[str, str] | None = None) -> None:
        text = str(folder)
        self.store = Store(text, storage_options) if _is_remote(text) else None
        self.folder = self.store.root if self.store else str(Path(text).expanduser().absolute())
        self.storage_options = dict(storage_options or {})
        self.failures: dict[str, str] = {}
        self.refused: dict[str, RetryableError] = {}
        self.asked: list[str] = []
        self.links: dict[str, str] = {}
        """Links of the last search that lead out of the folder, by path, with where they lead."""

    def search(self, round: int | None = None, known: Known = unknown) -> Iterator[Candidate]:
        """Yield the folder's videos by path; UserError where there is no folder, or none in it."""
        self.failures, self.asked, self.links = {}, [self.folder], {}
        found = False
        for relative in self._prefix_videos(self.store) if self.store else self._videos():
            found = True
            candidate = self._candidate(relative)
            odd = "" if self.store else self._odd_file(relative)
            yield dataclasses.replace(candidate, error_class=ODD_FILE, message=odd) if odd else candidate
        self._log_links()
        if not found:
            raise UserError(f"source.spec = 'folder:{self.folder}': no video in it (looked for {' '.join(SUFFIXES)})")

    def _prefix_videos(self, store: Store) -> Iterator[str]:
        try:
            keys = store.list_blobs("")
        except Exception as error:  # each object store has its own exceptions for "no"
            raise UserError(f"source.spec = 'folder:{self.folder}': cannot be listed: {error}") from error
        for key in keys:
            parts = key.split("/")
            if Path(parts[-1]).suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in parts):
                yield key

    def _videos(self) -> Iterator[str]:
        """Yield the paths of a folder's videos, relative to it."""
        folder = Path(self.folder)
        if not folder.is_dir():
            what = "is not a folder" if folder.exists() else "does not exist"
            raise UserError(f"source.spec = 'folder:{folder}': {what}; name the folder that holds your videos")

        def unreadable(error: OSError) -> None:
            self._fail(os.fsdecode(error.filename or folder), f"the folder cannot be read: {error.strerror}")

        for parent, folders, files in os.walk(folder, onerror=unreadable):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for path in (Path(parent, name) for name in folders):
                if path.is_symlink():
                    # it may lead back to a folder above it
                    self._fail(str(path), "a link to a folder is not followed: move that folder here")
            for name in sorted(files):
                path = Path(parent, name)
                if not name.startswith(".") and path.suffix.lower() in SUFFIXES:
                    yield path.relative_to(folder).as_posix()

    def _fail(self, path: str, why: str) -> None:
        self.failures[clean_text(path, 4000)] = why

    def _odd_file(self, relative: str) -> str:
        """Return what a video is where it is no regular file, else ""; note a link that leads out of the folder."""
        path = Path(self.folder, relative)
        try:
            odd = what_it_is(path.stat().st_mode)
        except OSError as error:
            return f"a link that leads nowhere ({error.strerror})" if path.is_symlink() else str(error.strerror)
        if not odd:
            self._note_link(path)
        return odd

    def _note_link(self, path: Path) -> None:
        if path.is_symlink():
            target = _real(path)
            if not target.is_relative_to(_real(Path(self.folder))):
                self.links[clean_text(str(path), 4000)] = clean_text(str(target), 4000)

    def _log_links(self) -> None:
        for path, target in list(self.links.items())[:_MOST_LINKS]:
            _LOGGER.warning("%r is a link out of its folder, to %r: it is read", path, target)
        if len(self.links) > _MOST_LINKS:
            _LOGGER.warning("%d more links lead out of %r: they are read", len(self.links) - _MOST_LINKS, self.folder)

    def _candidate(self, relative: str) -> Candidate:
        info = self._sidecar(relative)
        thumbnail, text = clean_text(info.get("thumbnail"), 4000), clean_text(relative, 4000)

        def named(*names: str) -> str:
            """Return the first of these fields that is a text."""
            return next((found for name in names if (found := clean_text(info.get(name), 1000))), "")

        return Candidate(
            video_id=file_video_id(relative),
            extractor=self.kind,
            native_id=text,
            url=f"{self.folder}/{relative}" if self.store else _url(Path(self.folder, relative)),
            query=clean_text(self.folder, 4000),
            title=named("title") or clean_text(Path(relative).stem, 1000),
            description=clean_text(info.get("description"), 20000),
            tags=clean_texts(info.get("tags"), 200, 1000),
            channel_id=named("channel_id", "uploader_id") or None,
            channel=named("channel", "uploader") or None,
            duration_s=clean_seconds(info.get("duration")),
            upload_date=clean_date(info.get("upload_date")),
            licence=named("license") or None,
            age_limit=clean_age(info.get("age_limit")),
            live_status=clean_text(info.get("live_status"), 40) or None,
            language=clean_text(info.get("language"), 40) or None,
            thumbnail=thumbnail if thumbnail.startswith(("http://", "https://")) else None,
        )

    def _sidecar(self, relative: str) -> dict[str, Any]:
        """Return the metadata beside a video; of one that cannot be read, nothing, and it is named as a failure."""
        name = relative.removesuffix(Path(relative).suffix) + ".info.json"
        try:
            text = self._text(name)
            info = parse_json(text) if text is not None else {}
        except (OSError, EOFError, ValueError) as error:
            self._fail(f"{self.folder}/{name}", f"the sidecar cannot be read: {_reason(error)}")
            return {}
        if not isinstance(info, dict):
            self._fail(f"{self.folder}/{name}", "the sidecar cannot be read: it is JSON, but no object")
            return {}
        return info

    def _text(self, name: str) -> bytes | None:
        """Return a small file of the folder; None where there is none, OSError where it is odd, or not small."""
        path = Path(self.folder, name)
        try:
            if self.store is None:
                data = read_regular(path, _LARGEST_SIDECAR)
                self._note_link(path)
                return data
            size = self.store.size(name)
            if size > _LARGEST_SIDECAR:
                raise too_large(size, _LARGEST_SIDECAR)
            # an object that grew meanwhile is read up to the size it had
            return self.store.read_range(name, 0, size) if size else b""
        except FileNotFoundError:
            if path.is_symlink():
                raise
            return None
        except OSError:
            # a name with room for .mp4 and none for .info.json has no sidecar
            if len(os.fsencode(path.name)) > 255:
                return None
            raise

    def fetch(self, video: Mapping[str, Any], folder: Path, config: DownloadConfig) -> Fetched:
        """Link (or copy) the file into the attempt's folder; a file that is gone is a PermanentError."""
        url = str(video["url"])
        target = folder / f"media{Path(url).suffix.lower()}"
        if _is_remote(url):
            self._fetch_remote(url, target)
        else:
            _link(_real(path_of(url)), target)
        return Fetched(
            path=target,
            format="file",
            own_file=True,
            tool_version="file",
            duration_claimed_s=clean_seconds(video.get("duration_s")),
        )

    def _fetch_remote(self, url: str, target: Path) -> None:
        parent, _, name = url.rpartition("/")
        try:
            Store(parent, self.storage_options).copy_to(name, target)
        except FileNotFoundError as error:
            raise PermanentError("the file is gone from its folder", error_class="permanent") from error
        except Exception as error:  # each object store has its own exceptions for "not now"
            raise RetryableError(f"{type(error).__name__}: {error}", error_class="transient") from error

    def exists(self, url: str) -> bool:
        """Tell whether a folder video's `url`, of this folder or another, still names a file."""
        if not _is_remote(url):
            return path_of(url).is_file()
        parent, _, name = url.rpartition("/")
        try:
            return Store(parent, self.storage_options).exists(name)
        except Exception:  # an object store that cannot be asked may well hold it still
            return True

    def apart(self, candidates: Iterable[Candidate], urls: Mapping[str, str]) -> list[Candidate]:
        """Return candidates under ids of their own where another folder has a file of the same relative path.

        A file that is gone from where the store saw it has moved here: it stays the same video.

        Args:
            candidates: of this folder's search.
            urls: `url` by `video_id`, as stored.
        """
        return [self._apart(candidate, urls) for candidate in candidates]

    def _apart(self, candidate: Candidate, urls: Mapping[str, str]) -> Candidate:
        own = dataclasses.replace(candidate, video_id=other_id(candidate))
        if own.video_id in urls:
            return own
        stored = urls.get(candidate.video_id, candidate.url)
        return candidate if _same(stored, candidate.url) or not self.exists(stored) else own


def other_id(candidate: Candidate) -> str:
    """Return the id of a folder video that also names its folder."""
    return file_video_id(candidate.native_id, candidate.query)


def path_of(url: str) -> Path:
    """Return the path that a folder video's `url` names."""
    if url.startswith("file://"):
        return Path(os.fsdecode(unquote_to_bytes(url.removeprefix("file://"))))
    return Path(url)


def _is_remote(url: str) -> bool:
    return "://" in url and not url.startswith("file:")


def _same(one: str, other: str) -> bool:
    if one == other or _is_remote(one) or _is_remote(other):
        return one == other
    return _real(path_of(one)) == _real(path_of(other))


def _real(path: Path) -> Path:
    """Return a path without links; `Path.resolve` would raise for a link to itself."""
    return Path(os.path.realpath(path))


def _link(path: Path, target: Path) -> None:
    """Link a regular file to a new name, or copy it where it cannot be linked."""
    try:
        with open_regular(path) as file:
            if _linked(path, target, os.fstat(file.fileno())):
                return
            # as much as there was when it was opened: some files of a system have no end
            left = os.fstat(file.fileno()).st_size
            with target.open("wb") as copy:
                while left > 0 and (part := file.read(min(left, 1 << 20))):
                    copy.write(part)
                    left -= len(part)
    except OddFileError as error:
        raise PermanentError(str(error.strerror), error_class="invalid_media") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise PermanentError("the file is gone from its folder", error_class="permanent") from error
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise PermanentError(str(error.strerror), error_class="invalid_media") from error


def _linked(path: Path, target: Path, opened: os.stat_result) -> bool:
    """Return whether the file that was opened could be linked to a new name."""
    try:
        os.link(path, target)
    except OSError:  # another file system, or one without links
        return False
    if os.path.samestat(target.lstat(), opened):
        return True
    target.unlink()  # the name was given to another file meanwhile
    return False


def _reason(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) else None
    return text or clean_text(str(error), 300)


def _url(path: Path) -> str:
    """Return the absolute path as it is, or as a file: URL where its bytes are no text."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return path.as_uri()
    return str(path)
