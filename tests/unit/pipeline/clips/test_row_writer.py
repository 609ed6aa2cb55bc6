"""Rows of cut videos, while another run cuts the same batch, and where the store goes away in between."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.clip_spec import clip_spec
from pipeline.clips import cut_batch as cutting
from pipeline.clips.cut_batch import cut_batch
from pipeline.clips.cut_video import CutJob, CutVideo, cut_video
from pipeline.clips.read import read_clips
from pipeline.clips.row_writer import RowWriter
from pipeline.config import ClipConfig, Config, DownloadConfig, EngineConfig
from pipeline.download.due import due_batches
from pipeline.inspect.status import status
from pipeline.job import BatchJob
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests.folders import play
from tests.media import video_bytes

pytestmark = pytest.mark.usefixtures("inline")
BATCH, VIDEO = "2026w47-0001", "folder-a"
CONFIG = Config(
    clips=ClipConfig(seconds=2, fps=10),
    download=DownloadConfig(keep_raw=False),
    engine=EngineConfig(workers=1, deadline_s=60),
)
SPEC = clip_spec(CONFIG.clips)


class Watched(Store):
    """A store that calls something once, before or after it replaces the rows of a table."""

    def __init__(
        self, root: str, table: str, *, before: Callable[[], Any] = str, after: Callable[[], Any] = str
    ) -> None:
        super().__init__(root)
        self.table, self.before, self.after = table, before, after

    def replace(self, name: str, *arguments: Any, **options: Any) -> int:
        is_it, self.table = name == self.table, "" if name == self.table else self.table
        if is_it:
            self.before()
        version = super().replace(name, *arguments, **options)
        if is_it:
            self.after()
        return version


def downloaded(store: Store, data: bytes) -> CutJob:
    """Put a downloaded video into the store, and return what cuts it."""
    digest = hashlib.sha256(data).hexdigest()
    key = f"raw/{BATCH}/{VIDEO}-{digest[:12]}.mp4"
    store.write_blob(key, data)
    if not store.read("videos").num_rows:
        store.append("videos", [{"video_id": VIDEO, "batch": BATCH, "verdict": "kept", "source": "folder"}])
    now = datetime.now(UTC)
    row = {
        "attempt_id": digest, "video_id": VIDEO, "batch": BATCH, "attempt": 1, "state": "ok", "started_at": now,
        "finished_at": now, "bytes": len(data), "sha256": digest, "path": key,
    }  # fmt: skip
    store.replace("downloads", [row])
    return CutJob(store, CONFIG.clips, BATCH, VIDEO, key, digest, "")


def failure_of(job: CutJob) -> CutVideo:
    """Return what another machine says of the same video, which had no memory left for it."""
    row = {
        "video_id": VIDEO, "batch": BATCH, "clip_spec": SPEC, "source_sha256": job.sha256, "state": "failed",
        "error_class": "out_of_memory", "message": "cutting: too much", "num_clips": 0,
    }  # fmt: skip
    return CutVideo(row, [])


def commit(store: Store, cut: CutVideo) -> None:
    writer = RowWriter(store, BATCH, SPEC, CONFIG.clips.cut_detector)
    writer.add(cut)
    writer.flush()


def states(store: Store) -> list[str]:
    return [str(row["state"]) for row in store.read("clippings").to_pylist()]


@pytest.mark.parametrize("moment", ["before it writes its own row", "between the clips and the row of the other"])
def test_a_failure_on_one_machine_takes_no_clips_from_another_one_that_could_cut_the_video(
    store: Store, moment: str
) -> None:
    job = downloaded(store, video_bytes(play(1, 5), fps=10))
    good, bad = cut_video(job), failure_of(job)
    if moment.startswith("before"):
        commit(Watched(store.root, "clippings", before=lambda: commit(store, good)), bad)
    else:
        commit(Watched(store.root, "clips", after=lambda: commit(store, bad)), good)
    assert states(store) == ["ok"]
    assert len(read_clips(store, CONFIG)) == good.clipping["num_clips"] == 2
    assert status(store, CONFIG).violations == []


def test_a_failure_that_came_too_late_goes_with_the_next_flush_where_the_store_went_away(store: Store) -> None:
    job = downloaded(store, video_bytes(play(1, 5), fps=10))
    good, bad = cut_video(job), failure_of(job)

    def goes_away() -> None:
        raise OSError("the store is away")

    watched = Watched(store.root, "clippings", before=lambda: commit(store, good), after=goes_away)
    writer = RowWriter(watched, BATCH, SPEC, CONFIG.clips.cut_detector)
    writer.add(bad)
    with pytest.raises(OSError, match="away"):
        writer.flush()
    writer.flush()
    assert states(store) == ["ok"]


def test_a_video_that_fails_everywhere_has_one_failure(store: Store) -> None:
    bad = failure_of(downloaded(store, video_bytes(play(1, 5), fps=10)))
    commit(Watched(store.root, "clippings", before=lambda: commit(store, bad)), bad)
    assert states(store) == ["failed"]


def test_a_file_that_another_run_dropped_before_it_was_cut_here_is_due_again_and_not_failed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two passes with two formats of clips on one root that keeps no downloaded files."""
    downloaded(store, video_bytes(play(1, 5), fps=10))
    other = replace(CONFIG, clips=replace(CONFIG.clips, seconds=1.6))
    find_due = cutting.due_for_cutting

    def found_and_dropped(*arguments: Any, **options: Any) -> Any:
        found = find_due(*arguments, **options)
        monkeypatch.setattr(cutting, "due_for_cutting", find_due)
        assert cut_batch(BatchJob(store, CONFIG, home_of(store), batch=BATCH)).ok == 1
        assert not store.list_blobs("raw")
        return found

    monkeypatch.setattr(cutting, "due_for_cutting", found_and_dropped)
    report = cut_batch(BatchJob(store, other, home_of(store), batch=BATCH))
    assert (report.ok, report.failed, report.new) == (0, {}, 0)
    for config, due in ((CONFIG, []), (other, [BATCH])):
        asked = replace(config, source=replace(config.source, spec="folder:videos"))
        assert due_batches(store, asked, datetime.now(UTC)) == due
        assert status(store, asked).violations == []


