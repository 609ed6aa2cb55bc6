"""A row that its table cannot hold is written as a failure with its reason, and the rows beside it as they are."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.clips.cut_batch import cut_batch
from pipeline.clips.cut_video import CutJob, cut_video
from pipeline.config import ClipConfig, Config, DownloadConfig, SourceConfig
from pipeline.download.batch import download_batch
from pipeline.job import BatchJob
from pipeline.search.batches import batches
from pipeline.sources.base import Fetched
from pipeline.sources.folder import FolderSource
from pipeline.storage.home import home_of
from pipeline.storage.rows import fitting_rows, rows_table
from pipeline.storage.store import Store
from tests import searches

MISFITS: list[Any] = [10**30, -(10**30), 10**5000, math.inf, math.nan, "many", [5], {"a": 5}]


@pytest.mark.parametrize("value", MISFITS, ids=lambda value: type(value).__name__)
def test_of_a_batch_with_a_misfit_the_others_stay_and_it_is_replaced_with_the_reason(value: Any) -> None:
    rows = [{"video_id": "a", "bytes": 5}, {"video_id": "b", "bytes": value, "site": "x"}, {"video_id": "c"}]
    told: list[str] = []

    def stand_in(row: dict[str, Any], reason: str) -> dict[str, Any]:
        told.append(reason)
        return row

    fitting = fitting_rows("downloads", rows, stand_in)
    found = rows_table("downloads", fitting).select(["video_id", "bytes", "site"]).to_pylist()
    assert [tuple(row.values()) for row in found] == [("a", 5, None), ("b", None, "x"), ("c", None, None)]
    (reason,) = told
    assert "table 'downloads' cannot hold bytes = " in reason
    assert len(reason) < 300


@pytest.fixture
def folder(tmp_path: Path, clip_file: Path) -> Path:
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in ("a.mp4", "bad.mp4", "c.mp4"):
        (videos / name).write_bytes(clip_file.read_bytes() + name.encode())
    return videos


@pytest.mark.usefixtures("inline")
@pytest.mark.parametrize("field", [{"bytes_360p": 10**24}, {"bytes_720p": math.inf}, {"format": ["x"]}])
def test_a_download_whose_row_cannot_be_written_is_internal_and_stops_no_other(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch, field: dict[str, Any]
) -> None:
    class Source(FolderSource):
        def fetch(self, video: Any, into: Path, config: DownloadConfig) -> Fetched:
            fetched = super().fetch(video, into, config)
            return replace(fetched, **field) if str(video["url"]).endswith("bad.mp4") else fetched

    monkeypatch.setattr("pipeline.download.run_pass.open_source", lambda config, home, options: Source(folder))
    config = Config(source=SourceConfig(spec=f"folder:{folder}"), download=DownloadConfig(min_free_gb=0.0))
    searches.search(store, config)
    report = download_batch(BatchJob(store, config, home_of(store), batch=batches(store)[0]))
    assert (report.ok, report.failed) == (2, {"internal": 1})
    (bad,) = (row for row in store.read("downloads").to_pylist() if row["state"] == "failed")
    assert bad["video_id"] in bad["message"]
    assert f"cannot hold {next(iter(field))} = " in bad["message"]
    assert bad["site"] == "folder"


@pytest.mark.usefixtures("inline")
def test_a_video_whose_clips_cannot_be_written_is_internal_and_stops_no_other(
    store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config(
        source=SourceConfig(spec=f"folder:{folder}"),
        download=DownloadConfig(min_free_gb=0.0),
        clips=ClipConfig(seconds=2, fps=10),
    )
    searches.search(store, config)
    job = BatchJob(store, config, home_of(store), batch=batches(store)[0])
    download_batch(job)

    def cut(asked: CutJob) -> Any:
        made = cut_video(asked)
        if "bad" in asked.video_id:
            made.clips[1]["offset"] = 1 << 63
        return made

    monkeypatch.setattr("pipeline.clips.cut_batch.cut_or_blame", cut)
    report = cut_batch(job)
    assert (report.ok, report.failed, report.num_clips) == (2, {"internal": 1}, 4)
    (bad,) = (row for row in store.read("clippings").to_pylist() if row["state"] == "failed")
    assert f"video {bad['video_id']}: table 'clips' cannot hold offset = " in bad["message"]
    assert bad["num_clips"] == 0
    assert not [row for row in store.read("clips").to_pylist() if row["video_id"] == bad["video_id"]]


@pytest.mark.parametrize("facts", [{"age_limit": 10**19}, {"duration_s": "a day"}, {"tags": (5,)}])
def test_a_search_writes_the_innocent_rows_beside_one_that_cannot_be_written(
    store: Store, monkeypatch: pytest.MonkeyPatch, facts: dict[str, Any]
) -> None:
    source = searches.FakeSource()
    source.world = [searches.candidate("a"), searches.candidate("bad", **facts), searches.candidate("c")]
    monkeypatch.setattr("pipeline.search.search.open_source", lambda config, home, options: source)
    report = searches.search(store, searches.config(apply_rules=False))
    rows = searches.rows(store)
    assert {name: row["verdict"] for name, row in rows.items()} == {"a": "kept", "bad": "rejected", "c": "kept"}
    assert (rows["bad"]["rule"], rows["bad"]["batch"]) == ("no metadata: internal", None)
    assert (report.found, report.kept) == (3, 2)
    before = searches.versions(store)
    searches.search(store, searches.config(apply_rules=False))
    assert searches.versions(store)[0] == before[0]
