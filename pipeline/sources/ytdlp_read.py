"""Read a feed or a small picture through yt-dlp's client, with the politeness, proxy and cookies of a source."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from yt_dlp.utils import YoutubeDLError

from pipeline.config.source import DownloadConfig
from pipeline.errors import PermanentError
from pipeline.sources.feed_text import begins_like_feed
from pipeline.sources.ytdlp import error_of, extractor_of, is_file, search_client

_LONGEST_START = 1 << 20
"""Bytes of comments before its first element that a feed may have."""


def read_text(
    url: str, *, config: DownloadConfig, extra: Mapping[str, Any] | None = None, limit: int = 16 << 20
) -> tuple[str, bytes] | None:
    """Return the final URL and the bytes of what may be a feed; None where it is none, or yt-dlp knows the site.

    Raises:
        RejectedError: the server opts out.
        PermanentError: it cannot be fetched, or is larger than `limit` bytes.
        RetryableError: it cannot be fetched now.
    """
    client = search_client(config, extra)
    if not url.startswith(("http://", "https://")) or extractor_of(client, url) != "generic" or is_file(url):
        return None
    try:
        with client.urlopen(url) as response:
            kind = str(response.headers.get("Content-Type") or "").lower()
            if kind.startswith(("video/", "audio/", "image/")):
                return None
            body = bytes(response.read(1024))
            while (is_feed := begins_like_feed(body)) is None and len(body) < _LONGEST_START:
                part = bytes(response.read(1 << 16))
                if not part:
                    break
                body += part
            if not is_feed:
                return None
            body += bytes(response.read(limit + 1))
            final = str(response.url or url)
    except (YoutubeDLError, OSError, ValueError) as error:
        raise error_of(error) from error
    if len(body) > limit:
        raise PermanentError(f"a feed larger than {limit >> 20} MB is not read", error_class="permanent")
    return final, body


def read_picture(
    url: str,
    *,
    config: DownloadConfig,
    extra: Mapping[str, Any] | None = None,
    limit: int = 1 << 20,
    seconds: float | None = None,
) -> bytes:
    """Return the bytes of a small picture, as its site serves it.

    Args:
        url: of the picture.
        config: time limits.
        extra: options of the source.
        limit: bytes that are read at most.
        seconds: the longest time that it may take; None: that of a page.

    Raises:
        RejectedError: the server opts out.
        PermanentError: it cannot be fetched, or is larger than `limit` bytes.
        RetryableError: it cannot be fetched now.
    """
    if not url.startswith(("http://", "https://")):
        raise PermanentError(f"no picture is fetched from {url[:80]!r}", error_class="permanent")
    client = search_client(config, extra)
    try:
        with nullcontext() if seconds is None else client.within(seconds), client.urlopen(url) as response:
            data = bytes(response.read(limit + 1))
    except (YoutubeDLError, OSError, ValueError) as error:
        raise error_of(error) from error
    if len(data) > limit:
        raise PermanentError(f"a picture larger than {limit >> 10} kB is not fetched", error_class="permanent")
    return data
