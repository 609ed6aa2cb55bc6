"""The data path on an S3 root, from search to shards: no step may assume a local path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from classifier.decision.decide import decide
from classifier.decision.scoring import score_batch
from classifier.embedding.embed import embed_clips
from classifier.labels.import_file import import_labels
from classifier.training.train import train_classifier
from pipeline.clips.cut_batch import cut_batch
from pipeline.clips.duplicates import find_duplicates
from pipeline.clips.read import read_clip, read_frames
from pipeline.clips.stored import decode_clip
from pipeline.config import (
    ClassifierConfig,
    ClipConfig,
    Config,
    EmbeddingConfig,
    EngineConfig,
    LabelConfig,
    SourceConfig,
    SplitConfig,
)
from pipeline.download.batch import download_batch
from pipeline.inspect.export import export_clips
from pipeline.inspect.gc import collect_garbage
from pipeline.inspect.status import status
from pipeline.job import Job
from pipeline.label_events import current_labels
from pipeline.search.search import search_videos
from pipeline.shards.read import read_samples
from pipeline.shards.write import write_shards
from pipeline.storage.home import home_of
from pipeline.storage.store import Store


def scrolling(seed: int, seconds: int) -> np.ndarray:
    """A moving, textured world that no two seeds share: good material by any flag."""
    rng = np.random.default_rng(seed)
    world = rng.integers(0, 255, (9, 64, 3)).repeat(20, 0).repeat(20, 1).astype(np.uint8)
    return np.stack([np.roll(world, -6 * step, 1)[:180, :320] for step in range(seconds * 10)])


def still(seed: int, seconds: int) -> np.ndarray:
    """One picture that never moves: rubbish."""
    picture = np.random.default_rng(seed).integers(0, 255, (9, 16, 3)).repeat(20, 0).repeat(20, 1).astype(np.uint8)
    return np.broadcast_to(picture, (seconds * 10, 180, 320, 3))


@pytest.mark.timeout(200)
@pytest.mark.slow
def test_the_path_from_search_to_shards_runs_on_an_s3_root(
    tmp_path: Path, s3_options: dict[str, str], make_video: Callable[..., Path]
) -> None:
    videos = tmp_path / "videos"
    rows = ["video,start_s,rating"]
    for number in range(12):
        good = number % 2 == 0
        frames = scrolling(number, 3) if good else still(number, 3)
        make_video(videos / f"v{number:02d}.mp4", frames, fps=10)
        rows.append(f"v{number:02d}.mp4,0,{5 if good else 1}")
    labels = tmp_path / "labels.csv"
    labels.write_text("\n".join(rows) + "\n", "utf-8")
    store = Store("s3://lampworks-test/path", s3_options)
    home = home_of(store, tmp_path / "home")
    config = replace(
        Config(),
        source=SourceConfig(spec=f"folder:{videos}", batch_size=6),
        engine=EngineConfig(workers=2),
        clips=ClipConfig(seconds=2),
        split=SplitConfig(val_share=0.4),
        embedding=EmbeddingConfig(width=32, height=32, frames=1),
        labels=LabelConfig(min_per_class=2),
        classifier=replace(ClassifierConfig(), width=8, steps=30, batch=16, folds=2, repeats=1, min_auc=0.0),
    )

    job = Job(store, config, home)
    found = search_videos(job)
    assert found.kept == 12
    assert len(found.batches) == 2
    for batch in found.batches:
        assert download_batch(job.of_batch(batch)).ok == 6
        cut_batch(job.of_batch(batch))
        assert embed_clips(job.of_batch(batch)).failed == {}
    find_duplicates(job)
    import_labels(store, labels, annotator="tester")
    assert sorted(current_labels(store).values()) == [1] * 6 + [5] * 6
    train_classifier(job)
    for batch in found.batches:
        score_batch(job.of_batch(batch))
    decide(job)
    version = write_shards(job).version

    kept = {row["clip_id"] for row in store.read("curated").to_pylist() if row["decision"] == "keep"}
    assert kept
    samples = [*read_samples(store, version, "train"), *read_samples(store, version, "val")]
    assert {sample.clip_id for sample in samples} == kept
    assert decode_clip(samples[0].read_mp4(store)).shape == (20, 90, 160, 3)
    row = store.read("clips").to_pylist()[0]
    assert decode_clip(read_clip(store, row)).shape == (20, 90, 160, 3)
    assert read_frames(store, row).shape == (8, 90, 160, 3)
    assert status(store, config).conserved
    assert collect_garbage(store, dry_run=True) == []
    export_clips(store, config, tmp_path / "flat.parquet")
    assert (tmp_path / "flat.parquet").stat().st_size > 0
    before = store.list_blobs("")
    write_shards(job)
    decide(job)
    assert store.list_blobs("") == before
