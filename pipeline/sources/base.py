"""What a source of videos is: it searches (metadata, cheap) and fetches (one video into one folder).

A source is a context manager, because some must start something first (the embedded one starts its site), and it
is pickled into worker processes for `fetch`, so it carries plain values only: a URL, a folder, options. Ids, titles
and URLs come from strangers: no path is ever built from them, except from a `video_id` of `pipeline.ids`.

    with open_source(config, home) as source:
        for candidate in source.search():
            ...
        fetched = source.fetch(row_of_videos, folder, config.download)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

from pipeline.config.source import DownloadConfig, RulesConfig, SourceConfig
from pipeline.errors import RetryableError
from pipeline.rules import judge_listed


def clean_text(value: object, length: int) -> str:
    """Return a text from outside as one that fits a table: no lone surrogates, no NUL, at most `length` characters."""
    text = "" if value is None else str(value)[:length]
    return text.encode("utf-8", "replace").decode().replace("\x00", "")


def clean_number(value: object) -> float | None:
    """Return a number from outside that is finite and not negative; None for anything else."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number >= 0 else None


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One search result: the metadata columns of `videos`, before any verdict."""

    video_id: str
    """From `ids.video_id_of` or `ids.file_video_id`."""
    extractor: str
    """yt-dlp's extractor key, lower case, or `folder`."""
    native_id: str
    """The id that the source itself uses; a file's path relative to its folder."""
    url: str
    """Where to fetch it: a page, a media file, or an absolute path."""
    query: str
    """What found it: a search text, a feed's URL, a folder."""
    title: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    channel_id: str | None = None
    channel: str | None = None
    duration_s: float | None = None
    upload_date: str | None = None
    """YYYYMMDD."""
    licence: str | None = None
    age_limit: int | None = None
    live_status: str | None = None
    language: str | None = None
    thumbnail: str | None = None
    """URL of a small picture, where the source names one."""
    error_class: str | None = None
    """Why the metadata is missing, where the source was asked for it and failed (see `pipeline.sources.faults`)."""
    message: str = ""
    """What the source said with it."""
    listed: bool = False
    """Whether this is only what a list says of it, and its page was not asked."""


Known = Callable[[Candidate], bool]
"""Tells of a listed candidate that the store holds its metadata and its verdict: its page need not be asked."""


def unknown(candidate: Candidate) -> bool:
    """Know nothing: every page is asked."""
    return False


def listed_filter(source: SourceConfig, rules: RulesConfig, known: Known) -> Callable[[Candidate], bool]:
    """Return what tells whether a listed candidate's page is worth a request: not rejected by the list, not known."""

    def wanted(candidate: Candidate) -> bool:
        verdict = judge_listed(vars(candidate), rules, words=source.rules_apply)
        return verdict.kept and not known(candidate)

    return wanted


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """One fetched file, not yet verified."""

    path: Path
    """Inside the folder that was given to `fetch`."""
    format: str
    """yt-dlp's format, as `144p (256x144)`, or `file`."""
    duration_claimed_s: float | None = None
    """Seconds that the source says it lasts; None where it says nothing."""
    tool_version: str = ""
    """What fetched it, as `yt-dlp 2026.10.26`."""
    bytes_360p: int | None = None
    """What the usual choice of at most 360 rows, with sound, would have taken; None where the source does not tell."""
    bytes_720p: int | None = None
    """The same of at most 720 rows."""


def site_of(source: str, url: str) -> str:
    """Return what rests, and what limits count, when a video's site refuses: its host for `urls`, else the source."""
    if source != "urls":
        return source
    try:
        host = urlsplit(url).hostname
    except ValueError:
        host = None
    return clean_text(host or "urls", 253).lower()


class Source(Protocol):
    """Search and fetch; picklable, usable in worker processes once entered."""

    kind: str
    """First part of `source.spec`: arcade, folder, urls, youtube."""
    failures: dict[str, str]
    """Queries of the last search that were refused, in whole or from some item on, with the message."""
    asked: list[str]
    """Queries of the last search that were answered, if only with nothing, in order."""
    refused: dict[str, RetryableError]
    """Sites that a search does not ask (any more): told of them before it, and what it met itself."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def search(self, round: int | None = None, known: Known = unknown) -> Iterator[Candidate]:
        """Yield candidates in the source's own order, the same order each time.

        Args:
            round: which growth of a closed world to see (the embedded source); None means all there is.
            known: asked of what a list offers, before its page is; what is known is yielded as listed.

        Raises:
            UserError: the source itself is missing or unreachable. One bad item never raises: it is yielded with
                its `error_class`.
        """
        ...

    def fetch(self, video: Mapping[str, Any], folder: Path, config: DownloadConfig) -> Fetched:
        """Fetch one video (a row of `videos`) into an empty folder of its own.

        Raises:
            PermanentError: trying again will not help.
            RetryableError: worth another try, after `retry_after_s` where the source said so.
        """
        ...


class ReadySource:
    """A source that has nothing to start before its use, and nothing to stop after it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None
