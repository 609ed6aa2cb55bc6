"""A million videos and three million attempts: a batch starts in bounded memory, and what is due is due."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.bench.acquisition import small_video
from pipeline.bench.start import fill, start_batch
from pipeline.config import Config, SourceConfig
from pipeline.download.due import due_batches
from pipeline.download.ledger import fold_all
from pipeline.storage.store import Store

pytestmark = pytest.mark.slow
VIDEOS, ROUNDS, BATCH = 1_000_000, 3, 50
ATTEMPTS = (VIDEOS - BATCH) * ROUNDS


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store of all videos but those of a batch to be downloaded, with three attempts at each."""
    store = Store(tmp_path_factory.mktemp("full") / "root")
    assert fill(store, VIDEOS - BATCH, ROUNDS) == ATTEMPTS
    return store


def test_of_a_full_store_every_video_is_accounted_for_and_only_what_is_due_is_due(full: Store) -> None:
    now = datetime(2027, 1, 1, tzinfo=UTC)
    states = fold_all(full)
    counts = {row["values"]: row["counts"] for row in states["state"].value_counts().to_pylist()}
    assert counts == {"ok": 899_955, "failed": 99_995}
    config = Config(source=SourceConfig(spec="youtube"))
    assert due_batches(full, config, now) == []
    row = {"video_id": "youtube-late", "source": "youtube", "verdict": "kept", "batch": "2026w20-0001", "url": "x"}
    full.append("videos", [row])
    assert due_batches(full, config, now) == ["2026w20-0001"]


def test_a_batch_of_a_full_store_is_downloaded_in_bounded_memory(full: Store, tmp_path: Path) -> None:
    # after the test above: its batch adds attempts
    assert full.read("videos", ["video_id"]).num_rows >= VIDEOS - BATCH
    found = start_batch(full, small_video(tmp_path / "small.mp4"), VIDEOS, ATTEMPTS, BATCH)
    print(f"first request after {found.first_request_s:.2f} s, {found.parent_mb:.0f} + {found.child_mb:.0f} MB")
    assert found.ok == BATCH
    assert found.parent_mb < 1024
    assert found.child_mb < 1024
