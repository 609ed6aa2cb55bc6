"""A batch to clips: what is in a tar, what rows say, what is never done twice, and what a bad video leaves."""

from __future__ import annotations

import hashlib
import io
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow.compute as pc
import pytest

from pipeline.clip_spec import MEASUREMENTS_VERSION, clip_spec
from pipeline.clips.cut_batch import cut_batch
from pipeline.clips.cut_video import CutJob
from pipeline.clips.features import FEATURE_NAMES
from pipeline.clips.read import read_clip, read_clips, read_frames
from pipeline.clips.report import clip_report
from pipeline.clips.samples import Planes
from pipeline.clips.stored import decode_clip
from pipeline.config import ClipConfig, Config, EngineConfig
from pipeline.errors import UserError
from pipeline.job import BatchJob
from pipeline.storage.home import Home, home_of
from pipeline.storage.store import Store
from pipeline.storage.takedown import request_takedown
from tests.engines import InlineEngine, use_inline_engine
from tests.snapshots import snapshot

BATCH = "2026w47-0001"
CONFIG = Config(clips=ClipConfig(seconds=2, fps=10), engine=EngineConfig(workers=2, deadline_s=60))
ONE_WORKER = EngineConfig(workers=1, deadline_s=60)
"""For what needs a process of its own: each takes a second of a core to start."""


