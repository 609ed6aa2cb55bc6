"""A file that is still being written is pending, with the time of the next try; at rest it is what it is."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.config import Config, DownloadConfig, SourceConfig
from pipeline.download.batch import download_batch
from pipeline.download.ledger import State, download_states
from pipeline.download.report import DownloadReport
from pipeline.job import BatchJob, Job
from pipeline.search.batches import batches
from pipeline.search.search import search_videos
from pipeline.sources.settling import Original, unfinished_container
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests.media import at_rest, run_ffmpeg

pytestmark = [pytest.mark.usefixtures("inline"), pytest.mark.timeout(60, method="thread")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "videos").mkdir()
    return tmp_path / "videos"


def config_of(folder: Path, settle_s: float = 60.0) -> Config:
    return Config(
        source=SourceConfig(spec=f"folder:{folder}", settle_s=settle_s),
        download=DownloadConfig(workers=1, min_free_gb=0.0, max_attempts=2),
    )


def collect(store: Store, config: Config, now: datetime | None = None) -> DownloadReport:
    search_videos(Job(store, config, home_of(store)))
    return download_batch(BatchJob(store, config, home_of(store), batch=batches(store)[0]), now=now)


def state(store: Store) -> State:
    (found,) = download_states(store).values()
    return found


def age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


def test_an_mp4_without_its_index_is_pending_while_it_is_new_and_fails_with_what_to_do_when_it_is_not(
    store: Store, folder: Path, clip_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = clip_file.read_bytes()
    (folder / "recording.mp4").write_bytes(good[: len(good) // 2])
    before = datetime.now(UTC)
    report = collect(store, config_of(folder))
    assert (report.ok, report.failed, report.pending) == (0, {}, 1)
    found = state(store)
    assert (found.state, found.error_class, found.refused) == ("pending", "unfinished", 1)
    assert found.message is not None
    assert "still being written (its index (moov) is not written yet)" in found.message
    assert "source.settle_s = 60 s" in found.message
    assert found.next_try_at is not None
    assert f"after {found.next_try_at:%H:%M:%S} UTC" in found.message
    said = f"1 file is still being written: pending, and due again after {found.next_try_at:%H:%M:%S} UTC"
    assert said in capsys.readouterr().err
    assert timedelta(seconds=50) < found.next_try_at - before < timedelta(seconds=62)
    # it is not asked before, and however often it is asked, it does not fail
    assert collect(store, config_of(folder)).tried == 0
    later = found.next_try_at
    for _ in range(3):
        later += timedelta(seconds=61)
        age(folder / "recording.mp4", 5)
        assert collect(store, config_of(folder), later).pending == 1
    age(folder / "recording.mp4", 61)
    report = collect(store, config_of(folder))
    assert (report.pending, report.failed) == (0, {"invalid_media": 1})
    message = state(store).message
    assert message is not None
    assert "copy it again once the recording is closed" in message


def test_with_settle_s_of_zero_no_file_is_waited_for(store: Store, folder: Path, clip_file: Path) -> None:
    good = clip_file.read_bytes()
    (folder / "recording.mp4").write_bytes(good[: len(good) // 2])
    assert collect(store, config_of(folder, 0.0)).failed == {"invalid_media": 1}


def test_a_web_page_is_no_recording_however_new_it_is(store: Store, folder: Path) -> None:
    (folder / "page.mp4").write_bytes(b"<!DOCTYPE html><html></html>")
    assert collect(store, config_of(folder)).failed == {"invalid_media": 1}


@contextmanager
def growing(path: Path) -> Iterator[None]:
    """Append to a file all the time, as a recorder does."""
    done = threading.Event()

    def write() -> None:
        with path.open("ab", buffering=0) as file:
            while not done.wait(0.1):
                file.write(bytes(100))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        done.set()
        writer.join()


def test_a_recording_that_grows_is_pending_although_it_plays_and_is_collected_once_it_is_at_rest(
    store: Store, folder: Path, clip_file: Path
) -> None:
    path = folder / "recording.ts"
    run_ffmpeg("-i", clip_file, "-c", "copy", "-f", "mpegts", path)
    with growing(path):
        report = collect(store, config_of(folder))
    assert (report.ok, report.pending) == (0, 1)
    found = state(store)
    assert found.message is not None
    assert "still being written (it changed while it was read)" in found.message
    assert store.list_blobs("raw") == []
    age(path, 120)
    assert collect(store, config_of(folder)).ok == 1


def test_a_file_from_a_clock_ahead_is_not_waited_for(store: Store, folder: Path, clip_file: Path) -> None:
    good = clip_file.read_bytes()
    (folder / "recording.mp4").write_bytes(good[: len(good) // 2])
    age(folder / "recording.mp4", -86400)
    assert collect(store, config_of(folder)).failed == {"invalid_media": 1}


def test_a_file_that_changes_while_it_is_copied_leaves_no_blob(
    store: Store, folder: Path, clip_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "a.mp4"
    path.write_bytes(clip_file.read_bytes())
    at_rest(folder)
    take = Store.take_file

    def changed(self: Store, key: str, source: Path) -> None:
        take(self, key, source)
        with path.open("ab") as file:
            file.write(b"more")

    monkeypatch.setattr(Store, "take_file", changed)
    assert collect(store, config_of(folder)).pending == 1
    assert state(store).error_class == "unfinished"
    assert store.list_blobs("raw") == []


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.mp4", []), ("a.mp4", ["-movflags", "+faststart"]), ("a.mov", []), ("a.mkv", []), ("a.avi", []),
     ("a.mp4", ["-movflags", "frag_keyframe+empty_moov"])],
    ids=["mp4", "index first", "mov", "mkv", "avi", "fragments"],
)  # fmt: skip
def test_half_of_a_container_is_known_as_unfinished_and_the_whole_is_not(
    tmp_path: Path, clip_file: Path, name: str, options: list[str]
) -> None:
    path = tmp_path / name
    run_ffmpeg("-i", clip_file, "-c", "copy", *options, path)
    assert unfinished_container(path) == ""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert unfinished_container(path)


@pytest.mark.parametrize(
    "content", [b"", b"\x1a\x45\xdf\xa3", b"RIFF", b"\0\0\0\x08ftyp", b"x" * 50, b"\x1a\x45\xdf\xa3\x01"]
)
def test_the_beginning_of_a_file_is_never_read_past_its_end(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    assert isinstance(unfinished_container(tmp_path / "a"), str)


def test_a_file_that_was_changed_long_ago_is_not_looked_at_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_sleep(seconds: float) -> None:
        raise AssertionError(seconds)

    monkeypatch.setattr("pipeline.sources.settling.time.sleep", no_sleep)
    (tmp_path / "a").write_bytes(b"x")
    at_rest(tmp_path)
    Original.of(tmp_path / "a", 60.0).require_rest()


def test_times_that_no_clock_has_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    for seconds in (-(10**9), 0, 10**10):
        os.utime(tmp_path / "a", (seconds, seconds))
        assert Original.of(tmp_path / "a", 60.0).modified_at.tzinfo is UTC
