"""Choose clips by other models than the classifier: unlike each other, or such that a world model only guesses."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import zip_longest

from classifier.embedding.diverse import diverse_order, read_sketches
from classifier.embedding.stored import scan_embeddings
from classifier.pool import Pool
from pipeline.model_ids import EVALUATION
from pipeline.storage.models_table import newest_model, read_model_file
from pipeline.storage.store import Store
from pipeline.uncovered import read_situations

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


def clips_near_situations(store: Store) -> list[str]:
    """Return the clips that look like what the newest evaluated world could only guess in games.

    Those that most situations name come first, then those that lie nearer.
    """
    newest = newest_model(store, EVALUATION)
    world = None if newest is None else newest.inputs.get("world_model")
    if world is None:
        return []
    times: Counter[str] = Counter()
    place: dict[str, int] = {}
    for row in read_situations(store, str(world)):
        for rank, clip_id in enumerate(row["nearest"]):
            times[clip_id] += 1
            place[clip_id] = min(rank, place.get(clip_id, rank))
    return sorted(times, key=lambda clip_id: (-times[clip_id], place[clip_id], clip_id))


def uncovered_clips(psnr: Mapping[str, float], near: Sequence[str], left_out: Collection[str], count: int) -> list[str]:
    """Return clips of situations that a world has not seen, and clips with the lowest PSNR, in turns.

    Args:
        psnr: next-frame PSNR by clip.
        near: as of `clips_near_situations`.
        left_out: clips that are not chosen.
        count: how many.
    """
    worst = [clip_id for _, clip_id in sorted((value, clip_id) for clip_id, value in psnr.items())]
    in_turns = [clip_id for pair in zip_longest(near, worst) for clip_id in pair if clip_id is not None]
    return [clip_id for clip_id in dict.fromkeys(in_turns) if clip_id not in left_out][:count]
