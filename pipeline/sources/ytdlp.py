"""yt-dlp as a library: a client per thread and kind of work, with the limits that a stranger's server must keep.

The client refuses files whose server opts out and addresses that are not public, reads every answer but the media
itself only up to a size and a time, starts no program that has connections of its own, and raises our exceptions.
"""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from yt_dlp import YoutubeDL
from yt_dlp.downloader import get_suitable_downloader
from yt_dlp.downloader.bunnycdn import BunnyCdnFD
from yt_dlp.downloader.dash import DashSegmentsFD
from yt_dlp.downloader.f4m import F4mFD
from yt_dlp.downloader.hls import HlsFD
from yt_dlp.downloader.http import HttpFD
from yt_dlp.downloader.ism import IsmFD
from yt_dlp.downloader.soop import SoopVodFD
from yt_dlp.networking.exceptions import HTTPError
from yt_dlp.utils import unsmuggle_url
from yt_dlp.version import __version__

from pipeline.arcade.extractor import ArcadeIE
from pipeline.config.source import DownloadConfig
from pipeline.errors import PermanentError, RejectedError, RetryableError
from pipeline.outside import clean_text
from pipeline.sources.allowance import Allowance, BoundedBody
from pipeline.sources.bounded_xml import bound_ytdlp_xml
from pipeline.sources.faults import as_error, causes, classify
from pipeline.sources.wire import SCHEMES, Wire, refused_scheme
from pipeline.sources.ytdlp_network import GuardedRequestsRH, WireError
from pipeline.sources.ytdlp_options import ARCADE_KEY, OPT_OUT_KEY, PRIVATE_KEY, cookies_text, options
from pipeline.sources.ytdlp_programs import needs_program, refuse_other_programs

TOOL_VERSION = f"yt-dlp {__version__}"
_ROBOT = "lampworks"
_MAX_CLIENTS, _MAX_ASKED = 8, 4096
_MAX_PAGE_BYTES = 32 << 20
_MAX_FRAGMENT_BYTES = 256 << 20
"""yt-dlp writes a fragment to a file and then reads it whole."""
_PAGE_TIMEOUTS = 4
"""Socket timeouts that a whole request may take: a server that sends byte by byte never runs into a single one."""
_FILES = frozenset({"mp4", "m4v", "mov", "webm", "mkv"})
_DOWNLOADERS = (HttpFD, HlsFD, DashSegmentsFD, IsmFD, F4mFD, BunnyCdnFD, SoopVodFD)
"""Those that run in this process. The others start a program, which opens connections of its own."""


class IsPageError(Exception):
    """A URL that looked like a media file by its name is a page."""


