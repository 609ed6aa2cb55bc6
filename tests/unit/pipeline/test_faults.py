"""The taxonomy of faults, on the messages that sites and yt-dlp really give."""

from __future__ import annotations

import errno
import io
from email.message import Message

import pytest
from yt_dlp.networking import Response
from yt_dlp.networking.exceptions import HTTPError, TransportError
from yt_dlp.utils import DownloadError, ExtractorError, GeoRestrictedError, RegexNotFoundError, UnsupportedError

from pipeline.errors import PermanentError, RetryableError
from pipeline.faults import MESSAGE_LENGTH, Fault, as_error, classify


def http_error(status: int, **headers: str) -> DownloadError:
    message = Message()
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    inner = HTTPError(Response(io.BytesIO(b""), "http://127.0.0.1/", message, status=status))
    outer = ExtractorError("Unable to download webpage", cause=inner)
    return DownloadError(f"ERROR: [generic] {outer}", (ExtractorError, outer, None))


@pytest.mark.parametrize(
    ("status", "name", "retryable"),
    [
        (400, "permanent", False),
        (401, "auth", False),
        (403, "transient", True),
        (404, "permanent", False),
        (410, "permanent", False),
        (416, "transient", True),
        (429, "rate_limited", True),
        (451, "geo", False),
        (500, "transient", True),
        (503, "transient", True),
    ],
)
def test_a_status_has_its_class_and_is_told(status: int, name: str, retryable: bool) -> None:
    fault = classify(http_error(status))
    assert (fault.error_class, fault.http_status, fault.retryable) == (name, status, retryable)


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("[youtube] x: Sign in to confirm you’re not a bot. Use --cookies", "source_blocked"),
        ("[youtube] x: Video unavailable. This content isn't available, try again later.", "rate_limited"),
        ("[youtube] x: Video unavailable. This video has been removed by the uploader", "permanent"),
        ("[youtube] x: Private video. Sign in if you've been granted access to this video", "auth"),
        ("[youtube] x: Join this channel to get access to members-only content", "auth"),
        ("[youtube] x: Sign in to confirm your age. This video may be inappropriate", "auth"),
        ("[youtube] x: The uploader has not made this video available in your country", "geo"),
        ("[youtube] x: Video unavailable. This video is no longer available due to a copyright claim", "permanent"),
        ("[youtube] x: Premieres in 3 hours", "live"),
        ("[youtube] x: This live event will begin in 5 minutes.", "live"),
        ("[youtube] x: Requested format is not available. Use --list-formats", "environment"),
        ("You have requested merging of multiple formats but ffmpeg is not installed", "environment"),
        ("Giving up after 3 retries", "transient"),
        ("Did not get any data blocks", "transient"),
        ("[generic] Unable to download webpage: <urlopen error [Errno -2] Name or service not known>", "transient"),
        ("[generic] Unable to download webpage: Failed to resolve 'x.invalid'", "transient"),
        ("[generic] HTTP Error 429: Too Many Requests", "rate_limited"),
        ("[x] y: Unable to extract title; please report this issue on https://github.com/yt-dlp", "extractor_bug"),
    ],
)
def test_a_message_has_its_class(message: str, name: str) -> None:
    assert classify(DownloadError(f"ERROR: {message}")).error_class == name


@pytest.mark.parametrize(
    ("inner", "name"),
    [
        (UnsupportedError("http://127.0.0.1/page"), "permanent"),
        (GeoRestrictedError("not here"), "geo"),
        (RegexNotFoundError("no title"), "extractor_bug"),
        (TransportError(cause=TimeoutError("read timed out")), "transient"),
        (OSError(errno.ENOSPC, "No space left on device"), "environment"),
        (KeyError("formats"), "extractor_bug"),
    ],
)
def test_what_lies_inside_an_error_decides(inner: Exception, name: str) -> None:
    assert classify(DownloadError("ERROR: it failed", (type(inner), inner, None))).error_class == name
    assert classify(inner).error_class == name


def test_a_retry_after_is_understood_as_seconds_and_as_a_date() -> None:
    assert classify(http_error(429, Retry_After="120")).retry_after_s == 120
    assert classify(http_error(503, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT")).retry_after_s == 0
    assert classify(http_error(429, Retry_After="Fri, 31 Dec 2999 23:59:59 GMT")).retry_after_s == 86400
    assert classify(http_error(429, Retry_After="soon")).retry_after_s is None
    assert classify(http_error(429)).retry_after_s is None


def test_a_message_is_one_short_line_without_colours_or_our_paths() -> None:
    text = "\x1b[0;31mERROR:\x1b[0m cannot open /tmp/a/b/media.mp4:\n  no\n" + "x" * 5000
    message = classify(OSError(text), hide=["/tmp/a/b/"]).message
    assert message.startswith("cannot open <tmp>media.mp4: no xxx")
    assert len(message) == MESSAGE_LENGTH


def test_our_own_errors_keep_what_they_say() -> None:
    fault = Fault("rate_limited", "slow down", 429, 7.0)
    error = as_error(fault)
    assert isinstance(error, RetryableError)
    assert classify(error) == fault
    gone = as_error(Fault("permanent", "gone", 410))
    assert isinstance(gone, PermanentError)
    assert classify(gone) == Fault("permanent", "gone", 410)
