"""A file of a folder that grew, was replaced or mended is due again, its clips are replaced, and all totals balance."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from assets.report.reads import failures
from pipeline.clips.cut_batch import cut_batch
from pipeline.config import Config, SourceConfig
from pipeline.download.batch import download_batch
from pipeline.download.disk_space import raw_bytes
from pipeline.download.due import due_batches
from pipeline.inspect.gc import collect_garbage
from pipeline.inspect.status import status
from pipeline.inspect.status_text import format_status
from pipeline.inspect.why import why
from pipeline.inspect.why_text import format_why
from pipeline.job import Job
from pipeline.search.batches import batches
from pipeline.search.search import search_videos
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests.folders import Folder
from tests.searches import NOW

pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture
def folder(store: Store, tmp_path: Path) -> Folder:
    return Folder(store, tmp_path / "videos")


def test_a_recording_that_grew_gets_its_further_clips_and_keeps_the_first_ones(folder: Folder) -> None:
    folder.write(1, 4)
    assert folder.collect(check=True) == 1
    before, old = folder.clips(), folder.state()
    assert len(before) == 2
    folder.write(1, 6)
    assert folder.collect(check=True) == 1
    after = folder.clips()
    assert {start: after[start] for start in before} == before
    assert len(after) == 3
    assert (folder.state().state, folder.state().attempts) == ("ok", 2)
    assert folder.state().sha256 != old.sha256
    # nothing is left of the earlier file but its tar, which no row names
    assert folder.store.list_blobs("raw") == [folder.state().path]
    assert raw_bytes(folder.store) == folder.state().bytes
    [tar] = collect_garbage(folder.store, dry_run=False)
    assert tar.startswith("clips/")
    assert folder.collect(check=True) == 0


def test_a_touched_file_with_the_same_bytes_is_read_once_and_nothing_follows(folder: Folder) -> None:
    folder.write(1, 4)
    folder.collect(check=True)
    versions = [folder.store.version(name) for name in ("clips", "clippings")]
    folder.touch()
    assert folder.collect(check=True) == 1
    assert [folder.store.version(name) for name in ("clips", "clippings")] == versions
    assert raw_bytes(folder.store) == folder.state().bytes
    assert folder.collect(check=True) == 0


@pytest.mark.slow
@pytest.mark.parametrize("hours", [-24, 24], ids=["clock back", "clock ahead"])
def test_a_file_is_due_again_whichever_way_its_time_moved(folder: Folder, hours: int) -> None:
    path = folder.write(1, 4)
    folder.collect()
    path.write_bytes(folder.write(2, 4, "other.mp4").read_bytes())
    (folder.folder / "other.mp4").unlink()
    os.utime(path, (time.time() + 3600 * hours,) * 2)
    before = folder.clips()
    assert folder.collect() == 1
    assert set(folder.clips().values()).isdisjoint(before.values())


def test_a_mended_file_is_due_again_with_all_its_attempts(folder: Folder) -> None:
    path = folder.folder / "level.mp4"
    path.write_bytes(b"no video")
    folder.touch()
    folder.collect()
    assert folder.state().state == "failed"
    assert folder.collect() == 0
    folder.write(1, 4)
    folder.collect()
    assert (folder.state().state, len(folder.clips())) == ("ok", 2)


def test_a_failure_that_is_mended_leaves_the_report_and_what_is_dropped_has_no_class(folder: Folder) -> None:
    path = folder.folder / "level.mp4"
    path.write_bytes(b"no video")
    folder.touch()
    folder.collect()
    assert [row["stage"] for row in failures(folder.store, folder.config)] == ["download"]
    for seed in (1, 2):
        folder.write(seed, 5)
        folder.collect()
    assert failures(folder.store, folder.config) == []
    told = format_why(why(folder.store, folder.config, "level.mp4"))
    assert "dropped: its folder has a newer file since" in told


def test_a_file_that_was_replaced_by_a_broken_one_fails_by_name_and_the_earlier_clips_stay_and_are_counted(
    folder: Folder,
) -> None:
    path = folder.write(1, 4)
    folder.collect(check=True)
    path.write_bytes(b"no video")
    folder.touch()
    folder.collect(check=True)
    found = folder.state()
    assert (found.state, found.error_class, found.earlier_file) == ("failed", "invalid_media", True)
    counted = status(folder.store, folder.config)
    assert (counted.clips.videos_cut, counted.clips.videos_earlier, counted.clips.total) == (0, 1, 2)
    assert "2 of 1 videos (1 as their file was before it changed)" in format_status(counted)
    assert "its clips are of the earlier one" in format_why(why(folder.store, folder.config, "level.mp4"))
    folder.write(1, 4)
    folder.collect(check=True)
    assert status(folder.store, folder.config).clips.videos_earlier == 0


@pytest.mark.slow
def test_a_file_that_went_back_to_an_earlier_state_is_fetched_and_cut_again(folder: Folder) -> None:
    path = folder.write(1, 4)
    first, about = path.read_bytes(), path.stat()
    folder.collect(check=True)
    clips = folder.clips()
    folder.write(2, 4)
    folder.collect(check=True)
    path.write_bytes(first)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert folder.collect(check=True) == 1
    assert folder.clips() == clips
    assert folder.store.list_blobs("raw") == [folder.state().path]


@pytest.mark.slow
def test_a_changed_file_whose_earlier_raw_file_was_dropped_is_fetched_and_cut(store: Store, tmp_path: Path) -> None:
    folder = Folder(store, tmp_path / "videos", keep_raw=False)
    folder.write(1, 4)
    folder.collect(check=True)
    assert store.list_blobs("raw") == []
    folder.write(2, 6)
    assert folder.collect(check=True) == 1
    assert len(folder.clips()) == 3
    assert (store.list_blobs("raw"), raw_bytes(store)) == ([], 0)
    folder.touch()
    folder.collect(check=True)
    assert folder.collect(check=True) == 0


@pytest.mark.slow
def test_a_deleted_file_changes_nothing(folder: Folder) -> None:
    folder.write(1, 4)
    folder.write(2, 4, "other.mp4")
    folder.collect(check=True)
    before = folder.clips()
    (folder.folder / "other.mp4").unlink()
    assert folder.collect(check=True) == 0
    assert folder.clips() == before
    assert status(folder.store, folder.config).downloads.ok == 2


def test_a_run_that_is_killed_in_mid_replacement_is_completed_by_the_next(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write(1, 4)
    folder.collect(check=True)
    folder.write(2, 6)
    folder.search()
    replace = Store.replace

    def killed(self: Store, name: str, *args: Any, **how: Any) -> int:
        if name == "clippings":
            raise KeyboardInterrupt
        return replace(self, name, *args, **how)

    download_batch(folder.job())
    with monkeypatch.context() as patch:
        patch.setattr(Store, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            cut_batch(folder.job())
    folder.collect(check=True)
    assert len(folder.clips()) == 3
    assert folder.state().state == "ok"


@pytest.mark.slow
def test_a_search_that_no_download_followed_is_made_up_for(folder: Folder) -> None:
    folder.write(1, 4)
    folder.collect()
    folder.write(2, 4)
    folder.search()
    folder.check()  # the file changed and is not fetched
    assert due_batches(folder.store, folder.config, NOW) == batches(folder.store)
    folder.write(3, 4)  # again, and a download without a search fetches what is there
    download_batch(folder.job())
    assert due_batches(folder.store, folder.config, NOW) == []
    assert folder.collect() == 1


@pytest.mark.slow
def test_rows_from_before_states_of_files_were_kept_are_due_where_the_file_is_newer(folder: Folder) -> None:
    folder.write(1, 4)
    folder.collect()
    for name, columns in (("videos", ("size_bytes", "modified_at")), ("downloads", ("file_version",))):
        rows = folder.store.read(name).to_pylist()
        folder.store.replace(name, [row | dict.fromkeys(columns) for row in rows])
    assert folder.collect() == 0
    os.utime(folder.folder / "level.mp4", (time.time() + 60,) * 2)
    assert folder.collect() == 1


@pytest.mark.slow
def test_an_object_is_due_again_by_its_tag_and_not_by_its_time(
    tmp_path: Path, store: Store, s3_options: dict[str, str]
) -> None:
    prefix = Store("s3://lampworks-test/changing", s3_options)
    folder = Folder(store, tmp_path / "videos")
    first, second = folder.write(1, 4), folder.write(2, 4, "other.mp4")
    remote = Store(store.root, s3_options)
    source = SourceConfig(spec=f"folder:{prefix.root}")
    config = Config(source=source, download=folder.config.download, clips=folder.config.clips)

    def tried() -> int:
        job = Job(remote, config, home_of(store))
        search_videos(job, now=NOW)
        return download_batch(job.of_batch(batches(store)[0])).tried

    prefix.put_file("level.mp4", first)
    assert (tried(), tried()) == (1, 0)
    time.sleep(1.1)  # an object store dates by the second
    prefix.put_file("level.mp4", first)
    assert tried() == 0
    prefix.put_file("level.mp4", second)
    assert (tried(), tried()) == (1, 0)
