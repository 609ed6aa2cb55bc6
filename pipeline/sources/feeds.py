"""Feeds as lists of videos: RSS 2.0 with Media RSS, RSS 1.0, Atom and JSON Feed (https://jsonfeed.org/version/1.1).

yt-dlp reads RSS 2.0 alone. It mistakes a JSON feed for a video, and a damaged feed for an unsupported page. The
entries that are read here go to it one by one, under its own names (`url`, `title`, `duration`, ...).

A feed comes from a stranger: the work grows with its size and never with the product of two of its parts, a document
type is refused in every encoding, and so are elements in elements without end and names of megabytes.

    feed_entries(b'{"version": "https://jsonfeed.org/version/1.1", "items": [...]}', "https://example.org/feed.json")
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any
from urllib.parse import urljoin
from xml.etree import ElementTree

from pipeline.errors import PermanentError
from pipeline.outside import clean_date, clean_moment, clean_seconds, clean_text, clean_texts, parse_json
from pipeline.sources.bounded_xml import CostlyXmlError, parse_xml
from pipeline.sources.faults import MALFORMED_FEED
from pipeline.sources.feed_text import repaired, wide_encoding, without_bom

MOST_ENTRIES = 10_000
_MOST_ITEMS = 10 * MOST_ENTRIES
"""Items that are looked at, those without a link included: five million of them fit into a feed, and take minutes."""
_TITLE, _TEXT, _TAGS = 1000, 20000, 200
_ATOM = "{http://www.w3.org/2005/Atom}"
_ITUNES = "{http://www.itunes.com/dtds/podcast-1.0.dtd}"
_MEDIA = "{http://search.yahoo.com/mrss/}"
_DC = "{http://purl.org/dc/elements/1.1/}"


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


def _utf8(body: bytes) -> tuple[bytes, str | None]:
    """Return a feed in an encoding in which every letter of ASCII is its own byte, and `utf-8` where it was decoded."""
    encoding = wide_encoding(body)
    if not encoding:
        return without_bom(body), None
    try:
        return without_bom(body.decode(encoding).encode("utf-8")), "utf-8"
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


def _malformed(why: object) -> PermanentError:
    return PermanentError(f"malformed feed: {why}", error_class=MALFORMED_FEED)


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
    root = _root(body, encoding)
    if _local(root.tag) == "feed":
        space = _space(root.tag)
        yield from (_atom_entry(entry, space) for entry in _outermost(root, {f"{space}entry"}))
        return
    # RSS 2.0 has no namespace, RSS 1.0 its own, and some writers name another
    for item in _outermost(root, {"item", f"{_space(root.tag)}item", f"{_channel_space(root)}item"}):
        yield _rss_item(item, _space(item.tag))


def _root(body: bytes, encoding: str | None) -> ElementTree.Element:
    """Return the root of a feed; one that is no XML is mended as far as it can be, and tried once more."""
    try:
        # no feed needs a document type
        return parse_xml(body, encoding=encoding, forbid_dtd=True)
    except (ElementTree.ParseError, ValueError, LookupError) as first:
        try:
            return parse_xml(repaired(body).encode("utf-8"), encoding="utf-8", forbid_dtd=True)
        except CostlyXmlError as error:
            raise _malformed(error) from error
        except (ElementTree.ParseError, ValueError, LookupError):
            raise _malformed(first) from first


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _space(tag: str) -> str:
    """Return the namespace of a name, as ElementTree writes it before the name; "" where it has none."""
    return tag[: tag.index("}") + 1] if "}" in tag else ""


def _channel_space(root: ElementTree.Element) -> str:
    """Return the namespace of a feed's `channel`: an RSS 1.0 feed has another one than its root."""
    return next((_space(one.tag) for one in root if _local(one.tag) == "channel"), "")


def _outermost(root: ElementTree.Element, tags: Collection[str]) -> Iterator[ElementTree.Element]:
    """Yield the elements of some names in their order, without those inside another one, which would be read again."""
    waiting = [root]
    while waiting:
        element = waiting.pop()
        if element.tag in tags:
            yield element
        else:
            waiting += reversed(element)


