"""The site, asked over HTTP and by the real yt-dlp: feeds, pages, formats, Range, and misbehaviour on request."""

from __future__ import annotations

import dataclasses
import gc
import http.client
import io
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from pipeline.arcade.catalog import Recording, catalog, media_path, write_catalog
from pipeline.arcade.record import record_one
from pipeline.arcade.site import ArcadeSite, Fault
from pipeline.config.source import ArcadeConfig, DownloadConfig
from pipeline.errors import PermanentError, RetryableError
from pipeline.sources.arcade import ArcadeSource
from pipeline.sources.ytdlp_fetch import fetch_url
from pipeline.sources.ytdlp_read import read_picture
from pipeline.sources.ytdlp_search import SearchRequest, search_url
from pipeline.storage.home import Home

CONFIG = ArcadeConfig(videos=8, seconds=2)
QUICK = DownloadConfig(min_free_gb=0)
HERE = {"allow_private": True}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home whose arcade is recorded."""
    home = Home(tmp_path_factory.mktemp("home"))
    (home.arcade / "media").mkdir(parents=True)
    for recording in catalog(CONFIG):
        record_one(home.arcade, recording)
    write_catalog(home.arcade, catalog(CONFIG))
    return home


@pytest.fixture
def source(home: Home) -> Iterator[ArcadeSource]:
    """The entered source, nothing left to record."""
    with ArcadeSource(CONFIG, home, workers=1) as source:
        yield source


@pytest.fixture
def site(source: ArcadeSource) -> ArcadeSite:
    """Its running site."""
    assert source.site is not None
    return source.site


@pytest.fixture
def good(home: Home) -> Recording:
    """The first recording: H.264, 320x180, with a ladder."""
    return catalog(CONFIG)[0]


def ask(site: ArcadeSite, path: str, method: str = "GET", **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection(urlsplit(site.url).netloc, timeout=10)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def test_ytdlp_finds_in_each_round_what_the_feed_holds_by_then(source: ArcadeSource) -> None:
    found = {number: [candidate.native_id for candidate in source.search(number)] for number in (1, 2, 9, None)}
    assert found[1] == [r.native_id for r in catalog(CONFIG) if r.round == 1]
    assert found[2] == found[9] == found[None] == [r.native_id for r in catalog(CONFIG)]
    assert len(found[1]) < len(found[2])


def test_candidates_carry_what_the_rules_and_the_tables_need_and_no_port(source: ArcadeSource) -> None:
    for candidate, recording in zip(source.search(), catalog(CONFIG), strict=True):
        assert candidate.video_id == f"arcade-{recording.native_id}"
        assert candidate.url == f"http://arcade.invalid/watch/{recording.native_id}"
        assert candidate.query == "http://arcade.invalid/feed/2.xml"
        assert candidate.title == recording.title
        assert candidate.tags == recording.tags
        assert candidate.channel_id == recording.channel_id
        assert candidate.licence == (recording.licence or None)
        assert candidate.thumbnail == f"http://arcade.invalid/thumbnail/{recording.native_id}.jpg"
        assert candidate.duration_s == recording.seconds
        assert candidate.error_class is None


def test_ytdlp_takes_the_smallest_format_that_suffices(
    source: ArcadeSource, site: ArcadeSite, good: Recording, tmp_path: Path
) -> None:
    fetched = source.fetch({"native_id": good.native_id}, tmp_path, QUICK)
    assert fetched.path.read_bytes() == media_path(site.folder, good).read_bytes()
    assert fetched.format.startswith("180p")
    assert fetched.duration_claimed_s == good.seconds
    assert [r.path for r in site.requests if r.path.startswith("/media/")] == [f"/media/{good.native_id}_180p.mp4"]


@pytest.mark.parametrize(("min_height", "height"), [(60, 72), (181, 360)])
def test_other_formats_are_made_when_they_are_first_asked_for(
    source: ArcadeSource, good: Recording, min_height: int, height: int, tmp_path: Path
) -> None:
    fetched = source.fetch({"native_id": good.native_id}, tmp_path, dataclasses.replace(QUICK, min_height=min_height))
    assert fetched.format.startswith(f"{height}p")


def test_a_worker_process_can_fetch_with_the_pickled_source(
    source: ArcadeSource, good: Recording, tmp_path: Path
) -> None:
    copy = pickle.loads(pickle.dumps(source))
    assert copy.fetch({"native_id": good.native_id}, tmp_path, QUICK).path.stat().st_size > 1000


def test_a_thumbnail_is_a_frame_of_the_recording(source: ArcadeSource, site: ArcadeSite, good: Recording) -> None:
    url = source.thumbnail({"native_id": good.native_id})
    image = Image.open(io.BytesIO(read_picture(url, config=QUICK, extra=HERE)))
    assert image.height == 180
    assert abs(image.width / image.height - good.width / good.height) < 0.02
    assert np.asarray(image).std() > 10


def test_an_id_from_elsewhere_is_never_asked_for(source: ArcadeSource, site: ArcadeSite, tmp_path: Path) -> None:
    for native_id in ("../../etc", "x" * 12, "", "a/b/c/d/e/f"):
        with pytest.raises(PermanentError):
            source.fetch({"native_id": native_id}, tmp_path, QUICK)
    assert site.requests == []


def test_a_plain_page_is_read_by_ytdlps_generic_extractor_too(
    site: ArcadeSite, good: Recording, tmp_path: Path
) -> None:
    url = f"{site.url}/watch/{good.native_id}"
    (candidate,) = search_url(url, SearchRequest(query="q", config=QUICK, extra=HERE))
    assert good.title in candidate.title
    fetched = fetch_url(url, tmp_path, QUICK, HERE)
    assert fetched.format.startswith("180p")


def test_media_answers_ranges_as_servers_do(site: ArcadeSite, good: Recording) -> None:
    path, data = f"/media/{good.native_id}_180p.mp4", media_path(site.folder, good).read_bytes()
    status, headers, body = ask(site, path)
    assert (status, body) == (200, data)
    assert headers["Content-Type"] == "video/mp4"
    assert headers["Accept-Ranges"] == "bytes"
    etag = headers["ETag"]
    for header, part in {
        "bytes=10-19": data[10:20],
        "bytes=-7": data[-7:],
        f"bytes={len(data) - 5}-": data[-5:],
    }.items():
        status, headers, body = ask(site, path, Range=header)
        assert (status, body) == (206, part)
        assert headers["Content-Range"].endswith(f"/{len(data)}")
    assert ask(site, path, Range=f"bytes={len(data)}-")[0] == 416
    assert ask(site, path, Range="bytes=0-1", **{"If-Range": '"another"'})[0] == 200
    assert ask(site, path, **{"If-None-Match": etag})[0] == 304
    status, headers, body = ask(site, path, "HEAD")
    assert (status, int(headers["Content-Length"]), body) == (200, len(data), b"")


@pytest.mark.parametrize(
    "path", ["/", "/watch/nothing", "/media/..%2f..%2fcatalog.json", "/api/videos/", "/feed/x.xml"]
)
def test_unknown_paths_are_not_found(site: ArcadeSite, path: str) -> None:
    assert ask(site, path)[0] == 404


def test_a_title_cannot_leave_its_place_in_the_page(home: Home, tmp_path: Path) -> None:
    wild = dataclasses.replace(catalog(CONFIG)[0], title="</script><script>alert(1)</script> & <b>")
    write_catalog(tmp_path, [wild])
    with ArcadeSite(tmp_path) as site:
        _, _, page = ask(site, f"/watch/{wild.native_id}")
        _, _, feed = ask(site, "/feed/1.xml")
        assert b"alert(1)</script>" not in page
        assert b"<script>alert" not in feed
        assert json.loads(ask(site, f"/api/videos/{wild.native_id}")[2])["title"] == wild.title


FAILURES = {
    "gone": (Fault("status", status=404), PermanentError, "permanent"),
    "removed page": (Fault("status", at="page", status=410), PermanentError, "permanent"),
    "too many": (Fault("status", status=429, retry_after="7"), RetryableError, "rate_limited"),
    "unavailable": (Fault("status", at="page", status=503), RetryableError, "transient"),
    "stalled": (Fault("stall"), RetryableError, "transient"),
    "empty": (Fault("empty"), RetryableError, "transient"),
    "cut without ranges": (Fault("wrong_length"), RetryableError, "transient"),
}


# yt-dlp leaves the socket of a request that timed out to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", FAILURES)
def test_misbehaviour_ends_as_an_error_of_its_class(
    source: ArcadeSource, site: ArcadeSite, good: Recording, name: str, tmp_path: Path
) -> None:
    fault, kind, error_class = FAILURES[name]
    site.faults[good.native_id] = fault
    config = dataclasses.replace(QUICK, socket_timeout_s=0.5) if fault.kind == "stall" else QUICK
    with pytest.raises(kind) as caught:
        source.fetch({"native_id": good.native_id}, tmp_path, config)
    assert isinstance(caught.value, PermanentError | RetryableError)
    assert caught.value.error_class == error_class
    if fault.retry_after:
        assert isinstance(caught.value, RetryableError)
        assert caught.value.retry_after_s == float(fault.retry_after)
    del caught
    gc.collect()


def test_a_body_that_is_cut_is_taken_up_where_it_ended(
    source: ArcadeSource, site: ArcadeSite, good: Recording, tmp_path: Path
) -> None:
    site.faults[good.native_id] = Fault("cut", after_bytes=5000, times=2)
    fetched = source.fetch({"native_id": good.native_id}, tmp_path, QUICK)
    assert fetched.path.read_bytes() == media_path(site.folder, good).read_bytes()
    first, *resumed = [r.range for r in site.requests if r.path.startswith("/media/")]
    starts = [int(str(value).removeprefix("bytes=").removesuffix("-")) for value in resumed]
    assert first is None
    assert len(starts) == 2
    assert 0 < starts[0] < starts[1] <= 10000


@pytest.mark.parametrize("fault", [Fault("html"), Fault("cut", length=False, after_bytes=5000)], ids=["html", "cut"])
def test_some_wrong_bodies_look_like_success_to_ytdlp(
    source: ArcadeSource, site: ArcadeSite, good: Recording, fault: Fault, tmp_path: Path
) -> None:
    site.faults[good.native_id] = fault
    fetched = source.fetch({"native_id": good.native_id}, tmp_path, QUICK)
    assert fetched.path.read_bytes() != media_path(site.folder, good).read_bytes()


def test_a_redirect_loop_ends(source: ArcadeSource, site: ArcadeSite, good: Recording, tmp_path: Path) -> None:
    site.faults[good.native_id] = Fault("redirect_loop")
    with pytest.raises((PermanentError, RetryableError)):
        source.fetch({"native_id": good.native_id}, tmp_path, QUICK)


def test_a_page_that_fails_in_a_search_stops_no_other_and_keeps_its_id(
    source: ArcadeSource, site: ArcadeSite, good: Recording
) -> None:
    site.faults[good.native_id] = Fault("status", at="page", status=500)
    found = list(source.search())
    assert len(found) == CONFIG.videos
    assert found[0].error_class == "transient"
    assert found[0].video_id == f"arcade-{good.native_id}"
    assert found[0].url == f"http://arcade.invalid/watch/{good.native_id}"
    assert all(candidate.error_class is None for candidate in found[1:])
