"""yt-dlp as a library: one function for its options, one to search, one to fetch; silent, and without its own state.

Formats: the smallest sufficient one, video alone where there is such a thing. `worst` would take a file with sound
and `+res` alone adds a useless audio stream (both seen), hence the selector below.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import imageio_ffmpeg
from yt_dlp import YoutubeDL
from yt_dlp.networking.exceptions import HTTPError
from yt_dlp.utils import YoutubeDLError, unsmuggle_url
from yt_dlp.version import __version__

from pipeline.arcade.extractor import ArcadeIE
from pipeline.config.source import DownloadConfig
from pipeline.errors import PermanentError, RetryableError
from pipeline.faults import as_error, causes, classify
from pipeline.ids import video_id_of
from pipeline.sources.base import Candidate, Fetched, clean_text

TOOL_VERSION = f"yt-dlp {__version__}"
_ARCADE = "arcade"
ARCADE = {_ARCADE: True}
"""Extra options for the embedded source: they register its extractor."""
_TITLE_LENGTH, _TEXT_LENGTH, _TAGS = 1000, 20000, 200
_DEPTH = 3
_LISTED = ("title", "duration", "channel", "channel_id", "uploader", "uploader_id")
"""What a list may know and the page not repeat."""


class _Silent:
    """yt-dlp's messages come back as exceptions; its own printing would garble progress and logs."""

    def debug(self, message: str) -> None: ...

    def warning(self, message: str) -> None: ...

    def error(self, message: str) -> None: ...


def format_selector(min_height: int) -> str:
    """Return the selector that, with FORMAT_SORT, takes the smallest sufficient format."""
    return f"bv*[height>={min_height}]/b[height>={min_height}]/bv*/b"


def format_sort(min_height: int) -> list[str]:
    """Return the order of formats: nearest height from above, without sound, fewest bytes."""
    return [f"+res:{min_height}", "+hasaud", "+size", "+br"]


