"""Score every clip of a batch with the published classifier, from its measurements, or what else it needs.

No video is decoded: measurements are columns; where a network is published, a clip costs one ranged read, one JPEG and
one pass of the network. Every clip gets a row. A clip whose frames cannot be read gets one without a probability, with
the reason.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from classifier.pool import Pool, load_pool
from classifier.torch_threads import fixed_threads
from classifier.training.calibration import apply_calibration
from classifier.training.examples import FEATURE_COLUMNS, features_of
from classifier.training.frames import read_clip_frames
from classifier.training.inputs import ClipInputs
from classifier.training.published import latest_classifier, load_document, load_scorer, trained_config
from pipeline.clips.read import FRAME_COLUMNS
from pipeline.config import ClipConfig, Config
from pipeline.errors import UserError
from pipeline.job import BatchJob
from pipeline.progress import Progress
from pipeline.storage.arrow import pc
from pipeline.storage.models_table import ModelRecord
from pipeline.storage.store import Store

_COVER_COLUMNS = ("clip_id", "model_version", "clip_sha256")
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
    """Reason by clip_id of clips whose frames could not be read."""
    mean_probability: float | None
    histogram: tuple[int, ...]
    """Clips per tenth of probability."""
    written: bool
    """False where the batch was already scored."""


def score_batch(job: BatchJob) -> ScoreReport:
    """Give every clip of a batch its probability under the published classifier, in one commit.

    Raises:
        UserError: no classifier is published, or it was trained on clips of another clip_spec.
    """
    store, batch = job.store, job.batch
    pool = load_pool(store, job.config)
    model = _usable_model(pool)
    clips = pool.scan([*FRAME_COLUMNS, *FEATURE_COLUMNS, "sha256"], batch).to_pylist()
    scored = store.read("scores", where=pc.field("batch") == batch).to_pylist()
    if _covers(scored, clips, model.model_id):
        return _report(batch, model, scored, written=False)
    found = _score(job, model, clips)
    hidden = pool.taken_down_since()
    rows = [
        {**row, "batch": batch, "model_version": model.model_id, "clip_sha256": clip["sha256"]}
        for clip, row in zip(clips, found, strict=True)
        if clip["video_id"] not in hidden
    ]
    if rows or scored:
        quoted = batch.replace("'", "''")
        store.replace("scores", rows, where=f"batch = '{quoted}'", inputs={"model_version": model.model_id})
    return _report(batch, model, rows, written=bool(rows or scored))


def batch_is_scored(store: Store, batch: str, config: Config | None = None) -> bool:
    """Tell whether every clip of a batch has a row of the published classifier.

    Args:
        store: the store.
        batch: the batch.
        config: says which clips count; None: clips of the kind that the classifier was trained on.
    """
    model = latest_classifier(store)
    if model is None:
        return False
    pool = load_pool(store, config or Config(clips=ClipConfig(**model.inputs["clips"])))
    clips = pool.scan(["sha256"], batch).to_pylist()
    rows = store.read("scores", where=pc.field("batch") == batch).to_pylist()
    return _covers(rows, clips, model.model_id)


def unscored_batches(pool: Pool, model_version: str) -> list[str]:
    """Return the batches in which a clip has no row of a model version, or a row of another version is left."""
    missing = []
    for batch, clips in pool.by_batch(["sha256"]):
        rows = pool.store.read("scores", _COVER_COLUMNS, pc.field("batch") == batch)
        if not _covers(rows.to_pylist(), clips.to_pylist(), model_version):
            missing.append(batch)
    return missing


def _usable_model(pool: Pool) -> ModelRecord:
    model = latest_classifier(pool.store)
    if model is None:
        raise UserError(
            "no quality classifier is published, so nothing can be scored: train it first (it needs labels)"
        )
    trained_on = model.inputs["clip_spec"]
    if trained_on != pool.spec:
        raise UserError(
            f"the quality classifier {model.model_id} was trained on clips of clip_spec {trained_on}, the present "
            f"clips are of {pool.spec}: train it again on labels of these clips"
        )
    return model


def _covers(scored: Sequence[Mapping[str, Any]], clips: Sequence[Mapping[str, Any]], model_version: str) -> bool:
    if any(row["model_version"] != model_version for row in scored):
        return False
    # rows of clips that were taken down later do no harm; those without a hash are older than the column
    of = {row["clip_id"]: row["clip_sha256"] for row in scored}
    return all(clip["clip_id"] in of and of[clip["clip_id"]] in (None, clip["sha256"]) for clip in clips)


def _score(job: BatchJob, model: ModelRecord, clips: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for every clip, in order, without batch and model version."""
    # the model's own sizes: the configuration may have changed since it was trained
    config = dataclasses.replace(
        trained_config(model), device=job.config.classifier.device, threads=job.config.classifier.threads
    )
    scorer = load_scorer(job.store, model, config)
    calibration = load_document(job.store, model)["calibration"]

    def row(clip: Mapping[str, Any], frames: Tensor | Exception | None) -> dict[str, Any]:
        if isinstance(frames, Exception):
            return {"clip_id": clip["clip_id"], "error_class": "unreadable_frames", "message": str(frames)[:500]}
        score_N = scorer.scores(ClipInputs(features_of([clip]), None if frames is None else frames[None]))
        probability = float(apply_calibration(calibration, score_N)[0])
        return {"clip_id": clip["clip_id"], "probability": round(probability, 6)}

    rows: list[dict[str, Any]] = []
    with (
        # a clip is too little work to share: one thread per clip, as many clips at a time as there are threads
        fixed_threads(1) as limit,
        Progress("clip scores", len(clips), "clips", on_progress=job.on_progress) as progress,
        ThreadPoolExecutor(config.threads, initializer=limit) as workers,
    ):
        for start in range(0, len(clips), CHUNK):
            chunk = clips[start : start + CHUNK]
            frames = read_clip_frames(job.store, chunk, config) if "frames" in scorer.needs else [None] * len(chunk)
            for found in workers.map(row, chunk, frames):
                rows.append(found)
                progress.advance()
    return rows


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
