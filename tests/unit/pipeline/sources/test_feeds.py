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
from pipeline.sources.feed_text import begins_like_feed
from pipeline.sources.feeds import feed_entries, seconds_of
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
        assert begins_like_feed(body[:1024])
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
    assert (first.error_class, second.error_class) == ("malformed_feed", None)
    assert "document type" in first.message


# -- small feeds that would run for hours -------------------------------------------------------------------------
# the limit of time is a thread's, because no signal ends a loop inside the parser


@pytest.mark.timeout(60, method="thread")
def test_authors_are_looked_through_once_for_a_whole_feed() -> None:
    # 1.6 thousand million pairs
    many: list[dict[str, Any]] = [{}] * 40_000
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
    # behind a comment of two megabytes it does not look like a feed
    text = f"<?xml version='1.0'?><!--{' ' * (2 << 20)}-->{before}<rss{space}>{'&a;' * 1000 if before else ''}</rss>"
    bad = site.add("/page", text.encode(), "text/xml")
    media = site.add("/m.mp4", clip_file.read_bytes(), "video/mp4")
    listed = RSS.replace("http://127.0.0.1/m.mp4", media)
    fine = site.add(
        "/fine", f"<?xml version='1.0'?><!--{' ' * (2 << 20)}--><!DOCTYPE rss>{listed}".encode(), "text/xml"
    )
    (tmp_path / "list.txt").write_text(f"{bad}\n{media}\n{fine}\n")
    source = SourceConfig(spec=f"urls:{tmp_path / 'list.txt'}", allow_private=True)
    first, *rest = UrlsSource(source, RulesConfig(), DownloadConfig(socket_timeout_s=5)).search()
    assert (first.error_class, first.message) == ("permanent", told)
    # a document type without entities is none of this
    assert [(one.title, one.error_class) for one in rest[1:]] == [("☃ a", None)]
    assert rest[0].error_class is None


# -- what feed writers get wrong --------------------------------------------------------------------------------------

ITEM = "<item><title>{}</title><link>/a?x=1&y=2</link></item><item><title>next</title><link>/b</link></item>"
MRSS = 'xmlns:media="http://search.yahoo.com/mrss/"'


