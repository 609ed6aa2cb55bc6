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
from pipeline.sources.base import Candidate
from pipeline.sources.folder import FolderSource, path_of
from pipeline.sources.urls import UrlsSource
from pipeline.sources.youtube import YouTubeSource
from pipeline.sources.ytdlp import _not_live as not_live
from pipeline.sources.ytdlp import candidate_of, fetch_url, options, search_url

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


# -- yt-dlp -------------------------------------------------------------------------------------------------------


def test_search_asks_for_metadata_only_where_the_title_is_wanted(site, clip_file: Path) -> None:
    media = site.add("/m.mp4", clip_file.read_bytes(), "video/mp4")
    wanted = site.add("/wanted", page("Wanted", media, description="long"))
    other = site.add("/other", page("Other", media, description="long"))
    listed = site.add("/feed", feed(("Wanted", wanted), ("Other", other)), "application/rss+xml")
    found = list(search_url(listed, query="q", config=CONFIG, wanted=lambda one: one.title == "Wanted"))
    assert [(one.title, one.description) for one in found] == [("Wanted", "long"), ("Other", "")]
    assert "/other" not in site.requests
    assert {one.query for one in found} == {"q"}


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
    assert [not_live(info) for info in ({"is_live": True}, {"live_status": "is_upcoming"}, {})] == [
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
