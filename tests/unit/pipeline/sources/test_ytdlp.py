"""yt-dlp as a library: the format that it takes of a ladder, what the usual one would take, how it reaches a site."""

from __future__ import annotations

import http.client
import re
import threading
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import DownloadConfig, RulesConfig, SourceConfig
from pipeline.errors import PermanentError, RejectedError, RetryableError, UserError
from pipeline.sources.ytdlp import client_for, opted_out
from pipeline.sources.ytdlp_fetch import default_format_bytes, fetch_url, rights_of
from pipeline.sources.ytdlp_options import connection, format_selector, format_sort

CONFIG = DownloadConfig(socket_timeout_s=5, min_free_gb=0)
HERE = {"allow_private": True}


def rung(name: str, height: int | None, **facts: Any) -> dict[str, Any]:
    width = None if height is None else height * 16 // 9
    base = {"format_id": name, "url": f"https://media.invalid/{name}", "ext": "mp4", "height": height, "width": width}
    return base | {"vcodec": "avc1.4d400c", "acodec": "none"} | facts


SOUND = rung("sound", None, vcodec="none", acodec="mp4a.40.2", filesize=300, ext="m4a")
MUXED_360 = rung("muxed", 360, acodec="mp4a.40.2", filesize=5000)
LADDER = [
    SOUND, rung("tiny", 48, filesize=10), rung("144-vp9", 144, vcodec="vp9", filesize=900, ext="webm"),
    rung("144", 144, filesize=1000), rung("240", 240, filesize=2000), rung("360", 360, filesize=4000), MUXED_360,
    rung("720", 720, filesize=16000), rung("1080", 1080, filesize=40000),
]  # fmt: skip


def chosen(formats: list[dict[str, Any]]) -> str:
    client = client_for(CONFIG, {})
    info = {"id": "x", "title": "x", "extractor": "generic", "extractor_key": "Generic", "formats": formats}
    return str(client.process_ie_result(info, download=False)["format_id"])


def test_the_selector_is_what_it_is_because_each_part_was_needed() -> None:
    assert format_selector(90) == "bv*[height>=90]/b[height>=90]/bv*/b"
    assert format_sort(90) == ["+res:90", "+hasaud", "+size", "+br"]


@pytest.mark.parametrize(
    ("formats", "expected"),
    [
        (LADDER, "144-vp9"),  # the fewest bytes of the smallest sufficient height, without sound
        ([one for one in LADDER if one["format_id"] != "144-vp9"], "144"),
        ([MUXED_360, rung("360", 360, filesize=4000)], "360"),
        ([SOUND, MUXED_360], "muxed"),
        ([rung("48", 48), rung("72", 72)], "72"),  # none is sufficient: the best there is
        ([rung("144-loud", 144, acodec="mp4a.40.2", filesize=100), rung("144", 144, filesize=1000)], "144"),
        ([rung("720", 720), rung("240", 240), rung("1080", 1080)], "240"),
        ([rung("unknown", None)], "unknown"),
    ],
)
def test_the_smallest_sufficient_format_is_taken(formats: list[dict[str, Any]], expected: str) -> None:
    assert chosen(formats) == expected
    assert chosen(formats[::-1]) == expected


def test_what_the_usual_choice_takes_is_its_best_picture_and_its_sound() -> None:
    assert default_format_bytes({"formats": LADDER}, 360) == 5000
    assert default_format_bytes({"formats": [one for one in LADDER if one is not MUXED_360]}, 360) == 4300
    assert default_format_bytes({"formats": LADDER}, 720) == 16300
    # 80 kbit/s for 10 s
    assert default_format_bytes({"formats": [rung("144", 144, tbr=80)], "duration": 10}, 360) == 100_000
    assert default_format_bytes({"formats": [rung("144", 144)]}, 360) is None
    assert default_format_bytes({"formats": [rung("720", 720, filesize=1)]}, 360) is None
    assert default_format_bytes({}, 360) is None


# -- connection ---------------------------------------------------------------------------------------------------


def test_a_source_says_how_its_sites_are_reached(tmp_path: Path) -> None:
    cookies = tmp_path / "cookies.txt"
    cookies.write_text("# Netscape HTTP Cookie File\n.x.invalid\tTRUE\t/\tFALSE\t4102444800\tsession\ts3cret\n")
    source = SourceConfig(
        spec="urls:/list", cookies=str(cookies), proxy="http://127.0.0.1:9", max_rate_kb_s=50, check_certificates=False
    )
    extra = connection(source, RulesConfig(opt_out=("noai",)))
    assert extra == {
        "cookiefile": str(cookies), "proxy": "http://127.0.0.1:9", "ratelimit": 50_000.0, "nocheckcertificate": True,
        "opt_out": ["noai"],
    }  # fmt: skip
    client = client_for(CONFIG, extra)
    assert [cookie.value for cookie in client.cookiejar] == ["s3cret"]
    client.close()
    assert cookies.read_text().count("\n") == 2  # read, never written
    assert connection(SourceConfig(spec="youtube"), RulesConfig()) == {}


def test_cookies_that_are_missing_or_none_are_named_with_the_fix(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"source\.cookies = .*No such file.*Netscape format"):
        connection(SourceConfig(spec="youtube", cookies=str(tmp_path / "none")), RulesConfig())
    wrong = tmp_path / "wrong.txt"
    wrong.write_text('{"cookies": []}')
    with pytest.raises(UserError, match=r"source\.cookies = .*not a cookies file"):
        connection(SourceConfig(spec="youtube", cookies=str(wrong)), RulesConfig())


