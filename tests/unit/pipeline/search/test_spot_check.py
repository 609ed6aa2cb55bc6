"""The spot check: which videos it shows, what of them, and that no byte of a stranger's gets into the page."""

from __future__ import annotations

import base64
import io
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.config import Config, DownloadConfig, RulesConfig, SourceConfig
from pipeline.errors import PermanentError, UserError
from pipeline.job import Job
from pipeline.search.search import search_videos
from pipeline.search.spot_check import ABOUT_KEY, KEY, withdraw_spot_check, write_spot_check
from pipeline.search.spot_check_pictures import small_picture
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from pipeline.storage.takedown import request_takedown

RULES = RulesConfig(keywords=("platformer", "jump and run"), action_words=("speedrun",), negations=("movie",))


def config(tmp_path: Path, **source: Any) -> Config:
    (tmp_path / "list.txt").write_text("http://127.0.0.1/\n")
    return Config(
        source=SourceConfig(**{"spec": f"urls:{tmp_path / 'list.txt'}", "allow_private": True, **source}),
        rules=RULES,
        download=DownloadConfig(socket_timeout_s=2),
    )


def jpeg(color: tuple[int, int, int] = (200, 40, 90), size: tuple[int, int] = (640, 360)) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", size, color).save(data, "JPEG", comment=b"stranger's own bytes")
    return data.getvalue()


def row(name: str, title: str, verdict: str, rule: str, **facts: Any) -> dict[str, Any]:
    return {
        "video_id": f"generic-{name}", "source": "urls", "extractor": "generic", "native_id": name,
        "url": f"http://127.0.0.1/{name}", "title": title, "description": "", "tags": [], "queries": ["q"],
        "verdict": verdict, "rule": rule, "rules_version": "r", "found_at": datetime(2026, 11, 20, tzinfo=UTC), **facts,
    }  # fmt: skip


KEPT = ("kept", "kept:platformer+speedrun")


def page_of(store: Store) -> str:
    return store.read_blob(KEY).decode()


def titles(page: str) -> list[str]:
    return re.findall(r'class="title">(?:<a [^>]*>)?([^<]*)<', page)


def section(page: str, name: str) -> str:
    found = re.search(rf"<section><h2>{re.escape(name)}(?: <span[^<]*</span>)?</h2>(.*?)</section>", page, re.DOTALL)
    return found[1] if found else ""


def test_each_keyword_shows_what_it_kept_and_what_was_rejected_with_it(store: Store, tmp_path: Path, site) -> None:
    url = site.add("/t.jpg", jpeg(), "image/jpeg")
    store.append(
        "videos",
        [
            row("a", "Fox platformer speedrun", *KEPT, thumbnail=url, licence="CC BY"),
            row("b", "platformer movie", "rejected", "negation:movie"),
            row("c", "Jump & Run: speedrun", "kept", "kept:jump and run+speedrun"),
            row("d", "shooter", "rejected", "keyword: no platformer word in title", queries=["q", "other"]),
        ],
    )
    assert write_spot_check(Job(store, config(tmp_path), home_of(store))) == KEY
    page = page_of(store)
    assert titles(section(page, "keyword: platformer")) == ["Fox platformer speedrun", "platformer movie"]
    assert "negation:movie" in section(page, "keyword: platformer")
    assert titles(section(page, "keyword: jump and run")) == ["Jump &amp; Run: speedrun"]
    assert titles(section(page, "no keyword, found by: q")) == ["shooter"]
    assert titles(section(page, "no keyword, found by: other")) == ["shooter"]
    assert page.count("<img") == 1
    assert page.count("its source names no picture") == 4
    assert "2 kept and 2 rejected; 4 of them" in page
    assert '<h2>keyword: platformer <span class="dim">kept 1</span></h2>' in page
    assert "<td>1</td><td>negation:movie</td>" in page
    assert json.loads(store.read_blob(ABOUT_KEY))["videos"] == [f"generic-{name}" for name in "abcd"]


