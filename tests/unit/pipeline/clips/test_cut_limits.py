"""A video that takes too much memory or time to cut ends alone, leaves nothing, and is cut when the limit allows."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.clips.cut_batch import cut_batch
from pipeline.clips.report import clip_report, due_for_cutting
from pipeline.config import ClipConfig, Config, EngineConfig
from pipeline.download.due import uncut_rows
from pipeline.download.ledger import fold_all
from pipeline.job import BatchJob
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests.odd_media import gif_of_size

BATCH = "2026w47-0001"
CONFIG = Config(clips=ClipConfig(seconds=2, fps=10), engine=EngineConfig(workers=2, memory_mb=512))


def add_video(store: Store, video_id: str, data: bytes) -> None:
    """Put a download in the store as the download stage does."""
    digest = hashlib.sha256(data).hexdigest()
    key = f"raw/{BATCH}/{video_id}-{digest[:12]}.mp4"
    store.write_blob(key, data)
    store.append("videos", [{"video_id": video_id, "batch": BATCH, "verdict": "kept", "channel_id": "UC1"}])
    now = datetime.now(UTC)
    row = {
        "attempt_id": video_id, "video_id": video_id, "batch": BATCH, "attempt": 1, "state": "ok", "started_at": now,
        "finished_at": now, "bytes": len(data), "sha256": digest, "path": key,
    }  # fmt: skip
    store.append("downloads", [row])


def due(store: Store, config: Config) -> tuple[list[str], list[str]]:
    """The videos due for cutting: as a batch sees them, and as the driver does."""
    one = [state.video_id for state in due_for_cutting(store, config, BATCH)]
    return one, sorted(uncut_rows(store, config, fold_all(store))["video_id"].to_pylist())


@pytest.mark.heavy
def test_a_video_that_takes_too_much_memory_is_recorded_alone_and_cut_when_it_may(
    store: Store, clip_file: Path
) -> None:
    add_video(store, "folder-good", clip_file.read_bytes())
    add_video(store, "folder-huge", gif_of_size(12_000))
    job = BatchJob(store, CONFIG, home_of(store), batch=BATCH)
    report = cut_batch(job)
    assert (report.ok, report.pending, report.failed) == (1, 0, {"out_of_memory": 1})
    rows = {row["video_id"]: row for row in store.read("clippings").to_pylist()}
    assert rows["folder-huge"]["message"] == (
        "cutting: needs more memory than a worker process may hold (engine.memory_mb = 512) and was ended"
    )
    assert os.listdir(home_of(store).tmp) == []
    assert [key for key in store.list_blobs("clips") if ".tmp-" in key] == []

    assert due(store, CONFIG) == ([], [])
    larger = replace(CONFIG, engine=replace(CONFIG.engine, memory_mb=4096))
    assert due(store, larger) == (["folder-huge"], ["folder-huge"])
    again = cut_batch(BatchJob(store, larger, home_of(store), batch=BATCH))
    assert (again.ok, again.failed, again.new) == (2, {}, 1)
    assert due(store, larger) == due(store, CONFIG) == ([], [])


@pytest.mark.parametrize(
    ("error_class", "message", "again"),
    [
        ("timeout", "cutting: ran longer than 900 s (engine.deadline_s) and was ended", {"deadline_s": 1800.0}),
        ("out_of_memory", "cutting: needs more memory than this machine gives", {"memory_mb": 1024}),
        ("worker_died", "cutting: its worker process died 3 times (last by SIGSEGV): quarantined", None),
        ("decode_error", "ends at 1.0 s of the 4.0 s it claims", None),
    ],
)
def test_only_what_a_limit_ended_is_due_again_under_another_limit(
    store: Store, error_class: str, message: str, again: dict[str, float] | None
) -> None:
    add_video(store, "folder-a", b"a video")
    config = Config(clips=CONFIG.clips)
    (state,) = due_for_cutting(store, config, BATCH)
    row = {
        "video_id": "folder-a", "batch": BATCH, "clip_spec": clip_report(store, config, BATCH).clip_spec,
        "source_sha256": state.sha256, "state": "failed", "error_class": error_class, "message": message,
        "num_clips": 0,
    }  # fmt: skip
    store.append("clippings", [row])
    if error_class != "out_of_memory":
        assert due(store, config) == ([], [])
    other = replace(config, engine=EngineConfig(**(again or {"deadline_s": 1.0, "memory_mb": 512})))
    assert due(store, other) == ((["folder-a"], ["folder-a"]) if again else ([], []))
