"""Choose clips by other models than the classifier: unlike each other by their embeddings, or badly predicted."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence

from classifier.embedding.diverse import diverse_order, read_sketches
from classifier.embedding.stored import scan_embeddings
from classifier.pool import Pool
from pipeline.model_ids import EVALUATION
from pipeline.storage.models_table import newest_model, read_model_file
from pipeline.storage.store import Store

_MOST = 10_000


def has_embeddings(pool: Pool) -> bool:
    """Tell whether any clip has an embedding of the configured encoder."""
    return pool.config.embedding.enabled and next(scan_embeddings(pool.store, pool.config), None) is not None


def diverse_clips(pool: Pool, clip_ids: Sequence[str], count: int) -> list[str]:
    """Return at most `count` of these clips, each as unlike those before as can be; clips without embedding never.

    Args:
        pool: where they are from.
        clip_ids: what to choose from; the first 10,000 are compared.
        count: how many.
    """
    compared = list(clip_ids[:_MOST])
    sketch_NK = read_sketches(pool.store, pool.config, compared)
    return [compared[place] for place in diverse_order(sketch_NK, count, pool.config.labels.seed)]


def prediction_by_clip(store: Store) -> dict[str, float]:
    """Return the next-frame PSNR of each clip that the newest evaluation of a world model measured.

    Empty without an evaluation, and for one of a version that did not keep it.

    Raises:
        DamagedError: the file is not the one that was published.
    """
    newest = newest_model(store, EVALUATION)
    if newest is None:
        return {}
    try:
        about = json.loads(read_model_file(store, newest, "pictures.json"))
    except FileNotFoundError:  # an evaluation of an older version, without hashes of its files
        return {}
    rows = about.get("clip_psnr", [])
    return {row["clip_id"]: float(row["psnr_t1"]) for row in rows if math.isfinite(row["psnr_t1"])}


def badly_predicted(psnr: Mapping[str, float], left_out: Collection[str], count: int) -> list[str]:
    """Return the clips with the lowest PSNR, worst first."""
    worst = sorted((value, clip_id) for clip_id, value in psnr.items() if clip_id not in left_out)
    return [clip_id for _, clip_id in worst[:count]]
