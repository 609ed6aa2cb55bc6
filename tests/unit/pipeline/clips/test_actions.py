"""True actions beside recordings are dropped, or kept aside as truth: named by the rows, and in no shard."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from classifier.decision.decide import decide
from pipeline.clips.actions import read_actions
from pipeline.clips.cut_batch import cut_batch
from pipeline.clips.duplicates import find_duplicates
from pipeline.clips.read import read_clips
from pipeline.config import ClipConfig, Config, DecisionConfig, DownloadConfig, EngineConfig, SourceConfig, SplitConfig
from pipeline.download.batch import download_batch
from pipeline.inspect.gc import collect_garbage
from pipeline.inspect.why import why
from pipeline.inspect.why_text import format_why
from pipeline.job import Job
from pipeline.search.batches import batches
from pipeline.search.search import search_videos
from pipeline.shards.write import write_shards
from pipeline.sources.actions import actions_beside
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests.unit.pipeline.clips.test_cut_batch import pictures

SECRET = "press-the-red-button"


def actions_of(seconds: float) -> bytes:
    """Return actions as a demonstration records them, ten a second."""
    steps = [{"frame": step, "t": step / 10, "action": step % 4, "name": SECRET} for step in range(round(seconds * 10))]
    return "".join(json.dumps(step) + "\n" for step in steps).encode()


@pytest.fixture(scope="module")
def demonstrations(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> Path:
    """A folder of four short recordings: actions beside one, in a folder for another, unreadable ones, and none."""
    folder = tmp_path_factory.mktemp("demonstrations")
    for index, (name, seconds) in enumerate([("a", 5.0), ("b", 2.5), ("c", 3.0), ("d", 3.5)]):
        make_video(folder / "videos" / f"{name}.mp4", pictures(seconds, seed=index), fps=20)
    (folder / "videos" / "a.actions.jsonl").write_bytes(actions_of(5))
    (folder / "actions").mkdir()
    (folder / "actions" / "b.jsonl").write_bytes(actions_of(2.5))
    (folder / "videos" / "c.jsonl").write_bytes(actions_of(1) + b"[1, 2]\n")
    return folder


def collected(store: Store, folder: Path, **download: object) -> Job:
    """Search, download and cut a folder as episodes of 2 to 4 s."""
    config = Config(
        source=SourceConfig(spec=f"folder:{folder}", settle_s=0),
        download=DownloadConfig(workers=1, min_free_gb=0.0, **download),  # type: ignore[arg-type]
        engine=EngineConfig(workers=1),
        clips=ClipConfig(mode="episodes", min_seconds=2, max_seconds=4),
        split=SplitConfig(val_share=0.5),
        decision=DecisionConfig(mode="flags", drop_flags=(), middle="keep"),
    )
    job = Job(store, config, home_of(store))
    search_videos(job)
    [batch] = batches(store)
    download_batch(job.of_batch(batch))
    cut_batch(job.of_batch(batch))
    return job


@pytest.mark.usefixtures("inline")
@pytest.mark.parametrize("keep_raw", [True, False])
def test_actions_are_kept_beside_the_clips_and_in_no_shard(store: Store, demonstrations: Path, keep_raw: bool) -> None:
    job = collected(store, demonstrations, actions="keep", keep_raw=keep_raw)
    rows = read_clips(store, job.config).to_pylist()
    titles = {row["video_id"]: row["title"] for row in store.read("videos").to_pylist()}
    found = {(titles[row["video_id"]], row["start_ms"]): read_actions(store, row) for row in rows}
    spans = {place: [actions[0]["t"], actions[-1]["t"]] for place, actions in found.items() if actions}
    assert spans == {("a", 0): [0.0, 2.4], ("a", 2500): [2.5, 4.9], ("b", 0): [0.0, 2.4]}
    assert {place for place, actions in found.items() if actions is None} == {("c", 0), ("d", 0)}
    if keep_raw:
        find_duplicates(job)
        decide(job)
        write_shards(job)
        tars = store.list_blobs("shards")
        assert tars
        assert not any(SECRET.encode() in store.read_blob(key) for key in tars)
    assert len([key for key in store.list_blobs("raw") if key.endswith(".jsonl")]) == (2 if keep_raw else 0)
    assert collect_garbage(store, dry_run=True) == []
    [unreadable] = [video for video, title in titles.items() if title == "c"]
    text = format_why(why(store, job.config, unreadable))
    assert "actions are left out: " in text
    assert "line 11 is no JSON object" in text


@pytest.mark.usefixtures("inline")
def test_actions_are_dropped_unless_asked_for(store: Store, demonstrations: Path) -> None:
    job = collected(store, demonstrations)
    rows = read_clips(store, job.config).to_pylist()
    assert len(rows) == 5
    assert all(row["actions"] is None and read_actions(store, row) is None for row in rows)
    assert not any(SECRET.encode() in store.read_blob(key) for key in store.list_blobs("raw") if "jsonl" in key)


def test_nothing_outside_of_the_sources_folder_is_read_as_actions(demonstrations: Path, tmp_path: Path) -> None:
    url = str(demonstrations / "videos" / "b.mp4")
    assert actions_beside(url, str(demonstrations), {})[0] is not None
    assert actions_beside(url, str(demonstrations / "videos"), {}) == (None, "")
    (tmp_path / "v.jsonl").mkdir()
    data, why_not = actions_beside(str(tmp_path / "v.mp4"), str(tmp_path), {})
    assert data is None
    assert "a folder" in why_not


@pytest.mark.slow
@pytest.mark.usefixtures("inline")
def test_a_new_cut_keeps_the_actions_of_the_same_recording(store: Store, demonstrations: Path) -> None:
    job = collected(store, demonstrations, actions="keep")
    windows = replace(job.config, clips=ClipConfig(seconds=2))
    [batch] = batches(store)
    cut_batch(Job(store, windows, job.home).of_batch(batch))
    rows = [row for row in read_clips(store, windows).to_pylist() if row["actions"]]
    assert len(rows) == 3
    assert all(len(read_actions(store, row) or ()) == 20 for row in rows)
