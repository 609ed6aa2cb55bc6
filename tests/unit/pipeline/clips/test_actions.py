"""True actions beside recordings are dropped, or kept beside the clips; a bad sidecar costs the actions alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.actions.join import join_actions
from pipeline.clip_spec import clip_spec
from pipeline.clips.actions import read_actions
from pipeline.clips.actions_left_out import actions_left_out, sentences
from pipeline.clips.cut_batch import cut_batch
from pipeline.clips.read import read_clips
from pipeline.config import ClipConfig, Config, DecisionConfig, DownloadConfig, EngineConfig, SourceConfig, SplitConfig
from pipeline.download.batch import download_batch
from pipeline.errors import UserError
from pipeline.inspect.deep import find_faults
from pipeline.inspect.dropped_actions import dropped_actions
from pipeline.inspect.gc import collect_garbage
from pipeline.inspect.mend import mend
from pipeline.inspect.retry import fetch_dropped_actions, retry_failed
from pipeline.inspect.why import why
from pipeline.inspect.why_text import format_why
from pipeline.job import Job
from pipeline.search.batches import batches
from pipeline.search.search import search_videos
from pipeline.sources.actions import FoundActions, actions_beside, is_sidecar, lie_beside, without_video
from pipeline.sources.folder import FolderSource
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests.unit.pipeline.actions.test_sidecar import parquet
from tests.unit.pipeline.clips.test_cut_batch import pictures

SECRET = "press-the-red-button"


def actions_of(frames: int) -> bytes:
    """Return actions as a demonstration records them, one a frame; every second one is the clip's own frame number."""
    steps = [{"frame": step, "action": step // 2, "name": SECRET} for step in range(frames)]
    return "".join(json.dumps(step) + "\n" for step in steps).encode()


@pytest.fixture(scope="module")
def demonstrations(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> Path:
    """A folder of short recordings: actions beside one, in a folder for another, unreadable, too few, of no video."""
    folder = tmp_path_factory.mktemp("demonstrations")
    for index, (name, seconds) in enumerate([("a", 5.0), ("b", 2.5), ("c", 3.0), ("d", 3.5)]):
        make_video(folder / "videos" / f"{name}.mp4", pictures(seconds, seed=index), fps=20)
    (folder / "videos" / "a.actions.jsonl").write_bytes(actions_of(100))
    (folder / "actions").mkdir()
    (folder / "actions" / "b.jsonl").write_bytes(actions_of(49))
    (folder / "videos" / "c.jsonl").write_bytes(actions_of(10) + b"[1, 2]\n")
    (folder / "videos" / "d.actions.jsonl").write_bytes(actions_of(35))
    (folder / "videos" / "e.actions.jsonl").write_bytes(actions_of(1))
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


def labels_of(store: Store, job: Job) -> dict[tuple[str, int], list[str] | None]:
    """Return the labels of each clip's transitions, by title of its video and start in ms."""
    titles = {row["video_id"]: row["title"] for row in store.read("videos").to_pylist()}
    found: dict[tuple[str, int], list[str] | None] = {}
    for row in read_clips(store, job.config).to_pylist():
        table = read_actions(store, row)
        labels = None if table is None else next(join_actions(table, "auto")).labels
        found[titles[row["video_id"]], row["start_ms"]] = None if labels is None else list(labels)
    return found


def whole(start: int, stop: int) -> list[str]:
    return [str(number) for number in range(start, stop)]


@pytest.mark.usefixtures("inline")
@pytest.mark.parametrize("keep_raw", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_actions_are_kept_beside_the_clips_and_bad_ones_are_told(
    store: Store, demonstrations: Path, keep_raw: bool
) -> None:
    job = collected(store, demonstrations, actions="keep", keep_raw=keep_raw)
    # sources of 20 frames a second become 10: two rows a transition, and the clip's frame number is their action
    assert labels_of(store, job) == {
        ("a", 0): whole(0, 24), ("a", 2500): whole(25, 49), ("b", 0): whole(0, 24), ("c", 0): None, ("d", 0): None
    }  # fmt: skip
    assert len([key for key in store.list_blobs("raw") if key.endswith(".jsonl")]) == (3 if keep_raw else 0)
    assert collect_garbage(store, dry_run=True) == []
    videos = {row["title"]: row["video_id"] for row in store.read("videos").to_pylist()}
    text = format_why(why(store, job.config, videos["c"]))
    assert "actions are left out: " in text
    assert "line 11 is no JSON object" in text
    text = format_why(why(store, job.config, videos["d"]))
    assert "its actions are not used: it has 35 rows, and the video 70 frames: write one row a frame" in text
    assert "with true actions" in format_why(why(store, job.config, videos["a"]))


@pytest.mark.usefixtures("inline")
def test_a_sidecar_that_was_mended_is_read_after_a_retry_as_the_advice_says(
    store: Store, demonstrations: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(demonstrations, tmp_path / "mine")
    job = collected(store, folder, actions="keep")
    videos = {row["title"]: row["video_id"] for row in store.read("videos").to_pylist()}
    before = {row["clip_id"]: row["sha256"] for row in read_clips(store, job.config).to_pylist()}
    (folder / "videos" / "c.jsonl").unlink()
    (folder / "videos" / "c.actions.parquet").write_bytes(parquet(action=list(range(60))))
    (folder / "videos" / "d.actions.jsonl").write_bytes(actions_of(70))
    advice = format_why(why(store, job.config, videos["d"]))
    assert f"run `lampworks retry {videos['d']}`" in advice
    assert retry_failed(job, [videos["a"]]).counts == {}
    *named, told = sentences(actions_left_out(store, clip_spec(job.config.clips), batches(store)[0]))
    assert [line.partition(":")[0] for line in named] == sorted([videos["c"], videos["d"]])
    assert told.startswith("2 videos have clips without their true actions")
    assert "`lampworks retry --class bad_actions`" in told
    assert retry_failed(job, classes=["bad_actions"]).counts == {"actions": {"bad_actions": 2}}
    [batch] = batches(store)
    download_batch(job.of_batch(batch))
    cut_batch(job.of_batch(batch))
    found = labels_of(store, job)
    assert found["d", 0] == whole(0, 34)
    assert found["c", 0] == [str(2 * number) for number in range(29)]
    assert {row["clip_id"]: row["sha256"] for row in read_clips(store, job.config).to_pylist()} == before
    assert retry_failed(job).counts == {}
    assert collect_garbage(store, dry_run=True) == []


@pytest.mark.usefixtures("inline")
def test_damaged_actions_are_found_and_made_again_as_the_error_says(
    store: Store, make_video: Callable[..., Path], tmp_path: Path
) -> None:
    make_video(tmp_path / "a.mp4", pictures(2.5, seed=0), fps=20)
    (tmp_path / "a.actions.jsonl").write_bytes(actions_of(50))
    job = collected(store, tmp_path, actions="keep")
    [row] = read_clips(store, job.config).to_pylist()
    whole_bytes = store.read_blob(row["actions"])
    store.write_blob(row["actions"], whole_bytes[:-9])
    with pytest.raises(UserError, match=r"is no table of actions .* Run `lampworks doctor --deep --mend` and then"):
        read_actions(store, row)
    [fault] = find_faults(store, job.home)
    assert (fault.key, fault.needed_for.partition(" of video")[0]) == (row["actions"], "true actions of 1 clips")
    mend(store, job.home, [fault])
    [batch] = batches(store)
    cut_batch(job.of_batch(batch))
    assert store.read_blob(row["actions"]) == whole_bytes
    assert find_faults(store, job.home) == []


@pytest.mark.usefixtures("inline")
@pytest.mark.parametrize(("damage", "error_class"), [("gone", "raw_missing"), ("flipped", "raw_damaged")])
def test_a_sidecar_that_is_lost_before_the_cut_is_told_and_a_retry_fetches_it_again(
    store: Store, make_video: Callable[..., Path], tmp_path: Path, damage: str, error_class: str
) -> None:
    """Clips without their true actions would look as if there had been none."""
    make_video(tmp_path / "a.mp4", pictures(2.5, seed=0), fps=20)
    (tmp_path / "a.actions.jsonl").write_bytes(actions_of(50))
    job = collected(store, tmp_path, actions="keep")
    good = labels_of(store, job)
    [batch] = batches(store)
    for table in ("clips", "clippings"):
        store.replace(table, [])
    [sidecar] = [key for key in store.list_blobs("raw") if key.endswith(".actions.jsonl")]
    if damage == "gone":
        store.delete(sidecar)
    else:
        store.write_blob(sidecar, actions_of(50).replace(b"1", b"2", 1))
    assert cut_batch(job.of_batch(batch)).failed == {error_class: 1}
    assert retry_failed(job).counts == {"cuts": {error_class: 1}}
    download_batch(job.of_batch(batch))
    assert cut_batch(job.of_batch(batch)).ok == 1
    assert labels_of(store, job) == good == {("a", 0): whole(0, 24)}


def test_a_sidecar_without_its_video_is_named_by_the_search(demonstrations: Path) -> None:
    source = FolderSource(demonstrations)
    list(source.search())
    beside, note = [note for note in source.notes if "actions" in note]
    assert beside == "3 files of actions beside videos: read where download.actions is keep"
    assert note.startswith("'videos/e.actions.jsonl' holds actions, and no video of that name is there")
    videos = ["x/ep1.mp4", "x/deep/ep2.mkv", "ep3.mp4"]
    belong = ["x/ep1.actions.jsonl", "x/actions/ep1.jsonl", "actions/ep1.parquet", "x/actions/ep2.actions.jsonl"]
    assert without_video([*belong, "actions/ep3.jsonl"], videos) == []
    lone = ["ep1.actions.jsonl", "actions/ep2.jsonl", "x/actions/ep3.jsonl"]
    assert without_video(lone, videos) == sorted(lone)
    assert [name for name in [*belong, "x/ep1.jsonl", "actions/a.txt"] if is_sidecar(name)] == belong


@pytest.mark.usefixtures("inline")
def test_actions_are_dropped_unless_asked_for(store: Store, demonstrations: Path) -> None:
    job = collected(store, demonstrations)
    rows = read_clips(store, job.config).to_pylist()
    assert len(rows) == 5
    assert all(row["actions"] is None and read_actions(store, row) is None for row in rows)
    assert not any(SECRET.encode() in store.read_blob(key) for key in store.list_blobs("raw") if "jsonl" in key)


@pytest.mark.usefixtures("inline")
@pytest.mark.parametrize("keep_raw", [True, False])
def test_actions_that_were_dropped_are_fetched_once_they_are_asked_for(
    store: Store, demonstrations: Path, keep_raw: bool
) -> None:
    dropped = collected(store, demonstrations, keep_raw=keep_raw)
    assert fetch_dropped_actions(dropped) == []
    before = {row["clip_id"]: row["sha256"] for row in read_clips(store, dropped.config).to_pylist()}
    job = replace(dropped, config=replace(dropped.config, download=replace(dropped.config.download, actions="keep")))
    # b and d too, whose sidecars lie elsewhere, or hold too few rows; none of a video without a sidecar
    titles = {row["video_id"]: row["title"] for row in store.read("videos").to_pylist()}
    assert sorted(titles[video_id] for video_id in fetch_dropped_actions(job)) == ["a", "b", "c", "d"]
    [batch] = batches(store)
    download_batch(job.of_batch(batch))
    cut_batch(job.of_batch(batch))
    assert labels_of(store, job) == {
        ("a", 0): whole(0, 24), ("a", 2500): whole(25, 49), ("b", 0): whole(0, 24), ("c", 0): None, ("d", 0): None
    }  # fmt: skip
    assert {row["clip_id"]: row["sha256"] for row in read_clips(store, job.config).to_pylist()} == before
    assert fetch_dropped_actions(job) == [], "what was looked at is not fetched for ever"


@pytest.mark.usefixtures("inline")
def test_a_sidecar_that_comes_after_its_video_is_fetched(
    store: Store, make_video: Callable[..., Path], tmp_path: Path
) -> None:
    make_video(tmp_path / "mine" / "a.mp4", pictures(2.5, seed=0), fps=20)
    job = collected(store, tmp_path / "mine", actions="keep")
    (tmp_path / "a.actions.jsonl").write_bytes(actions_of(50))
    assert fetch_dropped_actions(job) == [], "it lies outside of the source's folder"
    (tmp_path / "mine" / "a.actions.jsonl").write_bytes(actions_of(50))
    assert len(fetch_dropped_actions(job)) == 1
    elsewhere = replace(job, config=replace(job.config, source=SourceConfig(spec=f"folder:{tmp_path / 'other'}")))
    assert dropped_actions(store, elsewhere.config) == []


def test_actions_beside_an_object_are_found_in_the_listing_of_its_prefix() -> None:
    url, there = "s3://bucket/demo/videos/a.mp4", {"s3://bucket/demo/actions/a.jsonl"}
    assert lie_beside(url, "s3://bucket/demo", there)
    assert not lie_beside(url, "s3://bucket/demo", {"s3://bucket/demo/actions/b.jsonl"})
    assert not lie_beside(url, "s3://bucket/demo/videos", there), "it lies outside of the source's prefix"


def test_nothing_outside_of_the_sources_folder_is_read_as_actions(demonstrations: Path, tmp_path: Path) -> None:
    url = str(demonstrations / "videos" / "b.mp4")
    assert actions_beside(url, str(demonstrations), {}).data is not None
    assert actions_beside(url, str(demonstrations / "videos"), {}) == FoundActions()
    (tmp_path / "v.jsonl").mkdir()
    found = actions_beside(str(tmp_path / "v.mp4"), str(tmp_path), {})
    assert found.data is None
    assert "a folder" in found.why_not


def test_two_sidecars_of_a_video_are_a_contradiction_and_a_clearer_name_wins(tmp_path: Path) -> None:
    video = str(tmp_path / "v.mp4")
    (tmp_path / "v.jsonl").write_bytes(b"notes of mine\n")
    (tmp_path / "v.actions.jsonl").write_bytes(actions_of(2))
    assert actions_beside(video, str(tmp_path), {}).data == actions_of(2)
    (tmp_path / "actions").mkdir()
    (tmp_path / "actions" / "v.actions.parquet").write_bytes(parquet(action=[1]))
    found = actions_beside(video, str(tmp_path), {})
    assert found.data is None
    assert "are both there: leave one of them" in found.why_not


@pytest.mark.slow
@pytest.mark.usefixtures("inline")
def test_a_new_cut_keeps_the_actions_of_the_same_recording(store: Store, demonstrations: Path) -> None:
    job = collected(store, demonstrations, actions="keep")
    windows = replace(job.config, clips=ClipConfig(seconds=2))
    [batch] = batches(store)
    cut_batch(Job(store, windows, job.home).of_batch(batch))
    rows = [row for row in read_clips(store, windows).to_pylist() if row["actions"]]
    assert len(rows) == 3
    assert all(len(next(join_actions(read_actions(store, row), "auto"))) == 19 for row in rows)
