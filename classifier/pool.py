"""The pool: every committed clip that may be judged, with its source's group and split.

A clip counts once its video has a clipping row of state ok (clips are committed before it), under the clip_spec of
the configuration, and while no takedown hides it. Everything in this package reads clips through here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.clips import clip_spec
from pipeline.config import Config
from pipeline.splits import group_of, split_of
from pipeline.store import Store
from pipeline.takedown import taken_down


@dataclass(frozen=True)
class Pool:
    """Which clips count, and what is known of their videos; cheap beside the clips themselves."""

    store: Store
    spec: str
    videos: Mapping[str, Mapping[str, Any]]
    """Rows of `videos` by video_id, of those that have clips and are not taken down."""
    batches: tuple[str, ...]
    """Batches that have clips, sorted."""
    config: Config

    def scan(
        self, columns: Sequence[str], batch: str | None = None, clip_ids: Collection[str] | None = None
    ) -> pa.Table:
        """Return the clips' columns (clip_id and video_id always among them), sorted by clip_id.

        Args:
            columns: columns of the `clips` table.
            batch: one batch; all where None.
            clip_ids: these clips; all where None.
        """
        where = pc.field("clip_spec") == self.spec
        if batch is not None:
            where = where & (pc.field("batch") == batch)
        if clip_ids is not None:
            where = where & pc.field("clip_id").isin(pa.array(sorted(clip_ids), pa.string()))
        names = list(dict.fromkeys(["clip_id", "video_id", *columns]))
        table = self.store.read("clips", names, where)
        known = pa.array(sorted(self.videos), pa.string())
        table = table.filter(pc.is_in(table["video_id"], value_set=known)).sort_by("clip_id")
        if len(table) < 2:
            return table
        # a cut that was interrupted between its two commits leaves the same clip twice
        ids = table["clip_id"].combine_chunks()
        fresh = pc.not_equal(ids.slice(1), ids.slice(0, len(ids) - 1)).to_pylist()
        return table.filter(pa.array([True, *fresh]))

    def by_batch(self, columns: Sequence[str]) -> Iterator[tuple[str, pa.Table]]:
        """Yield (batch, its clips) one after the other, so that memory holds one batch."""
        for batch in self.batches:
            yield batch, self.scan(columns, batch)

    def group(self, video_id: str) -> str:
        """Return the source that a video belongs to: what is never divided between two splits."""
        return group_of(dict(self.videos[video_id]))

    def split(self, video_id: str) -> str:
        """Return train or val."""
        return split_of(self.group(video_id), self.config.split)


_VIDEO_COLUMNS = ["video_id", "source", "extractor", "native_id", "url", "title", "channel_id", "batch"]


def load_pool(store: Store, config: Config, spec: str | None = None) -> Pool:
    """Return the pool of a store under a configuration's clip_spec, or under another."""
    spec = spec or clip_spec(config.clips)
    where = (pc.field("clip_spec") == spec) & (pc.field("state") == "ok") & (pc.field("num_clips") > 0)
    cut = set(store.read("clippings", ["video_id"], where)["video_id"].to_pylist())
    gone = taken_down(store)
    videos = {
        row["video_id"]: row
        for row in store.read("videos", _VIDEO_COLUMNS).to_pylist()
        if row["video_id"] in cut and not gone.hides(row["video_id"], row["channel_id"])
    }
    batches = tuple(sorted({row["batch"] for row in videos.values()}))
    return Pool(store=store, spec=spec, videos=videos, batches=batches, config=config)
