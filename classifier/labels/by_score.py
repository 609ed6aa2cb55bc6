"""Choose clips by the present scores: uncertain ones, and samples from above and below the keep threshold.

The table `curated` has every clip with its probability and its decision. Clips that something else than the score
decided (a rating, a flag, a copy) have streams of their own, or none. Rows are read a part at a time, and memory grows
with the queue alone.

Dimension keys: N clips.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from classifier.labels.clip_draw import Sources, texts
from classifier.labels.sampling import Rows, Smallest, seeded_hashes
from classifier.labels.streams import Stream
from classifier.pool import Pool
from classifier.training.arrays import Bools, Floats
from pipeline.storage.arrow import pc

SCORE_KINDS = ("score", "score between")
"""Kinds of reasons that are the score's."""
BY_SCORE: tuple[Stream, ...] = ("audit_high", "audit_low", "uncertain")
_COLUMNS = ["clip_id", "video_id", "decision", "probability"]
_MOST_OF_SOURCE = 1 << 40
_NO_THRESHOLD = 0.5
"""Where nothing is kept by its score, the clips of this probability are the uncertain ones."""


@dataclass(frozen=True)
class Chosen:
    """Clips of one stream, in its order."""

    clip_ids: list[str]
    inclusion: float | None
    """Probability with which each of them was drawn; None for a choice that is no draw."""


def choose_by_score(
    pool: Pool, sources: Sources, threshold: float, wanted: Mapping[Stream, int], left_out: Collection[str]
) -> dict[Stream, Chosen]:
    """Return the clips of the streams `audit_high`, `audit_low` and `uncertain`.

    The audits are drawn from all clips, uncertain ones too; a clip of both is in the audit.

    Args:
        pool: the clips.
        sources: their sources.
        threshold: as of `keep_threshold`.
        wanted: clips of each stream.
        left_out: clips that are not chosen.
    """
    gone = pa.array(sorted(left_out), pa.string())
    most = pool.config.labels.max_per_source
    kept: dict[Stream, Smallest] = {
        "uncertain": Smallest(sum(wanted[stream] for stream in BY_SCORE), most),
        "audit_high": Smallest(wanted["audit_high"], _MOST_OF_SOURCE),
        "audit_low": Smallest(wanted["audit_low"], _MOST_OF_SOURCE),
    }
    seen: dict[Stream, int] = dict.fromkeys(kept, 0)
    for part, probability_N in _decided_by_score(pool, gone):
        source_N = sources.of(part["video_id"])
        names = texts(part["clip_id"])
        ids_N = np.array(names, object)
        high_N = pc.equal(part["decision"], "keep").to_numpy(zero_copy_only=False) & (source_N >= 0)
        of_stream: dict[Stream, Bools] = {
            "uncertain": source_N >= 0, "audit_high": high_N, "audit_low": ~high_N & (source_N >= 0)
        }  # fmt: skip
        for stream, chosen_N in of_stream.items():
            hash_N = seeded_hashes(f"{pool.config.labels.seed}\n{stream}", names)
            key_N = np.abs(probability_N - threshold) if stream == "uncertain" else hash_N
            kept[stream].add(Rows(ids_N, source_N, key_N, hash_N).take(chosen_N))
            seen[stream] += int(chosen_N.sum())
    chosen: dict[Stream, Chosen] = {}
    taken: set[str] = set()
    for stream in BY_SCORE:
        found: list[str] = kept[stream].rows().clip_ids.tolist()
        clip_ids = [clip_id for clip_id in found if clip_id not in taken][: wanted[stream]]
        taken.update(clip_ids)
        if clip_ids:
            chosen[stream] = Chosen(clip_ids, None if stream == "uncertain" else len(clip_ids) / seen[stream])
    return chosen


def keep_threshold(pool: Pool) -> float | None:
    """Return the least probability of a clip that its score keeps (0.5 without one); None without scores."""
    least: float | None = None
    any_scored = False
    for part, probability_N in _decided_by_score(pool, pa.array([], pa.string())):
        any_scored = any_scored or len(probability_N) > 0
        of_kept = probability_N[pc.equal(part["decision"], "keep").to_numpy(zero_copy_only=False)]
        if len(of_kept):
            least = float(of_kept.min()) if least is None else min(least, float(of_kept.min()))
    return _NO_THRESHOLD if any_scored and least is None else least


def _decided_by_score(pool: Pool, left_out: pa.Array[Any]) -> Iterator[tuple[pa.RecordBatch, Floats]]:
    """Yield the rows of `curated` that the score decided, with their probabilities (N,)."""
    by_score = pc.field("probability").is_valid() & pc.field("rating").is_null() & pc.field("kind").isin(SCORE_KINDS)
    for batch in pool.store.scan("curated", _COLUMNS, (pc.field("clip_spec") == pool.spec) & by_score):
        part = batch.filter(pc.invert(pc.is_in(batch["clip_id"], left_out)))
        yield part, part["probability"].to_numpy(zero_copy_only=False)
