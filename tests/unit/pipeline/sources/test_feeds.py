"""Feeds of strangers: odd numbers, encodings, document types, and feeds that are small and expensive."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import DownloadConfig, RulesConfig, SourceConfig
from pipeline.errors import PermanentError
from pipeline.sources import feeds
from pipeline.sources.feeds import feed_entries, looks_like_feed, seconds_of
from pipeline.sources.urls import UrlsSource

URL = "http://127.0.0.1/feed"
VERSION = "https://jsonfeed.org/version/1.1"
RSS = '<rss version="2.0"><channel><item><title>☃ a</title><link>http://127.0.0.1/m.mp4</link></item></channel></rss>'


def json_feed(**parts: Any) -> bytes:
    return json.dumps({"version": VERSION, **parts}).encode()


# -- numbers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("754", 754.0), ("12:34", 754.0), ("1:02:03", 3723.0), ("99999999:00", None), ("١٢", None), ("1:2:3:4", None),
     ("-5", None), ("1e9", None), ("9" * 5000, None), (None, None), ([["5"]], None), ("NaN", None)],
)  # fmt: skip
def test_a_duration_in_a_feed_is_seconds_or_unknown(text: Any, seconds: float | None) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("value", ["NaN", "1e300", "-3", "true", "[[[5]]]", '{"a": 1}', "9" * 5000, '"soon"', "null"])
def test_an_odd_number_in_a_json_feed_costs_neither_its_item_nor_the_others(value: str) -> None:
    items = (
        f'{{"url": "/odd", "title": {value}, "tags": {value}, "date_published": {value}, "authors": {value},'
        f' "attachments": [{{"url": "/odd.mp4", "mime_type": "video/mp4", "duration_in_seconds": {value},'
        f' "size_in_bytes": {value}}}]}}, {{"url": "/fine", "title": "fine"}}'
    )
    body = f'{{"version": "{VERSION}", "language": {value}, "authors": {value}, "items": [{items}]}}'.encode()
    odd, fine = feed_entries(body, URL)
    assert (odd["url"], fine["url"], fine["title"]) == ("http://127.0.0.1/odd.mp4", "http://127.0.0.1/fine", "fine")
    assert odd.get("duration") is None
    texts = {name: kept for name, kept in odd.items() if name != "tags"}
    assert all(isinstance(kept, str) and len(kept) <= 20000 for kept in texts.values())
    assert not any(isinstance(kept, float) and not math.isfinite(kept) for kept in odd.values())


@pytest.mark.parametrize(
    "date", ["Mon, 01 Jan 2026 00:00:00 +99999999999", "Fri, 31 Dec 9999 23:59:59 -2359", "99999999", "9" * 5000]
)
def test_a_date_out_of_range_costs_neither_its_item_nor_the_others(date: str) -> None:
    odd = f"<item><link>/odd</link><pubDate>{date}</pubDate></item>"
    fine = "<item><link>/fine</link><pubDate>Sun, 06 Nov 1994 08:49:37 GMT</pubDate></item>"
    found = feed_entries(f"<rss><channel>{odd}{fine}</channel></rss>".encode(), URL)
    assert [one.get("upload_date") for one in found] == [None, "19941106"]


# -- encodings and document types ---------------------------------------------------------------------------------

WIDE = ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "utf-8", "utf-8-sig"]


@pytest.mark.parametrize("encoding", WIDE)
def test_a_feed_in_any_unicode_encoding_is_read(encoding: str) -> None:
    xml = RSS.encode(encoding)
    listed = {"version": VERSION, "items": [{"title": "☃ a", "url": "http://127.0.0.1/m.mp4"}]}
    for body in (xml, json.dumps(listed, ensure_ascii=False).encode(encoding)):
        assert looks_like_feed(body[:1024])
        (entry,) = feed_entries(body, URL)
        assert (entry["title"], entry["url"]) == ("☃ a", "http://127.0.0.1/m.mp4")


@pytest.mark.parametrize("encoding", [*WIDE, "latin-1", "koi8-r", "utf-7", "cp037", "cp500", "utf-8-with-comment"])
@pytest.mark.parametrize("declared", [True, False])
def test_a_document_type_is_refused_in_every_encoding(encoding: str, declared: bool) -> None:
    entities = '<!ENTITY a "AMPLIFIED"><!ENTITY b "&a;&a;">'
    body = f"<!DOCTYPE rss [{entities}]>" + RSS.replace("☃ a", "&b;")
    if encoding == "utf-8-with-comment":
        body, encoding = f"<!-- <rss> -->{body}", "utf-8"
    for prefix in ("", f'<?xml version="1.0" encoding="{encoding}"?>') if declared else ("",):
        # some parsers read the declaration as ASCII, and the rest as it says
        for data in ((prefix + body).encode(encoding), prefix.encode() + body.encode(encoding)):
            with pytest.raises(PermanentError, match="malformed feed") as caught:
                feed_entries(data, URL)
            assert "AMPLIFIED" not in str(caught.value)


def test_a_utf_16_feed_that_defines_entities_is_a_row_with_its_reason(tmp_path: Path, site, clip_file: Path) -> None:
    # in UTF-16 the first of these characters has the bytes of `<rss `
    text = "<!--㱲獳 --><!DOCTYPE rss [<!ENTITY a 'AMPLIFIED'>]>" + RSS.replace("☃ a", "&a;")
    bad = site.add("/feed", text.encode("utf-16"), "text/xml")
    media = site.add("/m.mp4", clip_file.read_bytes(), "video/mp4")
    (tmp_path / "list.txt").write_text(f"{bad}\n{media}\n")
    source = SourceConfig(spec=f"urls:{tmp_path / 'list.txt'}", allow_private=True)
    first, second = UrlsSource(source, RulesConfig(), DownloadConfig(socket_timeout_s=5)).search()
    assert (first.error_class, second.error_class) == ("permanent", None)
    assert "document type" in first.message


# -- small feeds that would run for hours -------------------------------------------------------------------------
# the limit of time is a thread's, because no signal ends a loop inside the parser


@pytest.mark.timeout(60, method="thread")
def test_authors_are_looked_through_once_for_a_whole_feed() -> None:
    # 10 thousand million pairs
    many: list[dict[str, Any]] = [{}] * 100_000
    (entry,) = feed_entries(json_feed(authors=many, items=[*many[1:], {"url": "/a"}]), URL)
    assert entry == {"url": "http://127.0.0.1/a"}


@pytest.mark.timeout(60, method="thread")
def test_items_in_items_and_endless_depth_are_not_read_again_and_again() -> None:
    nested = "<item><link>/a</link>" * 150 + "</item>" * 150
    found = feed_entries(f"<rss><channel>{nested * 3}</channel></rss>".encode(), URL)
    assert [entry["url"] for entry in found] == ["http://127.0.0.1/a"] * 3
    for body in ("<rss>" + "<item>" * 200_000, "<rss>" + "<item>" * 200_000 + "</item>" * 200_000 + "</rss>"):
        with pytest.raises(PermanentError, match="nested more than 200 deep"):
            feed_entries(body.encode(), URL)


@pytest.mark.timeout(60, method="thread")
def test_a_namespace_of_megabytes_is_not_copied_into_every_element() -> None:
    # 4 MB times a million elements: terabytes
    space = f"<rss xmlns='{'u' * (4 << 20)}'>{'<a/>' * 1_000_000}</rss>"
    with pytest.raises(PermanentError, match="a namespace of 4,194,304 characters"):
        feed_entries(space.encode(), URL)
    prefixed = f"<rss xmlns:p='{'u' * (4 << 20)}'>{'<p:a/>' * 1_000_000}</rss>"
    with pytest.raises(PermanentError, match="a namespace of"):
        feed_entries(prefixed.encode(), URL)


@pytest.mark.timeout(60, method="thread")
def test_a_text_of_megabytes_is_cut_and_a_million_links_end() -> None:
    title, links = "t" * (4 << 20), "<link rel='enclosure'/>" * 100_000
    entry = f"<entry><title>{title}</title>{links}<link href='/a'/></entry>"
    body = f"<feed xmlns='http://www.w3.org/2005/Atom'>{entry}</feed>"
    (found,) = feed_entries(body.encode(), URL)
    assert (found["url"], len(found["title"])) == ("http://127.0.0.1/a", 1000)


@pytest.mark.timeout(60, method="thread")
@pytest.mark.parametrize("kind", ["json", "rss"])
def test_millions_of_items_without_a_link_are_not_all_looked_at(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    looked: list[object] = []
    real = feeds._link
    monkeypatch.setattr(feeds, "_link", lambda url, text: looked.append(text) or real(url, text))
    monkeypatch.setattr(feeds, "_MOST_ITEMS", 1000)
    empty: list[dict[str, Any]] = [{}] * 5000
    bodies = {"json": json_feed(items=[{"url": "/a"}, *empty]), "rss": b"<rss>" + b"<item/>" * 5000 + b"</rss>"}
    assert [entry["url"] for entry in feed_entries(bodies[kind], URL)] == ["http://127.0.0.1/a"] * (kind == "json")
    assert len(looked) == 1000


# -- what yt-dlp parses itself ------------------------------------------------------------------------------------


@pytest.mark.timeout(60, method="thread")
@pytest.mark.parametrize(
    ("before", "space", "told"),
    [
        # 16 MB a thousand times
        (f"<!DOCTYPE rss [<!ENTITY a '{'A' * (16 << 20)}'>]>", "", "malformed XML: it defines entities of its own"),
        ("", f" xmlns='{'u' * (4 << 20)}'", "malformed XML: a namespace of 4,194,304 characters"),
        ("", f"><{'a><' * 1000}a", "malformed XML: elements are nested more than 200 deep"),
    ],
    ids=["entities", "namespace", "depth"],
)
def test_a_page_that_yt_dlp_takes_for_a_feed_is_bounded_too(
    tmp_path: Path, site, clip_file: Path, before: str, space: str, told: str
) -> None:
    # behind a comment of a kilobyte it does not look like a feed
    text = f"<?xml version='1.0'?><!--{' ' * 2000}-->{before}<rss{space}>{'&a;' * 1000 if before else ''}</rss>"
    bad = site.add("/page", text.encode(), "text/xml")
    media = site.add("/m.mp4", clip_file.read_bytes(), "video/mp4")
    listed = RSS.replace("http://127.0.0.1/m.mp4", media)
    fine = site.add("/fine", f"<?xml version='1.0'?><!--{' ' * 2000}--><!DOCTYPE rss>{listed}".encode(), "text/xml")
    (tmp_path / "list.txt").write_text(f"{bad}\n{media}\n{fine}\n")
    source = SourceConfig(spec=f"urls:{tmp_path / 'list.txt'}", allow_private=True)
    first, *rest = UrlsSource(source, RulesConfig(), DownloadConfig(socket_timeout_s=5)).search()
    assert (first.error_class, first.message) == ("permanent", told)
    # a document type without entities is none of this
    assert [(one.title, one.error_class) for one in rest[1:]] == [("☃ a", None)]
    assert rest[0].error_class is None
