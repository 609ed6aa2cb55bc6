"""What went wrong with a video, as one of a few classes, and whether time can mend it.

yt-dlp tells most faults apart by the text of a message alone, retries neither 429 nor any other 4xx, and ignores
Retry-After; so the classes, the pause and the decision to try again are ours.

| class | tried again | what it is |
|---|---|---|
| permanent | no | gone, removed, unsupported |
| transient | yes | timeouts, broken connections, 5xx, an expired media URL (403) |
| rate_limited | yes | 429, "try again later" |
| source_blocked | yes | bot check: the whole source must rest, not this video |
| auth | no | private, members only, age check, log-in |
| geo | no | not in this country |
| live | yes | live now, or not yet |
| environment | yes | this machine: disk, ffmpeg, JavaScript runtime |
| invalid_media | no | fetched, and not a video that plays from its first to its last second |
| extractor_bug | no | yt-dlp itself failed: a newer release may not |
| worker_died, timeout | yes | the attempt killed its process, or ran past its deadline |
| internal | no | our own fault |
"""

from __future__ import annotations

import email.utils
import errno
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pipeline.errors import PermanentError, RetryableError

MESSAGE_LENGTH = 300
RETRYABLE = frozenset({"transient", "rate_limited", "source_blocked", "live", "environment", "worker_died", "timeout"})
_MAX_RETRY_AFTER_S = 86400.0

_TEXTS: tuple[tuple[str, str], ...] = (
    (r"confirm you.{0,3}re not a bot|unusual traffic|captcha", "source_blocked"),
    (r"rate.?limit|too many requests|try again later", "rate_limited"),
    (r"in your country|geo.?restrict|from your location|blocked it in", "geo"),
    (r"private video|is private|members.only|sign in|log.?in|confirm your age|password|payment|purchase", "auth"),
    (r"premieres? in|live event will|is live|live stream (?:has not|is not)|currently live|not currently live", "live"),
    (r"ffmpeg (?:is )?not (?:found|installed)|ffmpeg could not|no space left|read-only file system", "environment"),
    # without a JavaScript runtime YouTube yields storyboards only, and every video looks dead
    (r"requested format is not available|only images are available|no video formats found", "environment"),
    (r"please report this issue|unable to extract|failed to parse", "extractor_bug"),
    (r"unsupported url|removed|terminated|copyright|no longer available|does not exist|unavailable", "permanent"),
    (r"timed? ?out|connection|resolve|resolution|service not known|unreachable", "transient"),
    (r"giving up after|data blocks|incomplete|more expected", "transient"),
)
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}


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
    text = clean_message(str(error) or type(error).__name__, hide)
    if isinstance(error, PermanentError):
        return Fault(error.error_class, text, error.http_status)
    if isinstance(error, RetryableError):
        return Fault(error.error_class, text, error.http_status, error.retry_after_s)
    chain = list(causes(error))
    response = next((link for link in chain if isinstance(getattr(link, "status", None), int)), None)
    if response is not None:
        status = int(response.status)  # type: ignore[attr-defined]
        return Fault(_class_of_status(status), text, status, _retry_after(response))
    if match := re.search(r"HTTP Error (\d{3})", text):
        return Fault(_class_of_status(int(match[1])), text, int(match[1]))
    if any(isinstance(link, OSError) and link.errno in _DISK for link in chain):
        return Fault("environment", text)
    names = _type_names(chain)
    if "GeoRestrictedError" in names:
        return Fault("geo", text)
    if "UnsupportedError" in names:
        return Fault("permanent", text)
    return Fault(_class_of_text(text, chain), text)


def as_error(fault: Fault) -> PermanentError | RetryableError:
    """Return the exception of ours that carries a fault."""
    if fault.retryable:
        return RetryableError(
            fault.message,
            error_class=fault.error_class,
            retry_after_s=fault.retry_after_s,
            http_status=fault.http_status,
        )
    return PermanentError(fault.message, error_class=fault.error_class, http_status=fault.http_status)


def clean_message(text: str, hide: Iterable[str] = ()) -> str:
    """Return a message of at most 300 characters on one line, without colours and without the paths to hide."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text[:20000])
    for path in hide:
        text = text.replace(path, "<tmp>")
    text = re.sub(r"; please report this issue on .*", "; please report this issue", text, flags=re.DOTALL)
    text = " ".join(text.encode("utf-8", "replace").decode().split())
    return text.removeprefix("ERROR: ")[:MESSAGE_LENGTH]


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
    if status in {401, 402, 407}:
        return "auth"
    if status == 451:
        return "geo"
    # 403: media URLs that expired or that one client may not have; 416: a part of another file
    if status in {403, 408, 416, 425} or status >= 500:
        return "transient"
    return "permanent"


def _class_of_text(text: str, chain: list[BaseException]) -> str:
    for pattern, name in _TEXTS:
        if re.search(pattern, text, re.IGNORECASE):
            return name
    names = _type_names(chain)
    if names & {"TransportError", "IncompleteRead", "ContentTooShortError", "TimeoutError", "ConnectionError"}:
        return "transient"
    # yt-dlp marks what a site said as expected; the rest, and any plain Python error, is a fault of its own code
    unexpected = any(getattr(link, "expected", True) is False for link in chain)
    plain = any("YoutubeDLError" not in _type_names([link]) and not isinstance(link, OSError) for link in chain)
    return "extractor_bug" if unexpected or plain else "permanent"


def _type_names(chain: Iterable[BaseException]) -> set[str]:
    return {kind.__name__ for link in chain for kind in type(link).__mro__}


def _retry_after(response: BaseException) -> float | None:
    """Return the seconds that a Retry-After header asks for: a number, or a date."""
    headers = getattr(getattr(response, "response", None), "headers", None)
    value = headers.get("Retry-After") if headers is not None else None
    if not value:
        return None
    if value.strip().isdigit():
        seconds = float(value)
    else:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER_S)
