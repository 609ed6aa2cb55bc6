"""The taxonomy of faults, on the messages that sites and yt-dlp really give."""

from __future__ import annotations

import errno
import http.client
import io
import ssl
from email.message import Message

import pytest
from yt_dlp.networking import Response
from yt_dlp.networking.exceptions import CertificateVerifyError, HTTPError, IncompleteRead, ProxyError, TransportError
from yt_dlp.utils import (
    ContentTooShortError,
    DownloadError,
    ExtractorError,
    GeoRestrictedError,
    RegexNotFoundError,
    UnsupportedError,
    UserNotLive,
)

from pipeline.errors import PermanentError, RetryableError
from pipeline.sources.faults import MESSAGE_LENGTH, Fault, as_error, classify


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
        (302, "permanent", False),
        (404, "permanent", False),
        (407, "environment", True),
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


# messages as yt-dlp's extractors, downloaders and network layers word them, by the class that they must get
MESSAGES = {
    "source_blocked": (
        "[youtube] x: Sign in to confirm you’re not a bot. Use --cookies-from-browser or --cookies for this",
        "[youtube] x: Sign in to confirm you're not a bot. This helps protect our community.",
        "[youtube] x: Video unavailable. YouTube is requiring a captcha challenge before playback",
        "[youtube] x: All player responses are invalid. Your IP is likely being blocked by Youtube",
        "[generic] Got HTTP Error 403 caused by Cloudflare anti-bot challenge; try again with  --extractor-args "
        '"generic:impersonate"',
        "[Reddit] x: Your IP address is unable to access the Reddit API",
        "[TikTok] x: Your IP address is blocked from accessing this post",
        "[BiliBili] x: Request is blocked by server (412), please add cookies, wait and try later.",
        "[BiliBili] x: Request is rejected by server (352)",
    ),
    "rate_limited": (
        "[youtube] x: Video unavailable. This content isn't available, try again later. The current session has been "
        "rate-limited by YouTube for up to an hour.",
        "[youtube] x: This content isn't available, try again later.",
        "[generic] Unable to download webpage: HTTP Error 429: Too Many Requests (caused by <HTTPError 429>)",
        "[Gofile] x: You have exceeded the rate limit. Try again later",
        "[soundcloud] x: You are rate-limited. Try again later.",
    ),
    "geo": (
        "[youtube] x: The uploader has not made this video available in your country",
        "[youtube] x: Video unavailable. This video contains content from Sony, who has blocked it in your country on "
        "copyright grounds",
        "[x] y: This video is not available from your location due to geo restriction",
        "[x] y: Track unavailable in your country due to licensing restrictions",
        "[x] y: This song is blocked in this region",
        "[x] y: This video is either unavailable in your region or is DRM protected",
        "[x] Access to this webpage has been blocked by decision of the Russian government.",
        "[x] y: HTTP Error 451: Unavailable For Legal Reasons",
    ),
    "permanent": (
        "[youtube] x: Video unavailable. This video has been removed by the uploader",
        "[youtube] x: This video has been removed for violating YouTube's Terms of Service",
        "[youtube] x: Video unavailable. This video is no longer available due to a copyright claim by Nintendo",
        "[youtube] x: This video is no longer available because the YouTube account associated with this video has "
        "been terminated.",
        "[youtube] x: Video unavailable",
        "[youtube] x: This live stream recording is not available.",
        "[youtube] x: This video is DRM protected",
        "[vimeo] 1: The video does not exist",
        "[generic] Unsupported URL: http://x.test/",
        "[x] y: No video could be found in this post",
        "[x] y: This video is unplayable",
        "[generic] Unable to download webpage: HTTP Error 404: Not Found (caused by <HTTPError 404: Not Found>)",
        "[generic] Unable to download webpage: HTTP Error 302: Found (redirect loop detected)",
        "[generic] captcha-premium-login: Unable to download webpage: HTTP Error 410: Gone",
        "[x] y: Content is not a video/podcast",
    ),
    "auth": (
        "[youtube] x: Private video. Sign in if you've been granted access to this video",
        "[youtube] x: Join this channel to get access to members-only content like this video, and other perks.",
        "[youtube] x: Sign in to confirm your age. This video may be inappropriate for some users.",
        "[youtube] x: This video is only available to Music Premium members",
        "[youtube] x: This video requires payment to watch",
        "[vimeo] 1: This video is protected by a password, use the --video-password option",
        "[x] y: This video is only available for registered users. Use --username and --password",
        "[x] y: This VOD is private",
        "[x] y: This is a supporter-only video: join",
        "[x] y: Ticket purchase is required for this stream",
        "[x] y: Your account does not have access to this content",
        "[generic] Unable to download webpage: HTTP Error 401: Unauthorized",
    ),
    "live": (
        "[youtube] x: Premieres in 3 hours",
        "[youtube] x: Premiere will begin shortly",
        "[youtube] x: This live event will begin in 5 minutes.",
        "[youtube] x: This live event has ended.",
        "[youtube] x: Offline.",
        "[youtube] @fox: The channel is not currently live",
        "[twitch] x: Stream is offline",
        "[x] y: Streamer is not live",
        "[x] y: This livestream has ended",
        "[x] y: This video is not available yet. Release date: 2027-01-01",
    ),
    "environment": (
        "[youtube] x: Requested format is not available. Use --list-formats for a list of available formats",
        "[youtube] x: Only images are available for download. use --list-formats to see them",
        "[youtube] x: No video formats found!; please report this issue on https://github.com/yt-dlp/yt-dlp/issues",
        "You have requested merging of multiple formats but ffmpeg is not installed. Aborting due to --abort-on-error",
        "m3u8 download detected but ffmpeg could not be found. Please install",
        "[x] y: pycryptodomex not found. Please install",
        "unable to write data: [Errno 28] No space left on device",
        "unable to write data: [Errno 27] File too large",
        "unable to open for writing: [Errno 30] Read-only file system: 'media.mp4.part'",
        "unable to open for writing: [Errno 24] Too many open files: 'media.mp4.part'",
        "Unable to create directory: [Errno 13] Permission denied: '/data'",
        "[download] Got error: ('Unable to connect to proxy', NewConnectionError('refused')). Giving up after 3 "
        "retries",
        '[x] y: Impersonate target "chrome" is not available.',
        "[x] Access to this webpage has been blocked by Websense filtering software in your network.",
        "[generic] Unable to download webpage: HTTP Error 407: Proxy Authentication Required",
    ),
    "transient": (
        "[download] Got error: HTTP Error 503: Service Unavailable. Giving up after 3 retries",
        "[download] Got error: 100 bytes read, 3000 more expected. Giving up after 3 retries",
        "unable to download video data: HTTP Error 403: Forbidden",
        "content too short (expected 5000 bytes and served 100)",
        "[download] Got error: Tunnel connection failed: 502 Bad Gateway. Giving up after 3 retries",
        "Did not get any data blocks",
        "The downloaded file is empty",
        "fragment 3 not found, unable to continue",
        "ffmpeg exited with code 1",
        "[generic] Unable to download webpage: <urlopen error [Errno -2] Name or service not known>",
        "[generic] Unable to download webpage: Failed to resolve 'x.invalid' ([Errno -3] Temporary failure in name "
        "resolution)",
        "[generic] Unable to download webpage: HTTPSConnectionPool(host='login.test', port=443): Read timed out.",
        "[generic] Unable to download webpage: [Errno 104] Connection reset by peer",
        "[generic] Unable to download webpage: ('Connection aborted.', RemoteDisconnected('Remote end closed "
        "connection without response'))",
        "[generic] Unable to download webpage: EOF occurred in violation of protocol (_ssl.c:997)",
        "[youtube] x: We're processing this video. Check back later.",
        "[youtube] x: The page needs to be reloaded.",
        "[x] y: There is an error on server-side. Try again later.",
        "[x] y: Service temporarily unavailable",
        "[x] y: This content is currently unavailable",
    ),
    "extractor_bug": (
        "[x] y: Unable to extract title; please report this issue on https://github.com/yt-dlp/yt-dlp/issues",
        "[youtube] x: Failed to extract any player response; please report this issue on https://github.com/yt-dlp",
        "[x] y: Failed to parse JSON (caused by JSONDecodeError('Expecting value'))",
        "[youtube] x: The following content is not available on this app. Watch on the latest version of YouTube.",
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("message", "name"), [(message, name) for name, messages in MESSAGES.items() for message in messages]
)
def test_a_message_has_its_class(message: str, name: str) -> None:
    assert classify(DownloadError(f"ERROR: {message}")).error_class == name


def test_every_class_that_a_message_can_have_is_held_by_messages() -> None:
    assert sum(len(messages) for messages in MESSAGES.values()) >= 60
    assert all(len(messages) >= 4 for messages in MESSAGES.values())


def test_names_and_addresses_decide_nothing() -> None:
    text = "[generic] private-video-captcha: Unable to download webpage: https://login.test/removed: HTTP Error 503: x"
    fault = classify(DownloadError(f"ERROR: {text}"))
    assert (fault.error_class, fault.http_status) == ("transient", 503)
    assert "login.test/removed" in fault.message


def test_a_wall_of_challenges_is_one_whatever_its_status() -> None:
    message = Message()
    message["Retry-After"] = "60"
    inner = HTTPError(Response(io.BytesIO(b""), "http://127.0.0.1/", message, status=403))
    outer = ExtractorError("Got HTTP Error 403 caused by Cloudflare anti-bot challenge", expected=True, cause=inner)
    fault = classify(DownloadError(f"ERROR: {outer}", (ExtractorError, outer, None)))
    assert (fault.error_class, fault.http_status, fault.retry_after_s) == ("source_blocked", 403, 60)


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("Unable to connect to proxy: Connection refused", "environment"),
        ("Tunnel connection failed: 407 Proxy Authentication Required", "environment"),
        ("Tunnel connection failed: 403 Forbidden", "environment"),
        ("Tunnel connection failed: 502 Bad Gateway", "transient"),
        ("Tunnel connection failed: 504 Gateway Timeout", "transient"),
    ],
)
def test_a_proxy_that_refuses_is_not_the_site_beyond_it(message: str, name: str) -> None:
    assert classify(ProxyError(message)).error_class == name


