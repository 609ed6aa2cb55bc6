"""Numbers, texts and JSON from outside, bounded once; and addresses as people may see them.

A page, a feed, a sidecar or a header may hold any value where a number is expected: 10^400, NaN, `true`, a list in a
list in a list. Every such value goes through one of these functions before it is compared, stored or multiplied. What
is no number of its kind is unknown (None), and its item goes on without it.

    clean_seconds(info.get("duration"))     # 12.5; None for 1e300, NaN, True, "soon"
    clean_age(info.get("age_limit"))        # 18; 99 for 1e19, because an age limit must not vanish
    parse_json(body)                        # an integer of 5,000 digits is `inf` in it, and no error
    shown_url("http://me:secret@host/x?token=y")   # http://host/x
"""

from __future__ import annotations

import email.utils
import json
import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import urlsplit

MAX_INT64 = (1 << 63) - 1
MOST_SECONDS = 10 * 366 * 86400.0
"""Ten years: no video is longer."""
MOST_BYTES = 1 << 50
"""A pebibyte: no file is larger."""
MOST_KILOBITS = 100e6
"""100 gigabits a second: no stream has more."""
MOST_PIXELS = 1 << 16
"""The largest side of a picture that video codecs allow."""
MOST_AGE = 99
_YEARS = range(1900, 2101)
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_NUMBER_LENGTH = 400
_MAX_INT_DIGITS = 4000
"""Python converts no text of more than 4,300 digits to an `int`."""


# -- numbers ------------------------------------------------------------------------------------------------------


def clean_number(value: object, most: float, *, least: float = 0.0) -> float | None:
    """Return a number from outside between two bounds; None for anything else.

    Args:
        value: a number, or its plain text; `True` and `False` are no numbers.
        most: the largest number that makes sense.
        least: the smallest.
    """
    number = _any_number(value)
    return number if number is not None and least <= number <= most else None


def clean_seconds(value: object) -> float | None:
    """Return a duration in seconds, at most ten years; None for anything else."""
    return clean_number(value, MOST_SECONDS)


def clean_bytes(value: object) -> int | None:
    """Return a size in whole bytes, at most a pebibyte; None for anything else."""
    return _whole(clean_number(value, MOST_BYTES))


def clean_kilobits(value: object) -> float | None:
    """Return a bit rate in kilobits a second, at most 100 gigabits a second; None for anything else."""
    return clean_number(value, MOST_KILOBITS)


def clean_pixels(value: object) -> int | None:
    """Return a width or a height in pixels, at most 65,536; None for anything else."""
    return _whole(clean_number(value, MOST_PIXELS))


def clean_count(value: object, most: int = MAX_INT64) -> int | None:
    """Return a count, at most `most`; None for anything else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if 0 <= value <= most else None
    # as a float 2^63 - 1 is 2^63, which a table cannot hold
    whole = _whole(clean_number(value, most))
    return whole if whole is None or whole <= most else None


def clean_age(value: object) -> int | None:
    """Return an age limit in years; None for no number, and 99 for a larger one, so that it rejects all the same."""
    number = _any_number(value)
    return None if number is None or number < 0 else int(min(number, MOST_AGE))


def _any_number(value: object) -> float | None:
    """Return a number or its text as a float, infinities included; None for anything else, NaN and `True` included."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        text = value.strip()
        # an integer of 5,000 digits is none that can be meant
        value = float(text) if len(text) <= _NUMBER_LENGTH and _NUMBER.fullmatch(text) else None
    if not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        number = math.inf if value > 0 else -math.inf
    return None if math.isnan(number) else number


def _whole(number: float | None) -> int | None:
    return None if number is None else round(number)


# -- dates --------------------------------------------------------------------------------------------------------


def clean_date(value: object) -> str | None:
    """Return a day as YYYYMMDD, of one that begins with YYYYMMDD or YYYY-MM-DD; None where there is no such day."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**8 else value
    match = re.match(r"(\d{4})(-?)(\d{2})\2(\d{2})(?!\d)", text, re.ASCII) if isinstance(text, str) else None
    if match is None or int(match[1]) not in _YEARS:
        return None
    try:
        return date(int(match[1]), int(match[3]), int(match[4])).strftime("%Y%m%d")
    except ValueError:
        return None


def clean_moment(value: object) -> datetime | None:
    """Return the time (UTC) that a header or a feed gives in the form of RFC 2822; None for anything else."""
    if not isinstance(value, str) or len(value) > 200:
        return None
    try:
        moment = email.utils.parsedate_to_datetime(value)
        # one without a time zone is in UTC
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


# -- texts --------------------------------------------------------------------------------------------------------


def clean_text(value: object, length: int) -> str:
    """Return a text from outside as one that fits a table: no lone surrogates, no NUL, at most `length` characters.

    A number becomes its text. Anything else, such as a list, is no text: "".
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        # longer integers have no text in Python
        value = str(value) if isinstance(value, float) or abs(value) < 10**_NUMBER_LENGTH else ""
    if not isinstance(value, str):
        return ""
    return value[:length].encode("utf-8", "replace").decode().replace("\x00", "")


def clean_texts(value: object, most: int, length: int) -> tuple[str, ...]:
    """Return the texts of a list from outside, at most `most` of at most `length` characters; () for anything else."""
    items = value[:most] if isinstance(value, list | tuple) else ()
    return tuple(text for item in items if (text := clean_text(item, length)))