def test_the_choice_is_random_by_seed_and_the_same_for_the_same_store(store: Store, tmp_path: Path) -> None:
    store.append("videos", [row(f"v{number:03d}", f"platformer {number:03d}", *KEPT) for number in range(200)])
    shown = {}
    for seed in (0, 1, 0):
        write_spot_check(Job(store, config(tmp_path), home_of(store)), per_keyword=5, seed=seed)
        found = titles(page_of(store))
        assert len(found) == 5
        assert shown.setdefault(seed, found) == found
    assert shown[0] != shown[1]
    assert sorted(shown[0]) != [f"platformer {number:03d}" for number in range(5)]
    # a few more videos hardly move it
    store.append("videos", [row("new", "platformer new", *KEPT)])
    write_spot_check(Job(store, config(tmp_path), home_of(store)), per_keyword=5)
    assert len(set(titles(page_of(store))) & set(shown[0])) >= 4


def test_what_strangers_wrote_is_text_and_never_markup(store: Store, tmp_path: Path) -> None:
    evil = '<script>alert(1)</script>"><img src=x onerror=alert(2)>\x00\u202e'
    rows = [
        row("a", evil, "kept", "kept:platformer+speedrun", channel=evil, licence=evil, queries=[evil]),
        row("b", evil, "rejected", "licence:" + evil, url="javascript:alert(3)", thumbnail="javascript:alert(4)"),
        row("c", "x" * 10_000, "rejected", "keyword: no platformer word in title", queries=[evil]),
    ]
    store.append("videos", rows)
    write_spot_check(Job(store, config(tmp_path), home_of(store)))
    page = page_of(store)
    assert "<script" not in page
    assert "<img" not in page
    assert "javascript:alert(3)" not in page
    assert "\u202e" not in page
    assert len(page) < 20_000
    assert "default-src 'none'" in page


def test_a_video_is_linked_only_where_its_address_can_be_shown_whole(store: Store, tmp_path: Path) -> None:
    urls = {
        "plain": "http://127.0.0.1/plain",
        "tube": "https://www.youtube.com/watch?v=dQw4w9WgXcQ",
        "token": "http://127.0.0.1/x?token=SECRET",
        "user": "http://fox:SECRET@127.0.0.1/x",
        "both": "https://www.youtube.com/watch?v=dQw4w9WgXcQ&key=SECRET",
    }
    rows = [row(name, f"platformer speedrun {name}", *KEPT, url=url) for name, url in urls.items()]
    store.append("videos", [{**one, "queries": ["http://fox:SECRET@127.0.0.1/feed?SECRET"]} for one in rows])
    secret = config(tmp_path, spec="urls:http://fox:SECRET@127.0.0.1/feed?SECRET")
    write_spot_check(Job(store, secret, home_of(store)), per_keyword=9)
    page = page_of(store)
    assert sorted(re.findall(r'href="([^"]*)"', page)) == [urls["plain"], urls["tube"]]
    assert len(titles(page)) == 5
    assert "SECRET" not in page
    assert "Source urls:http://127.0.0.1/feed:" in page


def test_pictures_are_encoded_anew_and_a_missing_one_is_said_so(store: Store, tmp_path: Path, site) -> None:
    pages = {
        "good": site.add("/good.jpg", jpeg(), "image/jpeg"),
        "gone": site.add("/gone.jpg", status=404),
        "html": site.add("/html.jpg", b"<html>no</html>", "image/jpeg"),
        "large": site.add("/large.jpg", jpeg() + b"\0" * (2 << 20), "image/jpeg"),
        "file": "file:///etc/passwd",
    }
    store.append("videos", [row(name, name, *KEPT, thumbnail=url) for name, url in pages.items()])
    write_spot_check(Job(store, config(tmp_path), home_of(store)), per_keyword=9)
    page = page_of(store)
    (data,) = re.findall(r'src="data:image/jpeg;base64,([^"]*)"', page)
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert image.size == (192, 108)
    assert np.abs(np.asarray(image).mean((0, 1)) - (200, 40, 90)).max() < 4
    assert b"stranger" not in base64.b64decode(data)
    for reason in ("HTTP Error 404", "no picture:", "larger than 1024 kB", "no picture is fetched from"):
        assert reason in page
    # what is there already is not asked again
    site.requests.clear()
    store.append("videos", [row("another", "another", "rejected", "negation:movie")])
    write_spot_check(Job(store, config(tmp_path), home_of(store)), per_keyword=9)
    assert "/good.jpg" not in site.requests
    assert page_of(store).count("<img") == 1


