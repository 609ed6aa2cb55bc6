"""Numbers of hostile pages and playlists through the real search and download: each costs its own item at most."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Config, DownloadConfig, SourceConfig
from pipeline.download.batch import download_batch
from pipeline.job import BatchJob, Job
from pipeline.search.batches import batches
from pipeline.search.search import search_videos
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests import searches
from tests.faultsite import hls

ENDLESS = "9" * 5000


def collected(store: Store, listed: Path, *urls: str) -> dict[str, dict[str, Any]]:
    """Search and download a list; return the last attempt of each video by the end of its address."""
    listed.write_text("\n".join(urls))
    source = SourceConfig(spec=f"urls:{listed}", allow_private=True)
    download = DownloadConfig(min_free_gb=0.0, workers=1, socket_timeout_s=5, max_wait_s=0.0)
    config = Config(source=source, download=download)
    search_videos(Job(store, config, home_of(store)), now=searches.NOW)
    download_batch(BatchJob(store, config, home_of(store), batch=batches(store)[0]))
    names = {row["video_id"]: row["url"].rpartition("/")[2] for row in store.read("videos").to_pylist()}
    return {names[row["video_id"]]: row for row in store.read("downloads").to_pylist()}


@pytest.mark.usefixtures("inline")
@pytest.mark.parametrize(
    "bandwidth", ["100000000000000000000000", "1e400", ENDLESS, "-5", "NaN"], ids=lambda text: text[:9]
)
def test_a_playlist_with_an_impossible_bandwidth_stops_no_video_beside_it(
    store: Store, tmp_path: Path, site: Any, clip_file: Path, bandwidth: str
) -> None:
    for name, body in hls(clip_file, tmp_path).items():
        changed = body.replace(b"BANDWIDTH=200000", f"BANDWIDTH={bandwidth},AVERAGE-BANDWIDTH={bandwidth}".encode())
        site.add(f"/{name}", changed, "application/vnd.apple.mpegurl" if name.endswith("m3u8") else "video/mp2t")
    player = "<html><title>hls</title><video><source src='/master.m3u8' type='application/x-mpegURL'></video></html>"
    page = site.add("/hls", player.encode())
    good = site.add("/good.mp4", clip_file.read_bytes(), "video/mp4")
    rows = collected(store, tmp_path / "list.txt", site.url + "/master.m3u8", page, good)
    assert rows["good.mp4"]["state"] == "ok"
    assert len(rows) == 3
    # what is infinite for yt-dlp itself is its error, and the reason is recorded
    bug = "extractor_bug" if bandwidth in {"1e400", ENDLESS, "NaN"} else None
    assert [rows[name]["error_class"] for name in ("master.m3u8", "hls", "good.mp4")] == [bug, bug, None]
    assert all(row["bytes_360p"] is None or row["bytes_360p"] < 1 << 50 for row in rows.values())


@pytest.mark.usefixtures("inline")
@pytest.mark.parametrize(
    "value", ["1e300", "1e19", "NaN", ENDLESS, "true", "[[[1]]]", '"PT1e300S"', f'"PT{ENDLESS}S"', '"99999999"'],
    ids=lambda value: value[:10],
)  # fmt: skip
def test_a_page_with_impossible_facts_stops_no_video_beside_it(
    store: Store, tmp_path: Path, site: Any, clip_file: Path, value: str
) -> None:
    media = site.add("/m.mp4", clip_file.read_bytes(), "video/mp4")
    named = (
        "duration",
        "uploadDate",
        "width",
        "height",
        "contentSize",
        "bitrate",
        "interactionCount",
        "typicalAgeRange",
    )
    facts = ", ".join(f'"{name}": {value}' for name in named)
    known = f'"@context": "https://schema.org", "@type": "VideoObject", "name": "x", "contentUrl": {json.dumps(media)}'
    video = f"{{{known}, {facts}}}"
    player = f"<video src='{media}'></video>"
    page = site.add("/odd", f'<html><script type="application/ld+json">{video}</script>{player}</html>'.encode())
    good = site.add("/good.mp4", clip_file.read_bytes(), "video/mp4")
    rows = collected(store, tmp_path / "list.txt", page, good)
    assert rows["good.mp4"]["state"] == "ok"
    assert rows["odd"]["state"] == "ok", rows["odd"]["message"]
    assert rows["odd"]["duration_claimed_s"] is None


@pytest.mark.usefixtures("inline")
@pytest.mark.parametrize(
    "value", ["1e300", ENDLESS, "-1", "NaN", "1:2:3:4:5", "99999999999:00:00"], ids=lambda value: value[:9]
)
def test_a_feed_with_impossible_lengths_stops_no_video_beside_it(
    store: Store, tmp_path: Path, site: Any, clip_file: Path, value: str
) -> None:
    media = site.add("/m.mp4", clip_file.read_bytes(), "video/mp4")
    good = site.add("/good.mp4", clip_file.read_bytes(), "video/mp4")
    itunes = 'xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd" xmlns:media="http://search.yahoo.com/mrss/"'
    odd = (
        f"<itunes:duration>{value}</itunes:duration><pubDate>{value}</pubDate>"
        f"<enclosure url='{media}' length='{value}'/>"
        f"<media:content duration='{value}' fileSize='{value}' width='{value}' bitrate='{value}'/>"
    )
    items = f"<item>{odd}</item><item><title>good</title><link>{good}</link></item>"
    listed = site.add("/feed", f"<rss {itunes}><channel>{items}</channel></rss>".encode(), "text/xml")
    rows = collected(store, tmp_path / "list.txt", listed)
    assert {name: row["state"] for name, row in rows.items()} == {"m.mp4": "ok", "good.mp4": "ok"}
    assert {row["duration_s"] for row in store.read("videos").to_pylist()} == {None}


@pytest.mark.usefixtures("inline")
@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Length": ENDLESS}, {"Content-Length": "-5"}, {"Content-Length": "1e5"}, {"Content-Length": "\xb2"},
        {"Last-Modified": "Mon, 01 Jan 2026 00:00:00 +99999999999", "Age": ENDLESS, "Expires": ENDLESS},
        {"Content-Range": f"bytes {ENDLESS}-{ENDLESS}/{ENDLESS}", "Keep-Alive": f"timeout={ENDLESS}"},
        {"Set-Cookie": f"a=b; Max-Age={ENDLESS}; Expires=Mon, 01 Jan 99999 00:00:00 GMT", "Retry-After": ENDLESS},
    ],
    ids=lambda headers: "-".join(f"{name}:{value[:6]}" for name, value in headers.items()),
)  # fmt: skip
def test_headers_with_impossible_numbers_stop_no_video_beside_them(
    store: Store, tmp_path: Path, site: Any, clip_file: Path, headers: dict[str, str]
) -> None:
    odd = site.add("/odd.mp4", clip_file.read_bytes(), "video/mp4", headers=headers, announce_length=False)
    page = site.add("/page", b"<html><title>x</title></html>", headers=headers, announce_length=False)
    good = site.add("/good.mp4", clip_file.read_bytes(), "video/mp4")
    rows = collected(store, tmp_path / "list.txt", odd, page, good)
    assert rows["good.mp4"]["state"] == "ok"
    assert len(rows) == 3
    # a length that is none is an error of yt-dlp, with its reason, and not of this program
    assert all(row["error_class"] != "internal" for row in rows.values())
