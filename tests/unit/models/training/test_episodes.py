"""A set of episodes of different lengths is cut, sharded, listed with its lengths and trained on; none is left out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from classifier.decision.decide import decide
from models.training.train import train_tokenizer
from pipeline.clips.cut_batch import cut_batch
from pipeline.clips.duplicates import find_duplicates
from pipeline.config import ClipConfig, DecisionConfig, SplitConfig
from pipeline.job import BatchJob
from pipeline.shards.read import current_shards, read_samples
from pipeline.shards.splits import SPLITS
from pipeline.shards.write import write_shards
from pipeline.storage.home import home_of
from pipeline.storage.store import Store
from tests.tiny_world import CONFIG
from tests.unit.pipeline.clips.test_cut_batch import pictures

BATCH = "2026w47-0001"
SECONDS = (2.2, 3.4, 2.7, 4.0, 1.5, 3.1, 2.4, 2.9, 3.6, 2.0)
"""Of ten recordings; one is too short for a clip."""
EPISODES = replace(
    CONFIG,
    clips=ClipConfig(mode="episodes", min_seconds=2, max_seconds=4),
    decision=DecisionConfig(mode="flags", drop_flags=(), middle="keep", keep_duplicates=True),
    split=SplitConfig(val_share=0.2),
    tokenizer=replace(CONFIG.tokenizer, window=20, batch=2, steps=8),
)


@pytest.mark.slow
@pytest.mark.usefixtures("inline")
def test_episodes_of_different_lengths_are_sharded_and_trained_on(
    store: Store, tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    for number, seconds in enumerate(SECONDS):
        data = make_video(tmp_path / f"{number}.mp4", pictures(seconds, seed=number), fps=20).read_bytes()
        name, key, now = f"folder-{number}", f"raw/{BATCH}/{number}.mp4", datetime.now(UTC)
        store.write_blob(key, data)
        store.append("videos", [{"video_id": name, "batch": BATCH, "verdict": "kept", "channel_id": f"UC{number}"}])
        attempt = {"attempt_id": name, "video_id": name, "batch": BATCH, "attempt": 1, "state": "ok", "path": key}
        digest = hashlib.sha256(data).hexdigest()
        attempt |= {"started_at": now, "finished_at": now, "bytes": len(data), "sha256": digest}
        store.append("downloads", [attempt])
    job = BatchJob(store, EPISODES, home_of(store), batch=BATCH)
    cut_batch(job)
    find_duplicates(job)
    decide(job)
    write_shards(job)
    version = current_shards(store)
    assert version is not None
    listed = [
        sample.origin["num_frames"]
        for split in SPLITS
        for sample in read_samples(store, version, split, lambda damaged: pytest.fail(damaged.reason))  # type: ignore[arg-type]
    ]
    assert sorted(listed) == [20, 22, 24, 27, 29, 31, 34, 36, 40]
    report = train_tokenizer(job)
    assert (report.skipped, report.steps) == (False, 8)
    assert (report.metrics["bad_samples"], report.metrics["bad_samples_held_out"]) == (0, 0)
