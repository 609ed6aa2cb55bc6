"""YouTube from the query to the file: the real extractors against a loopback emulation, and what its refusals leave."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config import Config, DownloadConfig, RulesConfig, SourceConfig
from pipeline.download.batch import download_batch
from pipeline.download.circuit_breaker import breakers
from pipeline.download.due import due_batches
from pipeline.download.ledger import download_states
from pipeline.download.report import DownloadReport
from pipeline.job import BatchJob, Job
from pipeline.search.batches import batches
from pipeline.search.search import search_videos
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests.faultsite import YouTube

WANTED = {f"fox{index:08d}": (f"Fox Fable level {index} - platformer speedrun", "any%") for index in range(8)}
REJECTED = {"foxmovie000": ("Fox Fable - the platformer movie", "a speedrun")}
OK = {"status": "OK"}
BOT = {"status": "LOGIN_REQUIRED", "reason": "Sign in to confirm you're not a bot"}


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> bytes:
    frames = np.random.default_rng(0).integers(0, 255, (60, 24, 40, 3), np.uint8).repeat(4, 1).repeat(4, 2)
    return make_video(tmp_path_factory.mktemp("film") / "film.mp4", frames, fps=15).read_bytes()


@pytest.fixture
def youtube(tmp_path: Path, film: bytes) -> Iterator[YouTube]:
    running = YouTube(tmp_path, film, WANTED | REJECTED)
    yield running
    running.close()


def settings(youtube: YouTube, **download: Any) -> Config:
    polite = {"workers": 1, "host_interval_s": 0.0, "min_free_gb": 0.0, "socket_timeout_s": 5.0, "max_wait_s": 0.0}
    source = SourceConfig(
        spec="youtube",
        queries=("fox",),
        query_subjects=(),
        max_results=20,
        proxy=youtube.proxy_url,
        check_certificates=False,
    )
    # the films are shorter than any clip
    return Config(
        source=source, rules=RulesConfig(min_duration_s=1.0), download=DownloadConfig(**{**polite, **download})
    )


def collect(store: Store, config: Config, now: datetime | None = None) -> DownloadReport:
    if not batches(store):
        search_videos(Job(store, config, home_of(store)))
    (batch,) = batches(store)
    return download_batch(BatchJob(store, config, home_of(store), batch=batch), now=now)


def end_the_rest(store: Store) -> datetime:
    """Let the rest of the site be over, and return a time at which its refused video is due."""
    breaker = breakers(store)["youtube"]
    assert breaker.next_try_at is not None
    now = datetime.now(UTC)
    over = dataclasses.replace(breaker, changed_at=now, next_try_at=now - timedelta(seconds=1))
    store.append("breakers", [over.row()])
    return breaker.next_try_at + timedelta(seconds=1)


@pytest.mark.usefixtures("inline")
def test_a_query_becomes_files_of_the_smallest_sufficient_format(store: Store, youtube: YouTube, film: bytes) -> None:
    report = collect(store, settings(youtube, workers=4))
    assert (report.ok, report.videos, report.failed, report.pending) == (8, 8, {}, 0)
    rows = {row["native_id"]: row for row in store.read("videos").to_pylist()}
    assert {name for name, row in rows.items() if row["verdict"] == "kept"} == set(WANTED)
    assert "movie" in rows["foxmovie000"]["rule"]
    attempts = store.read("downloads").to_pylist()
    assert {row["format"] for row in attempts} == {"160 - 256x144 (144p)"}
    assert {row["site"] for row in attempts} == {"youtube"}
    assert {store.read_blob(path) for path in store.list_blobs("raw")} == {film}
    # the players told the sizes of the formats that others take
    assert report.bytes_compared == report.bytes == 8 * len(film)
    assert (report.bytes_360p, report.bytes_720p) == (32 * len(film), 72 * len(film))
    assert ("media.googlevideo.com", "/videoplayback?itag=134") not in youtube.requests
    assert os.listdir(home_of(store).tmp) == []


@pytest.mark.slow
def test_a_bot_check_in_the_middle_rests_the_site_and_fails_nothing(store: Store, youtube: YouTube) -> None:
    config = settings(youtube, breaker_s=600.0)
    search_videos(Job(store, config, home_of(store)))
    answered: list[str] = []

    def three_then_a_check(name: str) -> Mapping[str, Any]:
        answered.append(name)
        return OK if len(answered) <= 3 else BOT

    youtube.playability = three_then_a_check
    first = collect(store, config)
    # yt-dlp asks several of its clients for each video, so fewer than three may have come
    assert first.failed == {}
    assert first.pending_classes == {"new": 8 - first.ok - 1, "source_blocked": 1}
    assert first.tried == first.ok + 1
    assert set(first.paused_sites) == {"youtube"}
    assert first.paused_sites["youtube"] > datetime.now(UTC) + timedelta(seconds=500)
    (refused,) = [row for row in store.read("downloads").to_pylist() if row["state"] == "pending"]
    assert "not a bot" in refused["message"]

    # while it is paused, nothing is requested
    asked = len(youtube.requests)
    assert due_batches(store, config, datetime.now(UTC)) == []
    assert collect(store, config).tried == 0
    assert len(youtube.requests) == asked

    # after its time one video asks for all, and is refused: twice as long
    youtube.playability = BOT
    second = collect(store, config, now=end_the_rest(store))
    assert (second.tried, second.ok, second.failed) == (1, first.ok, {})
    breaker = breakers(store)["youtube"]
    assert (breaker.state, breaker.refusals) == ("open", 2)
    assert breaker.next_try_at is not None
    assert breaker.next_try_at - breaker.changed_at >= timedelta(seconds=1200)

    # and when the site answers again, everything comes
    youtube.playability = OK
    late = end_the_rest(store)
    assert due_batches(store, config, late) == batches(store)
    third = collect(store, config, now=late)
    assert (third.ok, third.failed, third.pending, third.paused_sites) == (8, {}, 0, {})
    assert breakers(store)["youtube"].state == "closed"
    # no video lost one of its attempts to the refusals
    assert store.read("downloads").num_rows == 8 + 2
    assert {state.state for state in download_states(store).values()} == {"ok"}


@pytest.mark.usefixtures("inline")
def test_each_refusal_of_a_player_ends_in_its_own_state(store: Store, youtube: YouTube) -> None:
    config = settings(youtube, workers=4)
    search_videos(Job(store, config, home_of(store)))
    refusals = {
        "fox00000000": ({"status": "LOGIN_REQUIRED", "reason": "Private video"}, "failed", "auth"),
        "fox00000001": (
            {"status": "ERROR", "reason": "This video has been removed by the uploader"}, "failed", "permanent",
        ),
        "fox00000002": (
            {"status": "UNPLAYABLE", "reason": "The uploader has not made this video available in your country"},
            "failed", "geo",
        ),
        "fox00000003": (
            {"status": "ERROR", "reason": "This video is no longer available due to a copyright claim by Fox"},
            "failed", "permanent",
        ),
        "fox00000004": ({"status": "LIVE_STREAM_OFFLINE", "reason": "Premieres in 3 hours"}, "pending", "live"),
        "fox00000005": (
            {"status": "UNPLAYABLE", "reason": "Join this channel to get access to members-only content"},
            "failed", "auth",
        ),
    }  # fmt: skip
    youtube.playability = lambda name: refusals[name][0] if name in refusals else OK
    report = collect(store, config)
    states = {state.video_id.removeprefix("youtube-"): state for state in download_states(store).values()}
    print([(r["video_id"], r["message"]) for r in store.read("downloads").to_pylist()])
    seen = {name: (states[name].state, states[name].error_class) for name in refusals}
    assert seen == {name: (state, error_class) for name, (_, state, error_class) in refusals.items()}
    assert report.ok == 2
    assert report.videos == 8
    assert report.paused_sites == {}


@pytest.mark.usefixtures("inline")
@pytest.mark.parametrize("refusal", ["a check against bots", "too many requests"])
def test_a_site_that_refuses_the_search_leaves_no_half_batch(store: Store, youtube: YouTube, refusal: str) -> None:
    reason = {
        "a check against bots": "Sign in to confirm you're not a bot",
        "too many requests": "This content isn't available, try again later.",
    }[refusal]
    youtube.playability = {"status": "LOGIN_REQUIRED", "reason": reason}
    config = settings(youtube)
    found = search_videos(Job(store, config, home_of(store)))
    assert "fox" in found.failures
    # one page was asked, and refused for all
    pages = {path for _, path in youtube.requests if path.startswith("/watch")}
    assert len(pages) == 1
    assert found.found == 9


@pytest.mark.usefixtures("inline")
def test_what_is_no_video_at_all_is_invalid(store: Store, youtube: YouTube) -> None:
    youtube.media = b"<html>consent</html>"
    report = collect(store, settings(youtube, workers=4))
    assert report.failed == {"invalid_media": 8}
    assert report.too_many_failed
    assert store.list_blobs("raw") == []


@pytest.mark.slow
def test_a_new_search_after_the_downloads_changes_nothing_that_is_there(store: Store, youtube: YouTube) -> None:
    config = settings(youtube, workers=4)
    collect(store, config)
    before = {row["video_id"]: row for row in store.read("videos").to_pylist()}
    youtube.titles = {**WANTED, "foxnew00000": ("Fox Fable level 9 - platformer speedrun", "any%")}
    pages = len([path for _, path in youtube.requests if path.startswith("/watch")])
    found = search_videos(Job(store, config, home_of(store)))
    assert found.new == 1
    assert len([path for _, path in youtube.requests if path.startswith("/watch")]) == pages + 1
    rows = {row["video_id"]: row for row in store.read("videos").to_pylist()}
    assert {name: rows[name] for name in before} == before
    new, old = rows["youtube-foxnew00000"]["batch"], batches(store)[0]
    assert new != old
    assert download_batch(BatchJob(store, config, home_of(store), batch=old)).tried == 0
    assert download_batch(BatchJob(store, dataclasses.replace(config), home_of(store), batch=new)).ok == 1
