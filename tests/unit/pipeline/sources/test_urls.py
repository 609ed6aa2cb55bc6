"""A list of addresses as a source: pages, files and feeds, of which a dead one stops no other."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import DownloadConfig, RulesConfig, SourceConfig
from pipeline.errors import UserError
from pipeline.sources.urls import UrlsSource

CONFIG = DownloadConfig(socket_timeout_s=5, min_free_gb=0)


def page(title: str, media: str, **facts: Any) -> bytes:
    data = {"@context": "https://schema.org", "@type": "VideoObject", "name": title, "contentUrl": media, **facts}
    return f'<html><title>x</title><script type="application/ld+json">{json.dumps(data)}</script></html>'.encode()


def feed(*items: tuple[str, str]) -> bytes:
    entries = "".join(f"<item><title>{title}</title><link>{link}</link></item>" for title, link in items)
    return f'<?xml version="1.0"?><rss version="2.0"><channel><title>f</title>{entries}</channel></rss>'.encode()


def urls_source(tmp_path: Path, *lines: str) -> UrlsSource:
    file = tmp_path / "list.txt"
    file.write_text("\n".join(lines), "utf-8")
    return UrlsSource(SourceConfig(spec=f"urls:{file}", allow_private=True), RulesConfig(), CONFIG)


def test_a_list_mixes_pages_files_and_feeds_and_a_dead_line_stops_no_other(
    tmp_path: Path, site, clip_file: Path
) -> None:
    media = site.add("/media.mp4", clip_file.read_bytes(), "video/mp4")
    good = site.add("/good", page("Good: a/b\n☃", media, description="d", duration="PT4S", uploadDate="2025-01-02"))
    dead = site.add("/dead", status=404)
    listed = site.add("/feed.xml", feed(("From feed", good + "?2"), ("Lost", dead + "?2")), "application/rss+xml")
    site.pages["/good?2"] = site.pages["/good"]
    source = urls_source(tmp_path, "# a comment", "", dead, f"{good}  # why not", good, listed, media)
    found = list(source.search())
    assert [one.url for one in found] == [dead, good, good + "?2", dead + "?2", media]
    assert [one.error_class for one in found] == ["permanent", None, None, "permanent", None]
    assert found[1].title == "Good: a/b\n☃"
    assert (found[1].description, found[1].duration_s, found[1].upload_date) == ("d", 4.0, "20250102")
    assert found[3].title == "Lost"
    assert len({one.video_id for one in found}) == 5
    assert source.failures.keys() == {dead}


def test_a_dead_line_has_the_id_that_its_recovery_will_have(tmp_path: Path, site, clip_file: Path) -> None:
    url = site.add("/later", status=503)
    source = urls_source(tmp_path, url, "https://www.youtube.com/watch?v=dQw4w9WgXcQ&unreachable")
    (before,) = urls_source(tmp_path, url).search()
    assert before.error_class == "transient"
    site.add("/later", page("Here", site.add("/m.mp4", clip_file.read_bytes(), "video/mp4")))
    (after,) = urls_source(tmp_path, url).search()
    assert (after.title, after.video_id) == ("Here", before.video_id)
    assert pickle.loads(pickle.dumps(source)).download == CONFIG


def test_a_missing_and_an_empty_list_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        list(UrlsSource(SourceConfig(spec=f"urls:{tmp_path / 'absent.txt'}"), RulesConfig(), CONFIG).search())
    with pytest.raises(UserError, match="no URL in it"):
        list(urls_source(tmp_path, "# nothing", "   ").search())


def test_a_list_cannot_read_files_of_this_machine(tmp_path: Path, clip_file: Path) -> None:
    (found,) = urls_source(tmp_path, clip_file.as_uri()).search()
    assert found.error_class is not None


def feed_of_kind(kind: str, link: str) -> tuple[bytes, str]:
    """Return a feed with one video of 64 s, and its content type."""
    if kind == "json":
        item = {
            "id": "1",
            "url": "/not-it",
            "title": "Listed",
            "content_text": "about",
            "image": "http://127.0.0.1/t.jpg",
        }
        item["attachments"] = [
            {"url": link + ".mp3", "mime_type": "audio/mpeg"},
            {"url": link, "mime_type": "video/mp4", "duration_in_seconds": 64},
        ]
        facts = {"version": "https://jsonfeed.org/version/1.1", "authors": [{"name": "Fox"}], "items": [item]}
        return json.dumps(facts).encode(), "application/feed+json"
    media = 'xmlns:media="http://search.yahoo.com/mrss/"'
    picture = '<media:group><media:thumbnail url="http://127.0.0.1/t.jpg"/><media:content duration="64"/></media:group>'
    if kind == "atom":
        links = f'<link href="{link}"/><link rel="enclosure" type="audio/mpeg" href="{link}.mp3"/>'
        entry = f"<entry><title>Listed</title>{links}<summary>about</summary><author><name>Fox</name></author>{picture}"
        text = f'<feed xmlns="http://www.w3.org/2005/Atom" {media}><title>f</title>{entry}</entry></feed>'
        return f'<?xml version="1.0" encoding="utf-8"?>\n{text}'.encode(), "application/atom+xml"
    itunes = 'xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd"'
    item = f"<title>Listed</title><description>about</description><itunes:duration>1:04</itunes:duration>{picture}"
    item += f'<link>http://127.0.0.1/not-it</link><enclosure url="{link}" type="video/mp4"/>'
    text = f'<rss version="2.0" {media} {itunes}><channel><title>f</title><item>{item}</item></channel></rss>'
    return text.encode("utf-8-sig"), "text/xml"


@pytest.mark.parametrize("kind", ["rss", "atom", "json"])
def test_a_feed_of_any_kind_lists_its_videos(tmp_path: Path, site, clip_file: Path, kind: str) -> None:
    media = site.add("/m.mp4", clip_file.read_bytes(), "video/mp4")
    body, content_type = feed_of_kind(kind, media)
    listed = site.add("/feed", body, content_type)
    (found,) = urls_source(tmp_path, listed).search()
    assert (found.url, found.title, found.duration_s) == (media, "Listed", 64.0)
    assert (found.description, found.thumbnail) == ("about", "http://127.0.0.1/t.jpg")
    assert found.error_class is None


@pytest.mark.parametrize(
    ("body", "content_type", "told"),
    [
        (b'<?xml version="1.0"?>\n<rss version="2.0"><channel><item><title>x</item>', "text/xml", "line 2, column"),
        (
            b'{"version": "https://jsonfeed.org/version/1.1", "items": [',
            "application/json",
            "malformed feed: Expecting",
        ),
        (b'{"hello": "world"}', "application/json", "JSON, but no feed"),
        (b'{"a":' * 200_000, "application/json", "malformed feed"),
        (b'<!DOCTYPE x [<!ENTITY a "aa">]><rss><channel/></rss>', "text/xml", "entities of its own"),
        (b'{"x": "' + b"y" * (17 << 20) + b'"}', "application/json", "larger than 16 MB"),
    ],
)
def test_a_damaged_feed_is_a_row_with_its_reason_and_the_line_is_named(
    tmp_path: Path, site, clip_file: Path, body: bytes, content_type: str, told: str
) -> None:
    damaged = site.add("/feed", body, content_type)
    media = site.add("/m.mp4", clip_file.read_bytes(), "video/mp4")
    source = urls_source(tmp_path, "# two lines", damaged, media)
    first, second = source.search()
    wanted = "malformed_feed" if told.startswith(("malformed feed", "line 2")) else "permanent"
    assert (first.url, first.error_class) == (damaged, wanted)
    assert told in first.message
    assert (second.url, second.error_class) == (media, None)
    assert source.failures.keys() == {damaged}
    assert source.failures[damaged].startswith("line 2: ")
    assert told in source.failures[damaged]


def test_a_feed_without_videos_is_told_and_links_elsewhere_are_left(tmp_path: Path, site) -> None:
    links = "<item><link>file:///etc/passwd</link></item><item><link>javascript:alert(1)</link></item><item/>"
    listed = site.add("/feed", f"<rss><channel>{links}</channel></rss>".encode(), "text/xml")
    source = urls_source(tmp_path, listed)
    assert list(source.search()) == []
    assert source.failures == {listed: "line 1: a feed without videos"}


def test_a_line_whose_video_is_known_costs_no_request(tmp_path: Path, site, clip_file: Path) -> None:
    media = site.add("/m.mp4", clip_file.read_bytes(), "video/mp4")
    pages = [site.add(f"/{name}", page(name, media)) for name in ("one", "two", "three")]
    listed = site.add("/feed", feed(("two", pages[1]), ("three", pages[2])), "application/rss+xml")
    source = urls_source(tmp_path, pages[0], listed)
    found = list(source.search())
    assert [one.title for one in found] == ["one", "two", "three"]
    site.requests.clear()
    ids = {found[0].video_id, found[1].video_id}
    again = list(source.search(known=lambda one: one.video_id in ids))
    assert [one.video_id for one in again] == [one.video_id for one in found]
    assert [one.listed for one in again] == [True, True, False]
    assert not {"/one", "/two"} & set(site.requests)


def test_a_host_that_refuses_is_asked_no_further_and_others_are(tmp_path: Path, site, clip_file: Path) -> None:
    refusals = [site.add(f"/{number}", status=429) for number in range(3)]
    other = site.url.replace("127.0.0.1", "localhost") + "/fine"
    site.add("/fine", page("Fine", site.add("/m.mp4", clip_file.read_bytes(), "video/mp4")))
    source = urls_source(tmp_path, *refusals, other)
    found = list(source.search())
    assert [one.error_class for one in found] == ["rate_limited"] * 3 + [None]
    assert [path for path in site.requests if path in {"/0", "/1", "/2"}] == ["/0"]
    assert source.failures.keys() == {*refusals, "127.0.0.1"}


class StoppedClock:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def test_pages_of_one_site_are_asked_a_moment_apart(
    tmp_path: Path, site, clip_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = StoppedClock()
    monkeypatch.setattr("pipeline.sources.urls.time", clock)
    media = site.add("/m.mp4", clip_file.read_bytes(), "video/mp4")
    pages = [site.add(f"/{name}", page(name, media)) for name in ("one", "two")]
    listed = site.add("/feed", feed(("two", pages[1])), "application/rss+xml")
    source = urls_source(tmp_path, pages[0], listed)
    list(source.search())
    assert clock.slept == []  # a site of this machine needs no pause
    source.download = DownloadConfig(socket_timeout_s=5, host_interval_s=0.3)
    assert len(list(source.search())) == 2
    assert clock.slept == pytest.approx([0.0, 0.3, 0.3])


def test_a_server_that_opts_out_is_not_taken_at_search(tmp_path: Path, site, clip_file: Path) -> None:
    headers = {"X-Robots-Tag": "noai, noimageai"}
    url = site.add("/m.mp4", clip_file.read_bytes(), "video/mp4", headers=headers)
    (found,) = urls_source(tmp_path, url).search()
    assert (found.error_class, found.message) == ("opt_out", "X-Robots-Tag: noai")


@pytest.mark.parametrize(
    "line",
    ["http://[::1", "http://", "not a url", "ftp://127.0.0.1/x", "http://127.0.0.1:99999/x", "http://\ud7ff/\x01"],
)
def test_a_line_that_is_no_address_is_a_row_and_stops_no_other(
    tmp_path: Path, site, clip_file: Path, line: str
) -> None:
    media = site.add("/m.mp4", clip_file.read_bytes(), "video/mp4")
    source = urls_source(tmp_path, line, media)
    first, second = source.search()
    assert first.error_class in {"permanent", "transient", "extractor_bug"}
    assert source.failures.keys() == {line}
    assert second.error_class is None


def test_a_list_that_is_none_is_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(UserError, match="it has 1024 MB, and at most 64 MB are read"):
        list(UrlsSource(SourceConfig(spec=f"urls:{path}"), RulesConfig(), CONFIG).search())


def test_a_host_that_cannot_be_reached_is_a_row_to_try_again(tmp_path: Path, site) -> None:
    url = site.url.replace("http://127.0.0.1:", "http://127.0.0.9:") + "/x"
    (found,) = urls_source(tmp_path, url).search()
    assert found.error_class == "transient"


@pytest.mark.heavy
def test_a_page_without_end_and_one_of_enormous_metadata_are_rows(tmp_path: Path, site, clip_file: Path) -> None:
    media = site.add("/m.mp4", clip_file.read_bytes(), "video/mp4")
    endless = site.add("/endless", b"<html><title>x</title>" + b"<p>more" * (5 << 20), announce_length=False)
    heavy = site.add("/heavy", page("T" * 10_000_000, media, description="\ud800d" * 100_000, keywords=["t"] * 100_000))
    first, second = urls_source(tmp_path, endless, heavy).search()
    assert (first.error_class, first.message) == ("permanent", "a page larger than 32 MB")
    assert second.title == "T" * 1000
    assert len(second.description) == 20_000
