"""The YouTube source through yt-dlp's real extractors, against a loopback server behind a loopback proxy.

The proxy sends every host to one TLS server, so no test leaves the machine and nothing of yt-dlp is replaced.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import DownloadConfig, RulesConfig, SourceConfig
from pipeline.errors import PermanentError, RetryableError
from pipeline.sources.youtube import YouTubeSource
from tests.faultsite import CHANNEL, TITLES
from tests.faultsite import YouTube as LoopbackYouTube

CONFIG = DownloadConfig(socket_timeout_s=5)


class YouTube(LoopbackYouTube):
    """The loopback YouTube, and the source that asks it."""

    def source(self, **settings: Any) -> YouTubeSource:
        source = YouTubeSource(SourceConfig(spec="youtube", **settings), RulesConfig(), CONFIG)
        source.extra = {"proxy": self.proxy_url, "nocheckcertificate": True}
        return source


@pytest.fixture
def youtube(tmp_path: Path, clip_file: Path) -> Iterator[YouTube]:
    running = YouTube(tmp_path, clip_file.read_bytes())
    yield running
    running.close()


def test_a_search_lists_first_and_asks_the_pages_of_wanted_titles_only(youtube: YouTube) -> None:
    found = list(youtube.source(queries=("fox",), max_results=3).search())
    assert [(one.video_id, one.title) for one in found] == [(f"youtube-{name}", TITLES[name][0]) for name in TITLES]
    assert [one.description for one in found] == ["any%", "", "a playthrough, as the description says"]
    assert [one.channel_id for one in found] == [CHANNEL, None, CHANNEL]
    assert {one.channel for one in found} == {"Fox"}
    assert {one.duration_s for one in found} == {4.0}
    pages = [path for _, path in youtube.requests if path.startswith("/watch")]
    assert [name in " ".join(pages) for name in TITLES] == [True, False, True]
    assert {one.query for one in found} == {"fox"}


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
