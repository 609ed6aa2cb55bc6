"""The pool: every committed clip that may be judged, with its source's group and split.

`pipeline.clips.read.read_clips` defines which clips count: those of the current clip_spec, of videos that were cut to
their end and are not taken down. The pool adds their videos, and with them the source that no fold and no split may
divide.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from sys import intern
from typing import Any, NamedTuple

import pyarrow as pa

from pipeline.clip_spec import clip_spec
from pipeline.clips.read import read_clips
from pipeline.config import Config
from pipeline.shards.splits import Split, group_of, split_of
from pipeline.storage.arrow import Column, in_parts, of_batches, pc, rows_with, texts
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down

_PART_ROWS = 1 << 19
GROUP_CLIPS = 1 << 15
"""Batches are read together up to so many clips: opening tables for each of thousands would take most of the time."""


class PoolVideo(NamedTuple):
    """What the pool holds of a video; of a million videos, so no more than is needed of all."""

    batch: str
    group: str
    """Its source."""
    channel_id: str | None


@dataclass(frozen=True)
class Pool:
    """The clips that count, by their videos; clips themselves are read on demand, because a large store has many."""

    store: Store
    config: Config
    spec: str
    """The clip_spec of the clips."""
    videos: Mapping[str, PoolVideo]
    """Videos with clips by video_id, without those that were taken down before the pool was loaded."""

    num_clips: Mapping[str, int] = field(default_factory=dict)
    """Clips of each batch when the pool was loaded."""

    @cached_property
    def batches(self) -> list[str]:
        """Return the batches that have clips, sorted."""
        return sorted(self._ids)

    @cached_property
    def groups(self) -> list[list[str]]:
        """Return the batches in groups of about `GROUP_CLIPS` clips, in order."""
        found: list[list[str]] = []
        clips = GROUP_CLIPS
        for batch in self.batches:
            if clips + self.num_clips.get(batch, 0) > GROUP_CLIPS:
                found.append([])
                clips = 0
            found[-1].append(batch)
            clips += self.num_clips.get(batch, 0)
        return found

    @cached_property
    def _ids(self) -> dict[str, list[str]]:
        """The ids of each batch's videos, sorted."""
        found: dict[str, list[str]] = {}
        for video_id in sorted(self.videos):
            found.setdefault(self.videos[video_id].batch, []).append(video_id)
        return found

    @cached_property
    def _all_ids(self) -> Column:
        return texts(list(self.videos))

    def scan(
        self, columns: Sequence[str], batch: str | None = None, clip_ids: Collection[str] | None = None
    ) -> pa.Table:
        """Return columns of the clips (clip_id and video_id always among them), sorted by clip_id.

        Args:
            columns: columns of the `clips` table.
            batch: only clips of this batch; None: of all.
            clip_ids: only these clips; None: all.
        """
        return self._scan(columns, None if batch is None else [batch], clip_ids)

    def _scan(
        self, columns: Sequence[str], batches: Sequence[str] | None, clip_ids: Collection[str] | None = None
    ) -> pa.Table:
        where = None if clip_ids is None else pc.field("clip_id").isin(pa.array(sorted(clip_ids), pa.string()))
        names = list(dict.fromkeys(["clip_id", "video_id", *columns]))
        # of a batch, only the rows of its own videos are read: a store has thousands of batches
        table = read_clips(self.store, self.config, names, where, batch=batches)
        # videos that were cut after this pool was loaded belong to the next one
        if batches is None:
            return table.filter(pc.is_in(table["video_id"], self._all_ids))
        ids = [video_id for batch in batches for video_id in self._ids.get(batch, ())]
        return table.filter(pc.is_in(table["video_id"], texts(ids)))

    def by_batch(self, columns: Sequence[str]) -> Iterator[tuple[str, pa.Table]]:
        """Yield (batch, its clips sorted by clip_id), a group of batches in memory at a time."""
        names = list(dict.fromkeys(["clip_id", "video_id", *columns]))
        for group, table in self.by_group(columns):
            for batch in group:
                yield batch, (rows_with(table, "batch", batch) if len(group) > 1 else table).select(names)

    def by_group(self, columns: Sequence[str]) -> Iterator[tuple[list[str], pa.Table]]:
        """Yield (batches in order, their clips with the column `batch`, sorted by clip_id)."""
        for group in self.groups:
            yield group, self._scan([*columns, "batch"], group)

    def rows_by_batch(self, table: str, columns: Sequence[str]) -> RowsByBatch:
        """Return the rows of another table by batch, to be read beside `by_batch`."""
        return RowsByBatch(self, table, columns)

    def group(self, video_id: str) -> str:
        """Return the source of a video: the unit that is never divided between two splits."""
        return self.videos[video_id].group

    def split(self, video_id: str) -> Split:
        """Return `train` or `val`."""
        return split_of(self.group(video_id), self.config.split)

    def taken_down_since(self) -> frozenset[str]:
        """Return the videos of the pool that were taken down after it was loaded (reads the table of takedowns).

        Every writer calls this right before its commit, and leaves these videos out or begins again.
        """
        hidden = taken_down(self.store)
        return frozenset(video_id for video_id, row in self.videos.items() if hidden.hides(video_id, row.channel_id))


def load_pool(store: Store, config: Config, batch: str | None = None) -> Pool:
    """Return the pool of a store under a configuration; with `batch`, the videos of that batch alone."""
    spec = clip_spec(config.clips)
    where = (pc.field("clip_spec") == spec) & (pc.field("state") == "ok") & (pc.field("num_clips") > 0)
    # work on one of thousands of batches must not read them all
    mine = None if batch is None else pc.field("batch") == batch
    if mine is not None:
        where &= mine
    cut = store.read("clippings", ["video_id", "num_clips"], where)
    hidden, videos, num_clips = taken_down(store), dict[str, PoolVideo](), Counter[str]()
    columns = ["video_id", "extractor", "channel_id", "batch"]
    for part in in_parts(store.scan("videos", columns, mine), _PART_ROWS):
        part = part.append_column("clips", pc.index_in(part["video_id"], value_set=cut["video_id"].combine_chunks()))
        part = part.filter(pc.is_valid(part["clips"]))
        clips = cut["num_clips"].take(part["clips"])
        for row, count in zip(_rows(part), clips.to_pylist(), strict=True):
            if not hidden.hides(row):
                batch, channel = intern(row["batch"] or ""), row["channel_id"]
                channel = None if channel is None else intern(channel)
                videos[row["video_id"]] = PoolVideo(batch, intern(group_of(row)), channel)
                num_clips[batch] += int(count or 0)
    return Pool(store=store, config=config, spec=spec, videos=videos, num_clips=num_clips)


def _rows(part: pa.Table) -> Iterator[dict[str, Any]]:
    for batch in part.to_batches(max_chunksize=1 << 14):
        yield from batch.to_pylist()


class RowsByBatch:
    """The rows of a table that has a column `batch`, read for a group of batches at a time."""

    def __init__(self, pool: Pool, table: str, columns: Sequence[str]) -> None:
        self._store, self._table, self._columns = pool.store, table, list(columns)
        self._group_of = {batch: group for group in pool.groups for batch in group}
        self._group: list[str] = []
        self._rows: pa.Table | None = None

    def of(self, batch: str) -> pa.Table:
        """Return the rows of one batch of the pool; cheap where batches are asked for in order."""
        group = self._group_of[batch]
        if self._rows is None or group is not self._group:
            columns = list(dict.fromkeys([*self._columns, "batch"]))
            self._group, self._rows = group, self._store.read(self._table, columns, of_batches(group))
        return rows_with(self._rows, "batch", batch).select(self._columns)
