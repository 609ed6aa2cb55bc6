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
from pipeline.storage.arrow import pc
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
    raise UserError(f"clip {clip_id}: {why}{'' if rows else _advice(config)}")


def similar_to_file(store: Store, config: Config, path: Path, top: int) -> dict[int, list[Similar]]:
    """Return for each clip of a video file, by its start in ms, the clips of the store that look most like it.

    Raises:
        UserError: nothing of the store is embedded, or the file is shorter than a clip.
        PermanentError: it cannot be decoded.
    """
    from classifier.embedding.encoder import load_encoder
    from pipeline.clips.decode import open_video

    if not _any(store, config):
        raise UserError(f"no clip of {store.root} is embedded{_advice(config)}")
    encoder = load_encoder(config.embedding)
    found = {}
    for window in open_video(path, config.clips).windows():
        # through the same JPEG as the frames of stored clips
        mean, spread = encoder(decode_frames(encode_frames(window.frames))[None])
        found[window.start_ms] = _nearest(store, config, np.hstack([mean, spread])[0], top, None)
    if not found:
        raise UserError(f"{path} is shorter than a clip ({config.clips.seconds} s)")
    return found


def _nearest(store: Store, config: Config, vector_D: Vectors, top: int, but: str | None) -> list[Similar]:
    wanted = vector_D / max(float(np.linalg.norm(vector_D)), 1e-12)
    best: list[tuple[float, str]] = []
    spec = pc.field("clip_spec") == clip_spec(config.clips)
    for names, vectors_ND in scan_embeddings(store, config, spec):
        cosine_N = vectors_ND @ wanted / np.maximum(np.linalg.norm(vectors_ND, axis=1), 1e-12)
        found = [(float(cosine), name) for cosine, name in zip(cosine_N, names, strict=True) if name != but]
        best = heapq.nlargest(top + _SPARE, [*best, *found])
    ids = [name for _, name in best]
    counting: set[str] = set()
    for part in scan_clips(store, config, ["clip_id"], pc.field("clip_id").isin(ids)):
        counting.update(map(str, part["clip_id"].to_pylist()))
    return [Similar(name, cosine) for cosine, name in best if name in counting][:top]


def _any(store: Store, config: Config) -> bool:
    return any(names for names, _ in scan_embeddings(store, config))


def _advice(config: Config) -> str:
    switch = "" if config.embedding.enabled else "set embedding.enabled = true and "
    return f": {switch}run `lampworks run --select clip_embeddings`"
