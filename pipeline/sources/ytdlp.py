"""yt-dlp as a library: one function for its options, one to search, one to fetch; silent, and without its own state.

Formats: the smallest sufficient one, video alone where there is such a thing. `worst` would take a file with sound
and `+res` alone adds a useless audio stream (both seen), hence the selector below.
"""

from __future__ import annotations

import dataclasses
import io
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from http.cookiejar import LoadError
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import imageio_ffmpeg
from yt_dlp import YoutubeDL
from yt_dlp.cookies import YoutubeDLCookieJar
from yt_dlp.networking.exceptions import HTTPError, TransportError
from yt_dlp.utils import YoutubeDLError, unsmuggle_url
from yt_dlp.version import __version__

from pipeline.arcade.extractor import ArcadeIE
from pipeline.config.source import DownloadConfig, RulesConfig, SourceConfig
from pipeline.errors import PermanentError, RejectedError, RetryableError, UserError
from pipeline.faults import as_error, causes, classify, clean_message
from pipeline.ids import GENERIC, video_id_of
from pipeline.rules import judge_row
from pipeline.sources.base import Candidate, Fetched, clean_text, site_of
from pipeline.sources.base import clean_number as _number
from pipeline.sources.feeds import looks_like_feed

TOOL_VERSION = f"yt-dlp {__version__}"
_ARCADE, _OPT_OUT, _ROBOT = "arcade", "opt_out", "lampworks"
_RIGHTS = ("licence", "age_limit", "channel_id", "channel")
Rights = Callable[[Mapping[str, Any]], str | None]
_MOST_CLIENTS, _MOST_ASKED = 8, 4096
_LARGEST_PAGE = 32 << 20
_PATIENCE = 4
"""Socket timeouts that a page may take as a whole: bytes that drip never are silent."""
_FILES = frozenset({"mp4", "m4v", "mov", "webm", "mkv"})
ARCADE = {_ARCADE: True}
"""Extra options for the embedded source: they register its extractor."""
_TITLE_LENGTH, _TEXT_LENGTH, _TAGS = 1000, 20000, 200
_DEPTH = 3
_LISTED = (
    "title", "duration", "channel", "channel_id", "uploader", "uploader_id", "description", "thumbnail", "tags",
    "language", "upload_date", "age_limit", "license",
)  # fmt: skip
"""What a list may know and the page not repeat."""
SITE_CLASSES = frozenset({"source_blocked", "rate_limited"})
"""Refusals that mean the whole site: it is not asked any more in this search."""
Wanted = Callable[[Candidate], bool]


def everything(candidate: Candidate) -> bool:
    """Want every entry of a list."""
    return True