def _rss_item(item: ElementTree.Element, space: str) -> dict[str, Any]:
    guid = item.find(f"{space}guid")
    # by the standard a guid is the link unless it says otherwise
    permalink = None if guid is None or guid.get("isPermaLink", "true").strip().lower() == "false" else guid.text
    explicit = (item.findtext(f"{_ITUNES}explicit") or "").strip().lower()
    return {
        "url": _enclosed(item.findall(f"{space}enclosure"), "url")
        or _media_file(item)
        or _first_link(item.findtext(f"{space}link"), _atom_page(item), permalink, _player(item)),
        "title": clean_text(item.findtext(f"{space}title") or item.findtext(f"{_MEDIA}title"), _TITLE),
        "description": clean_text(
            item.findtext(f"{space}description") or _deep_text(item, f"{_MEDIA}description"), _TEXT
        ),
        "upload_date": _day(item.findtext(f"{space}pubDate")) or clean_date(item.findtext(f"{_DC}date")),
        "channel": clean_text(item.findtext(f"{_DC}creator"), _TITLE),
        "license": clean_text(_attribute(item, f"{_MEDIA}license", "href"), _TITLE),
        "age_limit": 18 if explicit in {"true", "yes", "explicit"} else None,
        **_media(item),
    }


def _atom_entry(entry: ElementTree.Element, space: str) -> dict[str, Any]:
    links = entry.findall(f"{space}link")
    about = entry.findtext(f"{space}summary") or _deep_text(entry, f"{_MEDIA}description")
    licence = next((one.get("href") for one in links if one.get("rel") == "license"), None)
    published = entry.findtext(f"{space}published") or entry.findtext(f"{space}issued")
    return {
        "url": _enclosed([one for one in links if one.get("rel") == "enclosure"], "href")
        or _media_file(entry)
        or _first_link(_page(links), _player(entry), entry.findtext(f"{space}id")),
        "title": clean_text(entry.findtext(f"{space}title"), _TITLE),
        "description": clean_text(about, _TEXT),
        "upload_date": clean_date(published),
        "channel": clean_text(entry.findtext(f"{space}author/{space}name"), _TITLE),
        "license": clean_text(licence, _TITLE),
        **_media(entry),
    }


def _first_link(*texts: str | None) -> str | None:
    """Return the first of several links that is no empty text; a guid or an id counts only as a web address."""
    first, *others = (clean_text(text, _TEXT).strip() for text in texts)
    return first or next((one for one in others if one.startswith(("http://", "https://", "/"))), None)


def _page(links: Iterable[ElementTree.Element]) -> str | None:
    return next((one.get("href") for one in links if one.get("rel", "alternate") == "alternate"), None)


def _atom_page(item: ElementTree.Element) -> str | None:
    """Return the link that some RSS writers give as Atom has it."""
    return _page(item.findall(f"{_ATOM}link"))


def _enclosed(enclosures: Iterable[ElementTree.Element], name: str) -> str | None:
    """Return the link of the first enclosure that is a video or of no stated type; audio enclosures are skipped."""
    for one in enclosures:
        if (one.get("type") or "video/").startswith(("video/", "application/")) and one.get(name):
            return one.get(name)
    return None


def _media_file(item: ElementTree.Element) -> str | None:
    """Return the video file that Media RSS names: the default one, else the first; a player in Flash is none."""
    found = [one for one in item.iter(f"{_MEDIA}content") if one.get("url") and _is_video(one)]
    default = (one for one in found if (one.get("isDefault") or "").strip().lower() == "true")
    chosen = next(default, found[0] if found else None)
    return None if chosen is None else chosen.get("url")


def _is_video(content: ElementTree.Element) -> bool:
    kind = (content.get("type") or "").strip().lower()
    medium = (content.get("medium") or "").strip().lower()
    return kind.startswith("video/") or (medium == "video" and (not kind or "flash" not in kind))


def _player(item: ElementTree.Element) -> str | None:
    return _attribute(item, f"{_MEDIA}player", "url")


def _media(item: ElementTree.Element) -> dict[str, Any]:
    duration = item.findtext(f"{_ITUNES}duration") or _attribute(item, f"{_MEDIA}content", "duration")
    return {
        "duration": seconds_of(duration),
        "thumbnail": _attribute(item, f"{_MEDIA}thumbnail", "url") or _attribute(item, f"{_ITUNES}image", "href"),
    }


def _attribute(item: ElementTree.Element, tag: str, name: str) -> str | None:
    """Return an attribute of the first element of that name, at any depth, that has it."""
    return next((one.get(name) for one in item.iter(tag) if one.get(name)), None)


def _deep_text(item: ElementTree.Element, tag: str) -> str | None:
    """Return the text of the first element of that name, at any depth, that has one."""
    return next((one.text for one in item.iter(tag) if one.text), None)


def _day(text: str | None) -> str | None:
    """Return the day (UTC) of a time in the form of RFC 2822; None for anything else."""
    moment = clean_moment(text)
    return None if moment is None else clean_date(moment.date().isoformat())
