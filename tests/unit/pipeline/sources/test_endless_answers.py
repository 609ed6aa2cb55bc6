"""What servers may send that never ends, unpacks to gigabytes or drips: each answer is bounded in bytes and time.

The limits are the real ones, made small, so that a test sees with few bytes where a client stops to read.
"""

from __future__ import annotations

import dataclasses
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Config, DownloadConfig, RulesConfig, SourceConfig
from pipeline.download.batch import download_batch
from pipeline.download.ledger import download_states
from pipeline.errors import PermanentError
from pipeline.job import BatchJob, Job
from pipeline.search.batches import batches
from pipeline.search.search import search_videos
from pipeline.search.spot_check import KEY, write_spot_check
from pipeline.sources import ytdlp
from pipeline.sources.base import Candidate
from pipeline.sources.urls import UrlsSource
from pipeline.sources.ytdlp_fetch import fetch_url
from pipeline.sources.ytdlp_read import read_picture
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests import hostile
from tests.faultsite import watch_page
from tests.hostile import HostileSite

MEGABYTE = 1 << 20
HERE = {"allow_private": True}
PATIENT = DownloadConfig(socket_timeout_s=20, min_free_gb=0, max_wait_s=1, host_interval_s=0, workers=1)
# four of these are the longest that an answer may take
BRIEF = DownloadConfig(socket_timeout_s=0.5, min_free_gb=0, max_wait_s=1, host_interval_s=0, workers=1)
M3U8 = "application/vnd.apple.mpegurl"


