"""Search with yt-dlp: what a page, a feed, a playlist or a search holds, as candidates.

In two phases: the list first (cheap: title, duration, channel), then the full metadata of what is wanted.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from yt_dlp import YoutubeDL
from yt_dlp.utils import YoutubeDLError

from pipeline.config.source import DownloadConfig
from pipeline.errors import PermanentError, RetryableError
from pipeline.ids import GENERIC, video_id_of
from pipeline.sources.base import Candidate, clean_number, clean_text, site_of
from pipeline.sources.faults import BLOCKING, as_error, classify, clean_message
from pipeline.sources.feeds import looks_like_feed
from pipeline.sources.ytdlp import Client, client_for, error_of, extractor_of, is_file, plain_url

_TITLE_LENGTH, _TEXT_LENGTH, _TAGS = 1000, 20000, 200
_DEPTH = 3
_LISTED = (
    "title", "duration", "channel", "channel_id", "uploader", "uploader_id", "description", "thumbnail", "tags",
    "language", "upload_date", "age_limit", "license",
)  # fmt: skip
"""What a list may know and the page not repeat."""
Wanted = Callable[[Candidate], bool]


def everything(candidate: Candidate) -> bool:
    """Want every entry of a list."""
    return True


def search_url(
    url: str,
    *,
    query: str,
    config: DownloadConfig,
    limit: int | None = None,
    extra: Mapping[str, Any] | None = None,
    wanted: Wanted = everything,
    refused: dict[str, RetryableError] | None = None,
) -> Iterator[Candidate]:
    """Yield what a page, a feed, a playlist or a search (`ytsearch50:...`) holds, in its own order.

    In two phases: the list first (cheap: title, duration, channel), then the full metadata of what is `wanted`.
    An entry whose metadata cannot be had is yielded with what the list says and its `error_class`.

    Args:
        url: anything yt-dlp understands.
        query: written into the candidates.
        config: time limits.
        limit: entries taken of a list.
        extra: options of the source.
        wanted: phase one, asked of what the list says of an entry.
        refused: hosts that refused us (a bot check, too many requests); entries of theirs are not asked any more.

    Raises:
        RejectedError: the URL's server opts out.
        PermanentError: the URL itself yields nothing and will not.
        RetryableError: the URL itself yields nothing now.
    """
    client = _search_client(config, limit, extra)
    info = _resolved(client, {"_type": "url", "url": url, "ie_key": client.keys.get(extractor_of(client, url))})
    yield from _expand(client, info, url, query, wanted, {} if refused is None else refused, _DEPTH)


def search_entries(
    entries: Iterable[Mapping[str, Any]],
    url: str,
    *,
    query: str,
    config: DownloadConfig,
    limit: int | None = None,
    extra: Mapping[str, Any] | None = None,
    wanted: Wanted = everything,
    refused: dict[str, RetryableError] | None = None,
) -> Iterator[Candidate]:
    """Yield the entries of a list that somebody else read, as `search_url` does with those of its own.

    Args:
        entries: in yt-dlp's words: `url`, `title`, `duration`, `description`, ...
        url: of the list.
        query: as in `search_url`, like the others.
        config: see there.
        limit: see there.
        extra: see there.
        wanted: see there.
        refused: see there.
    """
    client = _search_client(config, limit, extra)
    info = {"_type": "playlist", "entries": [{"_type": "url", **entry} for entry in entries][:limit]}
    yield from _expand(client, info, url, query, wanted, {} if refused is None else refused, _DEPTH)


def read_text(
    url: str, *, config: DownloadConfig, extra: Mapping[str, Any] | None = None, limit: int = 16 << 20
) -> tuple[str, bytes] | None:
    """Return the final URL and the bytes of what may be a feed; None where yt-dlp knows the site, or it is no feed.

    Raises:
        RejectedError: the URL's server opts out.
        PermanentError: it cannot be had, or is larger than `limit` bytes.
        RetryableError: it cannot be had now.
    """
    client = _search_client(config, None, extra)
    if not url.startswith(("http://", "https://")) or extractor_of(client, url) != "generic" or is_file(url):
        return None
    try:
        with client.urlopen(url) as response:
            kind = str(response.headers.get("Content-Type") or "").lower()
            if kind.startswith(("video/", "audio/", "image/")):
                return None
            body = bytes(response.read(1024))
            if not looks_like_feed(body):
                return None
            body += bytes(response.read(limit + 1))
            final = str(response.url or url)
    except (YoutubeDLError, OSError, ValueError) as error:
        raise error_of(error) from error
    if len(body) > limit:
        raise PermanentError(f"a feed larger than {limit >> 20} MB is not read", error_class="permanent")
    return final, body


def read_picture(
    url: str, *, config: DownloadConfig, extra: Mapping[str, Any] | None = None, limit: int = 1 << 20
) -> bytes:
    """Return the bytes of a small picture, as its site hands it out.

    Raises:
        RejectedError: its server opts out.
        PermanentError: it cannot be had, or is larger than `limit` bytes.
        RetryableError: it cannot be had now.
    """
    if not url.startswith(("http://", "https://")):
        raise PermanentError(f"no picture is fetched from {url[:80]!r}", error_class="permanent")
    try:
        with _search_client(config, None, extra).urlopen(url) as response:
            data = bytes(response.read(limit + 1))
    except (YoutubeDLError, OSError, ValueError) as error:
        raise error_of(error) from error
    if len(data) > limit:
        raise PermanentError(f"a picture larger than {limit >> 10} kB is not fetched", error_class="permanent")
    return data


def _search_client(config: DownloadConfig, limit: int | None, extra: Mapping[str, Any] | None) -> Client:
    search: dict[str, Any] = {"extract_flat": "in_playlist", "ignore_no_formats_error": True, "noplaylist": False}
    if limit is not None:
        search["playlistend"] = limit
    return client_for(config, {**search, **(extra or {})})


def _resolved(client: YoutubeDL, entry: Mapping[str, Any]) -> dict[str, Any]:
    warnings: deque[str] = client.params["logger"].warnings
    warnings.clear()
    try:
        info = client.process_ie_result(dict(entry), download=False)
    except (YoutubeDLError, OSError) as error:
        raise error_of(error) from error
    except PermanentError:
        raise
    except Exception as error:  # an extractor's own fault (KeyError, AttributeError, ...): any type, one item
        raise PermanentError(f"{type(error).__name__}: {error}", error_class="extractor_bug") from error
    if not info:
        raise PermanentError("yt-dlp found nothing there", error_class="permanent")
    if not (info.get("formats") or info.get("url") or info.get("entries")):
        for refusal in map(classify, map(YoutubeDLError, warnings)):
            if refusal.error_class in BLOCKING:
                raise as_error(refusal)
    return dict(info)


def _expand(
    client: Client,
    info: dict[str, Any],
    url: str,
    query: str,
    wanted: Wanted,
    refused: dict[str, RetryableError],
    depth: int,
) -> Iterator[Candidate]:
    if info.get("_type") not in {"playlist", "multi_video"}:
        yield candidate_of(info, query=query, url=url)
        return
    for entry in info.get("entries") or ():
        if not entry:
            continue
        if entry.get("_type") not in {"url", "url_transparent"}:
            # one page with its videos inside: fetching the page again gives the first
            yield candidate_of(entry, query=query, url=url)
            return
        listed = _listed(client, entry, query, url)
        if not wanted(listed):
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
            # of a bare file yt-dlp knows no more than its name
            bare = bool(full.get("direct"))
            known = {name: entry[name] for name in _LISTED if entry.get(name) and (bare or not full.get(name))}
            yield from _expand(client, full | known, listed.url, query, wanted, refused, depth - 1)


def _listed(client: Client, entry: Mapping[str, Any], query: str, url: str) -> Candidate:
    """Return what a list says of an entry, under the id that its page will have, where the URL tells it."""
    link = plain_url(entry.get("url") or entry.get("webpage_url") or url)
    key = entry.get("ie_key") or entry.get("extractor_key")
    known = {"extractor_key": key} if key else _identity(client, link)
    return dataclasses.replace(candidate_of({**entry, **known}, query=query, url=link), listed=True)


def _identity(client: Client, url: str) -> dict[str, str]:
    name = extractor_of(client, url)
    key = client.keys.get(name, "Generic")
    native = "" if name == "generic" else client._ies[key].get_temp_id(url) or ""
    return {"extractor_key": key, "id": native}


def failed(candidate: Candidate, error: PermanentError | RetryableError) -> Candidate:
    """Return a candidate whose page could not be asked, with the reason."""
    live = candidate.live_status or ("is_upcoming" if error.error_class == "live" else None)
    return dataclasses.replace(
        candidate, error_class=error.error_class, message=clean_message(str(error)), live_status=live, listed=False
    )


def candidate_of(info: Mapping[str, Any], *, query: str, url: str) -> Candidate:
    """Return yt-dlp's info (full or flat) as a candidate; every text is cut, cleaned and never trusted."""
    extractor = str(info.get("extractor_key") or info.get("ie_key") or "generic").lower()
    native = str(info.get("id") or "")
    if extractor in GENERIC:
        extractor = "generic"
    else:
        url = str(info.get("webpage_url") or info.get("url") or url)
    url = plain_url(url)
    tags = info.get("tags")
    return Candidate(
        video_id=video_id_of(extractor, native, url),
        extractor=extractor,
        native_id=clean_text(native, _TITLE_LENGTH),
        url=url,
        query=query,
        title=clean_text(info.get("title"), _TITLE_LENGTH),
        description=clean_text(info.get("description"), _TEXT_LENGTH),
        tags=tuple(clean_text(tag, _TITLE_LENGTH) for tag in tags[:_TAGS]) if isinstance(tags, list | tuple) else (),
        channel_id=clean_text(info.get("channel_id") or info.get("uploader_id"), _TITLE_LENGTH) or None,
        channel=clean_text(info.get("channel") or info.get("uploader"), _TITLE_LENGTH) or None,
        duration_s=clean_number(info.get("duration")),
        upload_date=clean_text(info.get("upload_date"), 8) or None,
        licence=clean_text(info.get("license"), _TITLE_LENGTH) or None,
        age_limit=int(age) if (age := clean_number(info.get("age_limit"))) is not None else None,
        live_status=clean_text(info.get("live_status"), 40) or None,
        language=clean_text(info.get("language"), 40) or None,
        thumbnail=_thumbnail(info),
    )


def _thumbnail(info: Mapping[str, Any]) -> str | None:
    """Return the URL of the smallest picture that a sheet can use, else of the one that the page would show."""
    offered = info.get("thumbnails")
    sized = [
        (width, str(one["url"]))
        for one in (offered[:_TAGS] if isinstance(offered, list | tuple) else ())
        if isinstance(one, Mapping) and one.get("url") and (width := clean_number(one.get("width"))) and width >= 160
    ]
    url = min(sized)[1] if sized else str(info.get("thumbnail") or "")
    return plain_url(url) if url.startswith(("http://", "https://")) else None


def missing_candidate(
    url: str, *, query: str, config: DownloadConfig, extra: Mapping[str, Any] | None = None
) -> Candidate:
    """Return what a URL alone tells: enough to keep, to count and to try again.

    Its id is the one that a later success will have, where the URL tells it.
    """
    url = plain_url(url)
    return _listed(_search_client(config, None, extra), {"url": url}, query, url)
