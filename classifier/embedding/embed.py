"""Embed the clips of a batch: one vector per clip from the frames that are stored beside it, made once.

No video is decoded: a clip costs one ranged read, one JPEG and one pass of the network. A clip whose frames cannot be
read gets a row with the reason. A row is made again only where the clip shows other bytes than before, or the encoder
is another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from classifier.clip_stream import FRAME_COLUMNS, Row, clip_rows, frames_ahead, map_ahead
from classifier.embedding.stored import Vectors, packed
from classifier.embedding.weights import encoder_id
from classifier.pool import load_pool
from pipeline.clips.geometry import Frames
from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.job import BatchJob
from pipeline.progress import Progress
from pipeline.storage.arrow import of_batches, pc, unique
from pipeline.storage.rows import rows_table, sql_texts
from pipeline.storage.store import Store
from pipeline.workers.spread import spread

UNREADABLE, NOT_FINITE = "unreadable_frames", "not_finite"
_GPU_CLIPS = 16
"""Clips of a pass on a GPU. On a CPU each clip is a pass of its own: 8 frames fill the caches, and 32 cost 6 % more."""
_PART = 1024
"""Rows that become one Arrow table (5 MB)."""
_TASK = 256
"""Clips of a task on a cluster."""


@dataclass(frozen=True)
class EmbedReport:
    """The embeddings of a batch after a call."""

    batch: str
    encoder: str
    clips: int
    """Clips of the batch."""
    failed: Mapping[str, str]
    """Reason by clip_id of clips without a vector."""
    computed: int
    """Clips that were embedded by this call."""
    written: bool
    """False where nothing was due."""


def embed_clips(job: BatchJob) -> EmbedReport:
    """Give every clip of a batch its vector under the configured encoder, in one commit.

    Raises:
        UserError: embedding is switched off, or the network's file is missing, changed or of another network.
    """
    store, config, batch = job.store, job.config, job.batch
    if not config.embedding.enabled:
        raise UserError("embedding.enabled = false: no clip is embedded; set it to true")
    encoder = encoder_id(config.embedding)
    pool = load_pool(store, config, batch)
    clips = pool.scan([*FRAME_COLUMNS, "sha256"], batch)
    missing = _missing(store, batch, encoder, clips)
    stale = _has_other_rows(store, batch, encoder, clips)
    if not len(missing) and not stale:
        return _report(store, batch, encoder, len(clips), computed=0, written=False)
    parts = [_kept_rows(store, batch, encoder, clips, missing), *embedded_tables(job, missing)]
    hidden = pa.array(sorted(pool.taken_down_since()), pa.string())
    table = rows_table("embeddings", pa.concat_tables(parts))
    table = table.filter(pc.invert(pc.is_in(table["video_id"], hidden))).sort_by("clip_id")
    store.replace("embeddings", table, where=f"batch = {sql_texts([batch])}", inputs={"encoder": encoder})
    return _report(store, batch, encoder, len(clips), computed=len(missing), written=True)


def unembedded_batches(store: Store, config: Config) -> list[str]:
    """Return the batches that hold a clip without a row of the configured encoder; none where embedding is off."""
    if not config.embedding.enabled:
        return []
    encoder, pool = encoder_id(config.embedding), load_pool(store, config)
    missing = []
    for batches, clips in pool.by_group(["sha256"]):
        where = of_batches(batches) & (pc.field("encoder") == encoder)
        known = store.read("embeddings", ["clip_id", "clip_sha256"], where)
        missing += unique(_not_in(clips, known)["batch"])
    return missing


def _known(store: Store, batch: str, encoder: str) -> pa.Table:
    where = (pc.field("batch") == batch) & (pc.field("encoder") == encoder)
    return store.read("embeddings", ["clip_id", "clip_sha256"], where)


def _missing(store: Store, batch: str, encoder: str, clips: pa.Table) -> pa.Table:
    """Return the clips (clip_id, sha256, ...) that have no row of the encoder, or one of other bytes."""
    return _not_in(clips, _known(store, batch, encoder))


def _not_in(clips: pa.Table, known: pa.Table) -> pa.Table:
    places = clips.select(["clip_id", "sha256"]).append_column("place", pa.array(range(len(clips)), pa.int64()))
    left = places.join(known, ["clip_id", "sha256"], ["clip_id", "clip_sha256"], join_type="left anti")
    return clips.take(left["place"].combine_chunks().sort())


def _has_other_rows(store: Store, batch: str, encoder: str, clips: pa.Table) -> bool:
    """Tell whether rows of another encoder are left of a batch that has clips."""
    rows = store.read("embeddings", ["encoder"], pc.field("batch") == batch)
    return len(clips) > 0 and bool(pc.any(pc.not_equal(rows["encoder"], encoder)).as_py())


def _kept_rows(store: Store, batch: str, encoder: str, clips: pa.Table, missing: pa.Table) -> pa.Table:
    """Return the batch's rows that stay: of the encoder, of clips that count and show the same bytes as then."""
    where = (pc.field("batch") == batch) & (pc.field("encoder") == encoder)
    rows = store.read("embeddings", where=where)
    counts = pc.is_in(rows["clip_id"], clips["clip_id"].combine_chunks())
    return rows.filter(pc.and_(counts, pc.invert(pc.is_in(rows["clip_id"], missing["clip_id"].combine_chunks()))))


