"""Classify what went wrong with a video, and whether a later attempt may succeed.

yt-dlp tells most faults apart by the text of their message, retries neither 429 nor any other 4xx, and ignores
Retry-After. So the classes, the pause and the decision to retry are made here.

| class | retried | what it is |
|---|---|---|
| permanent | no | gone, removed, unsupported, a redirect that never ends |
| transient | yes | timeouts, broken connections, names that do not resolve, 5xx, an expired media URL (403) |
| rate_limited | yes | 429, "rate-limited": the circuit breaker pauses the whole site |
| source_blocked | yes | a bot check, a blocked address: the circuit breaker pauses the whole site |
| auth | no | private, members only, age check, log-in |
| geo | no | not in this country |
| live | yes | live now, or not yet |
| environment | yes | this machine and its network: disk, proxy, ffmpeg, JavaScript runtime |
| private_address | no | not on the public internet; due again once `source.allow_private` is set |
| invalid_media | no | fetched, and not a video of which anything plays, or not as long as its source claims |
| unfinished | yes | a file of a folder that is still being written: tried again once it is at rest |
| too_long | no | it lasts longer than `download.max_duration_s`: rejected, and due again when that allows it |
| malformed_feed | no | a feed, and no parser reads it; each search asks for it again |
| extractor_bug | no | yt-dlp itself failed: a newer release may not |
| worker_died, timeout, out_of_memory | yes | the attempt killed its process, or took too much time or memory |
| internal | no | a bug of this program |
"""

from __future__ import annotations

import errno
import math
import re
import ssl
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pipeline.errors import PermanentError, RetryableError
from pipeline.outside import clean_moment, clean_number, shown_text

MESSAGE_LENGTH = 300
PRIVATE_ADDRESS = "private_address"
MALFORMED_FEED = "malformed_feed"
UNFINISHED = "unfinished"
RETRYABLE = frozenset(
    {
        "transient", "rate_limited", "source_blocked", "live", "environment", "worker_died", "timeout",
        "out_of_memory", UNFINISHED,
    }
)  # fmt: skip
BLOCKING = frozenset({"source_blocked", "rate_limited"})
"""Classes that concern the whole site and not the video: the site is paused, and no attempt is counted."""
UNCOUNTED = BLOCKING | {UNFINISHED}
"""Classes of attempts that do not count against a video: nothing is wrong with it."""
_MAX_RETRY_AFTER_S = 86400.0

# the first match decides: first refusals of us, then the network, then the video, then its viewers
_TEXTS: tuple[tuple[str, str], ...] = (
    (
        r"not a bot|unusual traffic|captcha|anti-bot|ip (?:address )?is (?:likely being |unable|blocked)|"
        r"(?:blocked|rejected) by (?:the )?server",
        "source_blocked",
    ),
    (
        r"rate.?limit|too many requests|content isn.t available, try again later|reached your (?:play|download) limit",
        "rate_limited",
    ),
    (r"no space left|read-only file system|file too large|too many open files|cannot allocate memory", "environment"),
    # a proxy's 5xx speak of the site beyond it, the rest of the proxy itself
    (r"tunnel connection failed: 5\d\d", "transient"),
    (r"tunnel connection failed|unable to connect to proxy|cannot connect to proxy|proxyerror", "environment"),
    (r"permission denied|unable to (?:create directory|open for writing|write data)", "environment"),
    (
        r"(?:ffmpeg|ffprobe|pycryptodomex?|phantomjs|rtmpdump)\b.*\b(?:not (?:be )?(?:found|installed)|install)|"
        r"unsupported proxy|impersonat|filtering software in your network",
        "environment",
    ),
    (
        r"timed? ?out|connection ?(?:pool|reset|refused|aborted|broken|closed|error)|remote end closed|urlopen error|"
        r"failed to resolve|name resolution|service not known|unreachable|bytes read, |eof occurred|content too short",
        "transient",
    ),
    (r"giving up after|data blocks|fragment|downloaded file is empty|ffmpeg exited|incomplete data", "transient"),
    (
        r"in(?:to)? your (?:country|region|area|location)|geo.?(?:restrict|block)|from your location|"
        r"blocked it in|in this (?:region|country)|blocked by (?:indian censorship|decision of the russian)",
        "geo",
    ),
    (r"removed|terminated|copyright|no longer (?:available|exists)|does not exist|deleted|drm", "permanent"),
    (
        r"premieres? (?:in|will)|live event (?:will|has ended)|\bis live\b|live ?stream (?:has|is|will)|currently live|"
        r"(?:stream|streamer) is (?:offline|not live)|not available yet|^offline\.?$",
        "live",
    ),
    (
        r"private|members.only|only available to .*members|sign in|log.?in\b|logged.?in|registered users|"
        r"confirm your age|age.?(?:restrict|verif)|password|payment|purchase|premium|subscrib|supporter.only|"
        r"credentials|username|your account|unverified account|cookies \(",
        "auth",
    ),
    # without a JavaScript runtime YouTube yields storyboards only, and every video looks dead
    (r"requested format is not available|only images are available|no video formats found", "environment"),
    (r"try again later|temporarily|currently unavailable|processing this video|needs to be reloaded", "transient"),
    (
        r"please report this issue|unable to extract|failed to (?:parse|extract)|not available on this app",
        "extractor_bug",
    ),
    (r"unsupported url|unavailable|not available", "permanent"),
)
# of yt-dlp and of Python; a certificate may be renewed, a name may resolve again
_TYPES = (
    ("GeoRestrictedError", "geo"),
    ("UnsupportedError", "permanent"),
    ("UserNotLive", "live"),
    ("TransportError", "transient"),
    ("HTTPException", "transient"),
    ("ContentTooShortError", "transient"),
)
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.EMFILE, errno.ENFILE}
_BLOCKED = _TEXTS[0][0]