def options(config: DownloadConfig, extra: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the options of every `YoutubeDL` that this package makes.

    Args:
        config: heights and time limits.
        extra: options of one source (a proxy, politeness, extractor arguments); they win.
    """
    return {
        "quiet": True,
        "no_warnings": True,
        "noprogress": True,
        "logger": _Silent(),
        "color": {"stdout": "no_color", "stderr": "no_color"},
        # its cache is a folder shared with the user's own yt-dlp
        "cachedir": False,
        "socket_timeout": config.socket_timeout_s,
        "retries": 3,
        "fragment_retries": 3,
        "extractor_retries": 1,
        # a lost fragment is a hole in the video: better to fail and try again
        "skip_unavailable_fragments": False,
        "format": format_selector(config.min_height),
        "format_sort": format_sort(config.min_height),
        "noplaylist": True,
        "outtmpl": {"default": "media.%(ext)s"},
        "overwrites": True,
        "continuedl": True,
        "updatetime": False,
        # we decode what we fetched ourselves; rewriting the container would only change bytes
        "fixup": "never",
        # the binary of the wheel, for streams that yt-dlp cannot join by itself
        "ffmpeg_location": imageio_ffmpeg.get_ffmpeg_exe(),
        "js_runtimes": {"deno": {}, "node": {}},
        **(extra or {}),
    }


@lru_cache(maxsize=8)
def _downloader(config: DownloadConfig, extra: str) -> YoutubeDL:
    # one per process and kind of work: a new one per video costs four times the CPU (measured)
    own = json.loads(extra)
    arcade = own.pop(_ARCADE, False)
    client = YoutubeDL(options(config, own), auto_init=False)
    if arcade:
        client.add_info_extractor(ArcadeIE())  # before the generic one, which would take its pages too
    client.add_default_info_extractors()
    return client


def _client(config: DownloadConfig, extra: Mapping[str, Any] | None) -> YoutubeDL:
    return _downloader(config, json.dumps(dict(extra or {}), sort_keys=True))


# -- search -------------------------------------------------------------------------------------------------------


def search_url(
    url: str,
    *,
    query: str,
    config: DownloadConfig,
    limit: int | None = None,
    extra: Mapping[str, Any] | None = None,
    wanted: Callable[[str], bool] = lambda title: True,
) -> Iterator[Candidate]:
    """Yield what a page, a feed, a playlist or a search (`ytsearch50:...`) holds, in its own order.

    In two phases: the list first (cheap: title, duration), then the full metadata of those whose title is `wanted`.
    An entry whose metadata cannot be had is yielded with what the list says and its `error_class`.

    Args:
        url: anything yt-dlp understands.
        query: written into the candidates.
        config: time limits.
        limit: entries taken of a list.
        extra: options of the source.
        wanted: phase one, asked with the title; entries without a title are always wanted.

    Raises:
        PermanentError: the URL itself yields nothing and will not.
        RetryableError: the URL itself yields nothing now.
    """
    search: dict[str, Any] = {"extract_flat": "in_playlist", "ignore_no_formats_error": True, "noplaylist": False}
    if limit is not None:
        search["playlistend"] = limit
    client = _client(config, {**search, **(extra or {})})
    yield from _expand(client, _resolved(client, {"_type": "url", "url": url}), url, query, wanted, _DEPTH)


def _resolved(client: YoutubeDL, entry: Mapping[str, Any]) -> dict[str, Any]:
    try:
        info = client.process_ie_result(dict(entry), download=False)
    except (YoutubeDLError, OSError) as error:
        raise _error_of(error) from error
    except Exception as error:  # an extractor's own fault (KeyError, AttributeError, ...): any type, one item
        raise PermanentError(f"{type(error).__name__}: {error}", error_class="extractor_bug") from error
    if not info:
        raise PermanentError("yt-dlp found nothing there", error_class="permanent")
    return dict(info)


def _expand(
    client: YoutubeDL,
    info: dict[str, Any],
    url: str,
    query: str,
    wanted: Callable[[str], bool],
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
        link = _plain(entry.get("url") or entry.get("webpage_url") or url)
        title = clean_text(entry.get("title"), _TITLE_LENGTH)
        if title and not wanted(title):
            yield candidate_of(entry, query=query, url=link)
            continue
        try:
            full = _resolved(client, entry)
        except (PermanentError, RetryableError) as error:
            yield candidate_of(entry, query=query, url=link, error_class=error.error_class)
            continue
        if depth > 0:
            known = {name: entry[name] for name in _LISTED if entry.get(name) and not full.get(name)}
            yield from _expand(client, full | known, link, query, wanted, depth - 1)


def candidate_of(info: Mapping[str, Any], *, query: str, url: str, error_class: str | None = None) -> Candidate:
    """Return yt-dlp's info (full or flat) as a candidate; every text is cut, cleaned and never trusted."""
    extractor = str(info.get("extractor_key") or info.get("ie_key") or "generic").lower()
    native = str(info.get("id") or "")
    if extractor in {"generic", "html5"}:
        extractor = "generic"
    else:
        url = str(info.get("webpage_url") or info.get("url") or url)
    url = _plain(url)
    return Candidate(
        video_id=video_id_of(extractor, native, url),
        extractor=extractor,
        native_id=clean_text(native, _TITLE_LENGTH),
        url=url,
        query=query,
        title=clean_text(info.get("title"), _TITLE_LENGTH),
        description=clean_text(info.get("description"), _TEXT_LENGTH),
        tags=tuple(clean_text(tag, _TITLE_LENGTH) for tag in (info.get("tags") or ())[:_TAGS]),
        channel_id=clean_text(info.get("channel_id") or info.get("uploader_id"), _TITLE_LENGTH) or None,
        channel=clean_text(info.get("channel") or info.get("uploader"), _TITLE_LENGTH) or None,
        duration_s=_number(info.get("duration")),
        upload_date=clean_text(info.get("upload_date"), 8) or None,
        licence=clean_text(info.get("license"), _TITLE_LENGTH) or None,
        age_limit=int(age) if (age := _number(info.get("age_limit"))) is not None else None,
        live_status=clean_text(info.get("live_status"), 40) or None,
        language=clean_text(info.get("language"), 40) or None,
        error_class=error_class,
    )


def missing_candidate(url: str, *, query: str, config: DownloadConfig, error_class: str) -> Candidate:
    """Return what is known of a URL whose metadata cannot be had: enough to keep, to count and to try again.

    Its id is the one that a later success will have, where the URL itself tells it.
    """
    url = _plain(url)
    for extractor in _client(config, None)._ies.values():
        if extractor.suitable(url):
            key = extractor.ie_key().lower()
            native = "" if key == "generic" else extractor.get_temp_id(url) or ""
            break
    else:
        key, native = "generic", ""
    return Candidate(
        video_id=video_id_of(key, native, url),
        extractor=key,
        native_id=clean_text(native, _TITLE_LENGTH),
        url=url,
        query=query,
        error_class=error_class,
    )


def _error_of(error: Exception, folder: Path | None = None) -> PermanentError | RetryableError:
    """Return our exception for one of yt-dlp's, and close the response that it holds open."""
    fault = classify(error, hide=[] if folder is None else [str(folder)])
    for cause in causes(error):
        if isinstance(cause, HTTPError):
            cause.close()
    return as_error(fault)


def _plain(url: Any) -> str:
    """Return a URL without what yt-dlp smuggles in its fragment; unprintable characters are replaced."""
    return clean_text(unsmuggle_url(str(url))[0], 4000)


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number >= 0 else None


# -- fetch --------------------------------------------------------------------------------------------------------


def fetch_url(url: str, folder: Path, config: DownloadConfig, extra: Mapping[str, Any] | None = None) -> Fetched:
    """Fetch the smallest sufficient format of one video into an empty folder; what arrives is not yet verified.

    Raises:
        PermanentError: trying again will not help.
        RetryableError: it may; `retry_after_s` is the site's own wish.
    """
    client = _client(config, {"playlist_items": "1", **(extra or {})})
    client.params["paths"] = {"home": str(folder), "temp": str(folder)}
    client.params["match_filter"] = _not_live
    try:
        info = client.extract_info(url, download=True)
    except (YoutubeDLError, OSError) as error:
        raise _error_of(error, folder) from error
    except Exception as error:  # an extractor's own fault: any type, one item
        text = f"{type(error).__name__}: {error}"
        raise PermanentError(text, error_class="extractor_bug") from error
    video = _first_video(info)
    if _is_live(video):
        raise RetryableError("live now or not yet shown", error_class="live")
    for download in video.get("requested_downloads") or ():
        path = Path(str(download.get("filepath")))
        # yt-dlp reports success for files that it skipped or moved: only a file of this folder counts
        if path.is_file() and path.parent == folder:
            return Fetched(
                path=path,
                format=clean_text(download.get("format") or video.get("format") or "", 200),
                duration_claimed_s=_number(video.get("duration")),
                tool_version=TOOL_VERSION,
            )
    raise PermanentError("yt-dlp reported success and left no file", error_class="permanent")


def _first_video(info: Any) -> dict[str, Any]:
    while info and info.get("_type") in {"playlist", "multi_video"}:
        info = next(iter(info.get("entries") or ()), None)
    if not info:
        raise PermanentError("no video there", error_class="permanent")
    return dict(info)


def _is_live(info: Mapping[str, Any]) -> bool:
    return bool(info.get("is_live")) or info.get("live_status") in {"is_live", "is_upcoming"}


def _not_live(info: Mapping[str, Any], *, incomplete: bool = False) -> str | None:
    # a live stream would be recorded until the deadline
    return "live" if _is_live(info) else None
