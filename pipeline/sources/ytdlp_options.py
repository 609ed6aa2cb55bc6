"""yt-dlp's options: which format it takes, its limits, and how a source reaches its sites.

The format is the smallest sufficient one, without sound where a site offers that. yt-dlp's own `worst` would take a
file with sound, and `+res` alone adds an audio stream that nobody needs (both seen), hence the selector below.
"""

from __future__ import annotations

import io
import logging
import re
from collections import deque
from collections.abc import Mapping
from http.cookiejar import LoadError
from pathlib import Path
from typing import Any

from yt_dlp.cookies import YoutubeDLCookieJar

from pipeline.config.source import DownloadConfig, RulesConfig, SourceConfig
from pipeline.errors import UserError
from pipeline.outside import clean_text
from pipeline.regular_file import read_regular
from pipeline.sources.ytdlp_programs import NO_FFMPEG

_LOGGER = logging.getLogger(__name__)
_LARGEST_COOKIES = 8 << 20
# a comment, an empty line, a cookie of seven columns; JSON, which is another format, is for yt-dlp to refuse
_COOKIE_LINE = re.compile(r"[#\[{\"]|\s*$|(?:[^\t]*\t){4}(?:[0-9]+(?:\.[0-9]+)?)?\t[^\t]*\t[^\t]*$")
ARCADE_KEY, OPT_OUT_KEY, PRIVATE_KEY = "arcade", "opt_out", "allow_private"
"""Options of our own among yt-dlp's; `ytdlp` takes them out again."""


class _SilentLogger:
    """A logger that prints nothing: errors come back as exceptions, and printing would garble the progress lines."""

    def __init__(self) -> None:
        self.warnings: deque[str] = deque(maxlen=20)
        """The last 20: where a site refuses, yt-dlp only warns, and returns a video without formats."""

    def debug(self, message: str) -> None: ...

    def warning(self, message: str) -> None:
        self.warnings.append(message)

    def error(self, message: str) -> None: ...


def format_selector(min_height: int) -> str:
    """Return the selector that, with `format_sort`, takes the smallest sufficient format."""
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
        # formatting progress lines that nobody sees takes an eighth of the CPU of a small download (measured)
        "progress_delta": 3600,
        "logger": _SilentLogger(),
        "color": {"stdout": "no_color", "stderr": "no_color"},
        # its cache is a folder shared with the user's own yt-dlp
        "cachedir": False,
        "socket_timeout": config.socket_timeout_s,
        "retries": 3,
        "fragment_retries": 3,
        "extractor_retries": 1,
        # a lost fragment is a hole in the video: fail, and try again later
        "skip_unavailable_fragments": False,
        "format": format_selector(config.min_height),
        "format_sort": format_sort(config.min_height),
        "noplaylist": True,
        "outtmpl": {"default": "media.%(ext)s"},
        "overwrites": True,
        "continuedl": True,
        "updatetime": False,
        # the file is decoded here, so rewriting its container would only change bytes
        "fixup": "never",
        "ffmpeg_location": NO_FFMPEG,
        "external_downloader": "native",
        "js_runtimes": {"deno": {}, "node": {}},
        **(extra or {}),
    }


def arcade_options(site: str) -> dict[str, Any]:
    """Return the extra options of the embedded source: its extractor, and its own address on this machine.

    Args:
        site: URL of the running site.
    """
    # a proxy of the environment cannot know this machine by that address
    return {ARCADE_KEY: site, "proxy": ""}


def connection(source: SourceConfig, rules: RulesConfig) -> dict[str, Any]:
    """Return the options by which a source reaches its sites: cookies, proxy, rate, certificates, addresses, words.

    Raises:
        UserError: the cookies file is missing or not one.
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
    if source.allow_private:
        found[PRIVATE_KEY] = True
    if source.kind in {"urls", "recipe"} and rules.opt_out:
        found[OPT_OUT_KEY] = list(rules.opt_out)
    return found


def cookies_text(path: str | Path) -> str:
    """Return a file of cookies without lines that are none: yt-dlp would print them, with the secrets in them.

    Raises:
        OSError: it is no regular file, or larger than 8 MB.
        UnicodeDecodeError: it is no text.
    """
    lines = read_regular(path, _LARGEST_COOKIES).decode("utf-8").splitlines(keepends=True)
    kept = [line for line in lines if _COOKIE_LINE.match(line)]
    if len(kept) < len(lines):
        _LOGGER.warning("source.cookies: %d lines of %s are no cookies and are left out", len(lines) - len(kept), path)
    return "".join(kept)


def _cookie_file(name: str) -> str:
    path = Path(name).expanduser().absolute()
    fix = "export a cookies.txt in Netscape format from your browser, or leave the setting out"
    try:
        YoutubeDLCookieJar(io.StringIO(cookies_text(path))).load()
    except (LoadError, UnicodeDecodeError) as error:  # LoadError is an OSError too
        raise UserError(
            f"source.cookies = {name!r}: not a cookies file ({clean_text(str(error), 200)}); {fix}"
        ) from error
    except OSError as error:
        raise UserError(f"source.cookies = {name!r}: {error.strerror or error}; {fix}") from error
    return str(path)
