"""The sources: a folder, a list of URLs through the real yt-dlp on a loopback site, and the choice of formats."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from yt_dlp import YoutubeDL

from pipeline.config import DownloadConfig, RulesConfig, SourceConfig
from pipeline.errors import PermanentError, RetryableError, UserError
from pipeline.ids import file_video_id
from pipeline.sources.folder import FolderSource, path_of
from pipeline.sources.urls import UrlsSource
from pipeline.sources.ytdlp_candidate import candidate_of
from pipeline.sources.ytdlp_fetch import _Gate as Gate
from pipeline.sources.ytdlp_fetch import fetch_url
from pipeline.sources.ytdlp_options import options
from pipeline.sources.ytdlp_search import SearchRequest, search_url
from pipeline.storage.store import Store

CONFIG = DownloadConfig(socket_timeout_s=5)


def page(title: str, media: str, **facts: Any) -> bytes:
    data = {"@context": "https://schema.org", "@type": "VideoObject", "name": title, "contentUrl": media, **facts}
    return f'<html><title>x</title><script type="application/ld+json">{json.dumps(data)}</script></html>'.encode()


def feed(*items: tuple[str, str]) -> bytes:
    entries = "".join(f"<item><title>{title}</title><link>{link}</link></item>" for title, link in items)
    return f'<?xml version="1.0"?><rss version="2.0"><channel><title>f</title>{entries}</channel></rss>'.encode()


# -- folder -------------------------------------------------------------------------------------------------------


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"bytes")
    return path


def test_a_folder_offers_every_video_below_it_in_order_and_nothing_else(tmp_path: Path) -> None:
    for name in ("b.mp4", "a.MKV", "sub/c.webm", "sub/.hidden.mp4", ".trash/d.mp4", "notes.txt", "b.info.json"):
        touch(tmp_path / name)
    found = list(FolderSource(tmp_path).search())
    assert [one.native_id for one in found] == ["a.MKV", "b.mp4", "sub/c.webm"]
    assert [one.title for one in found] == ["a", "b", "c"]
    assert found[2].url == str(tmp_path / "sub/c.webm")
    assert found[2].video_id == file_video_id("sub/c.webm")


def test_a_sidecar_gives_title_and_channel_and_a_broken_one_nothing(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4")
    info = {"title": "Platformer", "description": "speedrun", "tags": ["x"], "channel_id": "UC1", "license": "CC-BY"}
    (tmp_path / "a.info.json").write_text(json.dumps(info))
    touch(tmp_path / "b.mp4")
    (tmp_path / "b.info.json").write_text("{")
    first, second = FolderSource(tmp_path).search()
    assert (first.title, first.description, first.channel_id) == ("Platformer", "speedrun", "UC1")
    assert (first.tags, first.licence) == (("x",), "CC-BY")
    assert (second.title, second.channel_id) == ("b", None)


@pytest.mark.parametrize(
    "name", ["a\"b'c;$(x).mp4", "line\nbreak.mp4", "🎮" * 40 + ".mp4", "-rf.mp4", "x" * 250 + ".mp4"]
)
def test_any_file_name_becomes_a_safe_id_and_is_found_again(tmp_path: Path, name: str) -> None:
    touch(tmp_path / name)
    (found,) = FolderSource(tmp_path).search()
    assert set(found.video_id) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
    target = tmp_path / "attempt"
    target.mkdir()
    fetched = FolderSource(tmp_path).fetch({"url": found.url}, target, CONFIG)
    assert fetched.path.read_bytes() == b"bytes"
    assert fetched.path.parent == target


def test_a_name_that_is_no_text_is_found_again_by_its_bytes(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/\xff\xfe%41.mp4"
    with open(raw, "wb") as file:
        file.write(b"bytes")
    (found,) = FolderSource(tmp_path).search()
    for text in (found.url, found.native_id, found.title):
        text.encode("utf-8")
    assert path_of(found.url).read_bytes() == b"bytes"


def test_fetching_from_a_folder_leaves_the_file_where_it_is(tmp_path: Path) -> None:
    original = touch(tmp_path / "videos/a.mp4")
    target = tmp_path / "attempt"
    target.mkdir()
    fetched = FolderSource(tmp_path / "videos").fetch({"url": str(original)}, target, CONFIG)
    fetched.path.unlink()
    assert original.read_bytes() == b"bytes"
    original.unlink()
    with pytest.raises(PermanentError, match="gone"):
        FolderSource(tmp_path / "videos").fetch({"url": str(original)}, target, CONFIG)


def test_a_sidecar_tells_what_the_rules_ask(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4")
    info = {"duration": 12.5, "age_limit": 18, "live_status": "was_live", "thumbnail": "http://127.0.0.1/t.jpg"}
    (tmp_path / "a.info.json").write_text(json.dumps({**info, "tags": "no list", "title": "x" * 5000}))
    (found,) = FolderSource(tmp_path).search()
    assert (found.duration_s, found.age_limit, found.live_status) == (12.5, 18, "was_live")
    assert (found.thumbnail, found.tags, len(found.title)) == ("http://127.0.0.1/t.jpg", (), 1000)


def test_a_sidecar_that_is_huge_or_broken_is_told_and_the_video_stays(tmp_path: Path) -> None:
    for name in ("huge", "broken", "deep"):
        touch(tmp_path / f"{name}.mp4")
    with (tmp_path / "huge.info.json").open("wb") as file:
        file.truncate(1 << 30)
    (tmp_path / "broken.info.json").write_text("{")
    (tmp_path / "deep.info.json").write_text("[" * 200_000)
    source = FolderSource(tmp_path)
    assert [one.title for one in source.search()] == ["broken", "deep", "huge"]
    assert source.failures.keys() == {str(tmp_path / f"{name}.info.json") for name in ("huge", "broken", "deep")}
    assert "1024 MB" in source.failures[str(tmp_path / "huge.info.json")]


def test_a_prefix_of_an_object_store_is_a_folder_too(tmp_path: Path, s3_options: dict[str, str]) -> None:
    store = Store("s3://lampworks-test/recordings", s3_options)
    for name in ("b.mp4", "deep/a b\u2603.MKV", ".hidden/c.mp4", "notes.txt"):
        store.write_blob(name, name.encode())
    store.write_blob("b.info.json", json.dumps({"title": "Platformer", "license": "CC0"}).encode())
    source = pickle.loads(pickle.dumps(FolderSource("s3://lampworks-test/recordings/", s3_options)))
    found = list(source.search())
    assert [(one.native_id, one.title, one.licence) for one in found] == [
        ("b.mp4", "Platformer", "CC0"),
        ("deep/a b\u2603.MKV", "a b\u2603", None),
    ]
    assert found[1].url == "s3://lampworks-test/recordings/deep/a b\u2603.MKV"
    fetched = source.fetch({"url": found[1].url}, tmp_path, CONFIG)
    assert fetched.path == tmp_path / "media.mkv"
    assert fetched.path.read_bytes() == "deep/a b\u2603.MKV".encode()
    store.delete("b.mp4")
    with pytest.raises(PermanentError, match="gone"):
        source.fetch({"url": found[0].url}, tmp_path, CONFIG)
    with pytest.raises(UserError, match="folder:s3://lampworks-test/empty': no video in it"):
        list(FolderSource("s3://lampworks-test/empty", s3_options).search())
    with pytest.raises(UserError, match="folder:s3://no-such-bucket/x': "):
        list(FolderSource("s3://no-such-bucket/x", s3_options).search())


def test_a_missing_and_an_empty_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"folder:.*/absent': does not exist"):
        list(FolderSource(tmp_path / "absent").search())
    with pytest.raises(UserError, match="no video in it"):
        list(FolderSource(tmp_path).search())
    with pytest.raises(UserError, match="is not a folder"):
        list(FolderSource(touch(tmp_path / "file.mp4")).search())


# -- urls ---------------------------------------------------------------------------------------------------------


def urls_source(tmp_path: Path, *lines: str) -> UrlsSource:
    file = tmp_path / "list.txt"
    file.write_text("\n".join(lines), "utf-8")
    return UrlsSource(SourceConfig(spec=f"urls:{file}"), RulesConfig(), CONFIG)


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
    assert (first.url, first.error_class) == (damaged, "permanent")
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
    with pytest.raises(UserError, match="1024 MB is no list of URLs"):
        list(UrlsSource(SourceConfig(spec=f"urls:{path}"), RulesConfig(), CONFIG).search())


def test_a_host_that_cannot_be_reached_is_a_row_to_try_again(tmp_path: Path, site) -> None:
    url = site.url.replace("http://127.0.0.1:", "http://127.0.0.9:") + "/x"
    (found,) = urls_source(tmp_path, url).search()
    assert found.error_class == "transient"


# -- yt-dlp -------------------------------------------------------------------------------------------------------


def test_search_asks_for_metadata_only_where_the_title_is_wanted(site, clip_file: Path) -> None:
    media = site.add("/m.mp4", clip_file.read_bytes(), "video/mp4")
    wanted = site.add("/wanted", page("Wanted", media, description="long"))
    other = site.add("/other", page("Other", media, description="long"))
    listed = site.add("/feed", feed(("Wanted", wanted), ("Other", other)), "application/rss+xml")
    found = list(search_url(listed, SearchRequest(query="q", config=CONFIG, wanted=lambda one: one.title == "Wanted")))
    assert [(one.title, one.description) for one in found] == [("Wanted", "long"), ("Other", "")]
    assert "/other" not in site.requests
    assert {one.query for one in found} == {"q"}


@pytest.mark.heavy
def test_a_page_without_end_and_one_of_enormous_metadata_are_rows(tmp_path: Path, site, clip_file: Path) -> None:
    media = site.add("/m.mp4", clip_file.read_bytes(), "video/mp4")
    endless = site.add("/endless", b"<html><title>x</title>" + b"<p>more" * (5 << 20), announce_length=False)
    heavy = site.add("/heavy", page("T" * 10_000_000, media, description="\ud800d" * 100_000, keywords=["t"] * 100_000))
    first, second = urls_source(tmp_path, endless, heavy).search()
    assert (first.error_class, first.message) == ("permanent", "a page larger than 32 MB")
    assert second.title == "T" * 1000
    assert len(second.description) == 20_000


def test_metadata_from_a_stranger_fits_the_tables() -> None:
    bomb = {
        "id": "../../etc/passwd", "extractor_key": "Evil/../Site", "title": "a\x00b\ud800" + "x" * 10_000_000,
        "description": None, "tags": ["t"] * 100_000, "duration": float("nan"), "age_limit": "old", "uploader": 7,
        "webpage_url": "http://127.0.0.1/\udcff",
    }  # fmt: skip
    found = candidate_of(bomb, query="q", url="http://127.0.0.1/")
    assert not {"/", "."} & set(found.video_id)
    assert (len(found.title), found.title[:3]) == (999, "ab?")
    assert (found.duration_s, found.age_limit, found.channel) == (None, None, "7")
    assert len(found.tags) == 200
    found.url.encode("utf-8")


def test_a_live_stream_is_left_for_later() -> None:
    assert [Gate(None)(info) for info in ({"is_live": True}, {"live_status": "is_upcoming"}, {})] == [
        "live",
        "live",
        None,
    ]


LADDER = [
    {"format_id": "sb", "ext": "mhtml", "vcodec": "none", "acodec": "none", "height": 90, "width": 160},
    {"format_id": "audio", "vcodec": "none", "acodec": "aac", "abr": 48, "filesize": 100},
    {"format_id": "72", "height": 72, "width": 128, "vcodec": "avc1", "acodec": "none", "filesize": 500},
    {"format_id": "144-vp9", "height": 144, "width": 256, "vcodec": "vp9", "acodec": "none", "filesize": 900},
    {"format_id": "144-avc", "height": 144, "width": 256, "vcodec": "avc1", "acodec": "none", "filesize": 1000},
    {"format_id": "144-sound", "height": 144, "width": 256, "vcodec": "avc1", "acodec": "aac", "filesize": 800},
    {"format_id": "360-sound", "height": 360, "width": 640, "vcodec": "avc1", "acodec": "aac", "filesize": 3000},
    {"format_id": "720", "height": 720, "width": 1280, "vcodec": "avc1", "acodec": "none", "filesize": 9000},
]


def chosen(formats: list[dict[str, Any]], **settings: Any) -> str:
    client = YoutubeDL(options(DownloadConfig(**settings)))
    info = {
        "id": "x", "title": "x", "extractor": "fake", "extractor_key": "Fake",
        "formats": [{"ext": "mp4", "url": f"http://127.0.0.1/{one['format_id']}", **one} for one in formats],
    }  # fmt: skip
    return str(client.process_video_result(info, download=False)["format_id"])


def without(*names: str) -> list[dict[str, Any]]:
    return [one for one in LADDER if one["format_id"] not in names]


@pytest.mark.parametrize(
    ("formats", "expected"),
    [
        (LADDER, "144-vp9"),
        (list(reversed(LADDER)), "144-vp9"),
        (without("144-vp9"), "144-avc"),
        (without("144-vp9", "144-avc"), "144-sound"),
        (without("144-vp9", "144-avc", "144-sound"), "360-sound"),
        (without("144-vp9", "144-avc", "144-sound", "360-sound"), "720"),
        ([one for one in LADDER if one["format_id"] in {"sb", "audio", "72"}], "72"),
        ([{"format_id": "unknown"}], "unknown"),
        ([{"format_id": "tall", "height": 256, "width": 144, "vcodec": "avc1", "acodec": "none"}], "tall"),
    ],
)
def test_the_smallest_sufficient_format_is_taken(formats: list[dict[str, Any]], expected: str) -> None:
    assert chosen(formats) == expected


def test_a_taller_minimum_takes_the_next_rung() -> None:
    assert chosen(LADDER, min_height=300) == "360-sound"
    assert chosen(LADDER, min_height=500) == "720"


def test_fetching_picks_the_file_and_says_what_is_claimed(tmp_path: Path, site, clip_file: Path) -> None:
    media = site.add("/m.mp4", clip_file.read_bytes(), "video/mp4")
    url = site.add("/watch", page("../../../evil/title", media, duration="PT4S"))
    fetched = fetch_url(url, tmp_path, CONFIG)
    assert fetched.path == tmp_path / "media.mp4"
    assert fetched.path.read_bytes() == clip_file.read_bytes()
    assert fetched.duration_claimed_s == 4.0
    assert fetched.tool_version.startswith("yt-dlp 20")
    assert os.listdir(tmp_path) == ["media.mp4"]


@pytest.mark.parametrize(
    ("status", "headers", "kind", "name", "retry_after"),
    [
        (404, {}, PermanentError, "permanent", None),
        (429, {"Retry-After": "77"}, RetryableError, "rate_limited", 77.0),
        (503, {"Retry-After": "5"}, RetryableError, "transient", 5.0),
    ],
)
def test_a_refusal_is_an_error_with_class_status_and_pause(
    tmp_path: Path,
    site,
    status: int,
    headers: dict[str, str],
    kind: type[Exception],
    name: str,
    retry_after: float | None,
) -> None:
    url = site.add("/watch", status=status, headers=headers)
    with pytest.raises(kind) as caught:
        fetch_url(url, tmp_path, CONFIG)
    assert (caught.value.error_class, caught.value.http_status) == (name, status)
    assert getattr(caught.value, "retry_after_s", None) == retry_after
    assert str(tmp_path) not in str(caught.value)


def test_yt_dlp_says_nothing_on_the_terminal(tmp_path: Path, site, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(PermanentError):
        fetch_url(site.add("/gone", status=410), tmp_path, CONFIG)
    assert capfd.readouterr() == ("", "")
