"""Compute the rows of `scores` of many clips as a stream: read what the classifier needs, and nothing else.

A classifier on measurements reads columns. One on embeddings reads the table `embeddings`. Only one on frames reads
pictures, ahead of its network, some at a time. Memory does not grow with the number of clips.

Dimension keys: N clips of one call of the scorer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from classifier.clip_stream import FRAME_COLUMNS, Row, clip_rows, map_ahead, pictures_ahead
from classifier.embedding.stored import Vectors, read_embeddings
from classifier.torch_threads import fixed_threads
from classifier.training.arrays import Bools
from classifier.training.calibration import Calibration, apply_calibration
from classifier.training.candidates.scorer import Scorer
from classifier.training.examples import FEATURE_COLUMNS, features_of, features_of_table
from classifier.training.fitting import device_of
from classifier.training.frames import clip_frames
from classifier.training.inputs import ClipInputs, Need
from classifier.training.published import load_document, load_scorer, trained_config
from pipeline.clips.read import read_planes
from pipeline.config import ClassifierConfig, Config
from pipeline.job import BatchJob
from pipeline.progress import Progress
from pipeline.storage.arrow import is_one_of, pc
from pipeline.storage.models_table import ModelRecord
from pipeline.storage.rows import rows_table
from pipeline.storage.store import Store

UNREADABLE, NO_EMBEDDING = "unreadable_frames", "no_embedding"
_TOGETHER, _EMBEDDED, _ON_GPU = 8192, 1024, 64
"""Clips of a call: on measurements alone, with embeddings (10 MB), and with frames on a GPU. On a CPU each clip with
frames is a call of its own."""
_PART = 8192
"""Rows with frames that become one Arrow table."""


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
    tables = _with_frames if "frames" in classifier.needs else _without_frames
    with Progress("clip scores", len(clips), "clips", on_progress=job.on_progress) as progress:
        for table in tables(job, classifier, clips):
            progress.advance(len(table))
            yield table


def _without_frames(job: BatchJob, classifier: LoadedClassifier, clips: pa.Table) -> Iterator[pa.Table]:
    """Yield the rows of clips by column: no clip is a Python object."""
    together = _EMBEDDED if "embedding" in classifier.needs else _TOGETHER
    with fixed_threads(1):
        for start in range(0, len(clips), together):
            part = clips.slice(start, together)
            inputs = ClipInputs(
                features_NF=features_of_table(part) if "features" in classifier.needs else np.empty((len(part), 0)),
                embedding_ND=_embeddings(job, _ids(part)) if "embedding" in classifier.needs else None,
            )
            score_N = classifier.scorer.scores(inputs)
            missing_N = ~np.isfinite(score_N)
            probability_N = apply_calibration(classifier.calibration, score_N)
            table = pa.table({
                "clip_id": part["clip_id"],
                "video_id": part["video_id"],
                "clip_sha256": part["sha256"],
                "probability": pa.array(probability_N.round(6), pa.float64(), mask=missing_N),
                "score": pa.array(score_N.round(6), pa.float64(), mask=missing_N),
            })  # fmt: skip
            yield rows_table("scores", _with_reasons(job, table, missing_N) if missing_N.any() else table)


def _ids(clips: pa.Table) -> list[str]:
    return [str(clip_id) for clip_id in clips["clip_id"].to_pylist()]


def _embeddings(job: BatchJob, ids: Sequence[str]) -> Vectors | None:
    found = read_embeddings(job.store, job.config, ids, batch=job.batch)
    return found if found.shape[1] else None


def _with_reasons(job: BatchJob, table: pa.Table, missing_N: Bools) -> pa.Table:
    """Return the rows with why some of them have no score: the reason that their embedding has."""
    ids = _ids(table)
    lacking = [name for name, missing in zip(ids, missing_N.tolist(), strict=True) if missing]
    where = (pc.field("batch") == job.batch) & pc.is_valid(pc.field("error_class")) & is_one_of("clip_id", lacking)
    rows = job.store.read("embeddings", ["clip_id", "message"], where).to_pylist()
    why = dict.fromkeys(lacking, "it has no embedding") | {row["clip_id"]: row["message"] for row in rows}
    classes = [NO_EMBEDDING if name in why else None for name in ids]
    table = table.append_column("error_class", pa.array(classes, pa.string()))
    return table.append_column("message", pa.array([why.get(name) for name in ids], pa.string()))


def _with_frames(job: BatchJob, classifier: LoadedClassifier, clips: pa.Table) -> Iterator[pa.Table]:
    """Yield the rows of clips whose frames are read ahead of the network."""
    on_gpu = device_of(classifier.config).type == "cuda"
    rows = _with_embeddings(job, clips) if "embedding" in classifier.needs else clip_rows(clips)

    def ready(row: Row) -> Tensor:
        return clip_frames(read_planes(job.store, row), classifier.config)

    read = pictures_ahead(ready, rows)
    groups = iter(lambda: list(islice(read, _ON_GPU if on_gpu else 1)), [])
    workers = 1 if on_gpu else classifier.config.threads
    # a clip is too little work to share: one thread a call, as many calls at a time as there are threads
    with fixed_threads(1) as limit:
        scored = map_ahead(partial(_score_group, classifier), groups, workers, ahead=2 * workers, initializer=limit)
        flat = chain.from_iterable(scored)
        while part := list(islice(flat, _PART)):
            yield rows_table("scores", part)


def _with_embeddings(job: BatchJob, clips: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield rows with their vector as `embedding`; None where no clip has one."""
    for part in clips.to_batches(max_chunksize=_EMBEDDED):
        rows = part.to_pylist()
        vectors = _embeddings(job, [row["clip_id"] for row in rows])
        for place, row in enumerate(rows):
            yield {**row, "embedding": None if vectors is None else vectors[place]}


def _score_group(classifier: LoadedClassifier, group: Sequence[tuple[Row, Tensor | Exception]]) -> list[dict[str, Any]]:
    """Return the rows of some clips with their frames."""
    readable = [(row, found) for row, found in group if not isinstance(found, Exception)]
    rows, scores = [row for row, _ in readable], iter(np.zeros((0, 2)).tolist())
    if rows:
        vectors = _same_length([row.get("embedding") for row in rows])
        inputs = ClipInputs(
            features_NF=features_of(rows) if "features" in classifier.needs else np.empty((len(rows), 0)),
            frames_NKCHW=torch.stack([found for _, found in readable]),
            embedding_ND=vectors,
        )
        score_N = classifier.scorer.scores(inputs)
        scores = iter(np.stack([score_N, apply_calibration(classifier.calibration, score_N)], 1).round(6).tolist())
    return [_row(row, found if isinstance(found, Exception) else next(scores)) for row, found in group]


def _same_length(vectors: Sequence[Vectors | None]) -> Vectors | None:
    """Return vectors as an array with NaN for those that are missing; None where all are."""
    there = [vector for vector in vectors if vector is not None]
    if not there:
        return None
    return np.stack([np.full_like(there[0], np.nan) if vector is None else vector for vector in vectors])


def _row(clip: Row, found: Sequence[float] | Exception) -> dict[str, Any]:
    row = {"clip_id": clip["clip_id"], "clip_sha256": clip["sha256"]}
    if isinstance(found, Exception):
        return {**row, "error_class": UNREADABLE, "message": str(found)[:500]}
    return {**row, "score": found[0], "probability": found[1]}
