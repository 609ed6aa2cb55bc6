"""An order in which clips look as different as possible from all before: farthest-point order on embeddings.

    sketch_NK = read_sketches(store, config, clip_ids)
    order = diverse_order(sketch_NK, count=500, seed=0)      # places of clip_ids, the first 500

Dimension keys: N clips, D numbers of a vector, K numbers of its sketch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from classifier.embedding.stored import Vectors, scan_embeddings
from pipeline.config import Config
from pipeline.storage.arrow import is_one_of
from pipeline.storage.store import Store

SKETCH = 64
"""Numbers of a sketch: 256 bytes a clip, a fortieth of a vector."""
MOST = 50_000
"""Clips that are compared at most; of more, a seeded draw takes part."""
_IDS = 4096


def read_sketches(store: Store, config: Config, clip_ids: Sequence[str]) -> Vectors:
    """Return the sketches (N, K) of clips, in their order; NaN for a clip without an embedding.

    Vectors are read some thousand at a time, so that memory grows by 256 bytes a clip.
    """
    found = np.full((len(clip_ids), SKETCH), np.nan, np.float32)
    for start in range(0, len(clip_ids), _IDS):
        part = clip_ids[start : start + _IDS]
        place = {clip_id: start + index for index, clip_id in enumerate(part)}
        for names, vectors in scan_embeddings(store, config, is_one_of("clip_id", part)):
            found[[place[name] for name in names]] = sketch(vectors)
    return found


def sketch(vectors_ND: Vectors) -> Vectors:
    """Return vectors of length 1, each folded into K signed sums of its numbers: distances stay about what they were.

    The sums of a row do not depend on the rows beside it, as those of a matrix product do.
    """
    size = vectors_ND.shape[1]
    if size <= SKETCH:
        padded = np.zeros((len(vectors_ND), SKETCH), np.float32)
        padded[:, :size] = _unit(vectors_ND)
        return padded
    draw = np.random.default_rng(0)
    # every sum gets its share of the numbers, drawn once and for all
    order, sign_D = draw.permutation(size), draw.choice(np.array([-1, 1], np.float32), size)
    signed = _unit(vectors_ND)[:, order] * sign_D
    return np.add.reduceat(signed, np.arange(SKETCH) * size // SKETCH, axis=1)


def diverse_order(vectors_ND: Vectors, count: int, seed: int) -> list[int]:
    """Return the places of at most `count` clips: a seeded first one, then always the one farthest from all before.

    Args:
        vectors_ND: sketches or vectors, one row a clip; a row with NaN never takes part.
        count: how many are wanted; fewer where fewer have a vector.
        seed: of the first clip, and of the draw where there are more than `MOST`.
    """
    there = np.flatnonzero(np.isfinite(vectors_ND).all(1)) if vectors_ND.shape[1] else np.zeros(0, np.int64)
    if not len(there) or count < 1:
        return []
    draw = np.random.default_rng(seed)
    if len(there) > MOST:
        there = np.sort(draw.permutation(there)[:MOST])
    x_ND = _unit(vectors_ND[there])
    chosen = [int(draw.integers(len(there)))]
    # of vectors of length 1, the nearest is the one with the largest product
    nearest_N = x_ND @ x_ND[chosen[0]]
    while len(chosen) < min(count, len(there)):
        nearest_N[chosen[-1]] = np.inf
        chosen.append(int(nearest_N.argmin()))
        np.maximum(nearest_N, x_ND @ x_ND[chosen[-1]], out=nearest_N)
    return [int(there[place]) for place in chosen]


def _unit(vectors_ND: Vectors) -> Vectors:
    return vectors_ND / np.maximum(np.linalg.norm(vectors_ND, axis=1, keepdims=True), 1e-12)
