"""The interface of a source of videos: it searches (metadata, cheap) and fetches (one video into one folder).

A source is a context manager, because the embedded one must start its site first. It is pickled into worker processes
for `fetch`, so it holds plain values only: a URL, a folder, options. Ids, titles
and URLs come from strangers: no path is ever built from them, except from a `video_id` of `pipeline.ids`.

    with open_source(config, home) as source:
        for candidate in source.search():
            ...
        fetched = source.fetch(row_of_videos, folder, config.download)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

from pipeline.config.source import DownloadConfig, RulesConfig, SourceConfig
from pipeline.errors import RetryableError
from pipeline.outside import clean_text
from pipeline.rules import judge_listed
from pipeline.sources.settling import Original


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
    """Why the metadata is missing, where the page was requested and failed (see `pipeline.sources.faults`)."""
    message: str = ""
    """The message that came with it."""
    size_bytes: int | None = None
    """Of a file of a folder, or an object."""
    modified_at: datetime | None = None
    """When it was last changed."""
    etag: str | None = None
    """What its object store says that changes with the bytes."""
    listed: bool = False
    """Whether this comes from a list alone, and its page was not requested."""


Known = Callable[[Candidate], bool]
"""Returns whether the store has a listed candidate's metadata and verdict, so that its page need not be requested."""


def unknown(candidate: Candidate) -> bool:
    """Return False: every page is requested."""
    return False


def listed_filter(source: SourceConfig, rules: RulesConfig, known: Known) -> Callable[[Candidate], bool]:
    """Return a filter of listed candidates: those that the list alone does not reject, and that are not known."""

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
    own_file: bool = False
    """Whether it lies on one's own disk: it is cut as far as it plays, whatever is said of its duration."""
    tool_version: str = ""
    """What fetched it, as `yt-dlp 2026.10.26`."""
    bytes_360p: int | None = None
    """Size of the usual format (at most 360 rows, with sound); None where the source gives no size."""
    bytes_720p: int | None = None
    """The same of at most 720 rows."""
    actions: bytes | None = None
    """True actions that lay beside it (`pipeline.actions.sidecar`); None where there are none, or none are kept."""
    actions_ending: str = ".jsonl"
    """`.jsonl` or `.parquet`."""
    note: str = ""
    """What was left out and why; "" where nothing was."""
    original: Original | None = None
    """The file of a folder that it is a link to or a copy of, as it was before; None for anything else."""


HOSTED = frozenset({"urls", "recipe"})
"""Sources whose videos lie on many sites."""


def site_of(source: str, url: str) -> str:
    """Return the site that limits and the circuit breaker count by: the host for `urls` and `recipe`, else the source.

    YouTube is one site under its own name, whatever names it.
    """
    if source not in HOSTED:
        return source
    try:
        host = urlsplit(url).hostname
    except ValueError:
        host = None
    if source == "recipe" and host and re.fullmatch(r"(?:.+\.)?(?:youtube\.com|youtu\.be)", host):
        return "youtube"
    return clean_text(host or source, 253).lower()


class Source(Protocol):
    """Search and fetch; picklable, usable in worker processes once entered."""

    kind: str
    """First part of `source.spec`."""
    failures: dict[str, str]
    """Queries of the last search that were refused, in whole or from some item on, with the message."""
    asked: list[str]
    """Queries of the last search that were answered, with or without results, in order."""
    refused: dict[str, RetryableError]
    """Sites that a search skips: those set before it, and those that refused it meanwhile."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def search(self, round: int | None = None, known: Known = unknown) -> Iterator[Candidate]:
        """Yield candidates in the source's own order, the same order each time.

        Args:
            round: which growth of a closed world to see (the embedded source); None means all there is.
            known: called for each entry of a list; a known entry is yielded as listed, without a request for its page.

        Raises:
            UserError: the source itself is missing or unreachable. One bad item never raises: it is yielded with
                its `error_class`.
        """
        ...

    def fetch(self, video: Mapping[str, Any], folder: Path, config: DownloadConfig) -> Fetched:
        """Fetch one video (a row of `videos`) into an empty folder of its own.

        Raises:
            PermanentError: trying again will not help.
            RetryableError: worth another attempt, after `retry_after_s` where the source gave one.
        """
        ...


class ReadySource:
    """Base of sources that have nothing to start or stop."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None