def test_a_site_that_refuses_is_not_asked_for_more(store: Store, tmp_path: Path, site) -> None:
    urls = [site.add(f"/{number}.jpg", status=429) for number in range(3)]
    store.append("videos", [row(str(number), str(number), *KEPT, thumbnail=url) for number, url in enumerate(urls)])
    write_spot_check(Job(store, config(tmp_path), home_of(store)))
    assert len(site.requests) == 1
    assert page_of(store).count("refused an earlier one") == 2


def bomb() -> bytes:
    data = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(data, "PNG")
    return data.getvalue()


@pytest.mark.parametrize(
    ("data", "told"), [(b"", "no picture"), (b"GIF89a", "no picture"), (bomb(), "exceeds limit"), (b"\xff\xd8", "no")]
)
def test_a_file_that_is_no_small_picture_is_refused(data: bytes, told: str) -> None:
    with pytest.raises(PermanentError, match=told):
        small_picture(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_a_damaged_picture_is_a_picture_or_a_reason(kind: str) -> None:
    rng = np.random.default_rng(0)
    data = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (40, 60, 3), np.uint8)).save(data, kind)
    refused = 0
    for case in range(150):
        damaged = np.frombuffer(data.getvalue(), np.uint8).copy()
        places = rng.integers(0, len(damaged) if case % 2 else 64, 4)
        damaged[places] = rng.integers(0, 255, 4)
        try:
            assert small_picture(damaged[: rng.integers(1, len(damaged))].tobytes()).startswith("data:image/jpeg")
        except PermanentError:
            refused += 1
    assert refused > 50


def test_a_picture_that_is_wide_for_its_height_keeps_its_shape() -> None:
    image = Image.open(io.BytesIO(base64.b64decode(small_picture(jpeg(size=(3000, 10))).partition(",")[2])))
    assert image.size == (192, 1)


def test_videos_of_a_folder_show_a_frame_of_their_own(store: Store, tmp_path: Path, clip_file: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    (folder / "real.mp4").write_bytes(clip_file.read_bytes())
    (folder / "broken.mp4").write_bytes(b"no video")
    settings = Config(source=SourceConfig(spec=f"folder:{folder}"))
    search_videos(Job(store, settings, home_of(store)))
    write_spot_check(Job(store, settings, home_of(store)))
    page = page_of(store)
    assert sorted(titles(page)) == ["broken", "real"]
    assert page.count("<img") == 1
    assert "no frame:" in page
    assert str(folder / "broken.mp4") not in page


def test_a_takedown_reaches_the_sheet(store: Store, tmp_path: Path) -> None:
    store.append("videos", [row("a", "secret", *KEPT), row("b", "platformer", *KEPT)])
    write_spot_check(Job(store, config(tmp_path), home_of(store)))
    assert not withdraw_spot_check(store)
    request_takedown(store, "video", "generic-a", "asked")
    assert withdraw_spot_check(store)
    assert not store.exists(KEY)
    assert not store.exists(ABOUT_KEY)
    write_spot_check(Job(store, config(tmp_path), home_of(store)))
    assert titles(page_of(store)) == ["platformer"]
    request_takedown(store, "video", "generic-b", "asked")
    assert write_spot_check(Job(store, config(tmp_path), home_of(store))) is None
    assert not store.exists(KEY)


def test_a_sheet_that_would_not_change_is_left_alone(store: Store, tmp_path: Path) -> None:
    assert write_spot_check(Job(store, config(tmp_path), home_of(store))) is None
    store.append("videos", [row("a", "platformer", *KEPT)])
    write_spot_check(Job(store, config(tmp_path), home_of(store)))
    path = Path(store.url(KEY))
    before = path.stat().st_mtime_ns
    write_spot_check(Job(store, config(tmp_path), home_of(store)))
    assert path.stat().st_mtime_ns == before


def test_a_sheet_of_nothing_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="0 videos per keyword"):
        write_spot_check(Job(store, config(tmp_path), home_of(store)), per_keyword=0)