class _Silent:
    """yt-dlp's messages come back as exceptions; its own printing would garble progress and logs."""

    def __init__(self) -> None:
        self.warnings: deque[str] = deque(maxlen=20)
        """The last ones: where a search is refused, yt-dlp says it here and returns a video without formats."""

    def debug(self, message: str) -> None: ...

    def warning(self, message: str) -> None:
        self.warnings.append(message)

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
        extra: options of one source (`connection`, politeness, extractor arguments); they win.
    """
    return {
        "quiet": True,
        "no_warnings": True,
        "noprogress": True,
        # formatting progress that nobody prints is an eighth of the CPU of a small download (measured)
        "progress_delta": 3600,
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


def connection(source: SourceConfig, rules: RulesConfig) -> dict[str, Any]:
    """Return the options by which a source reaches its sites: cookies, proxy, rate, certificates, opt-out words.

    Raises:
        UserError: the file of cookies is missing or is none.
    """
    found: dict[str, Any] = {}
    if source.cookies:
        found["cookiefile"] = _cookie_file(source.cookies)
    if source.proxy:
        found["proxy"] = source.proxy
    if source.max_rate_kb_s:
        found["ratelimit"] = source.max_rate_kb_s * 1000
    if not source.check_certificates:
        found["nocheckcertificate"] = True
    if source.kind == "urls" and rules.opt_out:
        found[_OPT_OUT] = list(rules.opt_out)
    return found


def _cookie_file(name: str) -> str:
    path = Path(name).expanduser().absolute()
    fix = "export a cookies.txt in Netscape format from your browser, or leave the setting out"
    try:
        YoutubeDLCookieJar(str(path)).load()
    except (LoadError, UnicodeDecodeError) as error:  # the first is an OSError too
        raise UserError(
            f"source.cookies = {name!r}: not a file of cookies ({clean_text(error, 200)}); {fix}"
        ) from error
    except OSError as error:
        raise UserError(f"source.cookies = {name!r}: {error.strerror or error}; {fix}") from error
    return str(path)


class _IsPageError(Exception):
    """What was taken for a file by its name is a page."""


class _Client(YoutubeDL):
    """yt-dlp that hears when a file's server opts out."""

    opt_out: frozenset[str] = frozenset()
    keys: Mapping[str, str] = MappingProxyType({})
    """Extractors' keys by their lower-case form, which is what tables hold."""
    wants_file = False
    """Whether the next answer is to be a file, not a page."""

    def urlopen(self, req: Any) -> Any:
        """Open a request; RejectedError where the answer is a file that must not be taken."""
        try:
            response = super().urlopen(req)
        except HTTPError as error:
            if self.wants_file and error.status >= 500:
                # yt-dlp asks again at once, and forgets the status and what Retry-After said
                raise _error_of(error) from error
            raise
        if self.wants_file and _content_type(response.headers) in {"text/html", "application/xhtml+xml"}:
            response.close()
            raise _IsPageError(response.url)
        if self.opt_out and (word := opted_out(response.headers, self.opt_out)):
            response.close()
            raise RejectedError(f"X-Robots-Tag: {word}", error_class="opt_out")
        if not self.wants_file and _is_text(response.headers):
            response.fp = _Bounded(response.fp, _PATIENCE * float(self.params["socket_timeout"]))
        return response

    def _forceprint(self, key: str, info_dict: Any) -> None:
        # renders tables of formats, seven times a video, although nobody asked: a sixth of the CPU (measured)
        return


def _is_text(headers: Any) -> bool:
    kind = _content_type(headers)
    return kind.startswith("text/") or kind.endswith(("xml", "json"))


class _Bounded:
    """The body of a page, of which 32 MB and some minutes are read: yt-dlp reads pages whole, and one may never end."""

    def __init__(self, body: Any, seconds: float) -> None:
        self.body, self.left, self.seconds = body, _LARGEST_PAGE, seconds
        self.end = time.monotonic() + seconds
        # what is there, not as much as was asked for: else bytes that drip would be waited for here
        self.some = getattr(body, "read1", body.read)

    def read(self, size: int | None = None, **how: Any) -> bytes:
        """Read as the body does; an error, and an end of the connection, where it is too large or too slow."""
        wanted = None if size is None or size < 0 else size
        parts, found = [], 0
        while wanted is None or found < wanted:
            part = self.some(1 << 20 if wanted is None else wanted - found, **how)
            if not part:
                break
            parts.append(part)
            found += len(part)
            self.left -= len(part)
            if self.left < 0:
                self.body.close()
                raise PermanentError(f"a page larger than {_LARGEST_PAGE >> 20} MB", error_class="permanent")
            if time.monotonic() > self.end:
                self.body.close()
                raise TransportError(f"a page that took longer than {self.seconds:g} s")
        return b"".join(parts)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.body, name)


def opted_out(headers: Any, words: Collection[str]) -> str | None:
    """Return the word of a file's X-Robots-Tag that opts it out, or None; pages and lists are no files.

    A value may be for one robot alone (`googlebot: noindex, nofollow`): ours is `lampworks`.
    """
    kind = _content_type(headers)
    if kind.startswith("text/") or kind.endswith(("+xml", "/xml", "json", "mpegurl")):
        return None
    for value in headers.get_all("X-Robots-Tag") or ():
        robot = _ROBOT
        for part in clean_text(value, 1000).lower().split(","):
            name, colon, word = part.partition(":")
            if colon:
                robot = name.strip()
            word = (word if colon else name).strip()
            if word in words and robot == _ROBOT:
                return word
    return None


