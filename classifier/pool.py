"""The pool: every committed clip that may be judged, with its source's group and split.

`pipeline.clips.read.read_clips` defines which clips count: those of the current clip_spec, of videos that were cut to
their end and are not taken down. The pool adds their videos, and with them the source that no fold and no split may
divide.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict, cast

import pyarrow as pa

from pipeline.clip_spec import clip_spec
from pipeline.clips.read import read_clips
from pipeline.config import Config
from pipeline.shards.splits import Split, group_of, split_of
from pipeline.storage.arrow import pc
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down


class PoolVideo(TypedDict):
    """The columns of `videos` that the pool reads."""

    video_id: str
    extractor: str | None
    title: str | None
    channel_id: str | None
    batch: str


@dataclass(frozen=True)
class Pool:
    """The clips that count, by their videos; clips themselves are read on demand, because a large store has many."""

    store: Store
    config: Config
    spec: str
    """The clip_spec of the clips."""
    videos: Mapping[str, PoolVideo]
    """Videos with clips by video_id, without those that were taken down before the pool was loaded."""

    @property
    def batches(self) -> list[str]:
        """Return the batches that have clips, sorted."""
        return sorted({row["batch"] for row in self.videos.values()})

    def scan(
        self, columns: Sequence[str], batch: str | None = None, clip_ids: Collection[str] | None = None
    ) -> pa.Table:
        """Return columns of the clips (clip_id and video_id always among them), sorted by clip_id.

        Args:
            columns: columns of the `clips` table.
            batch: only clips of this batch; None: of all.
            clip_ids: only these clips; None: all.
        """
        where = None if clip_ids is None else pc.field("clip_id").isin(pa.array(sorted(clip_ids), pa.string()))
        names = list(dict.fromkeys(["clip_id", "video_id", *columns]))
        # of a batch, only the rows of its own videos are read: a store has thousands of batches
        table = read_clips(self.store, self.config, names, where, batch=batch)
        # videos that were cut after this pool was loaded belong to the next one
        return table.filter(pc.is_in(table["video_id"], pa.array(sorted(self.videos), pa.string())))

    def by_batch(self, columns: Sequence[str]) -> Iterator[tuple[str, pa.Table]]:
        """Yield (batch, its clips), one batch in memory at a time."""
        for batch in self.batches:
            yield batch, self.scan(columns, batch)

    def group(self, video_id: str) -> str:
        """Return the source of a video: the unit that is never divided between two splits."""
        return group_of(self.videos[video_id])

    def split(self, video_id: str) -> Split:
        """Return `train` or `val`."""
        return split_of(self.group(video_id), self.config.split)

    def taken_down_since(self) -> frozenset[str]:
        """Return the videos of the pool that were taken down after it was loaded (reads the table of takedowns).

        Every writer calls this right before its commit, and leaves these videos out or begins again.
        """
        hidden = taken_down(self.store)
        return frozenset(video_id for video_id, row in self.videos.items() if hidden.hides(row))


def load_pool(store: Store, config: Config) -> Pool:
    """Return the pool of a store under a configuration."""
    spec = clip_spec(config.clips)
    where = (pc.field("clip_spec") == spec) & (pc.field("state") == "ok") & (pc.field("num_clips") > 0)
    cut = set(store.read("clippings", ["video_id"], where)["video_id"].to_pylist())
    hidden = taken_down(store)
    columns = list(PoolVideo.__annotations__)
    videos = {
        row["video_id"]: cast(PoolVideo, row)
        for row in store.read("videos", columns).to_pylist()
        if row["video_id"] in cut and not hidden.hides(row)
    }
    return Pool(store=store, config=config, spec=spec, videos=videos)
