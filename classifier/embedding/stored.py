"""Read the table `embeddings`: 16-bit floats of the mean and the spread, as arrays of 32-bit floats.

Dimension keys: N clips, D features of the network; a vector has 2D numbers, the mean and then the spread.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from classifier.embedding.weights import encoder_id
from pipeline.config import Config
from pipeline.storage.arrow import Column, pc
from pipeline.storage.store import Store

Vectors = NDArray[np.float32]
_COLUMNS = ["clip_id", "mean", "spread"]
_ROWS = 4096
"""Rows in memory at a time (21 MB of 2,560 16-bit floats)."""


def packed(vector_D: Vectors) -> bytes:
    """Return numbers as the table holds them."""
    return vector_D.astype("<f2").tobytes()


def scan_embeddings(
    store: Store, config: Config, where: pc.Expression | None = None
) -> Iterator[tuple[list[str], Vectors]]:
    """Yield (clip ids, their vectors (N, 2D)) of all embedded clips, some thousand at a time.

    Only those of the configured encoder; clips that count no more may be among them.
    """
    ours = (pc.field("encoder") == encoder_id(config.embedding)) & pc.is_valid(pc.field("mean"))
    for record in store.scan("embeddings", _COLUMNS, ours if where is None else ours & where, _ROWS):
        if len(record):
            rows = pa.Table.from_batches([record])
            names = [str(name) for name in rows["clip_id"].to_pylist()]
            yield names, np.hstack([_unpacked(rows["mean"]), _unpacked(rows["spread"])])


def read_embeddings(store: Store, config: Config, clip_ids: Sequence[str], *, batch: str | None = None) -> Vectors:
    """Return the vectors (N, 2D) of clips, in their order.

    A clip without one has a row of NaN. Where no clip has one, the array is (N, 0).

    Args:
        store: the store.
        config: names the encoder.
        clip_ids: the clips.
        batch: their batch, where they are all of one: only its files are read.
    """
    where = pc.field("clip_id").isin(pa.array(sorted(set(clip_ids)), pa.string()))
    if batch is not None:
        where &= pc.field("batch") == batch
    place = {clip_id: index for index, clip_id in enumerate(dict.fromkeys(clip_ids))}
    found: Vectors | None = None
    for names, vectors in scan_embeddings(store, config, where):
        if found is None:
            found = np.full((len(place), vectors.shape[1]), np.nan, np.float32)
        found[[place[name] for name in names]] = vectors
    if found is None:
        return np.zeros((len(clip_ids), 0), np.float32)
    return found if len(place) == len(clip_ids) else found[[place[clip_id] for clip_id in clip_ids]]


def _unpacked(column: Column) -> Vectors:
    return np.frombuffer(b"".join(column.to_pylist()), "<f2").reshape(len(column), -1).astype(np.float32)
