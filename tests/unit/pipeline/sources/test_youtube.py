"""The YouTube source through yt-dlp's real extractors, against a loopback server behind a loopback proxy.

The proxy sends every host to one TLS server, so no test leaves the machine and nothing of yt-dlp is replaced.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipeline.config import Config, DownloadConfig, RulesConfig, SourceConfig
from pipeline.errors import PermanentError, RetryableError, UserError
from pipeline.job import Job
from pipeline.search.search import search_videos
from pipeline.search.spot_check import KEY, write_spot_check
from pipeline.sources.youtube import YouTubeSource, channel_url, playlist_url
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests.faultsite import CHANNEL, TITLES, search_answer
from tests.faultsite import YouTube as LoopbackYouTube

CONFIG = DownloadConfig(socket_timeout_s=5, host_interval_s=0)
RULES = RulesConfig(min_duration_s=0)
BOT_CHECK = {"status": "LOGIN_REQUIRED", "reason": "Sign in to confirm you\u2019re not a bot"}


class YouTube(LoopbackYouTube):
    """The loopback YouTube with channels and playlists, and the source that asks it."""

    picture = b""
    """The thumbnail of every video."""
    unheard = b""
    """A search that finds nothing."""

    def answer(self, request: Any) -> None:
        """Answer the pages of channels and playlists, which hold their list themselves."""
        path = request.local
        if request.host == "i.ytimg.com":
            request.send(self.picture, "image/jpeg")
            return
        if self.unheard and "/search" in path:
            body = request.body()
            request.body = lambda: body
            if self.unheard in body:
                request.send(json.dumps(search_answer({})).encode(), "application/json")
                return
        if request.command == "POST" or not path.startswith(("/@", "/channel/", "/playlist")):
            super().answer(request)
            return
        page = playlist_page(self.titles) if path.startswith("/playlist") else channel_page(self.titles)
        data = f"<html><script>var ytInitialData = {json.dumps(page)};</script></html>"
        request.send(data.encode(), "text/html")

    def knows(self, host: str) -> bool:
        """Know the host of pictures too."""
        return host == "i.ytimg.com" or super().knows(host)

    def settings(self, **settings: Any) -> SourceConfig:
        return SourceConfig(
            spec="youtube",
            **{"query_subjects": (), "proxy": self.proxy_url, "check_certificates": False, **settings},
        )

    def source(self, rules: RulesConfig = RULES, **settings: Any) -> YouTubeSource:
        return YouTubeSource(self.settings(**{"queries": ("fox",), **settings}), rules, CONFIG)

    def pages(self) -> list[str]:
        """Ids whose watch page was asked, in order."""
        watched = [path for path in self.paths() if path.startswith("/watch")]
        return [name for path in watched for name in self.titles if name in path]

    def paths(self) -> list[str]:
        return [path for _, path in self.requests]


def listed(name: str, title: str, kind: str) -> dict[str, Any]:
    return {
        kind: {
            "videoId": name,
            "title": {"runs": [{"text": title}]},
            "lengthText": {"simpleText": "0:04"},
            "thumbnail": {
                "thumbnails": [{"url": f"https://i.ytimg.com/vi/{name}/mq.jpg", "width": 320, "height": 180}]
            },
        }
    }


def tab(content: dict[str, Any], **more: Any) -> dict[str, Any]:
    selected = {"tabRenderer": {"selected": True, "title": "Videos", "content": content}}
    return {"contents": {"twoColumnBrowseResultsRenderer": {"tabs": [selected]}}, **more}


def channel_page(titles: Any) -> dict[str, Any]:
    items = [{"richItemRenderer": {"content": listed(name, titles[name][0], "videoRenderer")}} for name in titles]
    about = {"channelMetadataRenderer": {"externalId": CHANNEL, "title": "Fox", "vanityChannelUrl": "/@fox"}}
    return tab({"richGridRenderer": {"contents": items}}, metadata=about)


def playlist_page(titles: Any) -> dict[str, Any]:
    items = [listed(name, titles[name][0], "playlistVideoRenderer") for name in titles]
    section = {"itemSectionRenderer": {"contents": [{"playlistVideoListRenderer": {"contents": items}}]}}
    about = {"playlistMetadataRenderer": {"title": "Fox's best"}}
    return tab({"sectionListRenderer": {"contents": [section]}}, metadata=about)


@pytest.fixture
def youtube(tmp_path: Path, clip_file: Path) -> Iterator[YouTube]:
    running = YouTube(tmp_path, clip_file.read_bytes())
    yield running
    running.close()


def test_a_search_lists_first_and_asks_the_pages_of_wanted_titles_only(youtube: YouTube) -> None:
    found = list(youtube.source(max_results=3).search())
    assert [(one.video_id, one.title) for one in found] == [(f"youtube-{name}", TITLES[name][0]) for name in TITLES]
    assert [one.description for one in found] == ["any%", "", "a playthrough, as the description says"]
    assert [one.channel_id for one in found] == [CHANNEL, None, CHANNEL]
    assert [one.listed for one in found] == [False, True, False]
    assert {one.channel for one in found} == {"Fox"}
    assert {one.duration_s for one in found} == {4.0}
    assert youtube.pages() == ["aaaaaaaaaa1", "aaaaaaaaaa3"]
    assert {one.query for one in found} == {"fox"}


def test_a_list_that_tells_the_duration_or_a_blocked_channel_spares_the_pages(youtube: YouTube) -> None:
    assert len(list(youtube.source(RulesConfig()).search())) == 3
    blocked = RulesConfig(min_duration_s=0, blocked=("Fox",))
    assert len(list(youtube.source(blocked, apply_rules=False).search())) == 3
    assert youtube.pages() == []


@pytest.mark.parametrize(
    "settings",
    [
        {"channels": ("@fox",)},
        {"channels": (CHANNEL,)},
        {"channels": ("https://www.youtube.com/@fox",)},
        {"playlists": ("PLabcdefghijkl",)},
        {"playlists": ("https://www.youtube.com/playlist?list=PLabcdefghijkl",)},
    ],
)
def test_channels_and_playlists_are_lists_too(youtube: YouTube, settings: dict[str, Any]) -> None:
    found = list(youtube.source(queries=(), **settings).search())
    assert [one.video_id for one in found] == [f"youtube-{name}" for name in TITLES]
    assert {one.query for one in found} == {next(iter(settings.values()))[0]}
    assert youtube.pages() == ["aaaaaaaaaa1", "aaaaaaaaaa3"]
    assert found[1].thumbnail == "https://i.ytimg.com/vi/aaaaaaaaaa2/mq.jpg"


def test_queries_are_those_named_and_every_subject_with_every_action_once(youtube: YouTube) -> None:
    source = youtube.source(
        queries=("fox", "a b"), query_subjects=("a", "c"), query_actions=("b",), channels=("@fox",), max_results=7
    )
    assert source.lists == {
        "fox": "ytsearch7:fox",
        "a b": "ytsearch7:a b",
        "c b": "ytsearch7:c b",
        "@fox": "https://www.youtube.com/@fox/videos",
    }


@pytest.mark.parametrize(("make", "name"), [(channel_url, "fox fable"), (playlist_url, "PL/../x")])
def test_a_name_that_is_neither_is_refused_with_its_value(make: Any, name: str) -> None:
    with pytest.raises(UserError, match=f"holds '{name}'"):
        make(name)


def search(store: Store, youtube: YouTube, now: datetime | None = None, **settings: Any) -> Any:
    config = Config(source=youtube.settings(**{"queries": ("fox",), **settings}), rules=RULES, download=CONFIG)
    return search_videos(Job(store, config, home_of(store)), now=now)


def test_a_second_search_asks_the_pages_of_new_videos_only(youtube: YouTube, store: Store) -> None:
    report = search(store, youtube)
    assert (report.found, report.kept, report.rejected) == (3, 2, {"negation:movie": 1})
    youtube.requests.clear()
    assert search(store, youtube).new == 0
    assert youtube.pages() == []
    youtube.titles = {**TITLES, "aaaaaaaaaa4": ("Bat Ballad - platformer speedrun", "")}
    report = search(store, youtube)
    assert (report.new, report.kept, len(report.batches)) == (1, 3, 1)
    assert youtube.pages() == ["aaaaaaaaaa4"]


def test_a_video_that_two_queries_and_a_channel_find_costs_one_page_and_is_one_row(
    youtube: YouTube, store: Store
) -> None:
    report = search(store, youtube, queries=("fox", "fable"), channels=("@fox",))
    assert (report.found, len(report.batches)) == (3, 1)
    assert youtube.pages() == ["aaaaaaaaaa1", "aaaaaaaaaa3"]
    rows = store.read("videos").to_pylist()
    assert {tuple(row["queries"]) for row in rows} == {("fox", "fable", "@fox")}
    assert {row["query"]: row["new"] for row in store.read("searches").to_pylist()} == {"fox": 3, "fable": 0, "@fox": 0}


def test_a_bot_check_stops_the_search_and_keeps_what_was_found(youtube: YouTube, store: Store) -> None:
    youtube.playability = lambda name: {"status": "OK"} if name == "aaaaaaaaaa1" else BOT_CHECK
    report = search(store, youtube, queries=("fox", "bat"))
    assert (report.found, report.kept, len(report.batches)) == (3, 1, 1)
    assert report.rejected == {"negation:movie": 1, "no metadata: source_blocked": 1}
    assert "not a bot" in report.failures["fox"]
    assert report.failures["bat"] == "not asked: the site refused 'fox'"
    assert sum("/search" in path for path in youtube.paths()) == 1
    # the site is paused: a search sends it no request either, and that is no error
    youtube.playability = {"status": "OK"}
    youtube.requests.clear()
    report = search(store, youtube, queries=("fox", "bat"))
    assert (report.found, youtube.requests) == (0, [])
    assert all("is paused by the circuit breaker until" in told for told in report.failures.values())
    report = search(store, youtube, queries=("fox", "bat"), now=datetime.now(UTC) + timedelta(hours=2))
    assert (report.kept, report.new, len(report.batches), report.failures) == (2, 0, 1, {})
    assert youtube.pages() == ["aaaaaaaaaa3"]


def test_a_query_that_finds_nothing_is_recorded_and_told(youtube: YouTube, store: Store) -> None:
    nothing = dict(youtube.titles)
    youtube.titles = {}
    with pytest.raises(UserError, match=r"found nothing: change source\.queries"):
        search(store, youtube)
    youtube.titles = nothing
    youtube.unheard = b"qqzz"
    report = search(store, youtube, queries=("fox", "qqzz"))
    assert report.failures == {"qqzz": "found nothing"}
    assert {row["query"]: row["found"] for row in store.read("searches").to_pylist()} == {"fox": 3, "qqzz": 0}


def test_the_spot_check_fetches_its_pictures_as_the_search_reached_its_pages(youtube: YouTube, store: Store) -> None:
    data = io.BytesIO()
    Image.new("RGB", (320, 180), (30, 200, 90)).save(data, "JPEG")
    youtube.picture = data.getvalue()
    search(store, youtube, queries=(), channels=("@fox",))
    config = Config(source=youtube.settings(queries=(), channels=("@fox",)), rules=RULES, download=CONFIG)
    assert write_spot_check(Job(store, config, home_of(store))) == KEY
    page = store.read_blob(KEY).decode()
    assert page.count("<img") == 3
    assert all(title in page for title, _ in TITLES.values())
    assert 'href="https://www.youtube.com/watch?v=aaaaaaaaaa1"' in page
    asked = [path for host, path in youtube.requests if host == "i.ytimg.com"]
    assert len(asked) == 3


def test_a_missing_file_of_cookies_is_named(youtube: YouTube, store: Store, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"source\.cookies = '.*absent\.txt'"):
        search(store, youtube, cookies=str(tmp_path / "absent.txt"))
    (tmp_path / "no.txt").write_text("<html>no cookies</html>")
    with pytest.raises(UserError, match=r"source\.cookies = '.*no\.txt'.*export a cookies\.txt"):
        search(store, youtube, cookies=str(tmp_path / "no.txt"))
    assert youtube.requests == []


def test_a_fetch_takes_the_144p_stream_without_sound(youtube: YouTube, tmp_path: Path, clip_file: Path) -> None:
    folder = tmp_path / "attempt"
    folder.mkdir()
    fetched = youtube.source().fetch({"url": "https://www.youtube.com/watch?v=aaaaaaaaaa1"}, folder, CONFIG)
    assert fetched.path.read_bytes() == clip_file.read_bytes()
    assert fetched.format == "160 - 256x144 (144p)"
    assert fetched.duration_claimed_s == 4.0
    assert ("media.googlevideo.com", "/videoplayback?itag=160") in youtube.requests


@pytest.mark.parametrize(
    ("status", "reason", "kind", "name"),
    [
        ("LOGIN_REQUIRED", "Sign in to confirm you're not a bot", RetryableError, "source_blocked"),
        ("LOGIN_REQUIRED", "This video is private", PermanentError, "auth"),
        ("ERROR", "This video has been removed by the uploader", PermanentError, "permanent"),
        ("UNPLAYABLE", "The uploader has not made this video available in your country", PermanentError, "geo"),
        ("LIVE_STREAM_OFFLINE", "Premieres in 3 hours", RetryableError, "live"),
        ("ERROR", "This content isn't available, try again later.", RetryableError, "rate_limited"),
    ],
)
def test_each_refusal_has_its_class(
    youtube: YouTube, tmp_path: Path, status: str, reason: str, kind: type[Exception], name: str
) -> None:
    youtube.playability = {"status": status, "reason": reason}
    with pytest.raises(kind) as caught:
        youtube.source().fetch({"url": "https://www.youtube.com/watch?v=aaaaaaaaaa1"}, tmp_path, CONFIG)
    assert caught.value.error_class == name