class Client(YoutubeDL):
    """yt-dlp's client on the sockets of a `Wire`: it refuses what is not public, opted out, too large or too slow."""

    wire: Wire
    opt_out: frozenset[str] = frozenset()
    keys: Mapping[str, str] = MappingProxyType({})
    """Extractors' keys by their lower-case form, which is what tables hold."""
    wants_file = False
    """Whether the next answer is to be a file, not a page."""
    takes_fragments = False
    """Whether the media that is being fetched comes in fragments."""
    least_free = 0.0
    """Bytes that stay free on the disk that media are written to."""
    until: float | None = None
    """When all requests must have ended, in seconds of the monotonic clock."""

    @cached_property
    def _request_director(self) -> Any:
        return self.build_request_director([partial(GuardedRequestsRH, wire=self.wire)])

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Let all requests of a block end within a time."""
        before, end = self.until, time.monotonic() + seconds
        self.until = end if before is None else min(before, end)
        try:
            yield
        finally:
            self.until = before

    def urlopen(self, req: Any) -> Any:
        """Open a request.

        Raises:
            RejectedError: the answer is a file that must not be taken.
            PermanentError: its address or scheme is refused, or (as its body is read) it is too large.
            RetryableError: it took too long.
        """
        # the one part of yt-dlp that writes a body to a file; it reads any other into memory
        is_media = sys._getframe(1).f_globals.get("__name__") == HttpFD.__module__
        seconds = _PAGE_TIMEOUTS * float(self.params["socket_timeout"])
        what = "an answer" if is_media else "a page"
        allowance = Allowance(what, seconds=seconds, size=_MAX_PAGE_BYTES, until=self.until)
        self.wire.watch.allowance = allowance
        refusal: PermanentError | RetryableError | None = None
        try:
            allowance.seconds_left()
            response = super().urlopen(req)
        except WireError as error:
            refusal = error.error
        except HTTPError as error:
            error.response.fp = BoundedBody(error.response.fp, allowance, self.wire.watch)
            if self.wants_file and error.status >= 500:
                # yt-dlp would retry at once, and drop the status and Retry-After
                raise error_of(error) from error
            raise
        if refusal is not None:
            # outside of the handlers, and no longer named here: an error that refers to itself keeps its connections
            # until the garbage collector comes
            try:
                raise refusal
            finally:
                del refusal
        if self.wants_file and _content_type(response.headers) in {"text/html", "application/xhtml+xml"}:
            response.close()
            raise IsPageError(response.url)
        if self.opt_out and (word := opted_out(response.headers, self.opt_out)):
            response.close()
            raise RejectedError(f"X-Robots-Tag: {word}", error_class="opt_out")
        if is_media:
            # its time is the attempt's, and it goes to a file
            size = _MAX_FRAGMENT_BYTES if self.takes_fragments else None
            allowance = Allowance("a fragment of a video", seconds=None, size=size, check=self._check_room)
            self._check_room()
        self.wire.watch.allowance = allowance
        response.fp = BoundedBody(response.fp, allowance, self.wire.watch)
        return response

    def _check_room(self) -> None:
        """Raise RetryableError (`environment`) where the disk has less room than is to stay free."""
        free = shutil.disk_usage(self.params["paths"]["home"]).free
        if free < self.least_free:
            raise RetryableError(
                f"{os.strerror(errno.ENOSPC)}: {free / 1e9:.2f} GB are free, less than download.min_free_gb = "
                f"{self.least_free / 1e9:g}",
                error_class="environment",
            )

    def process_video_result(self, info_dict: Any, download: bool = True) -> Any:
        """Go on with a video's formats by http and https; PermanentError where it has no others."""
        formats: list[Any] = info_dict.get("formats") or []
        web = [one for one in formats if is_web(one.get("url"))]
        if len(web) < len(formats):
            if not web:
                raise refused_scheme(str(formats[0].get("url")))
            info_dict["formats"] = web
        if not formats and not is_web(info_dict.get("url")):
            raise refused_scheme(str(info_dict["url"]))
        return super().process_video_result(info_dict, download=download)

    def dl(self, name: Any, info: Any, subtitle: bool = False, test: bool = False) -> Any:
        """Download a format; PermanentError where that takes a program besides this one."""
        taker = get_suitable_downloader(info, self.params, to_stdout=False) if info.get("url") else HttpFD
        if taker not in _DOWNLOADERS:
            raise needs_program(f"a stream of {info.get('protocol')}")
        self.takes_fragments = taker is not HttpFD
        try:
            return super().dl(name, info, subtitle, test)
        except BaseException as error:
            _close_files(error)
            raise

    def report_error(self, message: Any, *arguments: Any, **named: Any) -> Any:
        """Raise yt-dlp's error; PermanentError where it gave a stream to ffmpeg, which it is not allowed to use."""
        if "ffmpeg could not be found" in str(message):
            raise needs_program("the encryption of this HLS stream")
        return super().report_error(message, *arguments, **named)

    def _forceprint(self, key: str, info_dict: Any) -> None:
        # yt-dlp renders tables of formats that nobody sees, seven times a video: a sixth of the CPU (measured)
        return


def _close_files(error: BaseException) -> None:
    """Close the files that yt-dlp's downloaders leave open when an error of another package ends them."""
    trace = error.__traceback__
    while trace is not None:
        frame, trace = trace.tb_frame, trace.tb_next
        # not of other frames: the snapshot of their variables would keep the error alive
        if not str(frame.f_globals.get("__name__")).startswith("yt_dlp.downloader."):
            continue
        context = frame.f_locals.get("ctx")
        for name in ("dest_stream", "stream"):
            if isinstance(context, dict) and context.get(name) is not None:
                context[name].close()


def is_web(url: Any) -> bool:
    """Return whether a format's URL is of http or https, or names no scheme."""
    match = re.match(r"([a-z][a-z0-9+.-]*):", str(url or ""), re.IGNORECASE)
    return match is None or match[1].lower() in SCHEMES


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
    arcade, opt_out = extra.pop(ARCADE_KEY, ""), extra.pop(OPT_OUT_KEY, ())
    wire = Wire(allow_private=extra.pop(PRIVATE_KEY, False), site=arcade)
    if "cookiefile" in extra:
        # a copy, as yt-dlp writes the cookies that sites set back to the file
        extra["cookiefile"] = io.StringIO(cookies_text(extra["cookiefile"]))
    bound_ytdlp_xml()
    refuse_other_programs()
    client = Client(options(config, extra), auto_init=False)
    client.wire, client.opt_out, client.least_free = wire, frozenset(opt_out), config.min_free_gb * 1e9
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
