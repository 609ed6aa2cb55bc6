"""Draw clips of every source from a store: clips to judge, clips that a flag drops, and copies, each on its own.

The clips are read twice, a part at a time: once to count those of each source, once to draw. Memory grows with the
sources and the queue, not with the clips.

Dimension keys: N clips, S sources.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa

from classifier.labels.sampling import Hashes, Ints, Quotas, Rows, Smallest, quotas, ranks, seeded_hashes
from classifier.pool import Pool
from classifier.training.arrays import Bools
from pipeline.clips.read import scan_clips
from pipeline.storage.arrow import RowsOfBatches, pc

Kind = Literal["random", "flagged", "duplicate"]
KINDS: tuple[Kind, ...] = ("random", "flagged", "duplicate")
Texts: TypeAlias = "pa.Array[Any] | pa.ChunkedArray[Any]"

Part: TypeAlias = "tuple[pa.Array[Any], Ints, dict[Kind, Bools]]"
"""Clip ids (N,), their sources (N,) and which of them are of each kind."""


def texts(column: Texts) -> list[str]:
    """Return the values of a column without nulls."""
    return [value for value in column.to_pylist() if value is not None]


@dataclass(frozen=True)
class Sources:
    """The sources of a pool, by number."""

    names: list[str]
    of_video: Mapping[str, int]
    hash_S: Hashes

    def of(self, video_ids: Texts) -> Ints:
        """Return the number of the source of each video, -1 for one that is not in the pool."""
        return np.array([self.of_video.get(video_id, -1) for video_id in texts(video_ids)], np.int64)


@dataclass(frozen=True)
class Counts:
    """Clips of each source by kind."""

    size_S: Mapping[Kind, Ints]

    def total(self, kind: Kind, most: int) -> int:
        """Return how many clips of a kind there are, counting at most `most` of a source."""
        return int(np.minimum(self.size_S[kind], most).sum())


@dataclass(frozen=True)
class Drawn:
    """Clips drawn from their sources, in the order in which sources take turns."""

    clip_ids: list[str]
    turn_N: Ints
    """Clips of the same source before each one."""
    source_N: Ints


def sources_of(pool: Pool) -> Sources:
    """Return the sources of a pool."""
    groups = {video_id: pool.group(video_id) for video_id in pool.videos}
    names = sorted(set(groups.values()))
    number = {name: i for i, name in enumerate(names)}
    of_video = {video_id: number[group] for video_id, group in groups.items()}
    return Sources(names, of_video, seeded_hashes(pool.config.labels.seed, names))


class ClipParts:
    """The clips of a pool by kind, a part at a time."""

    def __init__(self, pool: Pool, sources: Sources) -> None:
        """Read which clips are copies."""
        copies = pool.store.read("duplicates", ["clip_id", "batch"], ~pc.field("is_representative"))
        # looked up among those of the same batches: among all of them each part would cost as much as the store has
        self._copies = RowsOfBatches(copies)
        self._pool, self._sources = pool, sources
        self._dropping = pa.array(sorted(pool.config.decision.drop_flags), pa.string())

    def __iter__(self) -> Iterator[Part]:
        """Yield the clips in parts."""
        for part in scan_clips(self._pool.store, self._pool.config, ["clip_id", "video_id", "flags", "batch"]):
            source_N = self._sources.of(part["video_id"])
            part, source_N = part.filter(pa.array(source_N >= 0)), source_N[source_N >= 0]
            clip_ids = part["clip_id"].combine_chunks()
            yield clip_ids, source_N, self.kinds(part)

    def kinds(self, clips: pa.Table) -> dict[Kind, Bools]:
        """Return which clips (clip_id, flags, batch) are of each kind."""
        clip_ids, flags = clips["clip_id"].combine_chunks(), clips["flags"].combine_chunks()
        copies = self._copies.of(clips["batch"], may_have_none=True)["clip_id"].combine_chunks()
        copy_N = pc.is_in(clip_ids, copies).to_numpy(zero_copy_only=False)
        flagged_N = np.zeros(len(clip_ids), bool)
        dropping = pc.is_in(pc.list_flatten(flags), self._dropping).to_numpy(zero_copy_only=False)
        flagged_N[pc.list_parent_indices(flags).to_numpy(zero_copy_only=False)[dropping]] = True
        return {"random": ~copy_N & ~flagged_N, "flagged": ~copy_N & flagged_N, "duplicate": copy_N}


def count_clips(parts: Iterable[Part], num_sources: int) -> Counts:
    """Return how many clips of each kind each source has."""
    size_S = {kind: np.zeros(num_sources, np.int64) for kind in KINDS}
    for _, source_N, kinds in parts:
        for kind, of_kind in kinds.items():
            size_S[kind] += np.bincount(source_N[of_kind], minlength=num_sources)
    return Counts(size_S)


def draw_clips(
    parts: Iterable[Part], sources: Sources, counts: Counts, wanted: Mapping[Kind, int], seed: int, most: int
) -> dict[Kind, Drawn]:
    """Return the drawn clips of each kind.

    Args:
        parts: the clips.
        sources: their sources.
        counts: clips of each source.
        wanted: clips of each kind.
        seed: of the draw.
        most: clips of a source at most.
    """
    plan: dict[Kind, Quotas] = {kind: quotas(counts.size_S[kind], sources.hash_S, wanted[kind], most) for kind in KINDS}
    kept = {kind: Smallest(int(found.quota_S.sum()), found.quota_S) for kind, found in plan.items()}
    for clip_ids, source_N, kinds in parts:
        # only sources that give clips are hashed
        for kind, of_kind in kinds.items():
            chosen = np.flatnonzero(of_kind & (plan[kind].quota_S[source_N] > 0))
            if len(chosen):
                names = texts(clip_ids.take(chosen))
                hash_N = seeded_hashes(seed, names)
                kept[kind].add(Rows(np.array(names, object), source_N[chosen], hash_N, hash_N))
    return {kind: _in_turns(smallest.rows(), sources.hash_S) for kind, smallest in kept.items()}


def _in_turns(rows: Rows, hash_S: Hashes) -> Drawn:
    # the sources of a turn in the order in which `quotas` takes them: the first n clips are a draw of n clips
    turn_N = ranks(rows)
    order = np.lexsort((hash_S[rows.source_N], turn_N))
    return Drawn(rows.clip_ids[order].tolist(), turn_N[order], rows.source_N[order])
