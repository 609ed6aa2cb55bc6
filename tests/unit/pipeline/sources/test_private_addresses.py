"""What a stranger's list, page, feed or playlist may make this machine connect to: the public internet alone.

The public internet is a site on 127.0.0.2 here, and the inner network one on 127.0.0.1: only which of the two counts
as public is set by a fixture. Names, redirects, sockets, yt-dlp, search and download are the real ones.
"""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipeline.config import Config, DownloadConfig, RulesConfig, SourceConfig
from pipeline.download.batch import download_batch
from pipeline.download.ledger import State, download_states
from pipeline.errors import PermanentError
from pipeline.job import BatchJob, Job
from pipeline.search.batches import batches
from pipeline.search.search import search_videos
from pipeline.search.spot_check import KEY, write_spot_check
from pipeline.sources import addresses, wire
from pipeline.sources.base import Candidate
from pipeline.sources.urls import UrlsSource
from pipeline.sources.youtube import YouTubeSource
from pipeline.sources.ytdlp_options import arcade_options
from pipeline.sources.ytdlp_read import read_picture
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests.faultsite import feed, watch_page
from tests.hostile import HostileSite, redirect, refusal

pytestmark = pytest.mark.usefixtures("inline")
DOWNLOAD = DownloadConfig(socket_timeout_s=5, min_free_gb=0, max_wait_s=1, host_interval_s=0, workers=1)
PUBLIC = "127.0.0.2"


@pytest.fixture
def outer(monkeypatch: pytest.MonkeyPatch) -> Iterator[HostileSite]:
    """A site that counts as public."""
    monkeypatch.setattr(wire, "why_not_public", lambda address: _kind(address))
    site = HostileSite(PUBLIC)
    yield site
    site.close()


def _kind(address: str) -> str | None:
    return None if address == PUBLIC else addresses.why_not_public(address)


def config(tmp_path: Path, *lines: str, **source: Any) -> Config:
    (tmp_path / "list.txt").write_text("\n".join(lines), "utf-8")
    settings = SourceConfig(**{"spec": f"urls:{tmp_path / 'list.txt'}", "batch_size": 50, **source})
    return Config(source=settings, download=DOWNLOAD)


def listed(tmp_path: Path, *lines: str, **source: Any) -> list[Candidate]:
    settings = config(tmp_path, *lines, **source)
    return list(UrlsSource(settings.source, RulesConfig(), DOWNLOAD).search())


def collected(store: Store, settings: Config) -> dict[str, State]:
    """Search and download, and return the states by URL."""
    search_videos(Job(store, settings, home_of(store)))
    for batch in batches(store):
        download_batch(BatchJob(store, settings, home_of(store), batch=batch))
    urls = {row["video_id"]: row["url"] for row in store.read("videos").to_pylist()}
    return {urls[name]: state for name, state in download_states(store).items()}


# -- what is asked directly ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.1", "2130706433", "0x7f.1", "0x7f000001", "0177.0.0.1", "017700000001", "0.0.0.0", "0",
        "localhost", "LocalHost", "localhost.", "a.localhost", "1.1.1.1@127.0.0.1", "[::1]", "[::]",
        "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "①②⑦.0.0.1", "127。0。0。1",
        "169.254.169.254", "10.0.0.1", "192.168.1.1", "100.64.0.1", "224.0.0.1", "255.255.255.255",
        "[fe80::1]", "[fd00::1]", "[ff02::1]",
    ],
)  # fmt: skip
def test_no_spelling_of_an_inner_address_is_connected_to(tmp_path: Path, inner: HostileSite, host: str) -> None:
    (found,) = listed(tmp_path, f"http://{host}:{inner.port}/secret")
    assert (found.error_class, found.title) == ("private_address", "")
    assert "source.allow_private: true" in found.message
    assert inner.asked == []


