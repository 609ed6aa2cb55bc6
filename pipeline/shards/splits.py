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

from pipeline.config import Config
from pipeline.config.clips import SplitConfig
from pipeline.ids import slug

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


def split_of(group_id: str, config: SplitConfig) -> Split:
    """Return the split of a group: `val` for the lowest `val_share` of all hashes, `test` for the highest `test_share`.

    All other groups are `train`.
    """
    digest = hashlib.sha256(f"{config.salt}\0{group_id}".encode("utf-8", "surrogatepass")).digest()
    place = int.from_bytes(digest[:8], "big")
    if place < config.val_share * 2**64:
        return "val"
    return "test" if place >= (1 - config.test_share) * 2**64 else "train"