@dataclass(frozen=True)
class Fault:
    """One failure, classified."""

    error_class: str
    message: str
    http_status: int | None = None
    retry_after_s: float | None = None

    @property
    def retryable(self) -> bool:
        """Whether another attempt later may succeed."""
        return self.error_class in RETRYABLE


def classify(error: BaseException, *, hide: Iterable[str] = ()) -> Fault:
    """Return the fault behind an exception of yt-dlp, of the operating system, or of ours.

    Args:
        error: what was caught.
        hide: paths that the message must not hold (temporary folders).
    """
    text = clean_message(_message(error), hide)
    if isinstance(error, PermanentError):
        return Fault(error.error_class, text, error.http_status)
    if isinstance(error, RetryableError):
        return Fault(error.error_class, text, error.http_status, error.retry_after_s)
    chain = list(causes(error))
    names, said = _type_names(chain), _said(_one_line(str(error)))
    response = next((link for link in chain if isinstance(getattr(link, "status", None), int)), None)
    status, retry_after_s = None, None
    if response is not None:
        status, retry_after_s = int(response.status), _retry_after(response)  # type: ignore[attr-defined]
    elif match := re.search(r"HTTP Error (\d{3})", said):
        status = int(match[1])
    # a bot check comes with any status
    if re.search(_BLOCKED, said, re.IGNORECASE):
        return Fault("source_blocked", text, status, retry_after_s)
    if status is not None:
        return Fault(_class_of_status(status), text, status, retry_after_s)
    # errno of an SSLError is not the operating system's: 1 is not EPERM there
    if any(isinstance(link, OSError) and not isinstance(link, ssl.SSLError) and link.errno in _DISK for link in chain):
        return Fault("environment", text)
    if "ProxyError" in names:
        return Fault(_class_of_text(f"ProxyError: {said}", chain), text)
    for name, error_class in _TYPES:
        if name in names:
            return Fault(error_class, text)
    return Fault(_class_of_text(said, chain), text)


def _message(error: BaseException) -> str:
    """Return what an exception says; yt-dlp only counts what its HTTP client raised on an odd address."""
    for link in causes(error):
        for raised in getattr(link, "unexpected_errors", None) or ():
            return f"{type(raised).__name__}: {raised}"
    return str(error) or type(error).__name__


def as_error(fault: Fault) -> PermanentError | RetryableError:
    """Return a fault as the exception that a source raises."""
    if fault.retryable:
        return RetryableError(
            fault.message,
            error_class=fault.error_class,
            retry_after_s=fault.retry_after_s,
            http_status=fault.http_status,
        )
    return PermanentError(fault.message, error_class=fault.error_class, http_status=fault.http_status)


def clean_message(text: str, hide: Iterable[str] = ()) -> str:
    """Return a message of at most 300 characters on one line: no colours, no paths to hide, addresses as shown."""
    text = text[:20000]
    for path in hide:
        text = text.replace(path, "<tmp>")
    text = re.sub(r"; please report this issue on .*", "; please report this issue", _one_line(text))
    return shown_text(text)[:MESSAGE_LENGTH]


def _one_line(text: str) -> str:
    text = re.sub(r"\x1b\[[0-9;]*m", "", text[:20000])
    return " ".join(text.encode("utf-8", "replace").decode().split()).removeprefix("ERROR: ")


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and what it wraps, in any of the ways that yt-dlp and Python wrap one."""
    queue, seen = [error], set()
    while queue:
        link = queue.pop(0)
        if id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        info = getattr(link, "exc_info", None)
        inner = [info[1] if isinstance(info, tuple) and len(info) > 1 else None, getattr(link, "cause", None)]
        queue += [item for item in (*inner, link.__cause__, link.__context__) if isinstance(item, BaseException)]


def _class_of_status(status: int) -> str:
    if status == 429:
        return "rate_limited"
    if status == 407:
        return "environment"
    if status in {401, 402}:
        return "auth"
    if status == 451:
        return "geo"
    # 403: media URLs that expired or that one client may not have; 416: a part of another file
    if status in {403, 408, 416, 425} or status >= 500:
        return "transient"
    return "permanent"


def _said(text: str) -> str:
    """Return a message without its ids and URLs, which may hold any word."""
    text = re.sub(r"^\[[^\]]+\] (?:[^\s:]+: )?", "", text)
    return re.sub(r"\b[a-z]+://\S+|host='[^']*'", "", text)


def _class_of_text(text: str, chain: list[BaseException]) -> str:
    for pattern, name in _TEXTS:
        if re.search(pattern, text, re.IGNORECASE):
            return name
    names = _type_names(chain)
    if names & {"TimeoutError", "ConnectionError"}:
        return "transient"
    # yt-dlp marks messages of a site as expected; anything else, and a plain Python error, is a bug of an extractor
    unexpected = any(getattr(link, "expected", True) is False for link in chain)
    plain = any("YoutubeDLError" not in _type_names([link]) and not isinstance(link, OSError) for link in chain)
    return "extractor_bug" if unexpected or plain else "permanent"


def _type_names(chain: Iterable[BaseException]) -> set[str]:
    return {kind.__name__ for link in chain for kind in type(link).__mro__}


def _retry_after(response: BaseException) -> float | None:
    """Return the seconds that a Retry-After header asks for: a number, or a date."""
    headers = getattr(getattr(response, "response", None), "headers", None)
    value = headers.get("Retry-After") if headers is not None else None
    seconds = clean_number(value, math.inf)
    if seconds is None:
        moment = clean_moment(value)
        if moment is None:
            return None
        seconds = moment.timestamp() - time.time()
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER_S)