def embedded_tables(job: BatchJob, clips: pa.Table) -> Iterator[pa.Table]:
    """Yield the rows of `embeddings` of clips (with `FRAME_COLUMNS` and `sha256`), in order, a thousand a table."""
    engine = job.config.engine
    if engine.backend == "local":
        yield from _tables(job, clips)
        return
    parts = [clips.take(pa.array(range(at, min(at + _TASK, len(clips))))) for at in range(0, len(clips), _TASK)]
    work = partial(_table_of, job=replace(job, on_progress=None))
    with Progress("clip embeddings", len(clips), "clips", on_progress=job.on_progress) as progress:
        for part, table in spread(work, parts, engine, store=job.store, networks=True):
            progress.advance(len(part))
            yield table


def _table_of(clips: pa.Table, job: BatchJob) -> pa.Table:
    """Return the rows of some clips, on a node of a cluster."""
    return pa.concat_tables(_tables(job, clips))


def _tables(job: BatchJob, clips: pa.Table) -> Iterator[pa.Table]:
    if not len(clips):
        return
    rows: list[dict[str, Any]] = []
    for row in _embedded(job, clips):
        rows.append(row)
        if len(rows) == _PART:
            yield rows_table("embeddings", rows)
            rows = []
    yield rows_table("embeddings", rows)


def _embedded(job: BatchJob, clips: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield a row for every clip, in order: frames are read in threads, ahead of the network."""
    from classifier.embedding.encoder import load_encoder  # torch is a second to import
    from classifier.torch_threads import fixed_threads

    encoder = load_encoder(job.config.embedding)
    on_gpu = encoder.device.type == "cuda"

    def embedded(group: list[tuple[Row, Frames | Exception]]) -> list[dict[str, Any]]:
        readable = [found for _, found in group if not isinstance(found, Exception)]
        together = (
            [np.stack(readable)] if len({found.shape for found in readable}) == 1 else [f[None] for f in readable]
        )
        vectors = iter([pair for frames in together for pair in zip(*encoder(frames), strict=True)])
        return [_row(row, found if isinstance(found, Exception) else next(vectors)) for row, found in group]

    with (
        # a clip is too little work to share: one thread per clip, as many clips at a time as there are threads
        fixed_threads(1) as limit,
        Progress("clip embeddings", len(clips), "clips", on_progress=job.on_progress) as progress,
    ):
        groups = _groups(frames_ahead(job.store, clip_rows(clips)), _GPU_CLIPS if on_gpu else 1)
        workers = 1 if on_gpu else job.config.embedding.threads
        for rows in map_ahead(embedded, groups, workers, ahead=2 * workers, initializer=limit):
            progress.advance(len(rows))
            yield from ({**row, "batch": job.batch, "encoder": encoder.id} for row in rows)


def _groups(
    clips: Iterator[tuple[Row, Frames | Exception]], size: int
) -> Iterator[list[tuple[Row, Frames | Exception]]]:
    while group := list(islice(clips, size)):
        yield group


def _row(clip: Row, found: tuple[Vectors, Vectors] | Exception) -> dict[str, Any]:
    row = {"clip_id": clip["clip_id"], "clip_sha256": clip["sha256"]}
    if isinstance(found, Exception):
        return {**row, "error_class": UNREADABLE, "message": str(found)[:500]}
    mean, spread = packed(found[0]), packed(found[1])
    if not all(np.isfinite(np.frombuffer(part, "<f2")).all() for part in (mean, spread)):
        message = "the network gave numbers that are not finite, or above 65,504"
        return {**row, "error_class": NOT_FINITE, "message": message}
    return {**row, "mean": mean, "spread": spread}


def _report(store: Store, batch: str, encoder: str, clips: int, *, computed: int, written: bool) -> EmbedReport:
    where = (pc.field("batch") == batch) & (pc.field("encoder") == encoder) & pc.is_valid(pc.field("error_class"))
    rows = store.read("embeddings", ["clip_id", "message"], where).to_pylist()
    failed = {row["clip_id"]: str(row["message"]) for row in rows}
    return EmbedReport(batch, encoder, clips, failed, computed, written)