def _content_type(headers: Any) -> str:
    return str(headers.get("Content-Type") or "").partition(";")[0].strip().lower()


_CLIENTS = threading.local()


def _client(config: DownloadConfig, extra: Mapping[str, Any] | None) -> _Client:
    """Return this thread's client for a kind of work: a new one per video costs four times the CPU (measured)."""
    key = (config, json.dumps(dict(extra or {}), sort_keys=True))
    known: dict[Any, _Client] = _CLIENTS.__dict__.setdefault("known", {})
    if key not in known:
        if len(known) >= _MOST_CLIENTS:
            known.pop(next(iter(known))).close()
        known[key] = _new_client(config, dict(extra or {}))
    return known[key]


def _new_client(config: DownloadConfig, extra: dict[str, Any]) -> _Client:
    arcade, opt_out = extra.pop(_ARCADE, False), extra.pop(_OPT_OUT, ())
    if "cookiefile" in extra:
        # a copy: yt-dlp writes back what sites set
        extra["cookiefile"] = io.StringIO(Path(extra["cookiefile"]).read_text("utf-8"))
    client = _Client(options(config, extra), auto_init=False)
    client.opt_out = frozenset(opt_out)
    if arcade:
        client.add_info_extractor(ArcadeIE())  # before the generic one, which would take its pages too
    client.add_default_info_extractors()
    client.keys = {key.lower(): key for key in client._ies}
    return client


# -- search -------------------------------------------------------------------------------------------------------


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
    info = _resolved(client, {"_type": "url", "url": url, "ie_key": client.keys.get(_extractor_of(client, url))})
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
    if not url.startswith(("http://", "https://")) or _extractor_of(client, url) != "generic" or _is_file(url):
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
        raise _error_of(error) from error
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
        raise _error_of(error) from error
    if len(data) > limit:
        raise PermanentError(f"a picture larger than {limit >> 10} kB is not fetched", error_class="permanent")
    return data


def _search_client(config: DownloadConfig, limit: int | None, extra: Mapping[str, Any] | None) -> _Client:
    search: dict[str, Any] = {"extract_flat": "in_playlist", "ignore_no_formats_error": True, "noplaylist": False}
    if limit is not None:
        search["playlistend"] = limit
    return _client(config, {**search, **(extra or {})})


def _resolved(client: YoutubeDL, entry: Mapping[str, Any]) -> dict[str, Any]:
    warnings: deque[str] = client.params["logger"].warnings
    warnings.clear()
    try:
        info = client.process_ie_result(dict(entry), download=False)
    except (YoutubeDLError, OSError) as error:
        raise _error_of(error) from error
    except PermanentError:
        raise
    except Exception as error:  # an extractor's own fault (KeyError, AttributeError, ...): any type, one item
        raise PermanentError(f"{type(error).__name__}: {error}", error_class="extractor_bug") from error
    if not info:
        raise PermanentError("yt-dlp found nothing there", error_class="permanent")
    if not (info.get("formats") or info.get("url") or info.get("entries")):
        for refusal in map(classify, map(YoutubeDLError, warnings)):
            if refusal.error_class in SITE_CLASSES:
                raise as_error(refusal)
    return dict(info)


