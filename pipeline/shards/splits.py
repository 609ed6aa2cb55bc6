"""Which sources train and which are held out: a hash of the channel that never moves, whatever is added later.

The unit is the channel (the video where the channel is unknown), so that the look of one uploader's games, HUD and
encoder never stands on both sides. Nothing is stored: anyone who knows the video row and the salt knows the split.
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
    """Return the unit of the division that a row of `videos` belongs to: `<extractor>:channel:<id>` or `video:<id>`.

    The extractor is part of it because channel ids of two sites may coincide.
    """
    channel = video.get("channel_id")
    if channel:
        return f"{slug(str(video.get('extractor') or 'unknown').lower())}:channel:{channel}"
    return f"video:{video['video_id']}"


def split_of(group_id: str, config: SplitConfig) -> Split:
    """Return the split of a group: `val` for `val_share` of all possible hashes, `train` for the others."""
    digest = hashlib.sha256(f"{config.salt}\0{group_id}".encode("utf-8", "surrogatepass")).digest()
    return "val" if int.from_bytes(digest[:8], "big") < config.val_share * 2**64 else "train"
