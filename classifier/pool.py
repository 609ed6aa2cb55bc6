"""The pool: every committed clip that may be judged, with its source's group and split.

`pipeline.clips.read.read_clips` says which clips count (of the current clip_spec, of videos that were cut to their end,
not taken down); here their videos come in, and with them the source that no fold and no split may divide.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline.clip_spec import clip_spec
from pipeline.clips.read import read_clips
from pipeline.config import Config
from pipeline.shards.splits import group_of, split_of
from pipeline.storage.arrow import pc
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down

_VIDEO_COLUMNS = ["video_id", "extractor", "title", "channel_id", "batch"]


@dataclass(frozen=True)
class Pool:
    """Which clips count, and what is known of their videos; cheap beside the clips themselves."""

    store: Store
    config: Config
    spec: str
    """The clip_spec of the clips."""
    videos: Mapping[str, Mapping[str, Any]]
    """Rows of `videos` by video_id, of those that were cut and are not taken down."""

    @property
    def batches(self) -> list[str]:
        """Return the batches that have clips, sorted."""
        return sorted({row["batch"] for row in self.videos.values()})

    def scan(
        self, columns: Sequence[str], batch: str | None = None, clip_ids: Collection[str] | None = None
    ) -> pa.Table:
        """Return the clips' columns (clip_id and video_id always among them), sorted by clip_id.

        Args:
            columns: columns of the `clips` table.
            batch: one batch; all where None.
            clip_ids: these clips; all where None.
        """
        where = None if batch is None else pc.field("batch") == batch
        if clip_ids is not None:
            chosen = pc.field("clip_id").isin(pa.array(sorted(clip_ids), pa.string()))
            where = chosen if where is None else where & chosen
        names = list(dict.fromkeys(["clip_id", "video_id", *columns]))
        table = read_clips(self.store, self.config, names, where)
        # what came in after this pool was loaded is left for the next one
        return table.filter(pc.is_in(table["video_id"], pa.array(sorted(self.videos), pa.string())))

    def by_batch(self, columns: Sequence[str]) -> Iterator[tuple[str, pa.Table]]:
        """Yield (batch, its clips) one after the other, so that memory holds one batch."""
        for batch in self.batches:
            yield batch, self.scan(columns, batch)

    def group(self, video_id: str) -> str:
        """Return the source that a video belongs to: what is never divided between two splits."""
        return group_of(self.videos[video_id])

    def split(self, video_id: str) -> str:
        """Return train or val."""
        return split_of(self.group(video_id), self.config.split)


def load_pool(store: Store, config: Config) -> Pool:
    """Return the pool of a store under a configuration."""
    spec = clip_spec(config.clips)
    where = (pc.field("clip_spec") == spec) & (pc.field("state") == "ok") & (pc.field("num_clips") > 0)
    cut = set(store.read("clippings", ["video_id"], where)["video_id"].to_pylist())
    gone = taken_down(store)
    videos = {
        row["video_id"]: row
        for row in store.read("videos", _VIDEO_COLUMNS).to_pylist()
        if row["video_id"] in cut and not gone.hides(row)
    }
    return Pool(store=store, config=config, spec=spec, videos=videos)