def _expand(
    client: _Client,
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
            if isinstance(error, RetryableError) and error.error_class in SITE_CLASSES:
                refused[site] = error
            yield failed(listed, error)
            continue
        if depth > 0:
            # of a bare file yt-dlp knows no more than its name
            bare = bool(full.get("direct"))
            known = {name: entry[name] for name in _LISTED if entry.get(name) and (bare or not full.get(name))}
            yield from _expand(client, full | known, listed.url, query, wanted, refused, depth - 1)


def _listed(client: _Client, entry: Mapping[str, Any], query: str, url: str) -> Candidate:
    """Return what a list says of an entry, under the id that its page will have, where the URL tells it."""
    link = _plain(entry.get("url") or entry.get("webpage_url") or url)
    key = entry.get("ie_key") or entry.get("extractor_key")
    known = {"extractor_key": key} if key else _identity(client, link)
    return dataclasses.replace(candidate_of({**entry, **known}, query=query, url=link), listed=True)


def _identity(client: _Client, url: str) -> dict[str, str]:
    name = _extractor_of(client, url)
    key = client.keys.get(name, "Generic")
    native = "" if name == "generic" else client._ies[key].get_temp_id(url) or ""
    return {"extractor_key": key, "id": native}


def _extractor_of(client: _Client, url: str) -> str:
    """Return the extractor that takes a URL, lower case; asking all 1,800 of them is a third of a search's CPU."""
    asked: dict[tuple[int, str], str] = _CLIENTS.__dict__.setdefault("asked", {})
    # clients differ in options, and in the embedded source's extractor, which others lack
    key = (len(client.keys), url)
    if key not in asked:
        if len(asked) >= _MOST_ASKED:
            asked.clear()
        try:
            taker = next((key for key, found in client._ies.items() if found.suitable(url)), "Generic")
        except ValueError:  # no address at all, which the request will say
            taker = "Generic"
        asked[key] = taker.lower()
    return asked[key]


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
    url = _plain(url)
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
        duration_s=_number(info.get("duration")),
        upload_date=clean_text(info.get("upload_date"), 8) or None,
        licence=clean_text(info.get("license"), _TITLE_LENGTH) or None,
        age_limit=int(age) if (age := _number(info.get("age_limit"))) is not None else None,
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
        if isinstance(one, Mapping) and one.get("url") and (width := _number(one.get("width"))) and width >= 160
    ]
    url = min(sized)[1] if sized else str(info.get("thumbnail") or "")
    return _plain(url) if url.startswith(("http://", "https://")) else None


def missing_candidate(
    url: str, *, query: str, config: DownloadConfig, extra: Mapping[str, Any] | None = None
) -> Candidate:
    """Return what a URL alone tells: enough to keep, to count and to try again.

    Its id is the one that a later success will have, where the URL tells it.
    """
    url = _plain(url)
    return _listed(_search_client(config, None, extra), {"url": url}, query, url)


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


# -- fetch --------------------------------------------------------------------------------------------------------


def fetch_url(
    url: str,
    folder: Path,
    config: DownloadConfig,
    extra: Mapping[str, Any] | None = None,
    *,
    extractor: str | None = None,
    rights: Rights | None = None,
) -> Fetched:
    """Fetch the smallest sufficient format of one video into an empty folder; what arrives is not yet verified.

    Args:
        url: a page or a file.
        folder: empty, and this attempt's own.
        config: heights and time limits.
        extra: options of the source.
        extractor: the one that the search found it with, lower case; asking all 1,800 of them first is a quarter of
            the CPU of a small download (measured).
        rights: asked with what the page says just before the download; it returns the rule that forbids it, or None.

    Raises:
        RejectedError: the file's server opts out, or the page says what the rules do not allow.
        PermanentError: trying again will not help.
        RetryableError: it may; `retry_after_s` is the site's own wish.
    """
    client = _client(config, {"playlist_items": "1", **(extra or {})})
    client.params["paths"] = {"home": str(folder), "temp": str(folder)}
    gate = _Gate(rights)
    client.params["match_filter"] = gate
    key = _extractor_key(client, extractor, url)
    try:
        info = _file_at(client, url) if key == "Generic" else None
        if info is None:
            info = client.extract_info(url, download=True, ie_key=key)
    except (YoutubeDLError, OSError) as error:
        raise _error_of(error, folder) from error
    except (PermanentError, RetryableError):
        raise
    except Exception as error:  # an extractor's own fault: any type, one item
        text = f"{type(error).__name__}: {error}"
        raise PermanentError(text, error_class="extractor_bug") from error
    if gate.forbidden:
        raise RejectedError(gate.forbidden, error_class=gate.forbidden.partition(":")[0])
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
                bytes_360p=habit_bytes(video, 360),
                bytes_720p=habit_bytes(video, 720),
            )
    raise PermanentError("yt-dlp reported success and left no file", error_class="permanent")