@pytest.mark.parametrize(
    ("inner", "name"),
    [
        (UnsupportedError("http://127.0.0.1/page"), "permanent"),
        (GeoRestrictedError("not here"), "geo"),
        (RegexNotFoundError("no title"), "extractor_bug"),
        (TransportError(cause=TimeoutError("read timed out")), "transient"),
        (TransportError("members only"), "transient"),
        (CertificateVerifyError("self-signed certificate"), "transient"),
        (IncompleteRead(10, 20), "transient"),
        (http.client.IncompleteRead(b"half"), "transient"),
        (ContentTooShortError(10, 20), "transient"),
        (UserNotLive(), "live"),
        (OSError(errno.ENOSPC, "No space left on device"), "environment"),
        (TransportError(cause=ssl.SSLError(1, "CERTIFICATE_VERIFY_FAILED")), "transient"),
        (OSError(errno.EFBIG, "File too large"), "environment"),
        (OSError(errno.EMFILE, "Too many open files"), "environment"),
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
    assert classify(http_error(429)).retry_after_s is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("9" * 300, 86400), ("1e999", 86400), ("-5", None), ("NaN", None), ("²", None), ("9" * 5000, None),
        ("Mon, 01 Jan 2026 00:00:00 +99999999999", None), ("Fri, 31 Dec 9999 23:59:59 -2359", None), ("soon", None),
    ],
)  # fmt: skip
def test_a_retry_after_that_is_no_time_costs_no_more_than_the_usual_pause(value: str, seconds: float | None) -> None:
    fault = classify(http_error(429, Retry_After=value))
    assert (fault.error_class, fault.retry_after_s) == ("rate_limited", seconds)


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


def test_a_message_holds_no_password() -> None:
    text = "Unable to connect to proxy http://me:s3cret@10.0.0.1:8080: then https://token@host/@fox and a@b.c"
    assert classify(OSError(text)).message == (
        "Unable to connect to proxy http://10.0.0.1:8080: then https://host/@fox and a@b.c"
    )


def test_the_deciding_words_may_come_late() -> None:
    fault = classify(DownloadError("ERROR: [x] y: " + "so " * 200 + "Private video"))
    assert fault.error_class == "auth"
    assert len(fault.message) == MESSAGE_LENGTH
