"""Find the clips that look most like one: cosine similarity of embeddings, over a whole store, a part at a time."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from classifier.embedding.stored import Vectors, read_embeddings, scan_embeddings
from classifier.embedding.weights import encoder_id
from pipeline.clip_spec import clip_spec
from pipeline.clips.encode import encode_frames
from pipeline.clips.read import scan_clips
from pipeline.clips.stored import decode_frames
from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.storage.arrow import is_one_of, pc
from pipeline.storage.store import Store

_SPARE = 64
"""Clips that are kept beyond those asked for: some may belong to videos that count no more."""


@dataclass(frozen=True)
class Similar:
    """A clip that looks like the one asked for."""

    clip_id: str
    cosine: float
    """1 for the same pictures; for clips of unrelated screens about 0.6."""


def similar_to_clip(store: Store, config: Config, clip_id: str, top: int) -> list[Similar]:
    """Return the clips of other spans that look most like a clip of the store, the nearest first.

    Raises:
        UserError: the clip has no embedding; the message says why.
    """
    vectors = read_embeddings(store, config, [clip_id])
    if vectors.shape[1] and not np.isnan(vectors).any():
        return _nearest(store, config, vectors[0], top, clip_id)
    where = (pc.field("clip_id") == clip_id) & (pc.field("encoder") == encoder_id(config.embedding))
    rows = store.read("embeddings", ["message"], where).to_pylist()
    why = f"its frames could not be embedded: {rows[0]['message']}" if rows else "it is not embedded"
    raise UserError(f"clip {clip_id}: {why}{'' if rows else advice(config)}")


def similar_to_file(store: Store, config: Config, path: Path, top: int) -> dict[int, list[Similar]]:
    """Return for each clip of a video file, by its start in ms, the clips of the store that look most like it.

    Raises:
        UserError: nothing of the store is embedded, or the file is shorter than a clip.
        PermanentError: it cannot be decoded.
    """
    from classifier.embedding.encoder import load_encoder
    from pipeline.clips.decode import open_video

    if not any_embedded(store, config):
        raise UserError(f"no clip of {store.root} is embedded{advice(config)}")
    encoder = load_encoder(config.embedding)
    found = {}
    for window in open_video(path, config.clips).windows():
        # through the same JPEG as the frames of stored clips
        mean, spread = encoder(decode_frames(encode_frames(window.frames))[None])
        found[window.start_ms] = _nearest(store, config, np.hstack([mean, spread])[0], top, None)
    if not found:
        raise UserError(f"{path} is shorter than a clip ({config.clips.seconds} s)")
    return found


def nearest_to(
    store: Store, config: Config, vectors_QD: Vectors, top: int, but: str | None = None
) -> list[list[Similar]]:
    """Return for each of some vectors the clips whose embeddings are nearest to it; the table is read once.

    Args:
        store: the store.
        config: names the encoder and the clips.
        vectors_QD: embeddings of the configured encoder.
        top: clips for each.
        but: a clip that is not among them.
    """
    wanted_QD = vectors_QD / np.maximum(np.linalg.norm(vectors_QD, axis=1, keepdims=True), 1e-12)
    best: list[list[tuple[float, str]]] = [[] for _ in wanted_QD]
    spec = pc.field("clip_spec") == clip_spec(config.clips)
    for names, vectors_ND in scan_embeddings(store, config, spec):
        cosine_QN = wanted_QD @ vectors_ND.T / np.maximum(np.linalg.norm(vectors_ND, axis=1), 1e-12)
        for place, cosine_N in enumerate(cosine_QN):
            found = [(float(cosine), name) for cosine, name in zip(cosine_N, names, strict=True) if name != but]
            best[place] = heapq.nlargest(top + _SPARE, [*best[place], *found])
    ids = sorted({name for one in best for _, name in one})
    counting: set[str] = set()
    for part in scan_clips(store, config, ["clip_id"], is_one_of("clip_id", ids)):
        counting.update(map(str, part["clip_id"].to_pylist()))
    return [[Similar(name, cosine) for cosine, name in one if name in counting][:top] for one in best]


def _nearest(store: Store, config: Config, vector_D: Vectors, top: int, but: str | None) -> list[Similar]:
    return nearest_to(store, config, vector_D[None], top, but)[0]


def any_embedded(store: Store, config: Config) -> bool:
    """Tell whether any clip has an embedding of the configured encoder."""
    return any(names for names, _ in scan_embeddings(store, config))


def advice(config: Config) -> str:
    """Return how clips come to be embedded, to follow `no clip is embedded`."""
    switch = "" if config.embedding.enabled else "set embedding.enabled = true and "
    return f": {switch}run `lampworks run --select clip_embeddings`"
