"""Files made to take memory or time for ever: refused or ended alone, with the setting that says so."""

from __future__ import annotations

import dataclasses
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Config, DownloadConfig, EngineConfig, SourceConfig
from pipeline.download.batch import download_batch
from pipeline.download.due import due_batches
from pipeline.download.ledger import State, download_states
from pipeline.download.report import DownloadReport
from pipeline.job import BatchJob, Job
from pipeline.search.batches import batches
from pipeline.search.search import search_videos
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests.media import run_ffmpeg
from tests.odd_media import gif_of_size, mp4_of_samples, odd_files, small_videos


def settings(folder: Path, **changes: Any) -> Config:
    return Config(
        source=SourceConfig(spec=f"folder:{folder}", batch_size=50),
        download=DownloadConfig(**{"workers": 4, "min_free_gb": 0.0, **changes}),
        engine=EngineConfig(memory_mb=512),
    )


def collect(store: Store, config: Config) -> DownloadReport:
    if not batches(store):
        search_videos(Job(store, config, home_of(store)))
    return download_batch(BatchJob(store, config, home_of(store), batch=batches(store)[0]))


def by_name(store: Store) -> dict[str, State]:
    names = {row["video_id"]: row["native_id"] for row in store.read("videos").to_pylist()}
    return {names[video_id]: state for video_id, state in download_states(store).items()}


@pytest.mark.heavy
def test_small_files_that_take_gigabytes_end_alone_and_the_setting_is_named(
    store: Store, tmp_path: Path, clip_file: Path
) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    (folder / "a-samples.mp4").write_bytes(mp4_of_samples(40_000_000))
    (folder / "b-pixels.mp4").write_bytes(gif_of_size(16_000))
    assert all(path.stat().st_size < 700 for path in folder.iterdir())
    for name in ("c.mp4", "d.mp4"):
        shutil.copy(clip_file, folder / name)
    report = collect(store, settings(folder))
    states = by_name(store)
    assert {name: state.state for name, state in states.items()} == {
        "a-samples.mp4": "pending", "b-pixels.mp4": "pending", "c.mp4": "ok", "d.mp4": "ok",
    }  # fmt: skip
    for name in ("a-samples.mp4", "b-pixels.mp4"):
        assert states[name].error_class == "out_of_memory"
        assert "engine.memory_mb = 512" in str(states[name].message)
    assert (report.ok, report.pending) == (2, 2)
    assert list(home_of(store).tmp.iterdir()) == []


@pytest.mark.heavy
def test_a_site_that_sends_such_a_file_costs_its_own_video_alone(
    store: Store, tmp_path: Path, site: Any, clip_file: Path
) -> None:
    hostile = site.add("/hostile.mp4", mp4_of_samples(40_000_000), "video/mp4")
    good = site.add("/good.mp4", clip_file.read_bytes(), "video/mp4")
    (tmp_path / "list.txt").write_text(f"{hostile}\n{good}\n")
    config = dataclasses.replace(
        settings(tmp_path), source=SourceConfig(spec=f"urls:{tmp_path}/list.txt", allow_private=True)
    )
    report = collect(store, config)
    assert (report.ok, report.pending) == (1, 1)
    assert [state.error_class for state in download_states(store).values() if state.state == "pending"] == [
        "out_of_memory"
    ]


def test_odd_files_are_invalid_media_and_no_fault_of_this_program(
    store: Store, tmp_path: Path, clip_file: Path
) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    for name, data in odd_files(small_videos(tmp_path)).items():
        (folder / name).write_bytes(data)
    shutil.copy(clip_file, folder / "good.mp4")
    report = collect(store, settings(folder))
    assert (report.ok, report.pending, report.failed) == (7, 0, {"invalid_media": 5})


@pytest.mark.usefixtures("inline")
def test_a_video_that_lasts_too_long_is_rejected_until_the_setting_allows_it(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    coding = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-fps_mode", "passthrough")
    picture = ("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=10:duration=10", "-vf", "setpts=N*900/TB")
    run_ffmpeg(*picture, *coding, folder / "endless.mkv")  # a day
    config = settings(folder)
    report = collect(store, config)
    state = by_name(store)["endless.mkv"]
    assert (state.state, state.error_class) == ("rejected", "too_long")
    assert "download.max_duration_s = 43200" in str(state.message)
    assert report.rejected == {"too_long": 1}
    assert not report.too_many_failed
    assert store.list_blobs("raw") == []

    later = datetime.now(UTC) + timedelta(days=99)
    assert due_batches(store, config, later) == []
    assert collect(store, config).tried == 0
    longer = dataclasses.replace(config, download=dataclasses.replace(config.download, max_duration_s=50_000))
    assert due_batches(store, longer, later) == batches(store)
    assert (collect(store, longer).tried, by_name(store)["endless.mkv"].state) == (1, "rejected")
    assert due_batches(store, longer, later) == []
    whole = dataclasses.replace(config, download=dataclasses.replace(config.download, max_duration_s=200_000))
    assert (collect(store, whole).ok, by_name(store)["endless.mkv"].state) == (1, "ok")