def test_every_thread_has_a_client_of_its_own_and_keeps_it() -> None:
    seen: list[int] = []

    def two() -> None:
        seen.extend((id(client_for(CONFIG, {})), id(client_for(CONFIG, {}))))

    for _ in range(2):
        thread = threading.Thread(target=two)
        thread.start()
        thread.join()
    mine = id(client_for(CONFIG, {}))
    assert seen[0] == seen[1]
    assert seen[2] == seen[3]
    assert mine not in seen


# -- opting out ---------------------------------------------------------------------------------------------------

WORDS = frozenset({"noai", "noindex"})


@pytest.mark.parametrize(
    ("kind", "tag", "expected"),
    [
        ("video/mp4", "noai", "noai"),
        ("video/mp4", "all, NoAI", "noai"),
        ("application/octet-stream", "noindex", "noindex"),
        ("video/mp4", "googlebot: noindex, noai", None),  # for one robot, which we are not
        ("video/mp4", "googlebot: noindex, lampworks: noai", "noai"),
        ("video/mp4", "noarchive", None),
        ("text/html", "noai", None),  # a page that links a file is not the file
        ("application/rss+xml", "noindex", None),
        ("video/mp4", None, None),
    ],
)
def test_a_header_opts_a_file_out(kind: str, tag: str | None, expected: str | None) -> None:
    headers = http.client.HTTPMessage()
    headers["Content-Type"] = kind
    if tag is not None:
        headers["X-Robots-Tag"] = tag
    assert opted_out(headers, WORDS) == expected


# -- rights that only the page tells ------------------------------------------------------------------------------


def test_what_the_page_says_at_the_download_is_judged_and_the_row_where_it_says_nothing() -> None:
    rules = RulesConfig(blocked=("UCblocked",))
    judged = rights_of({"url": "https://x.invalid/1", "title": "a film", "licence": None}, rules)
    assert judged({"id": "1", "extractor_key": "Youtube"}) is None  # the words are not asked again
    assert judged({"id": "1", "license": "All rights reserved"}) == "licence:All rights reserved"
    assert judged({"id": "1", "age_limit": 18}) == "age:18"
    assert judged({"id": "1", "channel_id": "UCblocked"}) == "blocked:UCblocked"
    strict = RulesConfig(licences=("cc by",))
    assert rights_of({"licence": "CC BY 4.0"}, strict)({"id": "1"}) is None
    assert rights_of({"licence": None}, strict)({"id": "1"}) == "licence: unknown"


def test_a_video_that_its_page_forbids_is_rejected_before_its_media_is_asked_for(
    site: Any, tmp_path: Path, clip_file: Path
) -> None:
    site.add("/film.mp4", clip_file.read_bytes(), "video/mp4")
    page = site.add("/watch", b'<html><title>x</title><video src="/film.mp4"></video></html>', "text/html")
    (tmp_path / "f").mkdir()
    with pytest.raises(RejectedError, match="age:18") as caught:
        fetch_url(page, tmp_path / "f", CONFIG, HERE, extractor="generic", rights=lambda info: "age:18")
    assert caught.value.error_class == "age"
    assert "/film.mp4" not in site.requests
    assert fetch_url(page, tmp_path / "f", CONFIG, HERE, extractor="generic", rights=lambda info: None).path.is_file()


# -- files that are named as such ---------------------------------------------------------------------------------


def fetch(url: str, folder: Path, **extra: Any) -> Any:
    folder.mkdir(exist_ok=True)
    return fetch_url(url, folder, CONFIG, {**HERE, **extra}, extractor="generic")


def test_a_file_is_asked_for_once_and_a_page_with_its_name_is_still_a_page(
    site: Any, tmp_path: Path, clip_file: Path
) -> None:
    media = clip_file.read_bytes()
    url = site.add("/File:game.mp4", media, "video/mp4")
    assert fetch(url, tmp_path / "file").path.read_bytes() == media
    assert site.requests == ["/File:game.mp4"]
    site.add("/real.mp4", media, "video/mp4")
    page = site.add("/page.mp4", b'<html><title>x</title><video src="/real.mp4"></video></html>', "text/html")
    assert fetch(page, tmp_path / "page").path.read_bytes() == media
    assert "/real.mp4" in site.requests


def test_a_file_s_server_that_fails_is_asked_once_and_its_status_and_wish_are_kept(site: Any, tmp_path: Path) -> None:
    url = site.add("/busy.mp4", status=503, headers={"Retry-After": "7"})
    with pytest.raises(RetryableError) as caught:
        fetch(url, tmp_path / "busy")
    assert (caught.value.error_class, caught.value.http_status, caught.value.retry_after_s) == ("transient", 503, 7.0)
    assert site.requests == ["/busy.mp4"]
    with pytest.raises(PermanentError) as gone:
        fetch(site.add("/gone.mp4", status=410), tmp_path / "gone")
    assert (gone.value.error_class, gone.value.http_status) == ("permanent", 410)


def test_a_file_that_is_opted_out_is_not_read(site: Any, tmp_path: Path, clip_file: Path) -> None:
    url = site.add("/mine.mp4", clip_file.read_bytes(), "video/mp4", headers={"X-Robots-Tag": "noai"})
    with pytest.raises(RejectedError, match="noai"):
        fetch(url, tmp_path / "mine", opt_out=["noai"])
    assert [path.name for path in (tmp_path / "mine").iterdir()] == []
    assert fetch(url, tmp_path / "theirs").path.stat().st_size == clip_file.stat().st_size


def test_messages_name_no_folder_of_the_attempt(site: Any, tmp_path: Path) -> None:
    with pytest.raises(PermanentError) as caught:
        fetch(site.add("/x.mp4", status=404), tmp_path / "secret-folder")
    assert not re.search("secret-folder", str(caught.value))