def _file_at(client: _Client, url: str) -> dict[str, Any] | None:
    """Fetch a URL that is a file by its name, without asking first what it is; None where it turns out to be a page.

    The generic extractor opens every file once to look at its headers: one request in two, and 40 % of the CPU.
    """
    if not _is_file(url):
        return None
    suffix = _suffix(url)
    known = {"id": "media", "title": "media", "url": url, "ext": suffix, "webpage_url": url}
    client.wants_file = True
    try:
        return dict(client.process_ie_result({**known, "extractor": "generic", "extractor_key": "Generic"}))
    except _IsPageError:
        return None
    finally:
        client.wants_file = False


def _is_file(url: str) -> bool:
    return _suffix(url) in _FILES


def _suffix(url: str) -> str:
    try:
        return PurePosixPath(urlsplit(url).path).suffix.lower().lstrip(".")
    except ValueError:  # no address at all
        return ""


def _extractor_key(client: _Client, extractor: str | None, url: str) -> str | None:
    key = client.keys.get(extractor or "")
    return key if key and client._ies[key].suitable(url) else None


def habit_bytes(info: Mapping[str, Any], height: int) -> int | None:
    """Return the bytes of "the best of at most so many rows, with sound"; None where no format tells its own."""
    formats = [one for one in info.get("formats") or () if isinstance(one, Mapping)]
    sized = [(one, _bytes_of(one, info)) for one in formats]
    pictures = [
        (rows, size, one)
        for one, size in sized
        if size is not None and one.get("vcodec") != "none" and (rows := _number(one.get("height"))) and rows <= height
    ]
    if not pictures:
        return None
    _, size, best = max(pictures, key=lambda row: row[:2])
    if best.get("acodec") == "none":
        sound = [size for one, size in sized if size is not None and one.get("vcodec") == "none"]
        size += max(sound, default=0)
    return size


def _bytes_of(one: Mapping[str, Any], info: Mapping[str, Any]) -> int | None:
    size = _number(one.get("filesize")) or _number(one.get("filesize_approx"))
    if not size:
        # kilobits a second
        rate, seconds = _number(one.get("tbr")), _number(info.get("duration"))
        size = rate * 125 * seconds if rate and seconds else None
    return round(size) if size else None


def _first_video(info: Any) -> dict[str, Any]:
    while info and info.get("_type") in {"playlist", "multi_video"}:
        info = next(iter(info.get("entries") or ()), None)
    if not info:
        raise PermanentError("no video there", error_class="permanent")
    return dict(info)


def _is_live(info: Mapping[str, Any]) -> bool:
    return bool(info.get("is_live")) or info.get("live_status") in {"is_live", "is_upcoming"}


class _Gate:
    """Asked by yt-dlp before it downloads: whether this may be."""

    def __init__(self, rights: Rights | None) -> None:
        self.rights, self.forbidden = rights, ""

    def __call__(self, info: Mapping[str, Any], *, incomplete: bool = False) -> str | None:
        if _is_live(info):
            return "live"  # it would be recorded until the deadline
        if not incomplete and self.rights is not None:
            self.forbidden = self.rights(info) or ""
        return self.forbidden or None


def rights_of(video: Mapping[str, Any], rules: RulesConfig) -> Rights:
    """Return what judges a video by what its page says at the download, and by its row where the page says nothing.

    A page that could not be asked at the search tells its licence and its audience here for the first time, and what
    it told may have changed.
    """

    def judged(info: Mapping[str, Any]) -> str | None:
        page = candidate_of(info, query="", url=str(video.get("url") or ""))
        now = {name: value for name in _RIGHTS if (value := getattr(page, name)) is not None}
        # whether it is live is asked apart: that passes
        verdict = judge_row({**video, **now, "live_status": None, "rule": None}, rules, words=False)
        return None if verdict.kept else verdict.rule

    return judged