def test_a_file_that_is_gone_and_that_nobody_dropped_is_a_failure_with_its_reason(store: Store) -> None:
    job = downloaded(store, video_bytes(play(1, 5), fps=10))
    store.delete(job.path)
    report = cut_batch(BatchJob(store, CONFIG, home_of(store), batch=BATCH))
    assert (report.ok, report.failed) == (0, {"raw_missing": 1})


@pytest.mark.parametrize("ends_at", ["clips", "clippings"])
def test_a_store_that_goes_away_while_clips_are_replaced_leaves_one_row_for_each_change(
    store: Store, tmp_path: Path, ends_at: str
) -> None:
    commit(store, cut_video(downloaded(store, video_bytes(play(1, 5), fps=10))))
    cut = cut_video(downloaded(store, video_bytes(play(2, 5), fps=10)))

    def goes_away() -> None:
        raise OSError("the store is away")

    watched = Watched(store.root, ends_at, before=goes_away)
    writer = RowWriter(watched, BATCH, SPEC, CONFIG.clips.cut_detector)
    writer.add(cut)
    with pytest.raises(OSError, match="away"):
        writer.flush()
    assert writer.added == 0
    [earlier, _] = [row["replaced_at"] for row in store.read("replaced").sort_by("clip_id").to_pylist()]
    label = {"event_id": "a", "clip_id": cut.clips[0]["clip_id"], "rating": 5, "labelled_at": datetime.now(UTC)}
    store.append("labels", [label])
    writer.flush()
    writer.flush()
    assert writer.added == 1
    rows = store.read("replaced").sort_by("clip_id").to_pylist()
    assert [row["clip_id"] for row in rows] == sorted(row["clip_id"] for row in cut.clips)
    # a label that was given in between is of the earlier picture
    assert all(row["replaced_at"] > label["labelled_at"] > earlier for row in rows)
    # and the way back is another change
    commit(store, cut_video(downloaded(store, video_bytes(play(1, 5), fps=10))))
    assert len(store.read("replaced")) == 4
