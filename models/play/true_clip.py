"""Read the clip that a held-out start frame is from.

Shapes: T frames, H W C pixels.
"""

from __future__ import annotations

import numpy as np

from pipeline.clips.stored import decode_stored_clip
from pipeline.errors import PermanentError, UserError
from pipeline.ids import split_clip_id
from pipeline.shards.index import read_shard, samples_of
from pipeline.shards.read import current_shards, find_samples
from pipeline.storage.store import Store
from pipeline.storage.takedown import taken_down


def true_clip(store: Store, clip_id: str) -> np.ndarray:
    """Return the frames (T, H, W, 3), uint8, of a clip in the training set.

    Raises:
        UserError: its video was taken down, it is in no shard any more, or its bytes are damaged.
    """
    if taken_down(store).hidden_among(store, [split_clip_id(clip_id)[0]]):
        raise UserError(f"clip {clip_id}: its video was taken down, so there is nothing to compare with")
    version = current_shards(store)
    row = None if version is None else find_samples(store, version, [clip_id]).get(clip_id)
    if row is None:
        raise UserError(f"clip {clip_id} is not in the training set any more, so there is nothing to compare with")
    for sample in samples_of(read_shard(store, row, lambda _: None), str(row["path"])):
        if sample.clip_id == clip_id:
            try:
                return decode_stored_clip(sample.read_mp4(store))
            except PermanentError as exc:
                raise UserError(f"clip {clip_id} cannot be compared with: {exc}") from exc
    raise UserError(f"clip {clip_id} cannot be read from {row['path']}, so there is nothing to compare with")