def test_the_setting_that_the_refusal_names_allows_the_address(
    tmp_path: Path, store: Store, inner: HostileSite, clip_file: Path
) -> None:
    url = inner.add("/film.mp4", clip_file.read_bytes(), "video/mp4")
    refused = collected(store, config(tmp_path, url))
    assert (refused[url].state, refused[url].error_class) == ("failed", "private_address")
    assert "set source.allow_private: true" in (refused[url].message or "")
    assert inner.asked == []
    allowed = collected(store, config(tmp_path, url, allow_private=True))
    assert allowed[url].state == "ok"


def test_a_page_that_was_refused_is_asked_for_once_its_address_is_allowed(
    tmp_path: Path, store: Store, outer: HostileSite, inner: HostileSite, clip_file: Path
) -> None:
    film = inner.add("/film.mp4", clip_file.read_bytes(), "video/mp4")
    page = inner.add("/watch", watch_page("a platformer speedrun", film))
    line = outer.add("/feed.xml", feed({"a platformer speedrun": page}), "application/rss+xml")
    rules = []
    for allowed in (False, True):
        settings = config(tmp_path, line, allow_private=allowed, apply_rules=True)
        search_videos(Job(store, settings, home_of(store)))
        rules += [row["rule"] for row in store.read("videos").to_pylist()]
    assert rules == ["no metadata: private_address", "kept:platformer+speedrun"]
    assert "/watch" in inner.asked


def test_one_refused_line_costs_the_others_nothing(
    tmp_path: Path, store: Store, outer: HostileSite, inner: HostileSite, clip_file: Path
) -> None:
    film = outer.add("/film.mp4", clip_file.read_bytes(), "video/mp4")
    states = collected(store, config(tmp_path, inner.url + "/secret", film, "file:///etc/passwd"))
    assert [states[url].error_class for url in (inner.url + "/secret", film, "file:///etc/passwd")] == [
        "private_address",
        None,
        "permanent",
    ]
    assert states[film].state == "ok"


