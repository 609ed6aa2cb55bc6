"""Divide sources into train, val and test by a hash of the channel, which stays the same whatever is added later.

The unit is the channel (the video where the channel is unknown), so that one uploader's games, HUD and encoder are
never in two splits. Nothing is stored: the split follows from the row of the video and the salt.

Val takes the lowest hashes and test the highest, so a source that becomes `test` leaves the others where they were.
Training reads train. Gates, early looks and evaluations read val. Test is read for final numbers only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

import pyarrow as pa

from pipeline.config import Config
from pipeline.config.clips import SplitConfig
from pipeline.ids import slug
from pipeline.storage.arrow import Column, pc

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
MAY_BE_EMPTY: frozenset[Split] = frozenset({"test"})
"""Splits without which a set is published all the same: a small set may have no source for them."""


def empty_test_split(config: Config) -> str:
    """Return the sentence for a set without test clips although a share of the sources is asked for."""
    return (
        f"the test split is empty: no kept source falls into it at split.test_share = {config.split.test_share:g}. Add "
        "videos of other channels, or raise split.test_share; training and gates need no test split."
    )


def group_of(video: Mapping[str, Any]) -> str:
    """Return the group that a row of `videos` belongs to: `<extractor>:channel:<id>` or `video:<id>`.

    The extractor is part of it because two sites may use the same channel id.
    """
    channel = video.get("channel_id")
    if channel:
        return f"{slug(str(video.get('extractor') or 'unknown').lower())}:channel:{channel}"
    return f"video:{video['video_id']}"


def groups_of(videos: pa.Table) -> Column:
    """Return the group of each row of `videos` (video_id, extractor, channel_id), as `group_of` does of one."""
    names = pc.unique(pc.coalesce(videos["extractor"], pa.scalar("unknown"))).to_pylist()
    keys = pa.array([f"{slug(str(name or 'unknown').lower())}:channel:" for name in names], pa.string())
    place = pc.index_in(pc.coalesce(videos["extractor"], pa.scalar("unknown")), value_set=pa.array(names, pa.string()))
    of_channel = pc.binary_join_element_wise(
        keys.take(place.combine_chunks()), videos["channel_id"].combine_chunks(), ""
    )
    alone = pc.binary_join_element_wise(pa.scalar("video:"), videos["video_id"].combine_chunks(), "")
    known = pc.fill_null(pc.not_equal(videos["channel_id"], ""), False).combine_chunks()
    return pc.if_else(known, of_channel, alone)


def split_of(group_id: str, config: SplitConfig) -> Split:
    """Return the split of a group: `val` for the lowest `val_share` of all hashes, `test` for the highest `test_share`.

    All other groups are `train`.
    """
    digest = hashlib.sha256(f"{config.salt}\0{group_id}".encode("utf-8", "surrogatepass")).digest()
    place = int.from_bytes(digest[:8], "big")
    if place < config.val_share * 2**64:
        return "val"
    return "test" if place >= (1 - config.test_share) * 2**64 else "train"
