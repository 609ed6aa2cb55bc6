"""yt-dlp as a library: a client per thread and kind of work, with the limits that a stranger's server must keep.

The client refuses files whose server opts out, reads a page only up to a size and a time, and raises our exceptions.
"""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from yt_dlp import YoutubeDL
from yt_dlp.networking.exceptions import HTTPError, TransportError
from yt_dlp.utils import unsmuggle_url
from yt_dlp.version import __version__

from pipeline.arcade.extractor import ArcadeIE
from pipeline.config.source import DownloadConfig
from pipeline.errors import PermanentError, RejectedError, RetryableError
from pipeline.outside import clean_text
from pipeline.sources.faults import as_error, causes, classify
from pipeline.sources.ytdlp_options import ARCADE_KEY, OPT_OUT_KEY, options

TOOL_VERSION = f"yt-dlp {__version__}"
_ROBOT = "lampworks"
_MAX_CLIENTS, _MAX_ASKED = 8, 4096
_MAX_PAGE_BYTES = 32 << 20
_PAGE_TIMEOUTS = 4
"""Socket timeouts that a whole page may take: a server that sends byte by byte never runs into a single one."""
_FILES = frozenset({"mp4", "m4v", "mov", "webm", "mkv"})


class IsPageError(Exception):
    """A URL that looked like a media file by its name is a page."""


class Client(YoutubeDL):
    """yt-dlp's client, which refuses files whose server opts out, and pages that never end."""

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
                # yt-dlp would retry at once, and drop the status and Retry-After
                raise error_of(error) from error
            raise
        if self.wants_file and _content_type(response.headers) in {"text/html", "application/xhtml+xml"}:
            response.close()
            raise IsPageError(response.url)
        if self.opt_out and (word := opted_out(response.headers, self.opt_out)):
            response.close()
            raise RejectedError(f"X-Robots-Tag: {word}", error_class="opt_out")
        if not self.wants_file and _is_text(response.headers):
            response.fp = _Bounded(response.fp, _PAGE_TIMEOUTS * float(self.params["socket_timeout"]))
        return response

    def _forceprint(self, key: str, info_dict: Any) -> None:
        # yt-dlp renders tables of formats that nobody sees, seven times a video: a sixth of the CPU (measured)
        return


def _is_text(headers: Any) -> bool:
    kind = _content_type(headers)
    return kind.startswith("text/") or kind.endswith(("xml", "json"))


class _Bounded:
    """The body of a page, cut off after 32 MB or a time: yt-dlp reads pages whole, and one may never end."""

    def __init__(self, body: Any, seconds: float) -> None:
        self.body, self.left, self.seconds = body, _MAX_PAGE_BYTES, seconds
        self.end = time.monotonic() + seconds
        # `read1` returns what has arrived; `read` would wait until a slow server has sent all that was asked for
        self.some = getattr(body, "read1", body.read)

    def read(self, size: int | None = None, **how: Any) -> bytes:
        """Read like the body, and close the connection with an error where the page is too large or too slow."""
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
                raise PermanentError(f"a page larger than {_MAX_PAGE_BYTES >> 20} MB", error_class="permanent")
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
    """Return this thread's client for these options; a new client per video takes four times the CPU (measured)."""
    key = (config, json.dumps(dict(extra or {}), sort_keys=True))
    known: dict[Any, Client] = _CLIENTS.__dict__.setdefault("known", {})
    if key not in known:
        if len(known) >= _MAX_CLIENTS:
            known.pop(next(iter(known))).close()
        known[key] = _new_client(config, dict(extra or {}))
    return known[key]


def _new_client(config: DownloadConfig, extra: dict[str, Any]) -> Client:
    arcade, opt_out = extra.pop(ARCADE_KEY, False), extra.pop(OPT_OUT_KEY, ())
    if "cookiefile" in extra:
        # a copy, as yt-dlp writes the cookies that sites set back to the file
        extra["cookiefile"] = io.StringIO(Path(extra["cookiefile"]).read_text("utf-8"))
    client = Client(options(config, extra), auto_init=False)
    client.opt_out = frozenset(opt_out)
    if arcade:
        client.add_info_extractor(ArcadeIE())  # before the generic extractor, which would take its pages too
    client.add_default_info_extractors()
    client.keys = {key.lower(): key for key in client._ies}
    return client


def search_client(config: DownloadConfig, extra: Mapping[str, Any] | None, limit: int | None = None) -> Client:
    """Return this thread's client for searches, which reads lists without asking for the pages in them.

    Args:
        config: time limits.
        extra: options of the source.
        limit: entries read of a list; None for all.
    """
    search: dict[str, Any] = {"extract_flat": "in_playlist", "ignore_no_formats_error": True, "noplaylist": False}
    if limit is not None:
        search["playlistend"] = limit
    return client_for(config, {**search, **(extra or {})})


def extractor_of(client: Client, url: str) -> str:
    """Return the extractor that takes a URL, lower case. Answers are kept: asking all 1,800 takes 2 ms a URL."""
    asked: dict[tuple[int, str], str] = _CLIENTS.__dict__.setdefault("asked", {})
    # only clients of the embedded source have its extractor
    key = (len(client.keys), url)
    if key not in asked:
        if len(asked) >= _MAX_ASKED:
            asked.clear()
        try:
            taker = next((key for key, found in client._ies.items() if found.suitable(url)), "Generic")
        except ValueError:  # not a URL: the request will fail with a message
            taker = "Generic"
        asked[key] = taker.lower()
    return asked[key]


def error_of(error: Exception, folder: Path | None = None) -> PermanentError | RetryableError:
    """Return our exception for one of yt-dlp's, and close the response that it keeps open."""
    fault = classify(error, hide=[] if folder is None else [str(folder)])
    for cause in causes(error):
        if isinstance(cause, HTTPError):
            cause.close()
    return as_error(fault)


def plain_url(url: Any) -> str:
    """Return a URL without the data that yt-dlp hides in its fragment; unprintable characters are replaced."""
    return clean_text(unsmuggle_url(str(url))[0], 4000)


def is_file(url: str) -> bool:
    """Return whether a URL is a media file by its name."""
    return suffix_of(url) in _FILES


def suffix_of(url: str) -> str:
    """Return the suffix of a URL's path, lower case and without its dot; "" where there is none."""
    try:
        return PurePosixPath(urlsplit(url).path).suffix.lower().lstrip(".")
    except ValueError:  # not a URL
        return ""
