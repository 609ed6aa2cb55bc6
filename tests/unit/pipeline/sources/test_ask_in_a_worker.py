"""A search asks in a worker process: what takes all memory, hangs or kills is one row, and the search goes on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.config import Config, DownloadConfig, EngineConfig, RulesConfig, SourceConfig
from pipeline.job import Job
from pipeline.search.search import search_videos
from pipeline.sources import ytdlp_search
from pipeline.sources.base import Candidate
from pipeline.sources.patience import Patience
from pipeline.sources.urls import UrlsSource
from pipeline.sources.youtube import YouTubeSource
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from pipeline.workers.ask import Asked
from pipeline.workers.engine import make_engine
from tests import hostile
from tests.faultsite import feed, watch_page
from tests.hostile import HostileSite

DOWNLOAD = DownloadConfig(socket_timeout_s=5, host_interval_s=0)
BRIEF = DownloadConfig(socket_timeout_s=0.3, host_interval_s=0)
ENGINE = EngineConfig(memory_mb=512)
# a billion segments, each of which yt-dlp lists with its long address
SEGMENTS = f"""<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S"><Period><AdaptationSet
 mimeType="video/mp4"><Representation id="a" bandwidth="9" width="160" height="90"><SegmentTemplate timescale="1"
 media="$Number$.mp4?{"x" * 100_000}" initialization="i.mp4">
 <SegmentTimeline><S t="0" d="1" r="1000000000"/></SegmentTimeline>
</SegmentTemplate></Representation></AdaptationSet></Period></MPD>"""


@pytest.fixture
def site() -> Iterator[HostileSite]:
    running = HostileSite()
    yield running
    running.close()


@pytest.fixture
def search_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Overrides the fixture that asks in this process."""


def listed(folder: Path, *lines: str, download: DownloadConfig = DOWNLOAD, **source: float) -> list[Candidate]:
    (folder / "list.txt").write_text("\n".join(lines), "utf-8")
    settings = SourceConfig(spec=f"urls:{folder / 'list.txt'}", allow_private=True, **source)
    return list(UrlsSource(settings, RulesConfig(), download, ENGINE).search())


@pytest.mark.heavy
def test_a_manifest_of_a_billion_segments_is_one_row_and_the_search_goes_on(
    tmp_path: Path, store: Store, site: HostileSite, clip_file: Path
) -> None:
    film = site.add("/film.mp4", clip_file.read_bytes(), "video/mp4")
    bomb = site.add("/bomb.mpd", SEGMENTS.encode(), "application/dash+xml")
    items = {"a platformer speedrun": bomb, "another platformer speedrun": film}
    (tmp_path / "list.txt").write_text(site.add("/feed.xml", feed(items), "application/rss+xml"))
    source = SourceConfig(spec=f"urls:{tmp_path / 'list.txt'}", allow_private=True, apply_rules=True)
    search_videos(Job(store, Config(source=source, download=DOWNLOAD, engine=ENGINE), home_of(store)))
    rules = {row["title"]: row["rule"] for row in store.read("videos").to_pylist()}
    assert rules == {
        "a platformer speedrun": "no metadata: out_of_memory",
        "another platformer speedrun": "kept:platformer+speedrun",
    }


def answer_or_end(item: str) -> str:
    """Work of a worker: die or hang where asked."""
    if item == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if item == "hang":
        time.sleep(60)
    if item == "raise":
        raise ValueError(item)
    return f"{item} {os.getpid()}"


def test_each_item_is_answered_before_the_next_and_a_worker_that_ends_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pipeline.workers.ask.make_engine", make_engine)
    with Asked(answer_or_end, EngineConfig(max_attempts=1), deadline_s=3) as asked:
        first, second = asked("a"), asked("b")
        assert [one.value.split()[0] for one in (first, second)] == ["a", "b"]
        assert first.value.split()[1] == second.value.split()[1]
        assert asked("raise").error_class == "ValueError"
        assert asked("die").error_class == "worker_died"
        assert asked("c").value.startswith("c ")
        assert asked("hang").error_class == "timeout"
        assert asked("d").value.startswith("d ")
        assert str(os.getpid()) not in second.value


def test_the_worker_ends_with_the_search(tmp_path: Path, site: HostileSite, clip_file: Path) -> None:
    import psutil

    film = site.add("/film.mp4", clip_file.read_bytes(), "video/mp4")
    pages = [site.add(f"/{name}", watch_page(name, film)) for name in ("a", "b")]
    (tmp_path / "list.txt").write_text("\n".join(pages))
    settings = SourceConfig(spec=f"urls:{tmp_path / 'list.txt'}", allow_private=True)
    before = {child.pid for child in psutil.Process().children()}
    search = UrlsSource(settings, RulesConfig(), DOWNLOAD, ENGINE).search()
    assert next(iter(search)).title == "a"
    workers = {child.pid for child in psutil.Process().children()} - before
    assert len(workers) == 1
    search.close()  # type: ignore[attr-defined]
    assert not workers & {child.pid for child in psutil.Process().children()}


