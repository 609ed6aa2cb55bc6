"""Refuse a set with an empty split, or one in which a source or a group of near-duplicates lies in two splits.

    splits = SplitsInUse(store)
    splits.add(kept, videos)         # a part at a time, or all at once
    splits.check(config)

What is held is a row for each source and group of a split, in columns: a million sources as Python objects take 1 GB.
"""

from __future__ import annotations

import pyarrow as pa

from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.shards.splits import MAY_BE_EMPTY, SPLITS, groups_of
from pipeline.storage.arrow import Column, pc
from pipeline.storage.store import Store


class SplitsInUse:
    """Which sources and groups of near-duplicates lie in which splits."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._clips = 0
        nothing = pa.table({"name": pa.array([], pa.string()), "split": pa.array([], pa.string())})
        self._sources, self._copies = [nothing], [nothing]

    def add(self, kept: pa.Table, videos: pa.Table, where: Column | None = None) -> None:
        """Count kept clips.

        Args:
            kept: their clip_id, video_id and split.
            videos: the rows of their videos (video_id, extractor, channel_id), in no order.
            where: a filter of the rows of `duplicates` that may be theirs; None: all.
        """
        self._clips += len(kept)
        groups = pa.table({"video_id": videos["video_id"], "source": groups_of(videos)})
        pairs = kept.select(["video_id", "split"]).group_by(["video_id", "split"]).aggregate([])
        pairs = pairs.join(groups, "video_id", join_type="left outer")
        source = pc.coalesce(pairs["source"], pairs["video_id"])
        self._sources.append(_distinct(pa.table({"name": source, "split": pairs["split"]})))
        grouped = pc.field("group_size") > 1
        copies = self._store.read(
            "duplicates", ["clip_id", "representative"], grouped if where is None else grouped & where
        )
        both = kept.select(["clip_id", "split"]).join(copies, "clip_id", join_type="inner")
        self._copies.append(_distinct(both.select(["representative", "split"]).rename_columns(["name", "split"])))

    def check(self, config: Config) -> None:
        """Raise UserError for what must not be published."""
        sources = _distinct(pa.concat_tables(self._sources))
        found = set(pc.unique(sources["split"]).to_pylist())
        if not found <= set(SPLITS):
            raise UserError(
                f"kept clips have a split that is none of {', '.join(SPLITS)}: decide again (curated_clips)."
            )
        for empty in sorted(set(SPLITS) - MAY_BE_EMPTY - found):
            raise UserError(
                f"the {empty} split is empty: all {self._clips} kept clips come from "
                f"{len(pc.unique(sources['name']))} sources that fall into "
                f"{' and '.join(sorted(found))} at split.val_share = {config.split.val_share:g} and split.test_share = "
                f"{config.split.test_share:g}. Add videos of other channels, or "
                + (
                    "raise split.val_share."
                    if empty == "val"
                    else f"lower split.{'val' if 'val' in found else 'test'}_share."
                )
            )
        _refuse_leaks("source", "sources", sources)
        _refuse_leaks(
            "group of near-duplicates", "groups of near-duplicates", _distinct(pa.concat_tables(self._copies))
        )


def _distinct(places: pa.Table) -> pa.Table:
    return places.group_by(["name", "split"]).aggregate([])


def _refuse_leaks(what: str, many: str, places: pa.Table) -> None:
    """Raise where a name is in two splits; `places` has each pair once."""
    splits = places.group_by("name").aggregate([("split", "count")])
    leaks = sorted(map(str, splits.filter(pc.greater(splits["split_count"], 1))["name"].to_pylist()))
    if leaks:
        raise UserError(
            f"{len(leaks)} {what if len(leaks) == 1 else many} would lie in two of {', '.join(SPLITS)}, the first "
            f"{leaks[0]!r}: decide again, with decision.keep_duplicates = false (asset curated_clips)."
        )
