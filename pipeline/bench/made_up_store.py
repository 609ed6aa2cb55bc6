"""A store of made-up rows, as large as asked for: the tables of a store after months of passes, without any video.

    fill_store(store, config, videos=1_000_000, clips=5_000_000)

Tables are written as the pipeline leaves them: most rows in the larger files that a compaction makes, and those of the
last batches in a file each. Columns that no step at the size of a store reads (signatures, hashes, embeddings) are
null. `pipeline.bench.start` makes the videos and their attempts.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.bench.start import batches_of, fill, table_of, video_ids
from pipeline.clip_spec import MEASUREMENTS_VERSION, clip_spec
from pipeline.config import Config
from pipeline.progress import ProgressCallback
from pipeline.shards.plan import Plan, shard_inputs
from pipeline.storage.arrow import pc
from pipeline.storage.models_table import ModelRecord, replace_model
from pipeline.storage.store import Store

MODEL = "quality-classifier-made-up"
LABELS = 10_000
"""Rated clips, the paper's number; fewer in a small store."""
BATCH_VIDEOS = 250
_PART_VIDEOS = 20_000
_LAST_BATCHES = 32
"""Batches whose rows lie in files of their own: no compaction has seen them yet."""
_SAMPLES_PER_TAR = 512


def fill_store(
    store: Store, config: Config, videos: int, clips: int, on_progress: ProgressCallback | None = None
) -> None:
    """Write a store that was searched, downloaded, cut, compared, rated and scored; nothing of it is decided.

    Nine of ten videos were downloaded, by the third attempt. One clip in ten is a copy of the one before it, one in
    fifty is still, and one in twenty has a cut.

    Args:
        store: an empty store.
        config: its clips are of this `clip_spec`.
        videos: rows of `videos`; `downloads` has three times as many.
        clips: rows of `clips` and of `scores`, about.
        on_progress: called with lines of progress.
    """
    fill(store, videos, 3, on_progress)
    rng = np.random.default_rng(0)
    for first, last in _parts(videos):
        for name, rows in _cut(clip_spec(config.clips), first, last, clips / videos / 0.9, rng).items():
            store.append(name, rows)
    _rate(store, config, min(LABELS, clips // 10), rng)


def publish_set(store: Store, plan: Plan, config: Config) -> None:
    """Write the rows of the training set of a plan, without its tars, made before the last batch."""
    version = plan.version
    kept = store.read("curated", ["split", "decision"])
    kept = kept.filter(pc.equal(kept["decision"], "keep"))
    rows = []
    for split in ("train", "val", "test"):
        samples = pc.sum(pc.equal(kept["split"], split)).as_py() or 0
        rows += [
            {
                "version": version, "split": split, "path": f"shards/{version}/{split}/clips-{number:06d}.tar",
                "samples": min(_SAMPLES_PER_TAR, samples - start), "bytes": 60_000_000, "sha256": "0" * 64,
            }
            for number, start in enumerate(range(0, samples, _SAMPLES_PER_TAR))
        ]  # fmt: skip
    manifest = {"version": version, "shards": [{"split": row["split"], "samples": row["samples"]} for row in rows]}
    inputs = shard_inputs(store, config) | {"contents": plan.contents}
    inputs["tables"]["curated"] -= 1
    store.write_blob(f"shards/{version}/manifest.json", json.dumps(manifest).encode())
    store.replace("shards", rows, inputs=inputs)


def _parts(videos: int) -> Iterator[tuple[int, int]]:
    """Yield the first and the last video (exclusive) of each commit: large ones, then the last batches one by one."""
    alone = max(0, videos - _LAST_BATCHES * BATCH_VIDEOS) // BATCH_VIDEOS * BATCH_VIDEOS
    for first in range(0, alone, _PART_VIDEOS):
        yield first, min(first + _PART_VIDEOS, alone)
    for first in range(alone, videos, BATCH_VIDEOS):
        yield first, min(first + BATCH_VIDEOS, videos)


def _cut(spec: str, first: int, last: int, each: float, rng: np.random.Generator) -> dict[str, pa.Table]:
    """Return the rows of `clippings`, `clips`, `scores` and `duplicates` of some videos, `each` clips a video."""
    numbers = np.arange(first, last)
    numbers = numbers[numbers % 10 > 0]  # those that `fill` downloaded
    per_video = np.diff(np.floor(each * np.arange(len(numbers) + 1))).astype(np.int64)
    names, batches = np.array(video_ids(numbers)), np.array(batches_of(numbers))
    source = np.array([f"{number:064x}" for number in numbers.tolist()])
    cut = {
        "video_id": names, "batch": batches, "clip_spec": [spec] * len(names), "source_sha256": source,
        "state": ["ok"] * len(names), "num_clips": per_video, "source_ms": 16_000 * per_video + 4000,
        "packets_ms": 16_000 * per_video + 4000, "clip_ms": 16_000 * per_video, "remainder_ms": [4000] * len(names),
        "lost_ms": [0] * len(names), "lost": ["[]"] * len(names),
        "measurements_version": [MEASUREMENTS_VERSION] * len(names),
    }  # fmt: skip
    size = int(per_video.sum())
    owner = np.repeat(np.arange(len(names)), per_video)
    place = np.arange(size) - np.repeat(np.cumsum(per_video) - per_video, per_video)
    ids = [f"{name}-{start:09d}-{spec}" for name, start in zip(names[owner], (place * 16_000).tolist(), strict=True)]
    common = {"clip_id": ids, "video_id": names[owner], "clip_spec": [spec] * size, "batch": batches[owner]}
    sha256 = _hashes(rng, size)
    number = np.arange(size)
    tars = np.array([f"clips/{spec}/{batch}/{name}.tar" for batch, name in zip(batches, names, strict=True)])
    offset = place * 120_000
    clips = {
        **common, "start_ms": place * 16_000, "end_ms": place * 16_000 + 16_000, "source_sha256": source[owner],
        "tar": tars[owner], "offset": offset, "size": [110_000] * size, "sha256": sha256,
        "frames_offset": offset + 110_000, "frames_size": [9000] * size,
        "num_frames": [160] * size, "width": [160] * size, "height": [90] * size,
        "fps": [10.0] * size, "motion": rng.random(size), "still_share": rng.random(size),
        "flags": [["still"] if n % 50 == 0 else [] for n in range(size)],
        "cut_ms": [[8000] if n % 20 == 0 else [] for n in range(size)],
    }  # fmt: skip
    copy, pair = number % 10 == 9, number % 10 >= 8
    copies = {
        **common, "representative": np.array(ids)[number - copy], "is_representative": ~copy,
        "group_size": np.where(pair, 2, 1),
    }  # fmt: skip
    scores = {**common, "model_version": [MODEL] * size, "probability": rng.random(size), "clip_sha256": sha256}
    return {
        "clippings": table_of("clippings", len(names), cut),
        "clips": table_of("clips", size, clips),
        "scores": table_of("scores", size, scores),
        "duplicates": table_of("duplicates", size, copies),
    }


def _hashes(rng: np.random.Generator, count: int) -> list[str]:
    digits = rng.bytes(32 * count).hex()
    return [digits[start : start + 64] for start in range(0, len(digits), 64)]


def _rate(store: Store, config: Config, labels: int, rng: np.random.Generator) -> None:
    """Write ratings of some clips, and a published classifier that learned from them."""
    now, spec = datetime(2026, 12, 1, tzinfo=UTC), clip_spec(config.clips)
    ids: list[Any] = []
    probability: list[Any] = []
    for batch in store.scan("scores", ["clip_id", "probability"]):
        some = pa.array(range(0, len(batch), max(1, len(batch) // 200)), pa.int64())
        ids += batch.column("clip_id").take(some).to_pylist()
        probability += batch.column("probability").take(some).to_pylist()
    chosen = np.sort(rng.permutation(len(ids))[:labels]).tolist()
    ids, probability = [ids[place] for place in chosen], [probability[place] for place in chosen]
    rating = np.where(rng.random(len(ids)) < np.array(probability), 5, 3).tolist()
    events: dict[str, Any] = {
        "event_id": [f"e{number}" for number in range(len(ids))], "clip_id": ids, "rating": rating,
        "kind": ["rate"] * len(ids), "annotator": ["ann"] * len(ids), "labelled_at": [now] * len(ids),
        "resolved": [True] * len(ids),
    }  # fmt: skip
    store.append("labels", table_of("labels", len(ids), events))
    groups = [clip_id[:16] for clip_id in ids]
    stored = {"clip_id": ids, "rating": rating, "probability": probability, "score": probability, "group": groups}
    document = {
        "format": 2, "clip_spec": spec, "out_of_fold": stored, "held_out": {name: [] for name in stored}, "needs": [],
    }  # fmt: skip
    store.write_blob(f"models/{MODEL}/model.json", json.dumps(document).encode())
    record = ModelRecord(
        model_id=MODEL, kind="quality_classifier", path=f"models/{MODEL}", parameters=1, steps=1, metrics={},
        config=dataclasses.asdict(config.classifier),
        inputs={"fingerprint": "f", "clip_spec": spec, "clips": dataclasses.asdict(config.clips)},
    )  # fmt: skip
    replace_model(store, record)