def parse_json(data: bytes | str) -> Any:
    """Return the value of a JSON document, whose numbers are `inf` where Python cannot hold them, and None for NaN.

    Raises:
        ValueError: it is malformed, is no text, or is nested too deeply.
    """
    try:
        return json.loads(data, parse_int=_int_or_infinity, parse_constant=_CONSTANTS.get)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


_CONSTANTS: dict[str, float | None] = {"NaN": None, "Infinity": math.inf, "-Infinity": -math.inf}


def _int_or_infinity(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_INT_DIGITS else float(digits)


# -- addresses ----------------------------------------------------------------------------------------------------

_URL = re.compile(
    r"(?:[a-z][a-z0-9+.-]{0,30}:(?:\\?/){2}|(?<![\w/:])//(?=[^\s/?#]*@))(?:[^\s/?#]*@)?[^\s'\"<>`|]+", re.IGNORECASE
)
_PARTS = re.compile(
    r"((?:[a-z][a-z0-9+.-]*:)+)?(\\?/\\?/)([^/?#\\]*)([^?#]*)(\?[^#]*)?(#.*)?", re.IGNORECASE | re.DOTALL
)
# as in urllib3's `Max retries exceeded with url: /x?token=y`
_LOOSE_QUERY = re.compile(r"\?[^\s'\"<>=?]{1,200}=[^\s'\"<>]*")
# an id of yt-dlp may be the end of an address: `[generic] watch?secret: ...`
_LOOSE_ID = re.compile(r"(\[[\w:+-]{1,60}\] [^\s?#]{1,300})[?#][^\s:]+")
# the start of a password with a slash in it, as parsers of addresses name it
_LOOSE_HOST = re.compile(r"'[^']*'(?= is not a valid host or port)")
_LOOSE_USER = re.compile(r"(?<![\w/:@.-])[^\s/:@'\"<>=(]{1,200}:[^\s/@'\"<>]{1,200}@(?=[\w\[])")
_WITHOUT_QUERY = ("file:", "s3:")
"""In their names a question mark is a letter like any other."""
_YOUTUBE = re.compile(r"(?:[\w-]+\.)*youtube(?:-nocookie)?\.com(?::\d+)?", re.IGNORECASE)
_YOUTUBE_ID = re.compile(r"[?&]((?:v|list)=[\w-]{1,64})(?=&|$)", re.ASCII)


def url_path(url: str) -> str:
    """Return the path of an address; "" where it is none, such as `http://[::1/x`."""
    try:
        return urlsplit(url).path
    except ValueError:
        return ""


def shown_url(url: object, mark: str = "") -> str:
    """Return an address as a page, a log or a terminal may show it: without user, password, query and fragment.

    They often hold secrets: `http://host/x` for `http://me:secret@host/x?token=y#z`. YouTube's own `v` and `list` stay,
    because they name the video. The path of a file stays as it is.

    Args:
        url: the address.
        mark: stands where something is hidden, as in `http://***@host/x?***`.
    """
    text = str(url)
    match = _PARTS.match(text)
    if match is None:
        return text if text.startswith("/") or "@" not in text else _LOOSE_USER.sub("", text)
    scheme, slashes, place, path, query, fragment = (part or "" for part in match.groups())
    if scheme and not place and not scheme.lower().endswith(_WITHOUT_QUERY) and "@" in path:
        # three slashes: what was meant as user and host is a path
        return f"{scheme}{slashes}…"
    _, at, host = place.rpartition("@")
    rest, user = path + query + fragment, f"{mark}@" if mark and at else ""
    if not at and re.search(r":(?!\d*$)[^\]]*$", place):
        # no port: a password with a slash in it, or one whose end was cut off
        return f"{scheme}{slashes}…"
    if scheme.lower().endswith(_WITHOUT_QUERY):
        return f"{scheme}{slashes}{user}{host}{rest}"
    known = "&".join(_YOUTUBE_ID.findall(query)) if _YOUTUBE.fullmatch(host) else ""
    asked = f"?{known}" if known else f"?{mark}" if mark and query else ""
    return f"{scheme}{slashes}{user}{host}{path}{asked}"


def shown_text(text: object, mark: str = "") -> str:
    """Return a message with every address in it as `shown_url` shows it."""

    def shown(match: re.Match[str]) -> str:
        found = match[0]
        url = found.rstrip(".,;:!)]}")
        return shown_url(url, mark) + found[len(url) :]

    cleaned = _LOOSE_HOST.sub("'…'", _LOOSE_ID.sub(r"\1", _URL.sub(shown, str(text))))
    return _LOOSE_USER.sub(f"{mark}@" if mark else "", _LOOSE_QUERY.sub(_known_query, cleaned))


def _known_query(match: re.Match[str]) -> str:
    """Return "" for the query of an address; YouTube's ids, which `shown_url` left, stay."""
    return match[0] if re.fullmatch(r"\?(?:(?:v|list)=[\w-]{1,64}&?)+[.,;:!)\]}]*", match[0], re.ASCII) else ""


def shown_values(values: object, show: Callable[[object], str] = shown_text) -> Any:
    """Return a value with all texts in its lists and mappings, keys included, as `show` shows them."""
    if isinstance(values, str):
        return show(values)
    if isinstance(values, dict):
        return {shown_values(name, show): shown_values(inner, show) for name, inner in values.items()}
    if isinstance(values, list):
        return [shown_values(inner, show) for inner in values]
    # not of a subclass: Dagster's metadata values are tuples with names, and are what they are
    if type(values) is tuple:
        return tuple(shown_values(inner, show) for inner in values)
    return values
