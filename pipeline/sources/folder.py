"""Videos that lie in a folder of this machine or under a prefix of an object store: any container, size, rate, depth.

A `<name>.info.json` beside a video (as yt-dlp writes it) gives title, description, channel, licence, duration and the
like; without one the title is the file's name.

    folder:/videos
    folder:s3://bucket/prefix        # with the storage options of the store

Only regular files are opened. A pipe, a device or a socket that is named like a video becomes a row that is rejected
with what it is; one that is named like a sidecar and a folder that cannot be read are failures of the search, by name.
Links to files and to folders are followed, because the folder is the user's own; one that leads out of the folder is
named (`pipeline.sources.folder_walk` ends loops of links). Files that are not read are counted by their ending
(`pipeline.sources.endings`).
"""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.config.source import DownloadConfig
from pipeline.errors import RetryableError, StoreError, UserError
from pipeline.ids import file_video_id
from pipeline.outside import clean_age, clean_date, clean_seconds, clean_text, clean_texts, parse_json
from pipeline.regular_file import open_regular, read_regular, too_large, what_it_is
from pipeline.rules import ODD_FILE
from pipeline.sources.actions import LEFT_OUT, FoundActions, actions_beside, is_sidecar, without_video
from pipeline.sources.base import Candidate, Fetched, Known, ReadySource, unknown
from pipeline.sources.endings import (
    HEAD_BYTES,
    SUFFIXES,
    Unread,
    ending_of,
    is_ambiguous,
    is_other_content,
    is_video_name,
)
from pipeline.sources.folder_fetch import fetch_object, is_remote, link_file, path_of, real_path, trouble_of
from pipeline.sources.folder_walk import FolderWalk
from pipeline.sources.settling import Original, file_moment
from pipeline.storage.blobs import BlobStat
from pipeline.storage.store import Store

_LARGEST_SIDECAR = 16 << 20
_MOST_FAILURES = 100
"""Sidecars and folders that cannot be read, which are named; further ones are counted."""
_LOGGER = logging.getLogger(__name__)
_MOST_NAMED = 20
"""Links of a kind that are named; further ones are counted."""


