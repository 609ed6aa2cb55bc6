"""Feeds as lists of videos: RSS 2.0, RSS 1.0, Atom and JSON Feed (https://jsonfeed.org/version/1.1).

yt-dlp reads RSS 2.0 alone. It mistakes a JSON feed for a video, and a damaged feed for an unsupported page. The
entries that are read here go to it one by one, under its own names (`url`, `title`, `duration`, ...).

A feed comes from a stranger: the work grows with its size and never with the product of two of its parts, a document
type is refused in every encoding, and so are elements in elements without end and names of megabytes.

    feed_entries(b'{"version": "https://jsonfeed.org/version/1.1", "items": [...]}', "https://example.org/feed.json")
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any
from urllib.parse import urljoin
from xml.etree import ElementTree

from pipeline.errors import PermanentError
from pipeline.outside import clean_date, clean_moment, clean_seconds, clean_text, clean_texts, parse_json
from pipeline.sources.bounded_xml import parse_xml

MOST_ENTRIES = 10_000
_MOST_ITEMS = 10 * MOST_ENTRIES
"""Items that are looked at, those without a link included: five million of them fit into a feed, and take minutes."""
_TITLE, _TEXT, _TAGS = 1000, 20000, 200
_ATOM = "{http://www.w3.org/2005/Atom}"
_ITUNES = "{http://www.itunes.com/dtds/podcast-1.0.dtd}"
_MEDIA = "{http://search.yahoo.com/mrss/}"
_RSS1 = "{http://purl.org/rss/1.0/}"
_XML = re.compile(r"<(?:\w+:)?(?:rss|feed|rdf)[\s/>]", re.IGNORECASE)


def looks_like_feed(head: bytes) -> bool:
    """Return whether the first kilobyte looks like a feed, in any encoding; its content type is often wrong."""
    encoding = _encoding(head)
    text = head.decode(encoding, "ignore") if encoding else _stripped(head).decode("latin-1")
    text = text.lstrip("\ufeff \t\r\n")
    return text.startswith("{") or (text.startswith("<") and _XML.search(text) is not None)


def feed_entries(body: bytes, url: str) -> list[dict[str, Any]]:
    """Return the entries of a feed in its order, without those that have no web link; links may be relative to `url`.

    Raises:
        PermanentError: it is malformed, or not a feed; the message says where.
    """
    body, encoding = _utf8(body)
    items = _json_items(body) if body.startswith(b"{") else _xml_items(body, encoding)
    found = []
    for item in islice(items, _MOST_ITEMS):
        link = _link(url, item.get("url"))
        if link is not None:
            found.append({**{name: value for name, value in item.items() if value}, "url": link})
        if len(found) >= MOST_ENTRIES:
            break
    return found


def _encoding(body: bytes) -> str:
    """Return the encoding that the first bytes show, where it has more than one byte for a letter of ASCII; else ""."""
    found = json.detect_encoding(body[:4])
    return "" if found.startswith("utf-8") else found


def _utf8(body: bytes) -> tuple[bytes, str | None]:
    """Return a feed in an encoding in which every letter of ASCII is its own byte, and `utf-8` where it was decoded."""
    encoding = _encoding(body)
    if not encoding:
        return _stripped(body), None
    try:
        return _stripped(body.decode(encoding).encode("utf-8")), "utf-8"
    except ValueError as error:
        raise _malformed(error) from error


def _link(feed: str, text: object) -> str | None:
    """Return the web address that an entry names, relative to its feed; None where it names none."""
    try:
        named = clean_text(text, _TEXT).strip()
        link = urljoin(feed, named)
    except ValueError:
        return None
    return link if named and link.startswith(("http://", "https://")) else None


def _stripped(text: bytes) -> bytes:
    return text.removeprefix(b"\xef\xbb\xbf").lstrip()


def _malformed(why: object) -> PermanentError:
    return PermanentError(f"malformed feed: {why}", error_class="permanent")


def seconds_of(text: object) -> float | None:
    """Return the seconds of `754`, `12:34` or `1:02:03`; None for anything else."""
    parts = clean_text(text, 40).strip().split(":")
    if not 1 <= len(parts) <= 3 or not all(re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", part) for part in parts):
        return None
    seconds = 0.0
    for part in parts:
        seconds = 60 * seconds + float(part)
    return clean_seconds(seconds)


# -- JSON Feed ----------------------------------------------------------------------------------------------------


def _json_items(body: bytes) -> Iterator[dict[str, Any]]:
    try:
        feed = parse_json(body)
    except ValueError as error:
        raise _malformed(error) from error
    items = feed.get("items")
    version = clean_text(feed.get("version"), _TITLE)
    if not version.startswith("https://jsonfeed.org/version/") or not isinstance(items, list):
        raise PermanentError(
            "JSON, but no feed: it needs `version` (https://jsonfeed.org/version/1.1) and a list of `items`",
            error_class="permanent",
        )
    # once, and not for each item: 100,000 authors and as many items would take hours
    channel, language = _author(feed), clean_text(feed.get("language"), _TITLE)
    for item in items:
        if isinstance(item, dict):
            yield {"language": language, "channel": channel, **_json_item(item)}


def _json_item(item: Mapping[str, Any]) -> dict[str, Any]:
    files = (one for one in _list(item.get("attachments")) if _named(one, "mime_type").startswith("video/"))
    video = next(files, {})
    return _filled(
        {
            "url": _named(video, "url", length=_TEXT) or _named(item, "external_url", "url", length=_TEXT),
            "title": _named(item, "title"),
            "description": _named(item, "content_text", "summary", length=_TEXT),
            "duration": clean_seconds(video.get("duration_in_seconds")),
            "thumbnail": _named(item, "image", "banner_image", length=_TEXT),
            "tags": list(clean_texts(item.get("tags"), _TAGS, _TITLE)),
            "language": _named(item, "language"),
            "upload_date": clean_date(item.get("date_published")),
            "channel": _author(item),
        }
    )


def _author(item: Mapping[str, Any]) -> str:
    """Return the first author who has a name; "" where none has."""
    authors = [*_list(item.get("authors")), *_list([item.get("author")])]
    return next((name for one in authors if (name := _named(one, "name"))), "")


def _named(item: Mapping[str, Any], *names: str, length: int = _TITLE) -> str:
    """Return the first of the named fields that is a text; "" where none is."""
    return next((text for name in names if (text := clean_text(item.get(name), length))), "")


def _filled(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if value}


def _list(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


# -- XML ----------------------------------------------------------------------------------------------------------


def _xml_items(body: bytes, encoding: str | None) -> Iterator[dict[str, Any]]:
    try:
        # no feed needs a document type
        root = parse_xml(body, encoding=encoding, forbid_dtd=True)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise _malformed(error) from error
    if root.tag.endswith("}feed") or root.tag == "feed":
        yield from map(_atom_entry, _outermost(root, f"{_ATOM}entry"))
        return
    for tag, prefix in (("item", ""), (f"{_RSS1}item", _RSS1)):
        for item in _outermost(root, tag):
            yield _rss_item(item, prefix)


def _outermost(root: ElementTree.Element, tag: str) -> Iterator[ElementTree.Element]:
    """Yield the elements of a name in their order, without those inside another one, which would be read again."""
    waiting = [root]
    while waiting:
        element = waiting.pop()
        if element.tag == tag:
            yield element
        else:
            waiting += reversed(element)


def _rss_item(item: ElementTree.Element, prefix: str) -> dict[str, Any]:
    return {
        "url": _enclosed(item.findall("enclosure"), "url") or item.findtext(f"{prefix}link"),
        "title": clean_text(item.findtext(f"{prefix}title"), _TITLE),
        "description": clean_text(item.findtext(f"{prefix}description"), _TEXT),
        "upload_date": _day(item.findtext("pubDate")),
        "age_limit": 18 if (item.findtext(f"{_ITUNES}explicit") or "").lower() in {"true", "yes"} else None,
        **_media(item),
    }


def _atom_entry(entry: ElementTree.Element) -> dict[str, Any]:
    links = entry.findall(f"{_ATOM}link")
    pages = [one.get("href") for one in links if one.get("rel", "alternate") == "alternate"]
    about = entry.findtext(f"{_ATOM}summary") or entry.findtext(f"{_MEDIA}group/{_MEDIA}description")
    licence = next((one.get("href") for one in links if one.get("rel") == "license"), None)
    return {
        "url": _enclosed([one for one in links if one.get("rel") == "enclosure"], "href") or next(iter(pages), None),
        "title": clean_text(entry.findtext(f"{_ATOM}title"), _TITLE),
        "description": clean_text(about, _TEXT),
        "upload_date": clean_date(entry.findtext(f"{_ATOM}published")),
        "channel": clean_text(entry.findtext(f"{_ATOM}author/{_ATOM}name"), _TITLE),
        "license": clean_text(licence, _TITLE),
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


def _day(text: str | None) -> str | None:
    """Return the day (UTC) of a time in the form of RFC 2822; None for anything else."""
    moment = clean_moment(text)
    return None if moment is None else clean_date(moment.date().isoformat())