def pictures(seconds: float, seed: int = 0, fps: int = 20) -> np.ndarray:
    """Return frames (T, 96, 160, 3) of a textured level that scrolls."""
    rng = np.random.default_rng(seed)
    level = np.kron(rng.integers(0, 255, (12, 100, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
    return np.stack([level[:, 2 * i : 2 * i + 160] for i in range(round(seconds * fps))])


def add_video(store: Store, video_id: str, data: bytes, *, attempt: int = 1, batch: str = BATCH) -> str:
    """Put a download in the store as the download stage does, and return its blob key."""
    digest = hashlib.sha256(data).hexdigest()
    key = f"raw/{batch}/{video_id}-{digest[:12]}.mp4"
    store.write_blob(key, data)
    if attempt == 1:
        store.append("videos", [{"video_id": video_id, "batch": batch, "verdict": "kept", "channel_id": "UC1"}])
    now = datetime.now(UTC)
    row = {
        "attempt_id": f"{video_id}-{attempt}", "video_id": video_id, "batch": batch, "attempt": attempt, "state": "ok",
        "started_at": now, "finished_at": now, "bytes": len(data), "sha256": digest, "path": key,
    }  # fmt: skip
    # a first success is final: a new one stands in its place only where the old row is gone
    kept = [old for old in store.read("downloads").to_pylist() if old["video_id"] != video_id]
    store.replace("downloads", [*kept, row])
    return key


@pytest.fixture(scope="module")
def clip_of_5s(tmp_path_factory: pytest.TempPathFactory, make_video: Callable[..., Path]) -> bytes:
    return make_video(tmp_path_factory.mktemp("v") / "v.mp4", pictures(5), fps=20).read_bytes()


@pytest.mark.usefixtures("inline")
def test_a_video_becomes_clips_that_its_rows_describe(store: Store, clip_of_5s: bytes) -> None:
    add_video(store, "folder-a", clip_of_5s)
    report = cut_batch(BatchJob(store, CONFIG, home_of(store), batch=BATCH))
    assert (report.ok, report.failed, report.num_clips, report.pending) == (1, {}, 2, 0)
    assert (report.source_ms, report.clip_ms, report.remainder_ms) == (5000, 4000, 1000)
    rows = read_clips(store, CONFIG).to_pylist()
    spec = clip_spec(CONFIG.clips)
    assert [row["clip_id"] for row in rows] == [f"folder-a-{start:09d}-{spec}" for start in (0, 2000)]
    for row in rows:
        mp4 = read_clip(store, row)
        assert hashlib.sha256(mp4).hexdigest() == row["sha256"]
        frames = decode_clip(mp4)
        assert frames.shape == (20, 90, 160, 3)
        strip = read_frames(store, row)
        assert strip.shape == (8, 90, 160, 3)
        assert np.abs(strip[0].astype(int) - frames[1]).mean() < 20
        assert len(row["features"]) == len(FEATURE_NAMES)
        assert np.isfinite(row["features"]).all()
        assert len(row["hashes"]) == 128
        assert row["end_ms"] - row["start_ms"] == 2000


def cut_in_the_middle(luma: Planes, chroma: Planes, fps: int) -> list[int]:
    return [len(luma) // 2]


@pytest.mark.usefixtures("inline")
def test_another_cut_detector_makes_a_video_due_and_changes_its_cuts_alone(store: Store, clip_of_5s: bytes) -> None:
    add_video(store, "folder-a", clip_of_5s)
    add_video(store, "folder-page", b"<!doctype html>")
    job = BatchJob(store, CONFIG, home_of(store), batch=BATCH)
    cut_batch(job)
    first = store.read("clips").sort_by("clip_id").to_pylist()
    other = replace(job, config=replace(CONFIG, clips=replace(CONFIG.clips, cut_detector="transnetv2")))
    # a page stays a page, whatever finds the cuts
    assert (clip_report(store, other.config, BATCH).pending, clip_report(store, CONFIG, BATCH).pending) == (1, 0)
    assert cut_batch(other, detect_cuts=cut_in_the_middle).new == 1
    rows = store.read("clips").sort_by("clip_id").to_pylist()
    assert [row["cut_ms"] for row in rows] == [[1000], [1000]]
    assert [{name: row[name] for name in ("clip_id", "tar", "sha256", "hashes")} for row in rows] == [
        {name: row[name] for name in ("clip_id", "tar", "sha256", "hashes")} for row in first
    ]
    detectors = store.read("clippings", ["video_id", "cut_detector"]).to_pylist()
    assert {row["video_id"]: row["cut_detector"] for row in detectors} == {
        "folder-a": "transnetv2",
        "folder-page": None,
    }
    assert cut_batch(other, detect_cuts=cut_in_the_middle).new == 0
    assert cut_batch(job).new == 1
    assert store.read("clips").sort_by("clip_id").to_pylist() == first


@pytest.mark.usefixtures("inline")
def test_clips_of_an_older_version_are_measured_again_and_keep_ids_and_bytes(store: Store, clip_of_5s: bytes) -> None:
    add_video(store, "folder-a", clip_of_5s)
    job = BatchJob(store, CONFIG, home_of(store), batch=BATCH)
    cut_batch(job)
    tables = {name: store.read(name).to_pylist() for name in ("clips", "clippings")}
    assert {row["measurements_version"] for row in tables["clippings"]} == {MEASUREMENTS_VERSION}
    store.replace("clips", [row | {"features": row["features"][:32]} for row in tables["clips"]])
    store.replace("clippings", [row | {"measurements_version": None} for row in tables["clippings"]])
    assert clip_report(store, CONFIG, BATCH).pending == 1
    assert cut_batch(job).new == 1
    assert {name: store.read(name).to_pylist() for name in tables} == tables
    assert store.read("replaced").num_rows == 0, "labels of the clips count on"
    assert cut_batch(job).new == 0


@pytest.mark.usefixtures("inline")
def test_the_tar_reads_as_a_tar_and_holds_nothing_of_this_machine(store: Store, clip_of_5s: bytes) -> None:
    add_video(store, "folder-a", clip_of_5s)
    cut_batch(BatchJob(store, CONFIG, home_of(store), batch=BATCH))
    [row] = store.read("clippings").to_pylist()
    data = store.read_blob(row["tar"])
    assert hashlib.sha256(data).hexdigest() == row["tar_sha256"]
    assert row["tar"].endswith(f"folder-a-{row['tar_sha256'][:12]}.tar")
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = tar.getmembers()
    assert [(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in members] == [(0, 0, 0, "", "")] * 4
    assert [m.name.split(".", 1)[1] for m in members] == ["mp4", "frames.jpg"] * 2


@pytest.mark.parametrize("keep_raw", [True, False])
@pytest.mark.heavy
def test_two_runs_of_one_batch_at_once_leave_every_clip_once(
    store: Store, clip_of_5s: bytes, keep_raw: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.clips.row_writer._COMMIT_VIDEOS", 2)
    if keep_raw:  # two threads of this process race for the commits as workers of two runs do, which the other case has
        use_inline_engine(monkeypatch)
    names = [f"folder-{number:02d}" for number in range(4)]
    for name in names:
        add_video(store, name, clip_of_5s)
    # one may find files gone that the other has cut and dropped: what was cut stays
    config = replace(CONFIG, download=replace(CONFIG.download, keep_raw=keep_raw), engine=ONE_WORKER)
    job = BatchJob(store, config, home_of(store), batch=BATCH)
    runs = [threading.Thread(target=cut_batch, args=(job,)) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    cuts = store.read("clippings").to_pylist()
    assert sorted(row["video_id"] for row in cuts) == names
    assert {row["state"] for row in cuts} == {"ok"}
    rows = store.read("clips").to_pylist()
    assert len({row["clip_id"] for row in rows}) == len(rows) == 8
    assert all(hashlib.sha256(read_clip(store, row)).hexdigest() == row["sha256"] for row in rows)
    assert store.list_blobs("raw") if keep_raw else not store.list_blobs("raw")


def test_a_run_whose_files_another_run_cut_and_dropped_meanwhile_leaves_what_was_cut(
    store: Store, clip_of_5s: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("folder-a", "folder-b"):
        add_video(store, name, clip_of_5s)
    config = replace(CONFIG, download=replace(CONFIG.download, keep_raw=False))
    job = BatchJob(store, config, home_of(store), batch=BATCH)

    class Overtaken(InlineEngine):
        def run(self, fn: Any, items: Any, **options: Any) -> Iterator[Any]:
            monkeypatch.setattr("pipeline.clips.cut_batch.make_engine", lambda config, **options: InlineEngine())
            assert cut_batch(job).new == 2
            yield from super().run(fn, items, **options)

    monkeypatch.setattr("pipeline.clips.cut_batch.make_engine", lambda config, **options: Overtaken())
    report = cut_batch(job)
    assert not store.list_blobs("raw")
    assert (report.ok, report.failed, report.num_clips, report.new) == (2, {}, 4, 0)


@pytest.mark.usefixtures("inline")
def test_only_what_was_cut_is_dropped_from_the_raw_files(store: Store, clip_of_5s: bytes) -> None:
    add_video(store, "folder-good", clip_of_5s)
    broken = add_video(store, "folder-page", b"<!doctype html><title>404</title>")
    config = replace(CONFIG, download=replace(CONFIG.download, keep_raw=False))
    cut_batch(BatchJob(store, config, home_of(store), batch=BATCH))
    assert store.list_blobs("raw") == [broken]


@pytest.mark.usefixtures("inline")
def test_a_second_run_writes_nothing(store: Store, clip_of_5s: bytes) -> None:
    add_video(store, "folder-a", clip_of_5s)
    add_video(store, "folder-b", b"not a video")
    cut_batch(BatchJob(store, CONFIG, home_of(store), batch=BATCH))
    before = snapshot(store.root)
    report = cut_batch(BatchJob(store, CONFIG, home_of(store), batch=BATCH))
    assert snapshot(store.root) == before
    assert (report.ok, report.failed, report.pending, report.new) == (1, {"decode_error": 1}, 0, 0)


@pytest.mark.heavy
def test_a_bad_video_leaves_a_row_with_its_reason_and_disturbs_nothing(
    store: Store, clip_of_5s: bytes, tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    add_video(store, "folder-good", clip_of_5s)
    add_video(store, "folder-empty", b"")
    add_video(store, "folder-page", b"<!doctype html><title>404</title>")
    add_video(store, "folder-cut", clip_of_5s[: len(clip_of_5s) // 2])
    add_video(store, "folder-short", make_video(tmp_path / "s.mp4", pictures(1), fps=20).read_bytes())
    gone = add_video(store, "folder-gone", clip_of_5s + b"\0")
    store.delete(gone)
    report = cut_batch(BatchJob(store, replace(CONFIG, engine=ONE_WORKER), home_of(store), batch=BATCH))
    assert report.failed == {"decode_error": 3, "raw_missing": 1}
    assert (report.ok, report.num_clips) == (2, 2)
    rows = {row["video_id"]: row for row in store.read("clippings").to_pylist()}
    short = rows["folder-short"]
    assert (short["state"], short["num_clips"], short["tar"]) == ("ok", 0, None)
    assert short["source_ms"] == short["remainder_ms"] == 1000
    for row in rows.values():
        assert (row["state"] == "ok") == (row["message"] is None)
        assert store.root not in str(row["message"])
    assert {row["video_id"] for row in read_clips(store, CONFIG).to_pylist()} == {"folder-good"}


@pytest.mark.heavy
def test_the_same_bytes_in_this_process_and_in_workers(
    tmp_path: Path, make_video: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = {
        f"folder-{i}": make_video(tmp_path / f"{i}.mp4", pictures(2, seed=i), fps=20).read_bytes() for i in range(3)
    }
    tables, blobs = [], []
    for where in ("workers", "here"):
        store = Store(tmp_path / where)
        for video_id, data in videos.items():
            add_video(store, video_id, data)
        if where == "here":
            use_inline_engine(monkeypatch)
        cut_batch(BatchJob(store, CONFIG, home_of(store), batch=BATCH))
        tables.append([store.read(name).sort_by("video_id").to_pylist() for name in ("clippings", "clips")])
        blobs.append({key: store.read_blob(key) for key in store.list_blobs("clips")})
    assert tables[0][0] == tables[1][0]
    assert sorted(map(str, tables[0][1])) == sorted(map(str, tables[1][1]))
    assert blobs[0] == blobs[1]
    assert len(blobs[0]) == 3


@pytest.mark.usefixtures("inline")
def test_rows_of_an_interrupted_run_are_replaced_not_doubled(store: Store, clip_of_5s: bytes) -> None:
    add_video(store, "folder-a", clip_of_5s)
    cut_batch(BatchJob(store, CONFIG, home_of(store), batch=BATCH))
    rows = store.read("clips").to_pylist()
    # as a run leaves them that was killed between its two commits
    store.replace("clippings", [])
    assert not len(read_clips(store, CONFIG))
    cut_batch(BatchJob(store, CONFIG, home_of(store), batch=BATCH))
    assert store.read("clips").to_pylist() == rows
    assert len(read_clips(store, CONFIG)) == 2


@pytest.mark.usefixtures("inline")
def test_a_video_downloaded_anew_is_cut_anew(
    store: Store, clip_of_5s: bytes, tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    add_video(store, "folder-a", clip_of_5s)
    cut_batch(BatchJob(store, CONFIG, home_of(store), batch=BATCH))
    shorter = make_video(tmp_path / "s.mp4", pictures(3, seed=1), fps=20).read_bytes()
    add_video(store, "folder-a", shorter, attempt=2)
    assert clip_report(store, CONFIG, BATCH).pending == 1
    cut_batch(BatchJob(store, CONFIG, home_of(store), batch=BATCH))
    assert [row["num_clips"] for row in store.read("clippings").to_pylist()] == [1]
    [row] = store.read("clips").to_pylist()
    assert row["source_sha256"] == hashlib.sha256(shorter).hexdigest()


@pytest.mark.usefixtures("inline")
def test_another_spec_stands_beside_the_first(store: Store, clip_of_5s: bytes) -> None:
    add_video(store, "folder-a", clip_of_5s)
    cut_batch(BatchJob(store, CONFIG, home_of(store), batch=BATCH))
    other = replace(CONFIG, clips=ClipConfig(seconds=4, fps=10))
    cut_batch(BatchJob(store, other, home_of(store), batch=BATCH))
    assert [len(read_clips(store, config)) for config in (CONFIG, other)] == [2, 1]
    assert len(store.read("clips")) == 3


def test_thresholds_of_flags_change_no_clip() -> None:
    assert clip_spec(ClipConfig(max_still_share=0.1)) == clip_spec(ClipConfig())
    assert clip_spec(ClipConfig(crf=23)) != clip_spec(ClipConfig())


@pytest.mark.parametrize(("kind", "name"), [("video", "folder-b"), ("channel", "UC1")])
def test_a_video_taken_down_after_it_was_cut_and_before_its_rows_gets_none(
    store: Store, clip_of_5s: bytes, monkeypatch: pytest.MonkeyPatch, kind: Literal["video", "channel"], name: str
) -> None:
    add_video(store, "folder-a", clip_of_5s)
    add_video(store, "folder-b", clip_of_5s + b"\0")
    asked: list[bool] = []

    def take_down(cut: CutJob) -> None:
        if cut.video_id == "folder-b":
            asked.append(request_takedown(store, kind, name, "asked by the owner"))

    monkeypatch.setattr("pipeline.clips.cut_batch.make_engine", lambda config, **options: InlineEngine(take_down))
    report = cut_batch(BatchJob(store, CONFIG, home_of(store), batch=BATCH))
    assert asked == [True]
    left = {"folder-a"} if kind == "video" else set()
    assert {row["video_id"] for row in store.read("clips").to_pylist()} == left
    assert {row["video_id"] for row in store.read("clippings").to_pylist()} == left
    assert (report.ok, report.new) == (len(left), len(left))


@pytest.mark.usefixtures("inline")
def test_clips_of_a_video_or_channel_that_is_taken_down_later_are_read_no_more(store: Store, clip_of_5s: bytes) -> None:
    add_video(store, "folder-a", clip_of_5s)
    add_video(store, "folder-b", clip_of_5s + b"\0")
    cut_batch(BatchJob(store, CONFIG, home_of(store), batch=BATCH))
    request_takedown(store, "video", "folder-a", "asked by the owner")
    assert set(read_clips(store, CONFIG)["video_id"].to_pylist()) == {"folder-b"}
    request_takedown(store, "channel", "UC1", "asked by the owner")
    assert not len(read_clips(store, CONFIG))


def test_a_disk_that_cannot_be_written_is_named_and_blames_no_video(store: Store, clip_of_5s: bytes) -> None:
    add_video(store, "folder-a", clip_of_5s)
    home = Home(Path("/dev/full"))
    with pytest.raises(UserError, match="/dev/full"):
        cut_batch(BatchJob(store, CONFIG, home, batch=BATCH))
    assert store.version("clippings") == -1


@pytest.mark.heavy
def test_a_run_that_is_killed_is_taken_up_where_it_was(
    store: Store, tmp_path: Path, make_video: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(3):
        data = make_video(tmp_path / f"{i}.mp4", pictures(2, seed=i), fps=20).read_bytes()
        add_video(store, f"folder-{i}", data)
    # the run kills itself right after its second commit: no race with the machine's speed
    code = (
        "import os, signal, sys\n"
        "from pipeline.clips import cut_batch, row_writer\n"
        "from pipeline.config import ClipConfig, Config, EngineConfig\n"
        "from pipeline.job import BatchJob\n"
        "from pipeline.storage.home import home_of\n"
        "from pipeline.storage.store import Store\n"
        "replace = Store.replace\n"
        "def replace_and_die(self, name, *arguments, **options):\n"
        "    replace(self, name, *arguments, **options)\n"
        "    if name == 'clippings' and len(self.read(name)) == 2:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "Store.replace = replace_and_die\n"
        "row_writer._COMMIT_VIDEOS = 1\n"
        "config = Config(clips=ClipConfig(seconds=2, fps=10), engine=EngineConfig(workers=1))\n"
        "store = Store(sys.argv[1])\n"
        f"cut_batch.cut_batch(BatchJob(store, config, home_of(store), batch={BATCH!r}))\n"
    )
    process = subprocess.run([sys.executable, "-c", code, store.root], stderr=subprocess.DEVNULL)
    assert process.returncode == -signal.SIGKILL
    kept = store.read("clippings").sort_by("video_id").to_pylist()
    assert [row["state"] for row in kept] == ["ok", "ok"]
    use_inline_engine(monkeypatch)
    report = cut_batch(BatchJob(store, CONFIG, home_of(store), batch=BATCH))
    assert (report.ok, report.num_clips, report.new) == (3, 3, 1)
    ids = pc.field("video_id").isin([row["video_id"] for row in kept])
    assert store.read("clippings", where=ids).sort_by("video_id").to_pylist() == kept
    assert len(set(store.read("clips")["clip_id"].to_pylist())) == len(store.read("clips")) == 3