def test_a_name_that_changes_its_address_between_two_look_ups_is_not_followed(
    tmp_path: Path, outer: HostileSite, inner: HostileSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, answers = socket.getaddrinfo, iter([PUBLIC, "127.0.0.1", "127.0.0.1", "127.0.0.1"])

    def rebinding(host: Any, port: Any, *more: Any, **named: Any) -> Any:
        return real(next(answers) if host == "rebinding.test" else host, port, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    outer.add("/page", redirect(f"http://rebinding.test:{inner.port}/secret"))
    (found,) = listed(tmp_path, f"http://rebinding.test:{outer.port}/page")
    assert found.error_class == "private_address"
    assert outer.asked == ["/page"]
    assert inner.asked == []


def test_of_a_name_with_both_kinds_of_address_the_public_one_is_asked(
    tmp_path: Path, outer: HostileSite, inner: HostileSite, clip_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo

    def both(host: Any, port: Any, *more: Any, **named: Any) -> Any:
        if host != "both.test":
            return real(host, port, *more, **named)
        return real("127.0.0.1", port, *more, **named) + real(PUBLIC, port, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", both)
    outer.add("/film.mp4", clip_file.read_bytes(), "video/mp4")
    (found,) = listed(tmp_path, f"http://both.test:{outer.port}/film.mp4")
    assert found.error_class is None
    assert inner.asked == []


# -- what a public page, feed or playlist names ---------------------------------------------------------------------

M3U8 = "application/vnd.apple.mpegurl"


def test_redirects_feeds_and_playlists_cannot_point_inside(
    tmp_path: Path, outer: HostileSite, inner: HostileSite
) -> None:
    secret = inner.url + "/secret"
    lines = [
        outer.add("/redirect", redirect(secret)),
        outer.add("/twice", redirect(outer.url + "/redirect")),
        outer.add("/feed.xml", feed({"a film": secret}), "application/rss+xml"),
        outer.add("/master.m3u8", f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=9\n{secret}\n".encode(), M3U8),
        outer.add("/refresh", f'<html><meta http-equiv="refresh" content="0; url={secret}"></html>'.encode()),
        outer.add(
            "/list.xspf",
            f'<playlist xmlns="http://xspf.org/ns/0/" version="1"><trackList><track><location>{secret}'
            "</location></track></trackList></playlist>".encode(),
            "application/xspf+xml",
        ),
    ]
    found = listed(tmp_path, *lines)
    by_line = {one.url: one for one in found}
    assert by_line[lines[0]].error_class == by_line[lines[1]].error_class == "private_address"
    # the items of a feed are rows of their own
    assert by_line[secret].error_class == "private_address"
    assert inner.asked == []


@pytest.mark.parametrize(
    "place", ["media", "redirected media", "variant", "segment", "redirected segment", "key", "map"]
)
def test_a_download_cannot_be_led_inside(
    tmp_path: Path, outer: HostileSite, inner: HostileSite, clip_file: Path, place: str
) -> None:
    secret = inner.url + "/secret"
    outer.add("/moved", redirect(secret))
    outer.add("/seg.ts", clip_file.read_bytes(), "video/mp2t")
    segment = {"segment": secret, "redirected segment": "/moved"}.get(place, "/seg.ts")
    head = {"key": f'#EXT-X-KEY:METHOD=AES-128,URI="{secret}"\n', "map": f'#EXT-X-MAP:URI="{secret}"\n'}.get(place, "")
    variant = f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n{head}#EXTINF:4,\n{segment}\n#EXT-X-ENDLIST\n".encode()
    outer.add("/variant.m3u8", variant, M3U8)
    target = secret if place == "variant" else "/variant.m3u8"
    outer.add("/master.m3u8", f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=9\n{target}\n".encode(), M3U8)
    media = {"media": secret, "redirected media": outer.url + "/moved"}.get(place, outer.url + "/master.m3u8")
    page = outer.add("/watch", watch_page("A film", media))
    error_class, message = refusal(page, tmp_path / "attempt", DOWNLOAD)
    assert error_class == "private_address"
    assert "set source.allow_private: true" in message
    assert inner.asked == []


def test_pictures_of_the_spot_check_come_from_public_addresses_alone(
    tmp_path: Path, store: Store, outer: HostileSite, inner: HostileSite, clip_file: Path
) -> None:
    data = io.BytesIO()
    Image.new("RGB", (320, 180), (200, 40, 90)).save(data, "JPEG")
    outer.add("/film.mp4", clip_file.read_bytes(), "video/mp4")
    pictures = {
        "public": outer.add("/p.jpg", data.getvalue(), "image/jpeg"),
        "inside": inner.add("/p.jpg", data.getvalue(), "image/jpeg"),
        "moved": outer.add("/moved.jpg", redirect(inner.url + "/p.jpg")),
    }
    lines = [
        outer.add(f"/{name}", watch_page(f"platformer speedrun {name}", outer.url + "/film.mp4", thumbnailUrl=picture))
        for name, picture in pictures.items()
    ]
    settings = config(tmp_path, *lines)
    search_videos(Job(store, settings, home_of(store)))
    write_spot_check(Job(store, settings, home_of(store)))
    page = store.read_blob(KEY).decode()
    assert page.count("data:image/jpeg") == 1
    assert page.count("source.allow_private") == 2
    assert inner.asked == []


def test_channels_and_playlists_of_youtube_cannot_be_inner_pages(tmp_path: Path, inner: HostileSite) -> None:
    nothing = {"query_subjects": (), "query_actions": (), "queries": ()}
    source = SourceConfig(spec="youtube", channels=(inner.url + "/secret",), **nothing)
    asked = YouTubeSource(source, RulesConfig(), DOWNLOAD)
    assert list(asked.search()) == []
    assert "source.allow_private" in next(iter(asked.failures.values()))
    assert inner.asked == []


# -- schemes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("allowed", [False, True])
@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "FILE:///etc/passwd", "ftp://127.0.0.1/x.mp4", "rtmp://127.0.0.1/live", "mms://127.0.0.1/x",
     "data:text/html,<video src=/x.mp4>", "ws://127.0.0.1/x", "rtsp://127.0.0.1/x", "gopher://127.0.0.1/x",
     "view-source:file:///etc/passwd"],
)  # fmt: skip
def test_no_scheme_but_http_and_https_is_fetched(tmp_path: Path, url: str, allowed: bool) -> None:
    (found,) = listed(tmp_path, url, allow_private=allowed)
    assert found.error_class == "permanent"
    assert "only http and https" in found.message or "Unsupported" in found.message
    assert "root:" not in repr(found)


@pytest.mark.parametrize("scheme", ["file", "ftp", "data", "rtmp", "ws"])
@pytest.mark.parametrize("place", ["redirect", "media", "variant", "segment", "key"])
def test_no_page_or_playlist_leads_to_another_scheme(
    tmp_path: Path, outer: HostileSite, scheme: str, place: str
) -> None:
    other = {"file": "file:///etc/hostname", "data": "data:text/plain,0123456789abcdef"}.get(
        scheme, f"{scheme}://{PUBLIC}/x"
    )
    key = f'#EXT-X-KEY:METHOD=AES-128,URI="{other}"\n' if place == "key" else ""
    segment = other if place == "segment" else "/seg.ts"
    outer.add("/seg.ts", b"0" * 64, "video/mp2t")
    outer.add("/variant.m3u8", f"#EXTM3U\n{key}#EXTINF:4,\n{segment}\n#EXT-X-ENDLIST\n".encode(), M3U8)
    target = other if place == "variant" else "/variant.m3u8"
    outer.add("/master.m3u8", f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=9\n{target}\n".encode(), M3U8)
    page = outer.add("/watch", watch_page("A film", other if place == "media" else outer.url + "/master.m3u8"))
    line = outer.add("/moved", redirect(other)) if place == "redirect" else page
    error_class, _ = refusal(line, tmp_path / "attempt", DOWNLOAD)
    assert error_class == "permanent"
    assert not list((tmp_path / "attempt").glob("*.mp4"))


# -- the one that is allowed by name -----------------------------------------------------------------------------


def test_the_embedded_site_is_allowed_at_its_own_port_alone(tmp_path: Path, inner: HostileSite) -> None:
    other = HostileSite()
    try:
        inner.add("/p.jpg", b"picture", "image/jpeg")
        other.add("/p.jpg", b"picture", "image/jpeg")
        extra = arcade_options(inner.url)
        assert read_picture(inner.url + "/p.jpg", config=DOWNLOAD, extra=extra) == b"picture"
        with pytest.raises(PermanentError, match="not on the public internet"):
            read_picture(other.url + "/p.jpg", config=DOWNLOAD, extra=extra)
        inner.add("/moved", redirect(other.url + "/p.jpg"))
        with pytest.raises(PermanentError, match="not on the public internet"):
            read_picture(inner.url + "/moved", config=DOWNLOAD, extra=extra)
        assert other.asked == []
    finally:
        other.close()


def test_the_embedded_site_is_asked_directly_whatever_the_environment_s_proxy(
    inner: HostileSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    inner.add("/p.jpg", b"picture", "image/jpeg")
    assert read_picture(inner.url + "/p.jpg", config=DOWNLOAD, extra=arcade_options(inner.url)) == b"picture"


def test_a_list_on_an_inner_address_is_refused_with_the_setting(
    tmp_path: Path, store: Store, inner: HostileSite
) -> None:
    inner.add("/list.json", json.dumps({"version": "https://jsonfeed.org/version/1.1", "items": []}).encode())
    source = UrlsSource(SourceConfig(spec=f"urls:{inner.url}/list.json"), RulesConfig(), DOWNLOAD)
    (found,) = source.search()
    assert found.error_class == "private_address"
    assert "source.allow_private" in next(iter(source.failures.values()))
    assert inner.asked == []