# -- time of a whole search -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_site_that_is_slow_again_and_again_is_left_and_others_are_asked(
    tmp_path: Path, site: HostileSite, clip_file: Path
) -> None:
    other = HostileSite("127.0.0.3")
    try:
        slow = [site.add(f"/{number}", hostile.dripping_headers()) for number in range(6)]
        film = other.add("/film.mp4", clip_file.read_bytes(), "video/mp4")
        found = {one.url: one for one in listed(tmp_path, *slow, film, download=BRIEF)}
    finally:
        other.close()
    assert [found[url].error_class for url in slow] == ["transient"] * 3 + ["timeout"] * 3
    assert "not asked: each of the last 3 requests to 127.0.0.1 took more than 0.3 s" in found[slow[-1]].message
    assert "/film.mp4" in other.asked
    assert "not asked" not in found[film].message
    assert not {"/3", "/4", "/5"} & set(site.asked)


def set_clock(patch: pytest.MonkeyPatch, *times: float) -> None:
    """Let a search see these times: at its start, and then at the start of each list and at each request."""
    ticks = iter(times)
    patch.setattr(Patience, "now", staticmethod(lambda: next(ticks)))


def test_one_list_cannot_take_all_of_a_search_s_time(
    tmp_path: Path, site: HostileSite, clip_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    films = [site.add(f"/{number}.mp4", clip_file.read_bytes(), "video/mp4") for number in range(3)]
    listing = site.add("/feed.xml", feed({"a": films[0], "b": films[1]}), "application/rss+xml")
    set_clock(monkeypatch, 0, 0, 1, 6, 6, 6, 6)
    found = {one.url: one for one in listed(tmp_path, listing, films[2], max_search_s=10.0)}
    assert [found[url].error_class for url in films] == ["timeout", "timeout", None]
    assert "its list took longer than its share of source.max_search_s" in found[films[0]].message


def test_lists_of_lists_are_cut_and_the_next_line_is_asked(
    tmp_path: Path, site: HostileSite, clip_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ytdlp_search, "_LISTS", 2)
    names = iter(range(100))

    def branch(depth: int) -> str:
        number = next(names)
        if depth == 0:
            return site.add(f"/{number}.mp4", clip_file.read_bytes(), "video/mp4")
        items = {f"item {index} of {number}": branch(depth - 1) for index in range(3)}
        return site.add(f"/{number}.xml", feed(items), "application/rss+xml")

    film = site.add("/film.mp4", clip_file.read_bytes(), "video/mp4")
    top = branch(2)
    found = listed(tmp_path, top, film, max_results=3)
    assert [one.url for one in found[-2:]] == [top, film]
    assert (len(found), found[-2].error_class, found[-1].error_class) == (8, "permanent", None)
    assert "raise source.max_results" in found[-2].message
    assert len(listed(tmp_path, top, film, max_results=5)) == 10


def test_a_search_ends_at_its_time_and_the_next_one_asks_for_the_rest(
    tmp_path: Path, site: HostileSite, clip_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    films = [site.add(f"/{number}.mp4", clip_file.read_bytes(), "video/mp4") for number in range(3)]
    set_clock(monkeypatch, 0, 0, 5, 50, 50, 500, 500)
    first = listed(tmp_path, *films, max_search_s=10.0)
    assert [one.error_class for one in first] == [None, "timeout", "timeout"]
    assert "source.max_search_s = 10" in first[1].message
    assert len({one.video_id for one in first}) == 3
    monkeypatch.undo()
    assert [one.error_class for one in listed(tmp_path, *films, max_search_s=1000.0)] == [None] * 3


def test_a_search_of_youtube_ends_at_its_time_too(monkeypatch: pytest.MonkeyPatch) -> None:
    set_clock(monkeypatch, 0, 0, 50, 50, 50)
    source = SourceConfig(
        spec="youtube", queries=("fox", "crab"), query_subjects=(), query_actions=(), max_search_s=10.0
    )
    asked = YouTubeSource(source, RulesConfig(), DOWNLOAD)
    assert list(asked.search()) == []
    assert all("source.max_search_s = 10" in message for message in asked.failures.values())
    assert asked.failures.keys() == {"fox", "crab"}
