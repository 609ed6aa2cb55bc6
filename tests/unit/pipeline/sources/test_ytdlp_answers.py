"""What yt-dlp is asked for by a source, and what becomes of its answers."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from yt_dlp import YoutubeDL

from pipeline.config import DownloadConfig
from pipeline.errors import PermanentError, RetryableError
from pipeline.sources.ytdlp import search_client
from pipeline.sources.ytdlp_candidate import candidate_of
from pipeline.sources.ytdlp_fetch import _Gate as Gate
from pipeline.sources.ytdlp_fetch import fetch_url
from pipeline.sources.ytdlp_options import options
from pipeline.sources.ytdlp_search import SearchRequest, search_url

CONFIG = DownloadConfig(socket_timeout_s=5, min_free_gb=0)
HERE = {"allow_private": True}


def page(title: str, media: str, **facts: Any) -> bytes:
    data = {"@context": "https://schema.org", "@type": "VideoObject", "name": title, "contentUrl": media, **facts}
    return f'<html><title>x</title><script type="application/ld+json">{json.dumps(data)}</script></html>'.encode()


def feed(*items: tuple[str, str]) -> bytes:
    entries = "".join(f"<item><title>{title}</title><link>{link}</link></item>" for title, link in items)
    return f'<?xml version="1.0"?><rss version="2.0"><channel><title>f</title>{entries}</channel></rss>'.encode()


def test_search_asks_for_metadata_only_where_the_title_is_wanted(site, clip_file: Path) -> None:
    media = site.add("/m.mp4", clip_file.read_bytes(), "video/mp4")
    wanted = site.add("/wanted", page("Wanted", media, description="long"))
    other = site.add("/other", page("Other", media, description="long"))
    listed = site.add("/feed", feed(("Wanted", wanted), ("Other", other)), "application/rss+xml")
    found = list(
        search_url(
            listed, SearchRequest(query="q", config=CONFIG, extra=HERE, wanted=lambda one: one.title == "Wanted")
        )
    )
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
    fetched = fetch_url(url, tmp_path, CONFIG, HERE)
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
        fetch_url(url, tmp_path, CONFIG, HERE)
    assert (caught.value.error_class, caught.value.http_status) == (name, status)
    assert getattr(caught.value, "retry_after_s", None) == retry_after
    assert str(tmp_path) not in str(caught.value)


def test_yt_dlp_says_nothing_on_the_terminal(tmp_path: Path, site, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(PermanentError):
        fetch_url(site.add("/gone", status=410), tmp_path, CONFIG, HERE)
    assert capfd.readouterr() == ("", "")


@pytest.mark.filterwarnings("error")
def test_a_cookie_that_lasts_longer_than_any_number_is_left_out(site, clip_file: Path) -> None:
    media = site.add("/m.mp4", clip_file.read_bytes(), "video/mp4")
    both = f"a=b; Max-Age={'9' * 400}\r\nSet-Cookie: good=1; Max-Age=60"
    url = site.add("/watch", page("A", media), headers={"Set-Cookie": both})
    (found,) = search_url(url, SearchRequest(query="q", config=CONFIG, extra=HERE))
    assert (found.title, found.error_class) == ("A", None)
    assert [cookie.name for cookie in search_client(CONFIG, HERE).cookiejar] == ["good"]


@pytest.mark.parametrize("where", ["http://[::1", "http://.", f"http://{'a' * 70}.com/", "http://[1::2::3]/"])
def test_a_redirect_to_what_is_no_address_says_so(tmp_path: Path, site, where: str) -> None:
    url = site.add("/moved", status=302, headers={"Location": where})
    with pytest.raises(PermanentError) as caught:
        fetch_url(url, tmp_path, CONFIG, HERE)
    assert "unexpected error" not in str(caught.value)
    assert re.search("IPv6|host|label", str(caught.value)), str(caught.value)
