"""A million videos and three million attempts: a batch starts in bounded memory, and what is due is due."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.bench.acquisition import small_video
from pipeline.bench.start import bench_start, fill
from pipeline.config import Config, SourceConfig
from pipeline.download.due import due_batches
from pipeline.download.ledger import fold_all
from pipeline.storage.store import Store

pytestmark = pytest.mark.slow


def test_a_batch_of_a_full_store_is_downloaded_in_bounded_memory(tmp_path: Path) -> None:
    found = bench_start(small_video(tmp_path / "small.mp4"))
    print(f"first request after {found.first_request_s:.2f} s, {found.parent_mb:.0f} + {found.child_mb:.0f} MB")
    assert (found.videos, found.attempts, found.ok) == (1_000_000, 2_999_250, 250)
    assert found.parent_mb < 1024
    assert found.child_mb < 1024


def test_of_a_full_store_every_video_is_accounted_for_and_only_what_is_due_is_due(tmp_path: Path) -> None:
    store = Store(tmp_path / "root")
    fill(store, 1_000_000, 3)
    now = datetime(2027, 1, 1, tzinfo=UTC)
    states = fold_all(store)
    counts = {row["values"]: row["counts"] for row in states["state"].value_counts().to_pylist()}
    assert counts == {"ok": 900_000, "failed": 100_000}
    config = Config(source=SourceConfig(spec="youtube"))
    assert due_batches(store, config, now) == []
    row = {"video_id": "youtube-late", "source": "youtube", "verdict": "kept", "batch": "2026w20-0001", "url": "x"}
    store.append("videos", [row])
    assert due_batches(store, config, now) == ["2026w20-0001"]
