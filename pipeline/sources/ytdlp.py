"""yt-dlp as a library: its options, a client per thread, and how a source reaches its sites; silent, without own state.

Formats: the smallest sufficient one, video alone where there is such a thing. `worst` would take a file with sound
and `+res` alone adds a useless audio stream (both seen), hence the selector below.
"""

from __future__ import annotations

import io
import json
import threading
import time
from collections import deque
from collections.abc import Collection, Mapping
from http.cookiejar import LoadError
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import imageio_ffmpeg
from yt_dlp import YoutubeDL
from yt_dlp.cookies import YoutubeDLCookieJar
from yt_dlp.networking.exceptions import HTTPError, TransportError
from yt_dlp.utils import unsmuggle_url
from yt_dlp.version import __version__

from pipeline.arcade.extractor import ArcadeIE
from pipeline.config.source import DownloadConfig, RulesConfig, SourceConfig
from pipeline.errors import PermanentError, RejectedError, RetryableError, UserError
from pipeline.sources.base import clean_text
from pipeline.sources.faults import as_error, causes, classify

TOOL_VERSION = f"yt-dlp {__version__}"
_ARCADE, _OPT_OUT, _ROBOT = "arcade", "opt_out", "lampworks"
_MOST_CLIENTS, _MOST_ASKED = 8, 4096
_LARGEST_PAGE = 32 << 20
_PATIENCE = 4
"""Socket timeouts that a page may take as a whole: bytes that drip never are silent."""
_FILES = frozenset({"mp4", "m4v", "mov", "webm", "mkv"})
ARCADE = {_ARCADE: True}
"""Extra options for the embedded source: they register its extractor."""


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


class IsPageError(Exception):
    """What was taken for a file by its name is a page."""


class Client(YoutubeDL):
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
                raise error_of(error) from error
            raise
        if self.wants_file and _content_type(response.headers) in {"text/html", "application/xhtml+xml"}:
            response.close()
            raise IsPageError(response.url)
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


def client_for(config: DownloadConfig, extra: Mapping[str, Any] | None) -> Client:
    """Return this thread's client for a kind of work: a new one per video costs four times the CPU (measured)."""
    key = (config, json.dumps(dict(extra or {}), sort_keys=True))
    known: dict[Any, Client] = _CLIENTS.__dict__.setdefault("known", {})
    if key not in known:
        if len(known) >= _MOST_CLIENTS:
            known.pop(next(iter(known))).close()
        known[key] = _new_client(config, dict(extra or {}))
    return known[key]


def _new_client(config: DownloadConfig, extra: dict[str, Any]) -> Client:
    arcade, opt_out = extra.pop(_ARCADE, False), extra.pop(_OPT_OUT, ())
    if "cookiefile" in extra:
        # a copy: yt-dlp writes back what sites set
        extra["cookiefile"] = io.StringIO(Path(extra["cookiefile"]).read_text("utf-8"))
    client = Client(options(config, extra), auto_init=False)
    client.opt_out = frozenset(opt_out)
    if arcade:
        client.add_info_extractor(ArcadeIE())  # before the generic one, which would take its pages too
    client.add_default_info_extractors()
    client.keys = {key.lower(): key for key in client._ies}
    return client


def extractor_of(client: Client, url: str) -> str:
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


def error_of(error: Exception, folder: Path | None = None) -> PermanentError | RetryableError:
    """Return our exception for one of yt-dlp's, and close the response that it holds open."""
    fault = classify(error, hide=[] if folder is None else [str(folder)])
    for cause in causes(error):
        if isinstance(cause, HTTPError):
            cause.close()
    return as_error(fault)


def plain_url(url: Any) -> str:
    """Return a URL without what yt-dlp smuggles in its fragment; unprintable characters are replaced."""
    return clean_text(unsmuggle_url(str(url))[0], 4000)


def is_file(url: str) -> bool:
    """Tell by its name whether a URL is a media file."""
    return suffix_of(url) in _FILES


def suffix_of(url: str) -> str:
    """Return the suffix of a URL's path, lower case and without its dot; "" where there is none."""
    try:
        return PurePosixPath(urlsplit(url).path).suffix.lower().lstrip(".")
    except ValueError:  # no address at all
        return ""
