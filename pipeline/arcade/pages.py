"""What the site says of a recording: its ladder of formats, the feed's items, the watch page, the API's answer."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from html import escape
from typing import Any
from xml.etree import ElementTree

from pipeline.arcade.catalog import Recording

_LOW, _HIGH = 72, 360
_ITUNES = "http://www.itunes.com/dtds/podcast-1.0.dtd"


@dataclass(frozen=True)
class Rung:
    """One format of a recording."""

    name: str
    """Last part of its URL."""
    width: int
    height: int


def rungs(recording: Recording) -> list[Rung]:
    """Return a recording's formats by height: one too small for clips, the recorded one, one larger than needed.

    A recording of 360 rows has no others, as on sites that do not convert.
    """
    heights = {recording.height} if recording.height >= _HIGH else {_LOW, recording.height, _HIGH}
    return [
        Rung(
            f"{recording.native_id}_{height}p.{recording.extension}",
            recording.width * height // recording.height // 2 * 2,
            height,
        )
        for height in sorted(heights)
    ]


def feed_xml(site: str, recordings: Iterable[Recording]) -> str:
    """Return an RSS 2.0 feed of watch pages."""
    ElementTree.register_namespace("itunes", _ITUNES)
    root = ElementTree.Element("rss", version="2.0")
    channel = ElementTree.SubElement(root, "channel")
    _add(channel, "title", "Arcade: platformer videos")
    _add(channel, "link", site)
    _add(channel, "description", "Games played on this machine")
    for recording in recordings:
        item = ElementTree.SubElement(channel, "item")
        _add(item, "title", recording.title)
        _add(item, "link", watch_url(site, recording.native_id))
        _add(item, "pubDate", format_datetime(_day(recording)))
        _add(item, f"{{{_ITUNES}}}duration", f"{recording.seconds:.0f}")
        ElementTree.SubElement(item, f"{{{_ITUNES}}}image", href=thumbnail_url(site, recording.native_id))
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode")


def watch_html(site: str, recording: Recording) -> str:
    """Return a watch page: metadata as JSON-LD, and the formats as sources of one HTML5 video."""
    facts = {
        "@context": "https://schema.org",
        "@type": "VideoObject",
        "name": recording.title,
        "description": recording.description,
        "uploadDate": _day(recording).date().isoformat(),
        "duration": f"PT{recording.seconds:g}S",
        "author": {"@type": "Person", "name": recording.channel},
        "thumbnailUrl": thumbnail_url(site, recording.native_id),
    }
    # a title that holds "</script>" must not end the script
    script = json.dumps(facts).replace("<", "\\u003c")
    sources = "\n".join(
        f'<source src="{site}/media/{rung.name}" type="{_media_type(recording)}" label="{rung.height}p" '
        f'res="{rung.height}">'
        for rung in rungs(recording)
    )
    title = escape(recording.title)
    return (
        f'<!doctype html><html lang="{recording.language}"><head><meta charset="utf-8"><title>{title}</title>\n'
        f'<script type="application/ld+json">{script}</script></head>\n'
        f"<body><h1>{title}</h1>\n<video controls>\n{sources}\n</video>\n"
        f"<p>{escape(recording.description)}</p><p>{escape(recording.channel)}</p></body></html>\n"
    )


def api_json(site: str, recording: Recording) -> str:
    """Return everything the site tells of a recording, formats from the smallest to the largest."""
    facts: dict[str, Any] = {
        "id": recording.native_id,
        "title": recording.title,
        "description": recording.description,
        "tags": list(recording.tags),
        "channel_id": recording.channel_id,
        "channel": recording.channel,
        "licence": recording.licence,
        "language": recording.language,
        "upload_date": recording.upload_date,
        "duration": recording.seconds,
        "thumbnail": thumbnail_url(site, recording.native_id),
        "formats": [
            {
                "url": f"{site}/media/{rung.name}",
                "width": rung.width,
                "height": rung.height,
                "fps": recording.fps,
                "codec": recording.codec,
                "audio": recording.audio and rung.height == recording.height,
                "ext": recording.extension,
            }
            for rung in rungs(recording)
        ],
    }
    return json.dumps(facts)


def watch_url(site: str, native_id: str) -> str:
    """Return the URL of a recording's page."""
    return f"{site}/watch/{native_id}"


def thumbnail_url(site: str, native_id: str) -> str:
    """Return the URL of a recording's small picture."""
    return f"{site}/thumbnail/{native_id}.jpg"


def _add(parent: ElementTree.Element, tag: str, text: str) -> None:
    ElementTree.SubElement(parent, tag).text = text


def _day(recording: Recording) -> datetime:
    return datetime.strptime(recording.upload_date, "%Y%m%d").replace(tzinfo=UTC)


def _media_type(recording: Recording) -> str:
    return "video/webm" if recording.extension == "webm" else "video/mp4"