class FolderSource(ReadySource):
    """A folder, or a prefix, of recordings."""

    kind = "folder"

    def __init__(
        self, folder: str | Path, storage_options: Mapping[str, str] | None = None, *, settle_s: float = 0.0
    ) -> None:
        """Prepare a folder.

        Args:
            folder: of this machine, or the URL of a prefix.
            storage_options: of the prefix.
            settle_s: seconds without a change after which a file counts as written; 0: at once.
        """
        text, self.settle_s = str(folder), settle_s
        self.store = Store(text, storage_options) if is_remote(text) else None
        self.folder = self.store.root if self.store else str(Path(text).expanduser().absolute())
        self.storage_options = dict(storage_options or {})
        self.failures: dict[str, str] = {}
        self.refused: dict[str, RetryableError] = {}
        self.asked: list[str] = []
        self.links: dict[str, str] = {}
        """Links of the last search that lead out of the folder, by path, with where they lead."""
        self.notes: list[str] = []
        """What the last search left out or took by another way, a sentence each."""
        self.unread = Unread()
        self._more_failures = 0
        self._sidecars: list[str] = []

    def search(self, round: int | None = None, known: Known = unknown) -> Iterator[Candidate]:
        """Yield the folder's videos by path; UserError where there is no folder, or none in it."""
        self.failures, self.asked, self.links = {}, [self.folder], {}
        self.notes, self.unread, self._more_failures = [], Unread(), 0
        self._sidecars, videos = [], set[str]()
        for relative, about in self._objects(self.store) if self.store else self._files():
            videos.add(relative)
            candidate = self._candidate(relative)
            if isinstance(about, str):
                yield dataclasses.replace(candidate, error_class=ODD_FILE, message=about)
            else:
                yield dataclasses.replace(candidate, size_bytes=about.size, modified_at=about.modified, etag=about.etag)
        if self._more_failures:
            self.failures[f"{self._more_failures} more in {self.folder}"] = "they failed likewise"
        for link in self._named_links():
            _LOGGER.warning("%s", link)
        if sentence := self.unread.sentence():
            self.notes.append(sentence)
        lone = without_video(self._sidecars, videos)
        if beside := len(self._sidecars) - len(lone):
            files = "file" if beside == 1 else "files"
            self.notes.append(f"{beside} {files} of actions beside videos: read where download.actions is keep")
        self.notes += _first(
            (
                f"{_shown_path(sidecar)!r} holds actions, and no video of that name is there: put it beside its video"
                for sidecar in lone
            ),
            "sidecars",
        )
        if not videos:
            also = f"; {sentence}" if sentence else ""
            raise UserError(
                f"source.spec = 'folder:{self.folder}': no video in it (looked for {' '.join(SUFFIXES)}){also}"
            )

    def _objects(self, store: Store) -> Iterator[tuple[str, BlobStat]]:
        """Yield the keys of a prefix's videos, with what the listing says of them."""
        try:
            listed = store.stat_blobs("")
        except Exception as error:  # each object store has its own exceptions for "no"
            raise UserError(f"source.spec = 'folder:{self.folder}': cannot be listed: {error}") from error
        for key, about in listed.items():
            if any(part.startswith(".") for part in key.split("/")):
                self.unread.hidden += 1
            elif self._is_video(key, about.size):
                yield key, about

    def _files(self) -> Iterator[tuple[str, BlobStat | str]]:
        """Yield the paths of a folder's videos, relative to it, each with its state, or what it is if no file."""
        folder = Path(self.folder)
        if not folder.is_dir():
            what = "is not a folder" if folder.exists() else "does not exist"
            raise UserError(f"source.spec = 'folder:{folder}': {what}; name the folder that holds your videos")
        walk = FolderWalk(folder)
        for path in walk.files():
            relative = path.relative_to(folder).as_posix()
            if self._is_video(relative):
                yield relative, self._state(path)
        for place, why in walk.problems.items():
            self._fail(place, why)
        self.unread.hidden = walk.hidden
        self.notes += _first(f"{_shown_path(link)!r}: {why}" for link, why in walk.loops.items())
        self.links |= {_shown_path(link): _shown_path(target) for link, target in walk.links.items()}

    def _is_video(self, relative: str, size: int = HEAD_BYTES) -> bool:
        """Tell whether a file is read as a video; count it by its ending where it is not."""
        ending = ending_of(relative)
        if not is_video_name(relative):
            if is_sidecar(relative):
                self._sidecars.append(relative)
            else:
                self.unread.count(relative)
            return False
        if (
            is_ambiguous(ending)
            and (head := self._head(relative, min(size, HEAD_BYTES))) is not None
            and is_other_content(ending, head)
        ):
            self.unread.other_content[ending] += 1
            return False
        return True

    def _head(self, relative: str, size: int) -> bytes | None:
        """Return the first bytes of a file; None where they cannot be read, which its download says by name."""
        try:
            if self.store is None:
                with open_regular(Path(self.folder, relative)) as file:
                    return file.read(size)
            return self.store.read_range(relative, 0, size) if size else b""
        except OSError:
            return None
        except Exception as error:  # each object store has its own exceptions for "not now"
            _LOGGER.info("the first bytes of %r cannot be read: %s", relative, error)
            return None

    def _fail(self, path: str, why: str) -> None:
        if len(self.failures) < _MOST_FAILURES:
            self.failures[_shown_path(path)] = why
        else:
            self._more_failures += 1

    def _state(self, path: Path) -> BlobStat | str:
        """Return size and time of a video, or what it is where it is no regular file; note a link out of the folder."""
        try:
            about = path.stat()
        except OSError as error:
            return f"a link that leads nowhere ({error.strerror})" if path.is_symlink() else str(error.strerror)
        if odd := what_it_is(about.st_mode):
            return odd
        self._note_link(path)
        return BlobStat(about.st_size, file_moment(about))

    def _note_link(self, path: Path) -> None:
        if path.is_symlink():
            target = real_path(path)
            if not target.is_relative_to(real_path(Path(self.folder))):
                self.links[_shown_path(path)] = _shown_path(target)

    def _named_links(self) -> list[str]:
        """Return a sentence for each link that leads out of the folder, as far as they are named."""
        inside = real_path(Path(self.folder))
        out = {path: target for path, target in self.links.items() if not Path(target).is_relative_to(inside)}
        return _first(
            f"{path!r} is a link out of its folder, to {target!r}: it is read" for path, target in sorted(out.items())
        )

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
            live_status=clean_text(info.get("live_status"), 40) or ("is_live" if info.get("is_live") is True else None),
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
        original = None
        if is_remote(url):
            fetch_object(url, target, self.storage_options, self.folder)
        else:
            path = real_path(path_of(url))
            with suppress(OSError):  # what is wrong with it is said where it is opened
                original = Original.of(path, self.settle_s)
            link_file(path, target)
        found = FoundActions()
        if config.actions == "keep":
            try:
                found = actions_beside(url, self.folder, self.storage_options)
            except StoreError as error:
                raise trouble_of(error, url, self.folder, self.storage_options) from None
        return Fetched(
            path=target,
            format="file",
            actions=found.data,
            actions_ending=found.ending,
            note=f"{LEFT_OUT}{clean_text(found.why_not, 500)}" if found.why_not else "",
            own_file=True,
            tool_version="file",
            duration_claimed_s=clean_seconds(video.get("duration_s")),
            original=original,
        )

    def exists(self, url: str) -> bool:
        """Tell whether a folder video's `url`, of this folder or another, still names a file."""
        if not is_remote(url):
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


def _shown_path(path: str | Path) -> str:
    return clean_text(str(path), 4000)


def _first(sentences: Iterable[str], what: str = "links") -> list[str]:
    """Return the first sentences of a kind, and the number of the others."""
    found = list(sentences)
    more = len(found) - _MOST_NAMED
    return found if more <= 0 else [*found[:_MOST_NAMED], f"{more} more {what} like the last one"]


def _same(one: str, other: str) -> bool:
    if one == other or is_remote(one) or is_remote(other):
        return one == other
    return real_path(path_of(one)) == real_path(path_of(other))


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
