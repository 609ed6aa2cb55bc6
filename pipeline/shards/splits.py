"""Divide sources into train and val by a hash of the channel, which stays the same whatever is added later.

The unit is the channel (the video where the channel is unknown), so that one uploader's games, HUD and encoder are
never in both splits. Nothing is stored: the split follows from the row of the video and the salt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

from pipeline.config.clips import SplitConfig
from pipeline.ids import slug

Split = Literal["train", "val"]
SPLITS: tuple[Split, Split] = ("train", "val")


def group_of(video: Mapping[str, Any]) -> str:
    """Return the group that a row of `videos` belongs to: `<extractor>:channel:<id>` or `video:<id>`.

    The extractor is part of it because two sites may use the same channel id.
    """
    channel = video.get("channel_id")
    if channel:
        return f"{slug(str(video.get('extractor') or 'unknown').lower())}:channel:{channel}"
    return f"video:{video['video_id']}"


def split_of(group_id: str, config: SplitConfig) -> Split:
    """Return the split of a group: `val` for `val_share` of all possible hashes, `train` for the others."""
    digest = hashlib.sha256(f"{config.salt}\0{group_id}".encode("utf-8", "surrogatepass")).digest()
    return "val" if int.from_bytes(digest[:8], "big") < config.val_share * 2**64 else "train"
