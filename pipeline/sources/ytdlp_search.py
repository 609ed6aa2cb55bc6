"""Search with yt-dlp: what a page, a feed, a playlist or a search holds, as candidates.

In two phases: first the list, which is cheap (title, duration, channel), then the page of each entry that is wanted.

    search_url("https://example.org/videos", SearchRequest(query="example", config=DownloadConfig()))
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from yt_dlp import YoutubeDL
from yt_dlp.utils import YoutubeDLError

from pipeline.config.source import DownloadConfig
from pipeline.errors import PermanentError, RetryableError
from pipeline.sources.base import Candidate, site_of
from pipeline.sources.faults import BLOCKING, as_error, classify
from pipeline.sources.ytdlp import Client, error_of, extractor_of, plain_url, search_client
from pipeline.sources.ytdlp_candidate import candidate_of, failed

_DEPTH = 3
_LISTED = (
    "title", "duration", "channel", "channel_id", "uploader", "uploader_id", "description", "thumbnail", "tags",
    "language", "upload_date", "age_limit", "license",
)  # fmt: skip
"""Fields that a list may hold and the page of an entry may lack."""
Wanted = Callable[[Candidate], bool]


def everything(candidate: Candidate) -> bool:
    """Want every entry of a list."""
    return True


@dataclass(frozen=True, kw_only=True)
class SearchRequest:
    """How a page or a list is searched."""

    query: str
    """Written into the candidates."""
    config: DownloadConfig
    """Time limits."""
    limit: int | None = None
    """Entries taken of a list; None for all."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Options of the source."""
    wanted: Wanted = everything
    """Whether the page of a list's entry is asked for; called with what the list holds of it."""
    refused: dict[str, RetryableError] = field(default_factory=dict)
    """Hosts that refused us (a bot check, too many requests): entries there are skipped. The search adds to it."""


def search_url(url: str, request: SearchRequest) -> Iterator[Candidate]:
    """Yield what a page, a feed, a playlist or a search (`ytsearch50:...`) holds, in its own order.

    An entry whose page cannot be read is yielded with what the list holds of it and its `error_class`.

    Raises:
        RejectedError: the URL's server opts out.
        PermanentError: the URL itself yields nothing and will not.
        RetryableError: the URL itself yields nothing now.
    """
    client = _client(request)
    info = _resolved(client, {"_type": "url", "url": url, "ie_key": client.keys.get(extractor_of(client, url))})
    yield from _expand(client, info, url, request, _DEPTH)


def search_entries(entries: Iterable[Mapping[str, Any]], url: str, request: SearchRequest) -> Iterator[Candidate]:
    """Yield the entries of a list that was read already, as `search_url` does with those of its own.

    Args:
        entries: with yt-dlp's names: `url`, `title`, `duration`, `description`, ...
        url: of the list.
        request: how they are searched.
    """
    info = {"_type": "playlist", "entries": [{"_type": "url", **entry} for entry in entries][: request.limit]}
    yield from _expand(_client(request), info, url, request, _DEPTH)


def _client(request: SearchRequest) -> Client:
    return search_client(request.config, request.extra, request.limit)


def _resolved(client: YoutubeDL, entry: Mapping[str, Any]) -> dict[str, Any]:
    warnings: deque[str] = client.params["logger"].warnings
    warnings.clear()
    try:
        info = client.process_ie_result(dict(entry), download=False)
    except (YoutubeDLError, OSError) as error:
        raise error_of(error) from error
    except PermanentError:
        raise
    except Exception as error:  # a bug of an extractor raises any type; it costs this item only
        raise PermanentError(f"{type(error).__name__}: {error}", error_class="extractor_bug") from error
    if not info:
        raise PermanentError("yt-dlp found nothing there", error_class="permanent")
    if not (info.get("formats") or info.get("url") or info.get("entries")):
        for refusal in map(classify, map(YoutubeDLError, warnings)):
            if refusal.error_class in BLOCKING:
                raise as_error(refusal)
    return dict(info)


def _expand(client: Client, info: dict[str, Any], url: str, request: SearchRequest, depth: int) -> Iterator[Candidate]:
    query, refused = request.query, request.refused
    if info.get("_type") not in {"playlist", "multi_video"}:
        yield candidate_of(info, query=query, url=url)
        return
    for entry in info.get("entries") or ():
        if not entry:
            continue
        if entry.get("_type") not in {"url", "url_transparent"}:
            # a page with several videos: a download of the page gives the first
            yield candidate_of(entry, query=query, url=url)
            return
        listed = _listed(client, entry, query, url)
        if not request.wanted(listed):
            yield listed
            continue
        site = site_of("urls", listed.url)
        try:
            if site in refused:
                raise refused[site]
            full = _resolved(client, entry)
        except (PermanentError, RetryableError) as error:
            if isinstance(error, RetryableError) and error.error_class in BLOCKING:
                refused[site] = error
            yield failed(listed, error)
            continue
        if depth > 0:
            # yt-dlp knows nothing but the name of a bare file
            bare = bool(full.get("direct"))
            known = {name: entry[name] for name in _LISTED if entry.get(name) and (bare or not full.get(name))}
            yield from _expand(client, full | known, listed.url, request, depth - 1)


def _listed(client: Client, entry: Mapping[str, Any], query: str, url: str) -> Candidate:
    """Return what a list holds of an entry, under the id that its page will have if the URL tells it."""
    link = plain_url(entry.get("url") or entry.get("webpage_url") or url)
    key = entry.get("ie_key") or entry.get("extractor_key")
    known = {"extractor_key": key} if key else _identity(client, link)
    return dataclasses.replace(candidate_of({**entry, **known}, query=query, url=link), listed=True)


def _identity(client: Client, url: str) -> dict[str, str]:
    name = extractor_of(client, url)
    key = client.keys.get(name, "Generic")
    native = "" if name == "generic" else client._ies[key].get_temp_id(url) or ""
    return {"extractor_key": key, "id": native}


def missing_candidate(
    url: str, *, query: str, config: DownloadConfig, extra: Mapping[str, Any] | None = None
) -> Candidate:
    """Return a candidate from a URL alone, under the id that its page will have if the URL tells it."""
    url = plain_url(url)
    return _listed(search_client(config, extra), {"url": url}, query, url)