@pytest.mark.parametrize(
    ("title", "read"),
    [
        ("Tom & Jerry", "Tom & Jerry"),
        ("R&D &amp; &#38; &lt;b&gt;", "R&D & & <b>"),
        ("caf&eacute;&nbsp;&hellip;&nosuch; &", "café\u00a0…&nosuch; &"),
        ("<![CDATA[Tom & Jerry &eacute; <br>]]>", "Tom & Jerry &eacute; <br>"),
        ("a\x0bb\x00c&#0;&#x1f;d&#xFFFFFF;", "abcd"),
        ("<!-- & -->fine<?a & ?>", "fine"),
        ("<!-- & never closed", None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le"])
def test_an_ampersand_or_an_entity_of_html_costs_no_entry(title: str, read: str | None, encoding: str) -> None:
    body = f'<?xml version="1.0"?><rss version="2.0"><channel>{ITEM.format(title)}</channel></rss>'.encode(encoding)
    if read is None:
        with pytest.raises(PermanentError, match=r"malformed feed: .*line 1, column \d+"):
            feed_entries(body, URL)
        return
    found = feed_entries(body, URL)
    assert [(one["title"], one["url"]) for one in found] == [
        (read, "http://127.0.0.1/a?x=1&y=2"),
        ("next", "http://127.0.0.1/b"),
    ]


@pytest.mark.parametrize("declared", ["", 'encoding="utf-8"', 'encoding="iso-8859-1"', 'encoding="no-such"'])
def test_letters_in_another_encoding_than_the_feed_names_cost_no_entry(declared: str) -> None:
    head = f'<?xml version="1.0" {declared}?>'
    body = f"{head}<rss><channel>{ITEM.format('café “x”')}</channel></rss>".encode("cp1252")
    found = feed_entries(body, URL)
    assert [one["url"] for one in found] == ["http://127.0.0.1/a?x=1&y=2", "http://127.0.0.1/b"]
    assert found[0]["title"].startswith("café ")


def test_the_document_type_of_rss_091_that_defines_nothing_is_passed_over() -> None:
    doctype = '<!DOCTYPE rss PUBLIC "-//Netscape Communications//DTD RSS 0.91//EN" "http://127.0.0.1/rss-0.91.dtd">'
    found = feed_entries(f"<?xml version='1.0'?>{doctype}{RSS}".encode(), URL)
    assert [one["title"] for one in found] == ["☃ a"]
    with pytest.raises(PermanentError, match="document type"):
        feed_entries(f"<!DOCTYPE rss [<!ATTLIST item x CDATA 'long'>]>{RSS}".encode(), URL)


@pytest.mark.timeout(60, method="thread")
def test_mending_a_feed_takes_time_in_proportion_to_its_length() -> None:
    for text in ("<!--" * 200_000, "&" * 400_000, "<![CDATA[" * 100_000, "<?" * 300_000, "<!DOCTYPE " * 80_000):
        with pytest.raises(PermanentError, match="malformed feed"):
            feed_entries(f"<rss>{text}".encode(), URL)
        assert begins_like_feed(f"<rss>{text}".encode())
        begins_like_feed(text.encode())


@pytest.mark.parametrize(
    "before",
    [
        "<!--" + " a feed generator's banner <rss> <html>" * 200 + "-->",
        "<?xml-stylesheet href='a'?><!-- a --><!-- b -->\n",
        "",
    ],
)
def test_what_stands_before_the_first_element_may_be_long(before: str) -> None:
    body = f"\ufeff<?xml version='1.0'?>\n{before}{RSS}".encode()
    assert begins_like_feed(body[:1024]) in (None, True)
    assert begins_like_feed(body) is True
    assert begins_like_feed(f"{before}<!DOCTYPE html><html><rss>".encode()) is False
    assert begins_like_feed(b"<html><body><rss></rss>") is False


@pytest.mark.parametrize(
    ("parts", "link"),
    [
        ('<media:content url="/v.mp4" type="video/mp4"/><link>/page</link>', "/v.mp4"),
        ('<media:group><media:content url="/s.mp4" medium="video"/><media:content url="/d.mp4" type="video/mp4" '
         'isDefault="true"/></media:group>', "/d.mp4"),
        ('<media:content url="/p.jpg" medium="image"/><link>/page</link>', "/page"),
        ('<media:content url="/p" type="application/x-shockwave-flash" medium="video"/><link>/page</link>', "/page"),
        ('<media:player url="/player"/>', "/player"),
        ('<media:group><media:player url="/player"/></media:group><link>/page</link>', "/page"),
        ('<guid>http://127.0.0.1/guid</guid>', "/guid"),
        ('<guid isPermaLink="true">http://127.0.0.1/guid</guid><link></link>', "/guid"),
        ('<guid isPermaLink="false">http://127.0.0.1/guid</guid>', None),
        ("<guid>yt:video:abc</guid>", None),
        ('<atom:link href="/atom" xmlns:atom="http://www.w3.org/2005/Atom"/>', "/atom"),
        ('<enclosure url="/e.mp3" type="audio/mpeg"/><media:content url="/v.webm" type="video/webm"/>', "/v.webm"),
    ],
)  # fmt: skip
def test_an_entry_of_media_rss_or_a_permalink_is_found(parts: str, link: str | None) -> None:
    wanted = [] if link is None else [f"http://127.0.0.1{link}"]
    for space in ("", ' xmlns="http://backend.userland.com/rss2"'):
        body = f"<rss version='2.0'{space} {MRSS}><channel><item>{parts}</item></channel></rss>".encode()
        assert [one["url"] for one in feed_entries(body, URL)] == wanted


def test_titles_and_texts_of_media_rss_are_read_where_the_item_has_none_of_its_own() -> None:
    group = '<media:group><media:description>about</media:description><media:license href="https://a.example/cc"/>'
    item = f"<item><media:title>Run</media:title><link>/a</link>{group}</media:group></item>"
    body = f"<rss {MRSS}><channel>{item}</channel></rss>"
    (entry,) = feed_entries(body.encode(), URL)
    assert (entry["title"], entry["description"], entry["license"]) == ("Run", "about", "https://a.example/cc")


def test_an_atom_entry_goes_by_its_page_its_file_or_its_id() -> None:
    for space in ("http://www.w3.org/2005/Atom", "http://purl.org/atom/ns#"):
        entries = [
            '<entry><id>http://127.0.0.1/id</id></entry>',
            '<entry><id>urn:1</id><link href="/page"/></entry>',
            '<entry><id>urn:2</id><link href="/page"/><media:content url="/v.mp4" type="video/mp4"/></entry>',
        ]  # fmt: skip
        body = f'<feed xmlns="{space}" {MRSS}>{"".join(entries)}</feed>'
        found = [one["url"] for one in feed_entries(body.encode(), URL)]
        assert found == ["http://127.0.0.1/id", "http://127.0.0.1/page", "http://127.0.0.1/v.mp4"]


def test_the_feeds_of_a_list_with_a_bare_ampersand_and_a_long_comment_give_their_videos(
    tmp_path: Path, site, clip_file: Path
) -> None:
    media = site.add("/m.mp4", clip_file.read_bytes(), "video/mp4")
    item = f"<item><title>Tom & Jerry</title><enclosure url='{media}' type='video/mp4'/></item>"
    bare = site.add("/bare.xml", f"<rss><channel>{item}</channel></rss>".encode(), "application/octet-stream")
    behind = site.add(
        "/behind", f"<!--{'x' * 300_000}--><rss><channel>{item.replace('Tom', 'Kim')}".encode() + b"</channel></rss>"
    )
    (tmp_path / "list.txt").write_text(f"{bare}\n{behind}\n")
    source = SourceConfig(spec=f"urls:{tmp_path / 'list.txt'}", allow_private=True)
    found = list(UrlsSource(source, RulesConfig(), DownloadConfig(socket_timeout_s=5)).search())
    assert [(one.title, one.error_class) for one in found] == [("Tom & Jerry", None), ("Kim & Jerry", None)]