@pytest.fixture
def site() -> Iterator[HostileSite]:
    running = HostileSite()
    yield running
    running.close()


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A megabyte for a page and two for a fragment."""
    monkeypatch.setattr(ytdlp, "_MAX_PAGE_BYTES", MEGABYTE)
    monkeypatch.setattr(ytdlp, "_MAX_FRAGMENT_BYTES", 2 * MEGABYTE)


def listed(folder: Path, *lines: str, download: DownloadConfig = PATIENT) -> list[Candidate]:
    path = folder / f"list-{threading.get_ident()}.txt"
    path.write_text("\n".join(lines), "utf-8")
    source = SourceConfig(spec=f"urls:{path}", allow_private=True)
    return list(UrlsSource(source, RulesConfig(), download).search())


# -- bytes --------------------------------------------------------------------------------------------------------

KINDS = ["text/html", "application/octet-stream", "application/json", "application/rss+xml", "x/y", "", M3U8]


@pytest.mark.parametrize(
    ("kind", "encoding"),
    [
        *((kind, "") for kind in KINDS),
        *(("application/octet-stream", name) for name in ("gzip", "deflate", "gzip, gzip", "br", "zstd")),
    ],
)
def test_a_page_without_end_is_read_up_to_a_limit_and_costs_no_other_row(
    tmp_path: Path, site: HostileSite, small_limits: None, clip_file: Path, kind: str, encoding: str
) -> None:
    firsts = {"application/json": b'{"a": "', "application/rss+xml": b"<rss><channel>", M3U8: b"#EXTM3U\n"}
    first = firsts.get(kind, b"<html><title>x</title>")
    unknown = encoding in {"br", "zstd"}
    url = site.add("/endless", hostile.endless(kind, first, "" if unknown else encoding))
    if unknown:
        # encodings that no client asked for: their bytes are counted as they are
        url = site.add("/endless", hostile.claiming(encoding, hostile.endless(kind, first)))
    film = site.add("/film.mp4", clip_file.read_bytes(), "video/mp4")
    bad, good = listed(tmp_path, url, film)
    assert bad.error_class is not None
    assert (good.url, good.error_class) == (film, None)
    requests = site.asked.count("/endless")
    # what the kernel holds for a client that has stopped to read comes on top
    assert site.sent["/endless"] <= requests * 12 * MEGABYTE


@pytest.mark.parametrize("layers", [1, 2])
def test_a_bomb_is_unpacked_up_to_a_limit(
    tmp_path: Path, site: HostileSite, small_limits: None, layers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = hostile.bomb(64, layers=layers)
    encoding = ", ".join(["gzip"] * layers)
    url = site.add("/bomb", body, "application/octet-stream", Content_Encoding=encoding)
    read: list[int] = []
    real = ytdlp.BoundedBody.read

    def counting(self: Any, size: int | None = None, **how: Any) -> bytes:
        part = real(self, size, **how)
        read.append(len(part))
        return part

    monkeypatch.setattr(ytdlp.BoundedBody, "read", counting)
    (found,) = listed(tmp_path, url)
    assert (found.error_class, found.message) == ("permanent", "a page larger than 1 MB")
    assert len(body) < MEGABYTE
    assert sum(read) <= 4 * MEGABYTE


def test_no_body_of_a_redirect_or_of_an_error_is_read_without_end(
    tmp_path: Path, site: HostileSite, small_limits: None, clip_file: Path
) -> None:
    film = site.add("/film.mp4", clip_file.read_bytes(), "video/mp4")
    moved = site.add("/moved", hostile.redirect(film, hostile.endless_rest))
    packed = site.add("/packed", hostile.redirect(film, hostile.endless_rest, Content_Encoding="gzip"))
    broken = site.add("/broken", hostile.failing("500 Oops", hostile.endless_rest))
    gone = site.add("/gone", hostile.failing("404 Gone", hostile.endless_rest))
    found = {one.url: one for one in listed(tmp_path, moved, packed, broken, gone)}
    assert (found[moved].error_class, found[packed].error_class) == (None, None)
    assert (found[broken].error_class, found[gone].error_class) == ("transient", "permanent")
    for path in ("/moved", "/packed", "/broken", "/gone"):
        assert site.sent[path] <= site.asked.count(path) * 12 * MEGABYTE


@pytest.mark.parametrize("place", ["master", "variant", "key", "segment", "map", "manifest.mpd"])
def test_no_part_of_a_stream_is_read_without_end(
    tmp_path: Path, site: HostileSite, small_limits: None, clip_file: Path, place: str
) -> None:
    endless = site.add("/endless", hostile.endless("application/octet-stream", b"#EXTM3U\n"))
    site.add("/seg.ts", clip_file.read_bytes(), "video/mp2t")
    key = f'#EXT-X-KEY:METHOD=AES-128,URI="{endless}"\n' if place == "key" else ""
    start = f'#EXT-X-MAP:URI="{endless}"\n' if place == "map" else ""
    segment = endless if place == "segment" else "/seg.ts"
    site.add("/variant.m3u8", f"#EXTM3U\n{key}{start}#EXTINF:4,\n{segment}\n#EXT-X-ENDLIST\n".encode(), M3U8)
    variant = endless if place == "variant" else "/variant.m3u8"
    site.add("/master.m3u8", f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=9\n{variant}\n".encode(), M3U8)
    site.add("/endless.m3u8", hostile.endless(M3U8, b"#EXTM3U\n"))
    site.add("/manifest.mpd", hostile.endless("application/dash+xml", b'<?xml version="1.0"?><MPD>'))
    media = {"master": "/endless.m3u8", "manifest.mpd": "/manifest.mpd"}.get(place, "/master.m3u8")
    error_class, message = hostile.refusal(site.url + media, tmp_path / "attempt", PATIENT, HERE)
    assert error_class == "permanent"
    assert "larger than" in message
    assert max(site.sent.values()) <= 3 * 12 * MEGABYTE


def test_a_film_larger_than_a_page_is_fetched(
    tmp_path: Path, site: HostileSite, small_limits: None, clip_file: Path
) -> None:
    body = clip_file.read_bytes() + b"\0" * (3 * MEGABYTE)
    folder = tmp_path / "attempt"
    folder.mkdir()
    fetched = fetch_url(site.add("/film.mp4", body, "video/mp4"), folder, PATIENT, HERE, extractor="generic")
    assert fetched.path.stat().st_size == len(body)


@pytest.mark.parametrize("stream", [False, True])
def test_media_without_end_end_where_the_disk_would_be_full(
    tmp_path: Path, store: Store, site: HostileSite, inline: None, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    least, total = 10**9, 10**12

    def usage(folder: Any) -> Any:
        taken = sum(path.stat().st_size for path in home_of(store).tmp.rglob("*") if path.is_file())
        # room for 40 MB
        return shutil._ntuple_diskusage(total, 0, least + 40 * MEGABYTE - taken)  # type: ignore[attr-defined]

    monkeypatch.setattr(shutil, "disk_usage", usage)
    if stream:
        site.add("/seg.ts", b"\0" * (4 * MEGABYTE), "video/mp2t")
        segments = "".join(f"#EXTINF:4,\n/seg.ts?{number}\n" for number in range(100))
        url = site.add("/endless.m3u8", f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n{segments}#EXT-X-ENDLIST\n".encode(), M3U8)
    else:
        url = site.add("/endless.mp4", hostile.endless("video/mp4", b"\0"))
    (tmp_path / "list.txt").write_text(url)
    settings = Config(
        source=SourceConfig(spec=f"urls:{tmp_path / 'list.txt'}", allow_private=True),
        download=dataclasses.replace(PATIENT, min_free_gb=1.0),
    )
    search_videos(Job(store, settings, home_of(store)))
    (batch,) = batches(store)
    report = download_batch(BatchJob(store, settings, home_of(store), batch=batch))
    (state,) = download_states(store).values()
    assert (state.state, state.error_class) == ("pending", "environment")
    assert "less than download.min_free_gb = 1" in (state.message or "")
    assert "free space" in report.paused
    assert sum(site.sent.values()) < 120 * MEGABYTE


def test_a_picture_without_end_or_that_unpacks_without_end_is_none(site: HostileSite, small_limits: None) -> None:
    for path, encoding in (("/plain", ""), ("/packed", "gzip")):
        url = site.add(path, hostile.endless("image/jpeg", b"\xff\xd8\xff", encoding))
        with pytest.raises(PermanentError, match="larger than"):
            read_picture(url, config=PATIENT, extra=HERE)
        assert site.sent[path] <= 12 * MEGABYTE


# -- time ---------------------------------------------------------------------------------------------------------

SLOW = {
    "a body that drips": hostile.dripping_body(),
    "a file that drips": hostile.dripping_body("application/octet-stream"),
    "a feed that drips": hostile.dripping_body("application/rss+xml", b"<rss>"),
    "headers that drip": hostile.dripping_headers(),
    "a status without end": hostile.continuing(),
    "a redirect to headers that drip": hostile.redirect("/slow"),
    "silence": hostile.silent,
}


def test_no_page_takes_longer_than_its_time_however_it_sends(tmp_path: Path, site: HostileSite) -> None:
    site.add("/slow", hostile.dripping_headers())
    found: dict[str, Candidate] = {}

    def search(name: str, number: int) -> None:
        (found[name],) = listed(tmp_path, site.add(f"/{number}", SLOW[name]), download=BRIEF)

    threads = [threading.Thread(target=search, args=(name, number)) for number, name in enumerate(SLOW)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {name: one.error_class for name, one in found.items()} == dict.fromkeys(SLOW, "transient")


def test_a_name_that_is_not_resolved_takes_no_longer_than_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, over = socket.getaddrinfo, threading.Event()

    def stuck(host: Any, *more: Any, **named: Any) -> Any:
        if host == "stuck.test":
            over.wait(30)
        return real(host, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", stuck)
    try:
        (found,) = listed(tmp_path, "http://stuck.test/", download=BRIEF)
    finally:
        over.set()
    assert found.error_class == "transient"
    assert "took longer than 2 s" in found.message


@pytest.mark.parametrize("place", ["variant", "key"])
def test_no_part_of_a_stream_but_the_media_takes_longer_than_its_time(
    tmp_path: Path, site: HostileSite, clip_file: Path, place: str
) -> None:
    slow = site.add("/slow", hostile.dripping_body("application/octet-stream", b"#EXTM3U\n"))
    site.add("/seg.ts", clip_file.read_bytes(), "video/mp2t")
    key = f'#EXT-X-KEY:METHOD=AES-128,URI="{slow}"\n' if place == "key" else ""
    site.add("/variant.m3u8", f"#EXTM3U\n{key}#EXTINF:4,\n/seg.ts\n#EXT-X-ENDLIST\n".encode(), M3U8)
    variant = slow if place == "variant" else "/variant.m3u8"
    url = site.add("/master.m3u8", f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=9\n{variant}\n".encode(), M3U8)
    error_class, message = hostile.refusal(url, tmp_path / "attempt", BRIEF, HERE)
    assert error_class == "transient"
    assert "took longer than 2 s" in message


def test_the_spot_check_ends_although_its_pictures_drip(
    tmp_path: Path, store: Store, site: HostileSite, clip_file: Path, inline: None
) -> None:
    film = site.add("/film.mp4", clip_file.read_bytes(), "video/mp4")
    slow = site.add("/slow.jpg", hostile.dripping_body("image/jpeg", b"\xff\xd8\xff"))
    pages = [
        site.add(f"/{number}", watch_page(f"platformer speedrun {number}", film, thumbnailUrl=slow))
        for number in (1, 2)
    ]
    (tmp_path / "list.txt").write_text("\n".join(pages))
    source = SourceConfig(spec=f"urls:{tmp_path / 'list.txt'}", allow_private=True)
    search_videos(Job(store, Config(source=source, download=PATIENT), home_of(store)))
    job = Job(store, Config(source=source, download=BRIEF), home_of(store))
    write_spot_check(job)
    page = store.read_blob(KEY).decode()
    assert "took longer than" in page
    # the second is not asked for after the first
    assert site.asked.count("/slow.jpg") == 1
