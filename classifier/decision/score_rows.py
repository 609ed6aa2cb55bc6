"""Compute the rows of `scores` of many clips as a stream: read what the classifier needs, and nothing else.

A classifier on measurements reads columns. One on embeddings reads the table `embeddings`. Only one on frames reads
pictures, ahead of its network, some at a time. Memory does not grow with the number of clips.

Dimension keys: N clips of one call of the scorer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from classifier.clip_stream import FRAME_COLUMNS, Row, clip_rows, frames_ahead, map_ahead
from classifier.embedding.stored import read_embeddings
from classifier.torch_threads import fixed_threads
from classifier.training.calibration import Calibration, apply_calibration
from classifier.training.candidates.scorer import Scorer
from classifier.training.examples import FEATURE_COLUMNS, features_of
from classifier.training.fitting import device_of
from classifier.training.frames import clip_frames
from classifier.training.inputs import ClipInputs, Need
from classifier.training.published import load_document, load_scorer, trained_config
from pipeline.clips.geometry import Frames
from pipeline.config import ClassifierConfig, Config
from pipeline.job import BatchJob
from pipeline.progress import Progress
from pipeline.storage.arrow import is_one_of, pc
from pipeline.storage.models_table import ModelRecord
from pipeline.storage.rows import rows_table
from pipeline.storage.store import Store

UNREADABLE, NO_EMBEDDING = "unreadable_frames", "no_embedding"
_TOGETHER, _ON_GPU = 1024, 64
"""Clips of a call without frames, and with frames on a GPU. On a CPU each clip with frames is a call of its own."""
_PART = 8192
"""Rows that become one Arrow table."""


@dataclass(frozen=True)
class LoadedClassifier:
    """A published classifier, ready to score."""

    scorer: Scorer
    calibration: Calibration
    config: ClassifierConfig
    """The model's own sizes, with the device and threads of today."""

    @property
    def needs(self) -> frozenset[Need]:
        """Return the arrays that the scorer reads."""
        return self.scorer.needs

    @property
    def columns(self) -> list[str]:
        """Return the columns of `clips` that scoring reads, `sha256` among them."""
        frames = FRAME_COLUMNS if "frames" in self.needs else ()
        return ["sha256", *frames, *(FEATURE_COLUMNS if "features" in self.needs else ())]


def load_classifier(store: Store, model: ModelRecord, config: Config) -> LoadedClassifier:
    """Return a published classifier; UserError where this version cannot read it."""
    # the model's own sizes: the configuration may have changed since it was trained
    own = dataclasses.replace(trained_config(model), device=config.classifier.device, threads=config.classifier.threads)
    return LoadedClassifier(load_scorer(store, model, own), load_document(store, model)["calibration"], own)


def scored_tables(job: BatchJob, classifier: LoadedClassifier, clips: pa.Table) -> Iterator[pa.Table]:
    """Yield the rows of `scores` of clips, in order, some thousand a table, without batch and model version.

    Args:
        job: the batch that the clips are of.
        classifier: what scores them.
        clips: rows of `clips` with `clip_id` and the classifier's `columns`.
    """
    with Progress("clip scores", len(clips), "clips", on_progress=job.on_progress) as progress:
        rows: list[dict[str, Any]] = []
        for found in _scored(job, classifier, clips):
            progress.advance(len(found))
            rows += found
            if len(rows) >= _PART:
                yield rows_table("scores", rows)
                rows = []
        yield rows_table("scores", rows)


def _scored(job: BatchJob, classifier: LoadedClassifier, clips: pa.Table) -> Iterator[list[dict[str, Any]]]:
    needs_frames = "frames" in classifier.needs
    on_gpu = needs_frames and device_of(classifier.config).type == "cuda"
    rows: Iterator[Row] = _with_embeddings(job, clips) if "embedding" in classifier.needs else clip_rows(clips)
    items: Iterator[tuple[Row, Frames | Exception | None]]
    items = frames_ahead(job.store, rows) if needs_frames else ((row, None) for row in rows)
    size = (_ON_GPU if on_gpu else 1) if needs_frames else _TOGETHER
    groups = iter(lambda: list(islice(items, size)), [])
    workers = 1 if on_gpu else classifier.config.threads
    # a clip is too little work to share: one thread a call, as many calls at a time as there are threads
    with fixed_threads(1) as limit:
        yield from map_ahead(
            lambda group: _score_group(classifier, group), groups, workers, ahead=2 * workers, initializer=limit
        )


def _score_group(
    classifier: LoadedClassifier, group: Sequence[tuple[Row, Frames | Exception | None]]
) -> list[dict[str, Any]]:
    readable = [(row, found) for row, found in group if not isinstance(found, Exception)]
    rows, needs = [row for row, _ in readable], classifier.needs
    pictures = [clip_frames(found, classifier.config) for _, found in readable if found is not None]
    vectors = [row["embedding"] for row in rows] if "embedding" in needs else []
    scores: Iterator[tuple[float, float]] = iter(())
    if rows:
        score_N = classifier.scorer.scores(
            ClipInputs(
                features_NF=features_of(rows) if "features" in needs else np.empty((len(rows), 0)),
                frames_NKCHW=torch.stack(pictures) if pictures else None,
                embedding_ND=np.stack(vectors) if vectors else None,
            )
        )
        scores = zip(score_N.tolist(), apply_calibration(classifier.calibration, score_N).tolist(), strict=True)
    return [
        _failed(row, UNREADABLE, str(found)) if isinstance(found, Exception) else _row(row, *next(scores))
        for row, found in group
    ]


def _row(clip: Row, score: float, probability: float) -> dict[str, Any]:
    if not np.isfinite(score):
        return _failed(clip, NO_EMBEDDING, clip.get("no_embedding") or "it has no embedding")
    found = {"probability": round(probability, 6), "score": round(score, 6)}
    return {"clip_id": clip["clip_id"], "clip_sha256": clip["sha256"], **found}


def _failed(clip: Row, error_class: str, message: str) -> dict[str, Any]:
    found = {"error_class": error_class, "message": message[:500]}
    return {"clip_id": clip["clip_id"], "clip_sha256": clip["sha256"], **found}


def _with_embeddings(job: BatchJob, clips: pa.Table) -> Iterator[Mapping[str, Any]]:
    """Yield rows with their vector as `embedding`, and as `no_embedding` why there is none."""
    for part in clips.to_batches(max_chunksize=_TOGETHER):
        rows = part.to_pylist()
        ids = [row["clip_id"] for row in rows]
        vectors = read_embeddings(job.store, job.config, ids, batch=job.batch)
        failed = (pc.field("batch") == job.batch) & pc.is_valid(pc.field("error_class")) & is_one_of("clip_id", ids)
        why = {
            r["clip_id"]: r["message"] for r in job.store.read("embeddings", ["clip_id", "message"], failed).to_pylist()
        }
        for row, vector in zip(rows, vectors, strict=True):
            yield {**row, "embedding": vector, "no_embedding": why.get(row["clip_id"])}
