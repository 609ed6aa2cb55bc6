"""Garbage: what no row names goes, everything else stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.inspect.gc import collect_garbage
from pipeline.job import Job
from pipeline.shards.write import write_shards
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from pipeline.storage.takedown import request_takedown
from tests.synthetic import CONFIG, finished_store

LEFT_OVER = [
    "raw/2026w47-0001/arcade-gone-0123456789ab.mp4",
    "clips/00000000/2026w47-0001/arcade-gone-0123456789ab.tar",
    "shards/0123456789ab/train/clips-000000.tar",
    "models/world_model/gone/weights.safetensors",
    "reports/.tmp-0123",
    "raw/2026w47-0001/.tmp-0123",
]
KEPT = ["reports/index.html", "labels/queue.json", "dagster/runs.db", "arcade/media/x.mp4", "tables/x/.tmp-1"]


@pytest.fixture
def done(tmp_path: Path) -> Store:
    return finished_store(tmp_path / "root")


def files(store: Store) -> set[str]:
    root = Path(store.root)
    # the checksums of what is read by its key come with the first such file
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and path.name != "_checksums"}


def test_a_finished_store_holds_no_garbage(done: Store) -> None:
    before = files(done)
    named = {"raw", "clips", "shards"}
    assert [key for key in collect_garbage(done, dry_run=True) if key.split("/")[0] in named] == []
    assert files(done) == before


def test_what_no_row_names_goes_and_the_rest_stays(done: Store) -> None:
    collect_garbage(done, dry_run=False)
    before = files(done)
    for key in [*LEFT_OVER, *KEPT]:
        done.write_blob(key, b"x")
    assert collect_garbage(done, dry_run=True) == sorted(LEFT_OVER)
    assert files(done) == before | set(LEFT_OVER) | set(KEPT)
    assert collect_garbage(done, dry_run=False) == sorted(LEFT_OVER)
    assert files(done) == before | set(KEPT)
    assert not Path(done.url("shards/0123456789ab")).exists()
    assert collect_garbage(done, dry_run=False) == []


def test_a_training_that_can_be_resumed_keeps_its_checkpoints(done: Store) -> None:
    key = "models/world_model/runs/unfinished/checkpoints/step-00000100.safetensors"
    done.write_blob(key, b"x")
    assert key not in collect_garbage(done, dry_run=False)
    assert done.exists(key)


def test_a_takedown_reaches_the_bytes(done: Store) -> None:
    collect_garbage(done, dry_run=False)
    kept = [row for row in done.read("curated").to_pylist() if row["decision"] == "keep" and row["split"] == "train"]
    video = kept[0]["video_id"]
    request_takedown(done, "video", video, "asked by the owner")
    write_shards(Job(done, CONFIG, home_of(done)))
    gone = collect_garbage(done, dry_run=False)
    assert any(key.startswith("clips/") and video in key for key in gone)
    assert any(key.startswith("shards/") for key in gone)
    assert not any(video in key for key in files(done) if not key.startswith("tables/"))


def test_an_empty_store_is_fine(store: Store) -> None:
    assert collect_garbage(store, dry_run=False) == []
