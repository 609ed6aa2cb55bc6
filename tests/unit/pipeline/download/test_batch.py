"""Downloads: real files and a loopback site, the ledger they leave, and what counts as a video."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Config, DownloadConfig, EngineConfig, SourceConfig
from pipeline.download.attempt import DownloadTask
from pipeline.download.batch import download_batch
from pipeline.download.due import due_batches
from pipeline.download.ledger import State, download_states
from pipeline.download.report import DownloadReport
from pipeline.errors import UserError
from pipeline.job import BatchJob, Job
from pipeline.search.batches import batches
from pipeline.search.search import search_videos
from pipeline.sources.base import Fetched
from pipeline.sources.folder import FolderSource
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from pipeline.storage.takedown import request_takedown
from tests.engines import InlineEngine, use_inline_engine

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def settings(spec: str, **download: Any) -> Config:
    return Config(
        source=SourceConfig(spec=spec, batch_size=50, allow_private=True),
        download=DownloadConfig(**{"workers": 1, "min_free_gb": 0.0, "socket_timeout_s": 5.0, **download}),
        engine=EngineConfig(max_attempts=2),
    )


def collect(store: Store, config: Config, now: datetime | None = None) -> DownloadReport:
    if not batches(store):
        search_videos(Job(store, config, home_of(store)))
    return download_batch(BatchJob(store, config, home_of(store), batch=batches(store)[0]), now=now)


def by_name(store: Store) -> dict[str, State]:
    names = {row["video_id"]: row["native_id"] for row in store.read("videos").to_pylist()}
    return {names[video_id]: state for video_id, state in download_states(store).items()}


def attempts(store: Store) -> list[dict[str, Any]]:
    return sorted(store.read("downloads").to_pylist(), key=lambda row: row["finished_at"])


# -- a folder -----------------------------------------------------------------------------------------------------


def test_a_folder_of_traps_becomes_one_blob_and_rows_with_reasons(store: Store, traps: Path) -> None:
    config = settings(f"folder:{traps}")
    report = collect(store, config)
    assert report.ok == 1
    assert report.failed == {"invalid_media": 12}
    assert (report.pending, report.taken_down, report.videos, report.tried) == (0, 0, 13, 13)
    assert report.too_many_failed
    assert len(report.errors) == 10
    messages = {message: count for _, message, count in report.errors}
    assert messages["libav cannot read it (Invalid data found when processing input)"] == 1
    assert any("was not finished or not closed by its recorder" in message for message in messages)
    good = by_name(store)["good.mp4"]
    assert store.read_blob(good.path or "") == (traps / "good.mp4").read_bytes()
    assert good.path == f"raw/{good.batch}/{good.video_id}-{(good.sha256 or '')[:12]}.mp4"
    assert store.list_blobs("raw") == [good.path]
    rows = attempts(store)
    assert len({row["attempt_id"] for row in rows}) == len(rows) == 13
    assert all(row["finished_at"] >= row["started_at"] for row in rows)
    assert all(row["message"] for row in rows if row["state"] == "failed")
    assert os.listdir(home_of(store).tmp) == []


@pytest.mark.usefixtures("inline")
def test_nothing_due_writes_nothing(store: Store, traps: Path) -> None:
    config = settings(f"folder:{traps}")
    collect(store, config)
    before = store.version("downloads"), store.list_blobs("")
    report = collect(store, config)
    assert (report.tried, report.ok) == (0, 1)
    assert (store.version("downloads"), store.list_blobs("")) == before
    assert due_batches(store, config, datetime.now(UTC) + timedelta(days=99)) == []


@pytest.mark.heavy
def test_the_same_bytes_have_the_same_names_in_this_process_and_in_workers(
    tmp_path: Path, traps: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listings = []
    for where in ("workers", "here"):
        store = Store(tmp_path / where)
        if where == "here":
            use_inline_engine(monkeypatch)
        collect(store, settings(f"folder:{traps}", workers=2))
        listings.append(
            [(state.video_id, state.state, state.path, state.message) for state in download_states(store).values()]
        )
    assert sorted(listings[0]) == sorted(listings[1])


@pytest.mark.usefixtures("inline")
def test_an_unknown_batch_is_an_error_and_a_full_disk_a_pause_that_names_itself(store: Store, traps: Path) -> None:
    config = settings(f"folder:{traps}", min_free_gb=1e9)
    with pytest.raises(UserError, match="'2020w01-0001' has no kept video"):
        download_batch(BatchJob(store, config, home_of(store), batch="2020w01-0001"))
    report = collect(store, config)
    assert re.search(r"GB are free at .*min_free_gb", report.paused)
    assert (report.tried, report.pending, report.too_many_failed) == (0, 13, False)
    assert store.version("downloads") == -1
    assert collect(store, settings(f"folder:{traps}")).ok == 1  # room was made: it goes on


@pytest.mark.usefixtures("inline")
def test_what_is_taken_down_is_neither_tried_nor_left_out_of_the_count(store: Store, traps: Path) -> None:
    config = settings(f"folder:{traps}")
    search_videos(Job(store, config, home_of(store)))
    good = next(row["video_id"] for row in store.read("videos").to_pylist() if row["native_id"] == "good.mp4")
    request_takedown(store, "video", good, "asked")
    report = collect(store, config)
    assert (report.ok, report.taken_down, report.videos) == (0, 1, 13)
    assert store.list_blobs("raw") == []


@pytest.mark.usefixtures("inline")
def test_a_takedown_that_arrives_during_the_download_leaves_no_row_and_no_blob(
    store: Store, traps: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(f"folder:{traps}")
    search_videos(Job(store, config, home_of(store)))
    good = next(row["video_id"] for row in store.read("videos").to_pylist() if row["native_id"] == "good.mp4")
    asked: list[bool] = []

    class Source(FolderSource):
        def fetch(self, video: Any, folder: Path, config: DownloadConfig) -> Fetched:
            if video["video_id"] == good:
                asked.append(request_takedown(store, "video", good, "asked"))
            return super().fetch(video, folder, config)

    monkeypatch.setattr("pipeline.download.run_pass.open_source", lambda config, home, options: Source(traps))
    report = download_batch(BatchJob(store, config, home_of(store), batch=batches(store)[0]))
    assert asked == [True]
    assert (report.ok, report.taken_down, report.videos) == (0, 1, 13)
    assert good not in {row["video_id"] for row in attempts(store)}
    assert store.list_blobs("raw") == []


@pytest.mark.heavy
def test_two_runs_of_one_batch_at_once_corrupt_nothing(store: Store, traps: Path) -> None:
    config = settings(f"folder:{traps}")
    search_videos(Job(store, config, home_of(store)))
    reports: list[DownloadReport] = []
    job = BatchJob(store, config, home_of(store), batch=batches(store)[0])
    threads = [threading.Thread(target=lambda: reports.append(download_batch(job))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reports) == 2
    states = download_states(store)
    assert sorted(state.state for state in states.values()) == ["failed"] * 12 + ["ok"]
    (path,) = store.list_blobs("raw")
    assert store.read_blob(path) == (traps / "good.mp4").read_bytes()


@pytest.mark.usefixtures("inline")
def test_leftovers_of_a_dead_process_are_swept_and_those_of_a_living_one_are_not(store: Store, traps: Path) -> None:
    config = settings(f"folder:{traps}")
    home = home_of(store)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for pid in (dead.pid, os.getppid()):
        (home.tmp / f"download-{pid}-x").mkdir(parents=True)
        (home.tmp / f"download-{pid}-x/media.part").write_bytes(b"x")
    collect(store, config)
    assert os.listdir(home.tmp) == [f"download-{os.getppid()}-x"]


@pytest.mark.usefixtures("inline")
def test_a_video_that_is_gone_from_the_folder_fails_alone(store: Store, tmp_path: Path, clip_file: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(clip_file, folder / name)
    config = settings(f"folder:{folder}", max_failed_share=0.5)
    search_videos(Job(store, config, home_of(store)))
    (folder / "a.mp4").unlink()
    report = collect(store, config)
    assert (report.ok, report.failed, report.too_many_failed) == (1, {"permanent": 1}, False)


# -- the network --------------------------------------------------------------------------------------------------


def url_list(tmp_path: Path, urls: Iterable[str]) -> str:
    file = tmp_path / "urls.txt"
    file.write_text("\n".join(urls))
    return f"urls:{file}"


@pytest.mark.usefixtures("inline")
def test_each_fault_of_a_site_ends_in_its_own_state_and_pause(
    store: Store, tmp_path: Path, site: Any, clip_file: Path
) -> None:
    # whatever else a site may do: tests/e2e/test_faults.py
    media = clip_file.read_bytes()
    expected = {
        site.add("/good.mp4", media, "video/mp4"): ("ok", None, None),
        site.add("/gone.mp4", status=404): ("failed", "permanent", 404),
        # a host of its own: a refusal is the whole site's
        site.add("/slow-down.mp4", media, "video/mp4").replace("127.0.0.1", "localhost"): (
            "pending", "rate_limited", 429,
        ),
        site.add("/broken.mp4", status=503): ("pending", "transient", 503),
        site.add("/page.mp4", b"<html>sorry</html>", "video/mp4"): ("failed", "invalid_media", None),
        site.add("/nothing.html", b"<html><p>no video here</p></html>"): ("failed", "permanent", None),
    }  # fmt: skip
    config = settings(url_list(tmp_path, expected), backoff_s=100.0)
    search_videos(Job(store, config, home_of(store)))
    # refused since: a site that refuses the search is not asked for files at all
    site.add("/slow-down.mp4", status=429, headers={"Retry-After": "5000"})
    report = collect(store, config)
    assert report.tried == len(expected) == report.videos
    urls = {row["video_id"]: row["url"] for row in store.read("videos").to_pylist()}
    seen = {urls[row["video_id"]]: (row["state"], row["error_class"], row["http_status"]) for row in attempts(store)}
    assert seen == expected
    assert len(store.list_blobs("raw")) == 1
    assert os.listdir(home_of(store).tmp) == []
    assert list(report.paused_sites) == ["localhost"]
    pauses = {
        urls[row["video_id"]]: (row["next_try_at"] - row["finished_at"]).total_seconds()
        for row in attempts(store)
        if row["next_try_at"]
    }
    slow_down = site.url.replace("127.0.0.1", "localhost") + "/slow-down.mp4"
    assert 5000 <= pauses[slow_down] <= 5510  # as long as it asked for, and a little more at random
    assert 79 <= pauses[site.url + "/broken.mp4"] <= 121


@pytest.mark.usefixtures("inline")
def test_a_pending_video_waits_its_time_then_succeeds_or_is_given_up(
    store: Store, tmp_path: Path, site: Any, clip_file: Path
) -> None:
    url = site.add("/later.mp4", status=503)
    config = settings(url_list(tmp_path, [url]), backoff_s=100.0, max_attempts=3)
    clock = datetime.now(UTC)
    assert collect(store, config, now=clock).pending == 1
    (batch,) = batches(store)
    assert due_batches(store, config, clock + timedelta(seconds=50)) == []
    assert collect(store, config, now=clock + timedelta(seconds=50)).tried == 0
    assert due_batches(store, config, clock + timedelta(hours=1)) == [batch]
    collect(store, config, now=clock + timedelta(hours=1))
    first, second = attempts(store)
    assert 159 <= (second["next_try_at"] - second["finished_at"]).total_seconds() <= 241  # twice 100, give or take
    assert (first["attempt"], second["attempt"]) == (1, 2)
    healed = Store(tmp_path / "healed")
    shutil.copytree(Path(store.root) / "tables", Path(healed.root) / "tables")
    assert collect(store, config, now=clock + timedelta(hours=2)).failed == {"transient": 1}
    assert due_batches(store, config, clock + timedelta(days=99)) == []
    site.add("/later.mp4", clip_file.read_bytes(), "video/mp4")
    assert collect(healed, config, now=clock + timedelta(hours=2)).ok == 1
    assert [state.attempts for state in download_states(healed).values()] == [3]


@pytest.mark.usefixtures("inline")
def test_batches_of_another_source_are_not_due_and_not_touched(
    store: Store, tmp_path: Path, traps: Path, site: Any
) -> None:
    collect_later = settings(f"folder:{traps}")
    search_videos(Job(store, collect_later, home_of(store)))
    other = settings(url_list(tmp_path, [site.add("/x.mp4", status=404)]))
    assert due_batches(store, other, NOW) == []
    assert due_batches(store, collect_later, NOW) == batches(store)
    report = collect(store, other)
    assert (report.tried, report.pending) == (0, 13)


def test_an_attempt_past_its_deadline_is_ended_and_stays_pending(store: Store, tmp_path: Path, site: Any) -> None:
    release = threading.Event()
    answer = site.answer

    def stall(request: Any, *, send_body: bool) -> None:
        release.wait(30)
        answer(request, send_body=send_body)

    url = site.add("/stall.mp4", status=404)
    config = settings(url_list(tmp_path, [url]), deadline_s=1.0, socket_timeout_s=60.0)
    search_videos(Job(store, config, home_of(store)))
    site.answer = stall
    report = collect(store, config)
    release.set()
    assert report.pending_classes == {"timeout": 1}
    assert os.listdir(home_of(store).tmp) == []


@pytest.mark.usefixtures("inline")
def test_attempts_are_published_while_the_batch_goes_on(store: Store, tmp_path: Path, clip_file: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    for index in range(140):
        (folder / f"{index}.mp4").write_bytes(b"")
    config = settings(f"folder:{folder}")
    search_videos(Job(store, replace_batch_size(config, 200), home_of(store)))
    collect(store, config)
    assert store.version("downloads") == 2  # three commits of at most 64 rows
    assert len(attempts(store)) == 140


def test_an_interrupt_keeps_what_is_done(store: Store, traps: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Any] = []

    def interrupt(task: DownloadTask) -> None:
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(task.video["video_id"])

    monkeypatch.setattr("pipeline.download.run_pass.make_engine", lambda *arguments, **options: InlineEngine(interrupt))
    with pytest.raises(KeyboardInterrupt):
        collect(store, settings(f"folder:{traps}"))
    assert [row["video_id"] for row in attempts(store)] == done
    assert os.listdir(home_of(store).tmp) == []


def replace_batch_size(config: Config, size: int) -> Config:
    return dataclasses.replace(config, source=dataclasses.replace(config.source, batch_size=size))


def test_the_settings_of_downloads_are_checked() -> None:
    for wrong in ({"workers": 0}, {"max_failed_share": 1.5}, {"deadline_s": 0.0}, {"backoff_s": -1.0}):
        with pytest.raises(UserError, match=f"download.{next(iter(wrong))} = "):
            dataclasses.replace(DownloadConfig(), **wrong)
