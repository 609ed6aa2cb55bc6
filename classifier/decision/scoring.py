"""Score every clip of a batch with the published classifier, from its measurements, or what else it needs.

No video is decoded: measurements are columns and embeddings are stored; where a network is published, a clip costs one
ranged read, one JPEG and one pass of it. Every clip gets a row. A clip that cannot be scored gets one without a
probability, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa

from classifier.decision.score_rows import LoadedClassifier, load_classifier, scored_tables
from classifier.embedding.embed import embed_clips
from classifier.embedding.weights import encoder_id
from classifier.pool import Pool, load_pool
from classifier.training.published import latest_classifier, load_document
from pipeline.config import ClipConfig, Config
from pipeline.errors import UserError
from pipeline.job import BatchJob
from pipeline.progress import Progress
from pipeline.storage.arrow import of_batches, pc, rows_with
from pipeline.storage.models_table import ModelRecord
from pipeline.storage.rows import rows_table, sql_texts
from pipeline.storage.store import Store
from pipeline.workers.spread import spread

_COVER_COLUMNS = ["clip_id", "model_version", "clip_sha256"]
_REPORT_COLUMNS = ["clip_id", "probability", "message"]
_TASK = 8192
"""Clips of a task on a cluster: a whole number of the calls that a scorer gets here, so that scores are the same."""


@dataclass(frozen=True)
class ScoreReport:
    """The scores of a batch after a call."""

    batch: str
    model_version: str
    clips: int
    """Clips of the batch."""
    failed: Mapping[str, str]
    """Reason by clip_id of clips that could not be scored."""
    mean_probability: float | None
    histogram: tuple[int, ...]
    """Clips per tenth of probability."""
    written: bool
    """False where the batch was already scored."""


def score_batch(job: BatchJob) -> ScoreReport:
    """Give every clip of a batch its probability under the published classifier, in one commit.

    Where the classifier needs embeddings that the batch lacks, they are made first.

    Raises:
        UserError: no classifier is published, this version cannot use it, or it was trained on clips of another
            clip_spec or on embeddings of another network.
    """
    store, batch = job.store, job.batch
    pool = load_pool(store, job.config, batch)
    model = _usable_model(pool)
    where = pc.field("batch") == batch
    scored = store.read("scores", _COVER_COLUMNS, where)
    # a batch without scores is not looked through for those that are missing
    if len(scored) and _covers(scored, pool.scan(["sha256"], batch), model.model_id):
        return _report(batch, model, store.read("scores", _REPORT_COLUMNS, where), written=False)
    classifier = load_classifier(store, model, job.config)
    clips = pool.scan(classifier.columns, batch)
    if not len(clips) and not len(scored):
        return _report(batch, model, rows_table("scores", []), written=False)
    if "embedding" in classifier.needs:
        _embed(job, model)
    table = _rows(job, model, classifier, clips)
    hidden = pa.array(sorted(pool.taken_down_since()), pa.string())
    table = table.filter(pc.invert(pc.is_in(table["video_id"], hidden)))
    written = len(table) > 0 or len(store.read("scores", ["clip_id"], where)) > 0
    if written:
        inputs = {"model_version": model.model_id}
        store.replace("scores", table, where=f"batch = {sql_texts([batch])}", inputs=inputs)
    return _report(batch, model, table, written=written)


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
    pool = load_pool(store, config or Config(clips=ClipConfig(**model.inputs["clips"])), batch)
    rows = store.read("scores", _COVER_COLUMNS, pc.field("batch") == batch)
    return _covers(rows, pool.scan(["sha256"], batch), model.model_id)


def batches_to_score(store: Store) -> list[str] | None:
    """Return the batches with clips that the published classifier has not scored; None where none is published.

    Those clips count that are of the kind that it was trained on. The pool is loaded once for all batches.
    """
    model = latest_classifier(store)
    if model is None:
        return None
    return unscored_batches(load_pool(store, Config(clips=ClipConfig(**model.inputs["clips"]))), model.model_id)


def unscored_batches(pool: Pool, model_version: str) -> list[str]:
    """Return the batches in which a clip has no row of a model version, or a row of another version is left."""
    missing = []
    for batches, clips in pool.by_group(["sha256"]):
        scored = pool.store.read("scores", [*_COVER_COLUMNS, "batch"], of_batches(batches))
        if _covers(scored, clips, model_version):  # as most are
            continue
        for batch in batches:
            if not _covers(rows_with(scored, "batch", batch), rows_with(clips, "batch", batch), model_version):
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


def _embed(job: BatchJob, model: ModelRecord) -> None:
    """See that the batch has embeddings of the network that the classifier learned from."""
    learned = load_document(job.store, model)["encoder"]
    if not job.config.embedding.enabled:
        raise UserError(
            f"the quality classifier {model.model_id} scores embeddings, and embedding.enabled = false: set it to "
            "true, or train another classifier with `lampworks run`"
        )
    present = encoder_id(job.config.embedding)
    if learned != present:
        raise UserError(
            f"the quality classifier {model.model_id} learned from embeddings of {learned}, the present ones are of "
            f"{present}: train it again with `lampworks run`, or set section `embedding` back"
        )
    embed_clips(job)


def _covers(scored: pa.Table, clips: pa.Table, model_version: str) -> bool:
    if pc.any(pc.not_equal(scored["model_version"], model_version)).as_py():
        return False
    # rows of clips that were taken down later do no harm; those without a hash are older than the column
    known = scored.select(["clip_id", "clip_sha256"]).append_column("there", pa.array([True] * len(scored), pa.bool_()))
    both = clips.select(["clip_id", "sha256"]).join(known, "clip_id", join_type="left outer")
    same = pc.or_(pc.is_null(both["clip_sha256"]), pc.fill_null(pc.equal(both["clip_sha256"], both["sha256"]), False))
    return not len(both) or bool(pc.all(pc.and_(pc.fill_null(both["there"], False), same)).as_py())


def _rows(job: BatchJob, model: ModelRecord, classifier: LoadedClassifier, clips: pa.Table) -> pa.Table:
    parts = list(_tables(job, model, classifier, clips)) if len(clips) else []
    table = pa.concat_tables([rows_table("scores", []), *parts])
    for name, value in (("batch", job.batch), ("model_version", model.model_id)):
        column = pa.array([value] * len(table), pa.string())
        table = table.set_column(table.column_names.index(name), name, column)
    return table


def _tables(job: BatchJob, model: ModelRecord, classifier: LoadedClassifier, clips: pa.Table) -> Iterator[pa.Table]:
    """Yield the rows of clips in order, computed here or on a cluster."""
    engine = job.config.engine
    if engine.backend == "local":
        yield from scored_tables(job, classifier, clips)
        return
    parts = [clips.take(pa.array(range(at, min(at + _TASK, len(clips))))) for at in range(0, len(clips), _TASK)]
    work = partial(_table_of, job=replace(job, on_progress=None), model_id=model.model_id)
    with Progress("clip scores", len(clips), "clips", on_progress=job.on_progress) as progress:
        for part, table in spread(work, parts, engine, store=job.store, networks=True):
            progress.advance(len(part))
            yield table


def _table_of(clips: pa.Table, job: BatchJob, model_id: str) -> pa.Table:
    """Return the rows of some clips, on a node of a cluster."""
    model = latest_classifier(job.store)
    if model is None or model.model_id != model_id:
        raise UserError(f"the quality classifier {model_id} was replaced while it scored: run again")
    return pa.concat_tables(scored_tables(job, load_classifier(job.store, model, job.config), clips))


def _report(batch: str, model: ModelRecord, rows: pa.Table, *, written: bool) -> ScoreReport:
    found = rows["probability"].drop_null().to_numpy()
    failed = rows.filter(pc.is_null(rows["probability"])).select(["clip_id", "message"]).to_pylist()
    return ScoreReport(
        batch=batch,
        model_version=model.model_id,
        clips=len(rows),
        failed={row["clip_id"]: str(row["message"]) for row in failed},
        mean_probability=float(found.mean()) if len(found) else None,
        histogram=tuple(np.histogram(found, np.linspace(0, 1, 11))[0].tolist()),
        written=written,
    )
