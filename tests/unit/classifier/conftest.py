"""A small store of clips made by hand: real tars and frames, rows as the pipeline writes them, no videos cut."""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classifier.labels.sync import import_labels
from classifier.training.train import train_classifier
from pipeline.clip_spec import clip_spec
from pipeline.clips.encode import TarWriter, encode_frames
from pipeline.clips.features import FEATURE_NAMES
from pipeline.config import ClassifierConfig, Config, LabelConfig, SourceConfig, SplitConfig
from pipeline.ids import clip_id_of
from pipeline.shards.splits import split_of
from pipeline.storage.store import Store


@pytest.fixture
def config() -> Config:
    """Sizes at which the network trains in a second."""
    return small_config()


def small_config() -> Config:
    return Config(
        source=SourceConfig(spec="folder:videos"),
        split=SplitConfig(val_share=0.3),
        labels=LabelConfig(min_per_class=4),
        classifier=ClassifierConfig(
            width=8, input_height=45, frames_per_clip=4, steps=40, batch=16, learning_rate=3e-3, folds=2, min_auc=0.6,
            threads=1,
        ),
    )  # fmt: skip


def picture(good: bool, rng: np.random.Generator) -> np.ndarray:
    """Return 160 frames (T, 90, 160, 3): a striped ground under a sky for good, a dark menu with bars for bad."""
    frame = np.zeros((90, 160, 3), np.uint8)
    if good:
        frame[:60] = (90, 150, 230)
        frame[60:] = (60, 120, 40)
        frame[64::8] = (120, 80, 40)
    else:
        frame[:] = (20, 20, 40)
        for row in range(20, 80, 15):
            frame[row : row + 5, 40:120] = (200, 200, 80)
    noise = rng.integers(-20, 21, (8, 90, 160, 3))
    few = np.clip(frame.astype(int) + noise, 0, 255).astype(np.uint8)
    return np.repeat(few, 20, axis=0)


@dataclass
class PoolWriter:
    """Adds videos with clips to a store."""

    store: Store
    config: Config

    def add(
        self,
        video_id: str,
        kinds: str,
        *,
        batch: str = "2026w47-0001",
        flags: dict[int, list[str]] | None = None,
        mp4: bytes = b"",
        state: str = "ok",
        **video: Any,
    ) -> list[str]:
        """Add a video whose clips are good (`g`) or bad (`b`) by the letters of `kinds`; return their clip ids."""
        spec = clip_spec(self.config.clips)
        rng = np.random.default_rng(int(hashlib.sha256(video_id.encode()).hexdigest()[:8], 16))
        tar, rows = f"clips/{spec}/{batch}/{video_id}.tar", []
        buffer = io.BytesIO()
        writer = TarWriter(buffer)
        for index, kind in enumerate(kinds):
            clip_id = clip_id_of(video_id, index * 16000, spec)
            jpeg, data = encode_frames(picture(kind == "g", rng)), mp4 or f"mp4 of {clip_id}".encode()
            offset, frames_offset = writer.add(f"{clip_id}.mp4", data), writer.add(f"{clip_id}.frames.jpg", jpeg)
            found = (flags or {}).get(index, [])
            features = rng.normal(0, 1, len(FEATURE_NAMES))
            features[1] += 0.5 if kind == "g" else -0.5
            rows.append({
                "clip_id": clip_id, "video_id": video_id, "batch": batch, "clip_spec": spec, "start_ms": index * 16000,
                "end_ms": (index + 1) * 16000, "source_sha256": "0" * 64, "tar": tar, "offset": offset,
                "size": len(data), "sha256": hashlib.sha256(data + jpeg).hexdigest(), "frames_offset": frames_offset,
                "frames_size": len(jpeg), "num_frames": 160, "width": 160, "height": 90, "fps": 10.0, "motion": 1.0,
                "overlay_share": 0.0, "letterbox_share": 0.0, "flags": found, "features": features.tolist(),
                "hashes": b"",
            })  # fmt: skip
        writer.close()
        self.store.write_blob(tar, buffer.getvalue())
        native_id = video.pop("native_id", f"{video_id}.mp4")
        row = {
            "video_id": video_id, "source": "folder:videos", "extractor": "folder", "native_id": native_id,
            "url": f"/videos/{native_id}", "title": f"Title of {video_id}", "verdict": "kept", "batch": batch,
        }  # fmt: skip
        self.store.append("videos", [{**row, **video}])
        self.store.append("clips", rows)
        done = {"video_id": video_id, "batch": batch, "clip_spec": spec, "source_sha256": "0" * 64, "state": state}
        self.store.append("clippings", [{**done, "num_clips": len(rows), "tar": tar}])
        return [row["clip_id"] for row in rows]

    def group_split(self, video_id: str) -> str:
        """Return the split of a video without a channel."""
        return split_of(f"video:{video_id}", self.config.split)

    def rate(self, ratings: dict[str, int], annotator: str = "ann", file: str = "labels.csv") -> Path:
        """Write a file of ratings by clip id and return it."""
        path = Path(self.store.root) / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("clip_id,rating\n" + "".join(f"{clip},{rating}\n" for clip, rating in ratings.items()), "utf-8")
        return path


@pytest.fixture
def pool_writer(store: Store, config: Config) -> PoolWriter:
    """The writer of an empty store."""
    return PoolWriter(store, config)


def fill(writer: PoolWriter, num_videos: int = 12) -> dict[str, int]:
    """Add videos of 2 clips in two batches, every other one good, and return honest ratings."""
    ratings = {}
    for index in range(num_videos):
        kind, batch = ("gg" if index % 2 else "bb"), f"2026w47-000{1 + index * 2 // num_videos}"
        for clip_id in writer.add(f"video-{index:02d}", kind, batch=batch):
            ratings[clip_id] = 5 if kind == "gg" else 1
    return ratings


@pytest.fixture(scope="session")
def trained_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with 24 rated clips in two batches and a published classifier; copy it, do not write to it."""
    store, config = Store(tmp_path_factory.mktemp("trained") / "root"), small_config()
    writer = PoolWriter(store, config)
    import_labels(store, writer.rate(fill(writer)), "ann", config)
    train_classifier(store, config)
    return Path(store.root)


@pytest.fixture
def trained(trained_root: Path, tmp_path: Path) -> Store:
    """A copy of that root of the test's own."""
    shutil.copytree(trained_root, tmp_path / "trained")
    return Store(tmp_path / "trained")


@pytest.fixture
def fill_pool() -> Callable[[PoolWriter], dict[str, int]]:
    """The writer of those 24 clips."""
    return fill


@pytest.fixture
def make_writer() -> Callable[[Store, Config], PoolWriter]:
    """Writers of other stores."""
    return PoolWriter


@pytest.fixture
def flags_config(config: Config) -> Config:
    """A configuration that decides without labels."""
    return replace(config, decision=replace(config.decision, mode="flags"))
