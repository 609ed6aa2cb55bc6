"""A small store of clips made by hand: real tars and frames, rows as the pipeline writes them, no videos cut."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from classifier.decision.scoring import score_batch
from classifier.labels.import_file import import_labels
from classifier.torch_threads import fixed_threads
from classifier.training.train import train_classifier
from pipeline.clip_spec import clip_spec
from pipeline.clips.encode import encode_frames
from pipeline.clips.features import FEATURE_NAMES
from pipeline.clips.tar import TarWriter
from pipeline.config import ClassifierConfig, Config, EmbeddingConfig, LabelConfig, SourceConfig, SplitConfig
from pipeline.ids import clip_id_of
from pipeline.job import Job
from pipeline.shards.splits import split_of
from pipeline.storage.home import home_of
from pipeline.storage.store import Store

BATCHES = ("2026w47-0001", "2026w47-0002")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Let torch compute with one thread: the networks are too small to share, and other work may be running."""
    with fixed_threads(1):
        yield


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
            width=8, input_height=30, frames_per_clip=4, steps=40, batch=16, learning_rate=3e-3, folds=2, min_auc=0.6,
            threads=1, candidates=("network",), repeats=1,
        ),
        embedding=EmbeddingConfig(width=32, height=32, frames=2, threads=1, device="cpu"),
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
            features[FEATURE_NAMES.index("camera_share")] += 0.5 if kind == "g" else -0.5
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
def job(store: Store, config: Config) -> Job:
    """Work on an empty store."""
    return Job(store, config, home_of(store))


@pytest.fixture
def pool_writer(store: Store, config: Config) -> PoolWriter:
    """The writer of that store."""
    return PoolWriter(store, config)


@pytest.fixture
def clips(pool_writer: PoolWriter) -> list[str]:
    """Three clips of one video in that store, whose file name needs quotes and whose title needs escapes."""
    return pool_writer.add("level-1", "ggb", native_id='Level 1, "best" of.mp4', title='A <b>"title"</b>')


def fill(writer: PoolWriter, num_videos: int = 12) -> dict[str, int]:
    """Add videos of 2 clips in two batches, every other one good, and return the true ratings."""
    ratings = {}
    for index in range(num_videos):
        kind, batch = ("gg" if index % 2 else "bb"), f"2026w47-000{1 + index * 2 // num_videos}"
        for clip_id in writer.add(f"video-{index:02d}", kind, batch=batch):
            ratings[clip_id] = 5 if kind == "gg" else 1
    return ratings


@pytest.fixture
def fill_pool() -> Callable[..., dict[str, int]]:
    """The function `fill`."""
    return fill


@pytest.fixture(scope="session")
def labelled_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with 24 rated clips in two batches; copy it, do not write to it."""
    store, config = Store(tmp_path_factory.mktemp("labelled") / "root"), small_config()
    writer = PoolWriter(store, config)
    import_labels(store, writer.rate(fill(writer)), "ann", config)
    return Path(store.root)


@pytest.fixture(autouse=True)
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the candidate `measurements` grow a few trees: 200 take most of the time of a comparison."""
    monkeypatch.setattr("classifier.training.candidates.measurements.TREES", 10)


@pytest.fixture
def labelled(labelled_root: Path, tmp_path: Path) -> Job:
    """Work on a copy of that root with the candidate that needs no pictures: a training takes a moment."""
    store, config = Store(shutil.copytree(labelled_root, tmp_path / "labelled")), small_config()
    hand = ClassifierConfig(candidates=("measurements",), folds=2, repeats=1, threads=1, min_auc=0.0)
    return Job(store, dataclasses.replace(config, classifier=hand), home_of(store))


@pytest.fixture(scope="session")
def trained_root(labelled_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of that root with a published classifier, a network; copy it, do not write to it."""
    store = Store(shutil.copytree(labelled_root, tmp_path_factory.mktemp("trained") / "root"))
    config = small_config()
    train_classifier(Job(store, config, home_of(store)))
    return Path(store.root)


@pytest.fixture
def trained(trained_root: Path, config: Config, tmp_path: Path) -> Job:
    """Work on a copy of that root."""
    store = Store(shutil.copytree(trained_root, tmp_path / "trained"))
    return Job(store, config, home_of(store))


@pytest.fixture(scope="session")
def scored_root(trained_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the trained root with all clips scored and the labels removed; copy it, do not write to it."""
    store = Store(shutil.copytree(trained_root, tmp_path_factory.mktemp("scored") / "root"))
    job = Job(store, small_config(), home_of(store))
    for batch in BATCHES:
        score_batch(job.of_batch(batch))
    store.replace("labels", [])
    return Path(store.root)


@pytest.fixture
def scored(scored_root: Path, config: Config, tmp_path: Path) -> Job:
    """Work on a copy of that root: what the score alone decides."""
    store = Store(shutil.copytree(scored_root, tmp_path / "scored"))
    return Job(store, config, home_of(store))


@pytest.fixture
def scored_writer(scored: Job) -> PoolWriter:
    """The writer that adds to the scored store."""
    return PoolWriter(scored.store, scored.config)


@pytest.fixture
def damage_frames() -> Callable[[Store], dict[str, Any]]:
    """A function that overwrites the frames of a store's first clip, and returns the clip's row."""

    def damage(store: Store) -> dict[str, Any]:
        row: dict[str, Any] = store.read("clips").sort_by("clip_id").to_pylist()[0]
        path = Path(store.url(row["tar"]))
        data = bytearray(path.read_bytes())
        data[row["frames_offset"] : row["frames_offset"] + 100] = bytes(100)
        path.write_bytes(bytes(data))
        return row

    return damage
