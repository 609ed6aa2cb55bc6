"""A search over real folders: the same file is the same video, wherever its folder lies."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
from pathlib import Path

import pytest

from pipeline.config import Config, RulesConfig, SourceConfig
from pipeline.download.batch import download_batch
from pipeline.errors import UserError
from pipeline.ids import file_video_id
from pipeline.job import BatchJob, Job
from pipeline.search.search import search_videos
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests.searches import NOW, rows, versions


def test_a_real_folder_becomes_rows_without_rules(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    for name in ("one.mp4", "deep/two.mkv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    settings = Config(source=SourceConfig(spec=f"folder:{folder}"))
    report = search_videos(Job(store, settings, home_of(store)), now=NOW)
    assert (report.found, report.kept, report.batches) == (2, 2, ["2026w47-0001"])
    assert sorted(rows(store)) == ["deep/two.mkv", "one.mp4"]
    before = versions(store)
    search_videos(Job(store, settings, home_of(store)))
    assert versions(store) == before


def recordings(folder: Path, *names: str) -> Config:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return Config(source=SourceConfig(spec=f"folder:{folder}"))


def urls(store: Store) -> set[str]:
    return {row["url"] for row in store.read("videos").to_pylist()}


def test_the_same_name_in_two_folders_is_two_videos(store: Store, tmp_path: Path) -> None:
    first = recordings(tmp_path / "a", "level.mp4", "other.mp4")
    second = recordings(tmp_path / "b", "level.mp4")
    for settings in (first, second, first, second):
        search_videos(Job(store, settings, home_of(store)), now=NOW)
    assert urls(store) == {str(tmp_path / name) for name in ("a/level.mp4", "a/other.mp4", "b/level.mp4")}
    found = store.read("videos").to_pylist()
    assert len({row["video_id"] for row in found}) == 3
    assert {row["batch"] for row in found} == {"2026w47-0001", "2026w47-0002"}
    (first_id,) = (row["video_id"] for row in found if row["url"].endswith("a/level.mp4"))
    assert first_id == file_video_id("level.mp4")


def test_a_folder_that_moved_holds_the_same_videos(store: Store, tmp_path: Path) -> None:
    search_videos(Job(store, recordings(tmp_path / "a", "level.mp4"), home_of(store)), now=NOW)
    (before,) = store.read("videos").to_pylist()
    (tmp_path / "a").rename(tmp_path / "b")
    report = search_videos(Job(store, recordings(tmp_path / "b"), home_of(store)), now=NOW)
    (after,) = store.read("videos").to_pylist()
    assert (report.new, after["video_id"], after["batch"]) == (0, before["video_id"], before["batch"])
    assert after["url"] == str(tmp_path / "b" / "level.mp4")


def _search_folder(root: str, folder: Path) -> None:
    store = Store(root)
    search_videos(Job(store, Config(source=SourceConfig(spec=f"folder:{folder}", batch_size=4)), home_of(store)))


@pytest.mark.heavy
def test_processes_that_search_at_once_add_every_video_once(store: Store, tmp_path: Path) -> None:
    recordings(tmp_path / "a", *(f"{number:02d}.mp4" for number in range(30)))
    context = multiprocessing.get_context("spawn")
    searches = [context.Process(target=_search_folder, args=(store.root, tmp_path / "a")) for _ in range(2)]
    for process in searches:
        process.start()
    for process in searches:
        process.join()
    assert [process.exitcode for process in searches] == [0, 0]
    found = store.read("videos").to_pylist()
    assert len(found) == len({row["video_id"] for row in found}) == 30
    assert all(row["batch"] for row in found)
    before = {row["video_id"]: row["batch"] for row in found}
    _search_folder(store.root, tmp_path / "a")
    assert {row["video_id"]: row["batch"] for row in store.read("videos").to_pylist()} == before


def test_a_folder_by_another_name_is_the_same_folder(store: Store, tmp_path: Path) -> None:
    search_videos(Job(store, recordings(tmp_path / "a", "level.mp4"), home_of(store)), now=NOW)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert search_videos(Job(store, recordings(tmp_path / "link"), home_of(store)), now=NOW).new == 0


@pytest.mark.heavy
def test_recordings_under_a_prefix_of_an_object_store_are_searched_and_fetched(
    tmp_path: Path, s3_options: dict[str, str], clip_file: Path
) -> None:
    recordings = Store("s3://lampworks-test/recordings-of-mine", s3_options)
    recordings.put_file("deep/level 1.mp4", clip_file)
    recordings.write_blob("deep/level 1.info.json", b'{"title": "Level 1", "license": "CC0", "duration": 4.0}')
    store = Store("s3://lampworks-test/root-of-mine", s3_options)
    home = home_of(store, tmp_path / "home")
    settings = Config(source=SourceConfig(spec=f"folder:{recordings.root}"))
    report = search_videos(Job(store, settings, home), now=NOW)
    assert (report.kept, report.unknown_licence) == (1, 0)
    assert download_batch(BatchJob(store, settings, home, batch=report.batches[0])).ok == 1
    (row,) = store.read("downloads", ["path", "bytes"]).to_pylist()
    assert store.read_blob(row["path"]) == clip_file.read_bytes()
    assert search_videos(Job(store, settings, home), now=NOW).new == 0
    (video,) = store.read("videos").to_pylist()
    store.add_to_lists("videos", "video_id", "queries", {video["video_id"]: ["another"]})
    (found,) = store.read("videos").to_pylist()
    assert found == {**video, "queries": [recordings.root, "another"]}


LIVE = {"is_live": True, "live_status": "is_live", "age_limit": 18, "license": "All rights reserved"}


def _with_sidecar(folder: Path, **source: object) -> Config:
    settings = recordings(folder, "level.mp4")
    (folder / "level.info.json").write_text(json.dumps(LIVE))
    return dataclasses.replace(settings, source=dataclasses.replace(settings.source, **source))


def test_a_sidecar_rejects_no_file_of_ones_own_disk(store: Store, tmp_path: Path) -> None:
    settings = _with_sidecar(tmp_path / "a")
    assert search_videos(Job(store, settings, home_of(store)), now=NOW).kept == 1
    (video,) = store.read("videos").to_pylist()
    assert (video["rule"], video["age_limit"], video["licence"]) == ("off", 18, "All rights reserved")


@pytest.mark.parametrize("asked", [{"apply_rights": True}, {"apply_rules": True}], ids=str)
def test_a_sidecar_rejects_where_that_is_asked_for(store: Store, tmp_path: Path, asked: dict[str, bool]) -> None:
    settings = _with_sidecar(tmp_path / "a", **asked)
    assert search_videos(Job(store, settings, home_of(store)), now=NOW).rejected == {"live:is_live": 1}
    # the same folder without it is kept, although it was rejected before
    assert search_videos(Job(store, _with_sidecar(tmp_path / "a"), home_of(store)), now=NOW).kept == 1


def test_the_word_rules_can_be_asked_for_without_the_rights(store: Store, tmp_path: Path) -> None:
    settings = _with_sidecar(tmp_path / "a", apply_rules=True, apply_rights=False)
    rejected = search_videos(Job(store, settings, home_of(store)), now=NOW).rejected
    assert rejected == {"keyword: no platformer word in title": 1}


def test_a_file_that_is_blocked_by_name_stays_out_of_a_folder_too(store: Store, tmp_path: Path) -> None:
    settings = dataclasses.replace(_with_sidecar(tmp_path / "a"), rules=RulesConfig(blocked=("level.mp4",)))
    assert search_videos(Job(store, settings, home_of(store)), now=NOW).rejected == {"blocked:level.mp4": 1}


def test_the_rights_of_a_site_cannot_be_switched_off_as_a_whole() -> None:
    with pytest.raises(UserError, match=r"source\.apply_rights = false.*rules\.licences"):
        SourceConfig(spec="urls:list.txt", apply_rights=False)


def test_what_a_folder_leaves_out_is_told_on_the_console(store: Store, tmp_path: Path) -> None:
    settings = recordings(tmp_path / "a", "level.mp4", "level.nfo", "level.srt", "code.ts")
    (tmp_path / "a" / "again").symlink_to(".")
    (tmp_path / "a" / "level.info.json").write_text("{")
    told: list[str] = []
    report = search_videos(Job(store, settings, home_of(store), told.append), now=NOW)
    assert "search: 3 files not read: 1 .nfo, 1 .srt, 1 .ts (no video by its content)" in told
    assert any("again" in line and "not entered again" in line for line in told)
    assert any("level.info.json" in line and "sidecar" in line for line in told)
    assert report.notes[-1].startswith("3 files not read")
