"""Circuit breakers, and batches that meet them, rate limits or the end of the disk budget."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.clips.cut_batch import cut_batch
from pipeline.config import ClipConfig, Config, DownloadConfig, SourceConfig
from pipeline.download.batch import download_batch
from pipeline.download.circuit_breaker import Breaker, Refusal, breakers, closed, opened, paused_until
from pipeline.download.due import due_batches
from pipeline.download.ledger import download_states
from pipeline.download.report import DownloadReport
from pipeline.job import BatchJob, Job
from pipeline.search.batches import batches
from pipeline.search.search import search_videos
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests.snapshots import snapshot

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
CONFIG = DownloadConfig(breaker_s=1000.0)


def seconds(breaker: Breaker) -> float:
    assert breaker.next_try_at is not None
    return (breaker.next_try_at - breaker.changed_at).total_seconds()


def test_a_rest_doubles_with_every_refusal_that_follows_it_and_ends_with_an_answer() -> None:
    first = opened(None, Refusal("x", "source_blocked", "bot?", None), CONFIG, NOW)
    assert 1000 <= seconds(first) <= 1200
    second = opened(first, Refusal("x", "source_blocked", "bot?", None), CONFIG, NOW)
    assert 2000 <= seconds(second) <= 2400
    assert (first.refusals, second.refusals) == (1, 2)
    assert 1000 <= seconds(opened(closed("x", NOW), Refusal("x", "rate_limited", "429", None), CONFIG, NOW)) <= 1200
    many = Breaker(site="x", state="open", refusals=60, changed_at=NOW, next_try_at=NOW)
    assert seconds(opened(many, Refusal("x", "source_blocked", "", None), CONFIG, NOW)) <= 1.2 * 86400


def test_a_retry_after_is_the_first_rest_and_later_only_makes_it_longer() -> None:
    first = opened(None, Refusal("x", "rate_limited", "429", 5.0), CONFIG, NOW)
    assert 5.0 <= seconds(first) <= 5.5
    assert seconds(opened(first, Refusal("x", "rate_limited", "429", 5.0), CONFIG, NOW)) >= 2000
    assert seconds(opened(first, Refusal("x", "rate_limited", "429", 9000.0), CONFIG, NOW)) >= 9000


def test_a_site_rests_then_one_may_ask(store: Store) -> None:
    store.append("breakers", [opened(None, Refusal("x", "source_blocked", "bot?", 60.0), CONFIG, NOW).row()])
    known = breakers(store)
    later = NOW + timedelta(seconds=70)
    assert [known["x"].state_at(time) for time in (NOW, later)] == ["open", "half_open"]
    assert list(paused_until(known, ["x", "y"], NOW)) == ["x"]
    assert paused_until(known, ["x", "y"], later) == {}
    store.append("breakers", [closed("x", later).row()])
    assert breakers(store)["x"].state_at(later) == "closed"


# -- a batch that meets them --------------------------------------------------------------------------------------


@pytest.fixture
def listed(store: Store, tmp_path: Path, site: Any, clip_file: Path) -> Callable[..., tuple[Config, str]]:
    """Search a list of good videos of one loopback site, eight or so many."""

    def search(videos: int = 8, **download: Any) -> tuple[Config, str]:
        urls = [site.add(f"/{index}.mp4", clip_file.read_bytes(), "video/mp4") for index in range(videos)]
        (tmp_path / "urls.txt").write_text("\n".join(urls))
        defaults = {"workers": 2, "min_free_gb": 0.0, "max_wait_s": 5.0, "breaker_s": 1000.0}
        config = Config(
            source=SourceConfig(spec=f"urls:{tmp_path / 'urls.txt'}", allow_private=True),
            download=DownloadConfig(**{**defaults, **download}),
        )
        search_videos(Job(store, config, home_of(store)))
        return config, batches(store)[0]

    return search


def run(store: Store, config: Config, batch: str, now: datetime | None = None) -> DownloadReport:
    return download_batch(BatchJob(store, config, home_of(store), batch=batch), now=now)


def end_rest(store: Store) -> None:
    now = datetime.now(UTC)
    event = breakers(store)["127.0.0.1"]
    store.append("breakers", [Breaker(**{**vars(event), "changed_at": now, "next_try_at": now}).row()])


def refuse(site: Any, **answer: Any) -> Callable[[], None]:
    """Answer 429 to everything from now on, until the returned function is called."""
    pages = dict(site.pages)
    for path in pages:
        site.add(path, status=429, **answer)
    return lambda: site.pages.update(pages)


@pytest.mark.usefixtures("inline")
def test_a_site_that_refuses_rests_and_its_other_videos_are_not_asked_for(
    store: Store, site: Any, listed: Callable[..., tuple[Config, str]]
) -> None:
    config, batch = listed()
    relent = refuse(site)
    site.requests.clear()
    report = run(store, config, batch)
    assert report.tried <= config.download.workers
    assert len(site.requests) <= config.download.workers
    assert (report.ok, report.failed, report.pending, report.too_many_failed) == (0, {}, 8, False)
    assert list(report.paused_sites) == ["127.0.0.1"]
    assert report.next_try_at == report.paused_sites["127.0.0.1"]
    assert due_batches(store, config, datetime.now(UTC)) == []
    site.requests.clear()
    assert run(store, config, batch).tried == 0
    assert site.requests == []
    # after its rest one asks for all, is refused, and the rest doubles
    end_rest(store)
    assert run(store, config, batch, datetime.now(UTC) + timedelta(hours=1)).tried == 1
    assert breakers(store)["127.0.0.1"].refusals == 2
    # and after that one it answers: everything goes on
    relent()
    end_rest(store)
    report = run(store, config, batch, datetime.now(UTC) + timedelta(hours=1))
    assert (report.ok, report.pending, report.paused_sites) == (8, 0, {})
    assert breakers(store)["127.0.0.1"].state == "closed"


@pytest.mark.usefixtures("inline")
@pytest.mark.heavy
def test_however_often_a_site_refuses_no_video_is_given_up_for_it(
    store: Store, site: Any, listed: Callable[..., tuple[Config, str]]
) -> None:
    config, batch = listed(3, max_attempts=1, max_wait_s=0.0, breaker_s=0.0)
    refuse(site)
    for hours in range(3):
        run(store, config, batch, datetime.now(UTC) + timedelta(hours=hours))
    assert {state.state for state in download_states(store).values()} == {"pending"}


@pytest.mark.usefixtures("inline")
def test_attempts_that_a_site_refused_are_not_counted_when_a_video_fails_by_itself(
    store: Store, site: Any, listed: Callable[..., tuple[Config, str]]
) -> None:
    config, batch = listed(3, max_attempts=2, max_wait_s=0.0, breaker_s=0.0)
    relent = refuse(site)
    for hours in range(3):
        run(store, config, batch, datetime.now(UTC) + timedelta(hours=hours))
    relent()
    for path in list(site.pages):
        site.add(path, status=503)
    refused = next(name for name, state in download_states(store).items() if state.refused)
    states = []
    for hours in (4, 8):
        run(store, config, batch, datetime.now(UTC) + timedelta(hours=hours))
        state = download_states(store)[refused]
        states.append((state.state, state.attempts - state.refused))
    assert states == [("pending", 1), ("failed", 2)]


@pytest.mark.usefixtures("inline")
def test_a_short_retry_after_is_waited_for_in_the_same_run(
    store: Store, site: Any, listed: Callable[..., tuple[Config, str]]
) -> None:
    config, batch = listed(workers=1)
    relent = refuse(site, headers={"Retry-After": "1"})
    answer = site.answer
    seen: list[float] = []

    def once(request: Any, *, send_body: bool) -> None:
        if seen:
            relent()
        seen.append(datetime.now(UTC).timestamp())
        answer(request, send_body=send_body)

    site.answer = once
    report = run(store, config, batch)
    assert (report.ok, report.pending) == (8, 0)
    assert seen[1] - seen[0] >= 1.0
    first = min(store.read("downloads").to_pylist(), key=lambda row: row["finished_at"])
    assert (first["state"], first["error_class"], first["http_status"]) == ("pending", "rate_limited", 429)


@pytest.mark.heavy
def test_two_runs_at_once_ask_a_site_for_no_more_than_its_limit(
    store: Store, site: Any, listed: Callable[..., tuple[Config, str]]
) -> None:
    config, batch = listed(4, host_workers=1, workers=4)
    answer, lock = site.answer, threading.Lock()
    at_once, most = 0, 0

    def count(request: Any, *, send_body: bool) -> None:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.05)  # long enough for another to come in
        with lock:
            at_once -= 1
        answer(request, send_body=send_body)

    site.answer = count
    threads = [threading.Thread(target=run, args=(store, config, batch)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {state.state for state in download_states(store).values()} == {"ok"}
    assert most == 1


@pytest.mark.usefixtures("inline")
def test_the_day_s_last_download_pauses_the_batch_with_the_reason(
    store: Store, listed: Callable[..., tuple[Config, str]]
) -> None:
    config, batch = listed(host_daily=3)
    report = run(store, config, batch)
    assert (report.ok, report.pending, report.failed) == (3, 5, {})
    assert "3 downloads within 24 hours" in report.paused


@pytest.mark.usefixtures("inline")
def test_a_quota_of_raw_files_pauses_and_dropping_what_is_cut_makes_room(
    store: Store, listed: Callable[..., tuple[Config, str]], clip_file: Path
) -> None:
    size = clip_file.stat().st_size
    config, batch = listed(max_raw_gb=2.5 * size / 1e9, workers=1, keep_raw=False)
    report = run(store, config, batch)
    assert (report.ok, report.pending) == (3, 5)
    assert "download.max_raw_gb" in report.paused
    assert run(store, config, batch).tried == 0
    cut_batch(BatchJob(store, config, home_of(store), batch=batch))
    assert store.list_blobs("raw") == []
    assert sum(state.dropped for state in download_states(store).values()) == 3
    assert run(store, config, batch).ok == 6
    before = store.version("downloads")
    cut_batch(BatchJob(store, config, home_of(store), batch=batch))
    assert store.version("downloads") == before + 1
    cut_batch(BatchJob(store, config, home_of(store), batch=batch))
    assert store.version("downloads") == before + 1


@pytest.mark.usefixtures("inline")
def test_a_video_that_comes_late_adds_its_clips_and_leaves_the_files_of_the_others(
    store: Store, tmp_path: Path, site: Any, clip_file: Path
) -> None:
    film = clip_file.read_bytes()
    urls = [site.add("/soon.mp4", film, "video/mp4"), site.add("/late.mp4", film, "video/mp4")]
    (tmp_path / "urls.txt").write_text("\n".join(urls))
    config = Config(
        source=SourceConfig(spec=f"urls:{tmp_path / 'urls.txt'}", allow_private=True),
        download=DownloadConfig(workers=1, min_free_gb=0.0, max_wait_s=0.0),
        clips=ClipConfig(seconds=4, fps=10),
    )
    search_videos(Job(store, config, home_of(store)))
    (batch,) = batches(store)
    site.add("/late.mp4", status=503)
    assert run(store, config, batch).pending_classes == {"transient": 1}
    assert cut_batch(BatchJob(store, config, home_of(store), batch=batch)).num_clips == 1
    before = snapshot(store.url("clips"))
    site.add("/late.mp4", film, "video/mp4")
    assert run(store, config, batch, datetime.now(UTC) + timedelta(hours=1)).ok == 2
    assert cut_batch(BatchJob(store, config, home_of(store), batch=batch)).num_clips == 2
    after = snapshot(store.url("clips"))
    assert len(before) == 1
    assert len(after) == 2
    assert before.items() <= after.items()
