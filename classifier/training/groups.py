"""The sources that folds keep together: a channel or video, joined with others where clips are copies of each other."""

from __future__ import annotations

from collections.abc import Sequence

from classifier.pool import Pool
from pipeline.ids import short_hash, split_clip_id
from pipeline.storage.arrow import pc


def joined_groups(pool: Pool, video_ids: Sequence[str]) -> tuple[str, ...]:
    """Return the group of each of these videos: its source, or `copies:` and a hash where others are joined with it.

    A hash, so that what is stored of one source does not name another. Two sources are joined where the table
    `duplicates` has a clip of one as a copy of a clip of the other, also by a third that holds copies of both.
    """
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = name = parent[parent[name]]
        return name

    where = (pc.field("clip_spec") == pool.spec) & (pc.field("group_size") > 1)
    # a part at a time: a pool may hold many copies, of few sources
    for rows in pool.store.scan("duplicates", ["clip_id", "representative"], where):
        for one, other in zip(rows["clip_id"].to_pylist(), rows["representative"].to_pylist(), strict=True):
            pair = sorted({pool.group(video) for video in _videos(pool, str(one), str(other))})
            if len(pair) == 2:
                first, second = sorted((root(pair[0]), root(pair[1])))
                parent[second] = first
    joined = {root(name) for name in list(parent) if root(name) != name}
    roots = [root(pool.group(video_id)) for video_id in video_ids]
    return tuple(f"copies:{short_hash(name)}" if name in joined else name for name in roots)


def _videos(pool: Pool, *clip_ids: str) -> set[str]:
    return {video_id for video_id, _, _ in map(split_clip_id, clip_ids)} & pool.videos.keys()
