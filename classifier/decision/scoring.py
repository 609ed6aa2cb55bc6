"""Score every clip of a batch under the published classifier, from the 8 frames that lie beside it.

No video is decoded: a clip costs one range of bytes, one JPEG and one pass of the network. Every clip gets a row;
one whose frames cannot be read gets one without a probability that says why, and the others go on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from classifier.pool import Pool, load_pool
from classifier.training.calibration import apply_platt, clip_features
from classifier.training.examples import FRAME_COLUMNS, read_clip_frames
from classifier.training.fitting import fixed_threads, logits_of
from classifier.training.resnet import ResNet18
from classifier.training.train import KIND, load_document, load_network
from pipeline.config import ClassifierConfig, ClipConfig, Config
from pipeline.errors import UserError
from pipeline.progress import Progress, ProgressCallback
from pipeline.storage.arrow import pc
from pipeline.storage.models_table import ModelRecord, newest_model
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down

CHUNK = 256
"""Clips whose frames are in memory at a time (29 MB at 8 frames of 160x90)."""


@dataclass(frozen=True)
class ScoreReport:
    """The scores of a batch after a call."""

    batch: str
    model_version: str
    clips: int
    """Clips of the batch."""
    failed: Mapping[str, str]
    """Clips whose frames could not be read, and why."""
    mean_probability: float | None
    histogram: tuple[int, ...]
    """Clips per tenth of probability."""
    written: bool
    """False where the batch was scored before."""


def score_batch(
    store: Store, config: Config, batch: str, *, on_progress: ProgressCallback | None = None
) -> ScoreReport:
    """Give every clip of a batch its probability under the published classifier, in one commit.

    Args:
        store: the store; the batch's rows of `scores` are replaced.
        config: the configuration.
        batch: the batch.
        on_progress: hears the lines of progress.

    Raises:
        UserError: no classifier is published, or it was trained on clips of another clip_spec.
    """
    model = newest_model(store, KIND)
    if model is None:
        raise UserError(
            "no quality classifier is published, so nothing can be scored: train it first (it needs labels)"
        )
    pool = load_pool(store, config)
    trained_on = model.inputs["clip_spec"]
    if trained_on != pool.spec:
        raise UserError(
            f"the quality classifier {model.model_id} was trained on clips of clip_spec {trained_on}, the clips of "
            f"now are {pool.spec}: train it again on labels of these clips"
        )
    clips = pool.scan([*FRAME_COLUMNS, "sha256"], batch).to_pylist()
    scored = store.read("scores", where=pc.field("batch") == batch).to_pylist()
    if _covers(scored, clips, model.model_id):
        return _report(batch, model, scored, written=False)
    rows = _score(store, config.classifier, model, clips, on_progress)
    rows = [{**row, "batch": batch, "model_version": model.model_id} for row in rows]
    # a takedown that came meanwhile still counts
    hidden = taken_down(store).hidden_videos(store)
    shown = {clip["clip_id"] for clip in clips if clip["video_id"] not in hidden}
    rows = [row for row in rows if row["clip_id"] in shown]
    if rows or scored:
        quoted = batch.replace("'", "''")
        store.replace("scores", rows, where=f"batch = '{quoted}'", inputs={"model_version": model.model_id})
    return _report(batch, model, rows, written=bool(rows or scored))


def batch_is_scored(store: Store, batch: str, config: Config | None = None) -> bool:
    """Tell whether every clip of a batch has its row under the published classifier.

    Without a configuration the clips are of the kind that the classifier was trained on.
    """
    model = newest_model(store, KIND)
    if model is None:
        return False
    config = config or Config(clips=ClipConfig(**model.inputs["clips"]))
    clips = load_pool(store, config).scan([], batch).to_pylist()
    return _covers(store.read("scores", where=pc.field("batch") == batch).to_pylist(), clips, model.model_id)


def unscored_batches(store: Store, pool: Pool, model_version: str) -> list[str]:
    """Return the batches in which a clip has no row under a model version, or another version's row is there."""
    missing = []
    for batch, clips in pool.by_batch([]):
        where = pc.field("batch") == batch
        rows = store.read("scores", ["clip_id", "model_version"], where).to_pylist()
        if not _covers(rows, clips.to_pylist(), model_version):
            missing.append(batch)
    return missing


def _covers(scored: Sequence[Mapping[str, Any]], clips: Sequence[Mapping[str, Any]], model_id: str) -> bool:
    if any(row["model_version"] != model_id for row in scored):
        return False
    # rows of clips that were taken down since do no harm
    return {clip["clip_id"] for clip in clips} <= {row["clip_id"] for row in scored}


def _score(
    store: Store,
    config: ClassifierConfig,
    model: ModelRecord,
    clips: Sequence[Mapping[str, Any]],
    on_progress: ProgressCallback | None,
) -> list[dict[str, Any]]:
    # the model's own sizes: the configuration may have moved on since it was trained
    trained = ClassifierConfig(**model.config)
    config = dataclasses.replace(trained, device=config.device, threads=config.threads)
    network, calibration = load_network(store, model, config), load_document(store, model)["calibration"]
    rows: list[dict[str, Any]] = []
    on_gpu = next(network.parameters()).device.type == "cuda"
    with (
        # a clip is too little work to share: one thread each, as many clips at a time as there are threads
        fixed_threads(1) as limit,
        Progress("clip scores", len(clips), "clips", on_progress=on_progress) as bar,
        ThreadPoolExecutor(1 if on_gpu else config.threads, initializer=limit) as workers,
    ):
        for start in range(0, len(clips), CHUNK):
            chunk = clips[start : start + CHUNK]
            frames = read_clip_frames(store, chunk, config)
            for row in workers.map(partial(_row, network, calibration), chunk, frames):
                rows.append(row)
                bar.advance()
    return rows


def _row(
    network: ResNet18, calibration: dict[str, Any], clip: Mapping[str, Any], frames: Tensor | Exception
) -> dict[str, Any]:
    if isinstance(frames, Exception):
        return {"clip_id": clip["clip_id"], "error_class": "unreadable_frames", "message": str(frames)[:500]}
    features = clip_features(logits_of(network, frames[None]))
    mean, least, spread = (round(float(value), 5) for value in features[0])
    probability = float(apply_platt(calibration, np.array([[mean, least, spread]]))[0])
    return {
        "clip_id": clip["clip_id"], "probability": round(probability, 6), "logit_mean": mean, "logit_min": least,
        "logit_std": spread,
    }  # fmt: skip


def _report(batch: str, model: ModelRecord, rows: Sequence[Mapping[str, Any]], *, written: bool) -> ScoreReport:
    found = np.array([row["probability"] for row in rows if row.get("probability") is not None])
    return ScoreReport(
        batch=batch,
        model_version=model.model_id,
        clips=len(rows),
        failed={row["clip_id"]: str(row.get("message")) for row in rows if row.get("probability") is None},
        mean_probability=float(found.mean()) if len(found) else None,
        histogram=tuple(np.histogram(found, np.linspace(0, 1, 11))[0].tolist()),
        written=written,
    )
