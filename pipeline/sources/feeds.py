"""Feeds as lists of videos: RSS 2.0, RSS 1.0, Atom and JSON Feed (https://jsonfeed.org/version/1.1).

yt-dlp reads RSS 2.0 alone. It mistakes a JSON feed for a video, and a damaged feed for an unsupported page. The
entries that are read here go to it one by one, under its own names (`url`, `title`, `duration`, ...).

    feed_entries(b'{"version": "https://jsonfeed.org/version/1.1", "items": [...]}', "https://example.org/feed.json")
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin
from xml.etree import ElementTree

from pipeline.errors import PermanentError

MOST_ENTRIES = 10_000
_ATOM = "{http://www.w3.org/2005/Atom}"
_ITUNES = "{http://www.itunes.com/dtds/podcast-1.0.dtd}"
_MEDIA = "{http://search.yahoo.com/mrss/}"
_RSS1 = "{http://purl.org/rss/1.0/}"
_XML = re.compile(rb"<(?:\w+:)?(?:rss|feed|rdf)[\s>]", re.IGNORECASE)


def looks_like_feed(head: bytes) -> bool:
    """Return whether the first kilobyte looks like a feed; its content type is often wrong."""
    head = _stripped(head)
    return head.startswith(b"{") or (head.startswith(b"<") and _XML.search(head) is not None)


def feed_entries(body: bytes, url: str) -> list[dict[str, Any]]:
    """Return the entries of a feed in its order, without those that have no web link; links may be relative to `url`.

    Raises:
        PermanentError: it is malformed, or not a feed; the message says where.
    """
    body = _stripped(body)
    items = _json_items(body) if body.startswith(b"{") else _xml_items(body)
    found = []
    for item in items:
        link = _link(url, item.get("url"))
        if link is not None:
            found.append({**{name: value for name, value in item.items() if value}, "url": link})
        if len(found) >= MOST_ENTRIES:
            break
    return found


def _link(feed: str, text: object) -> str | None:
    """Return the web address that an entry names, relative to its feed; None where it names none."""
    try:
        link = urljoin(feed, str(text or "").strip())
    except ValueError:
        return None
    return link if text and link.startswith(("http://", "https://")) else None


def _stripped(text: bytes) -> bytes:
    return text.removeprefix(b"\xef\xbb\xbf").lstrip()


def _malformed(why: object) -> PermanentError:
    return PermanentError(f"malformed feed: {why}", error_class="permanent")


def seconds_of(text: object) -> float | None:
    """Return the seconds of `754`, `12:34` or `1:02:03`; None for anything else."""
    parts = str(text or "").strip().split(":")
    if not 1 <= len(parts) <= 3 or not all(re.fullmatch(r"\d{1,9}(\.\d{1,9})?", part) for part in parts):
        return None
    seconds = 0.0
    for part in parts:
        seconds = 60 * seconds + float(part)
    return seconds


# -- JSON Feed ----------------------------------------------------------------------------------------------------


def _json_items(body: bytes) -> Iterator[dict[str, Any]]:
    try:
        feed = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _malformed(error) from error
    items = feed.get("items")
    if not str(feed.get("version")).startswith("https://jsonfeed.org/version/") or not isinstance(items, list):
        raise PermanentError(
            "JSON, but no feed: it needs `version` (https://jsonfeed.org/version/1.1) and a list of `items`",
            error_class="permanent",
        )
    for item in items:
        if isinstance(item, dict):
            yield _json_item(item, feed)


def _json_item(item: Mapping[str, Any], feed: Mapping[str, Any]) -> dict[str, Any]:
    files = [one for one in _list(item.get("attachments")) if str(one.get("mime_type") or "").startswith("video/")]
    video = files[0] if files else {}
    authors = [*_list(item.get("authors")), *_list([item.get("author")]), *_list(feed.get("authors"))]
    return {
        "url": video.get("url") or item.get("external_url") or item.get("url"),
        "title": item.get("title"),
        "description": item.get("content_text") or item.get("summary"),
        "duration": video.get("duration_in_seconds"),
        "thumbnail": item.get("image") or item.get("banner_image"),
        "tags": item.get("tags"),
        "language": item.get("language") or feed.get("language"),
        "upload_date": str(item.get("date_published") or "")[:10].replace("-", ""),
        "channel": next((one.get("name") for one in authors if one.get("name")), None),
    }


def _list(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


# -- XML ----------------------------------------------------------------------------------------------------------


def _xml_items(body: bytes) -> Iterator[dict[str, Any]]:
    # nested entities make a document of a few bytes grow to gigabytes, and no feed needs its own
    if re.search(rb"<!ENTITY", body, re.IGNORECASE):
        raise _malformed("it defines entities of its own")
    try:
        root = ElementTree.fromstring(body)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise _malformed(error) from error
    if root.tag.endswith("}feed") or root.tag == "feed":
        for entry in root.iter(f"{_ATOM}entry"):
            yield _atom_entry(entry)
        return
    for tag, prefix in (("item", ""), (f"{_RSS1}item", _RSS1)):
        for item in root.iter(tag):
            yield _rss_item(item, prefix)


def _rss_item(item: ElementTree.Element, prefix: str) -> dict[str, Any]:
    return {
        "url": _enclosed(item.findall("enclosure"), "url") or item.findtext(f"{prefix}link"),
        "title": item.findtext(f"{prefix}title"),
        "description": item.findtext(f"{prefix}description"),
        "upload_date": _date(item.findtext("pubDate")),
        "age_limit": 18 if (item.findtext(f"{_ITUNES}explicit") or "").lower() in {"true", "yes"} else None,
        **_media(item),
    }


def _atom_entry(entry: ElementTree.Element) -> dict[str, Any]:
    links = entry.findall(f"{_ATOM}link")
    pages = [one.get("href") for one in links if one.get("rel", "alternate") == "alternate"]
    return {
        "url": _enclosed([one for one in links if one.get("rel") == "enclosure"], "href") or next(iter(pages), None),
        "title": entry.findtext(f"{_ATOM}title"),
        "description": entry.findtext(f"{_ATOM}summary") or entry.findtext(f"{_MEDIA}group/{_MEDIA}description"),
        "upload_date": (entry.findtext(f"{_ATOM}published") or "")[:10].replace("-", ""),
        "channel": entry.findtext(f"{_ATOM}author/{_ATOM}name"),
        "license": next((one.get("href") for one in links if one.get("rel") == "license"), None),
        **_media(entry),
    }


def _enclosed(enclosures: Iterable[ElementTree.Element], name: str) -> str | None:
    """Return the link of the first enclosure that is a video or of no stated type; audio enclosures are skipped."""
    for one in enclosures:
        if (one.get("type") or "video/").startswith(("video/", "application/")) and one.get(name):
            return one.get(name)
    return None


def _media(item: ElementTree.Element) -> dict[str, Any]:
    def first(tag: str, name: str) -> str | None:
        return next((one.get(name) for one in item.iter(f"{_MEDIA}{tag}") if one.get(name)), None)

    return {
        "duration": seconds_of(item.findtext(f"{_ITUNES}duration") or first("content", "duration")),
        "thumbnail": first("thumbnail", "url") or next((one.get("href") for one in item.iter(f"{_ITUNES}image")), None),
    }


def _date(text: str | None) -> str | None:
    try:
        return parsedate_to_datetime(text or "").strftime("%Y%m%d")
    except ValueError:
        return None
