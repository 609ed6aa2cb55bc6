"""Small sets of clips whose pixels say which clip and frame they are, and what tests ask of loaders."""

from __future__ import annotations

import numpy as np

from pipeline.ids import clip_id_of
from pipeline.shards.loader.clips import Video, shard_clips
from pipeline.shards.loader.loader import Batch, WindowLoader
from pipeline.shards.loader.order import OrderSettings
from pipeline.shards.loader.source import WindowSource
from pipeline.storage.store import Store
from tests.shards import SPEC

SETTINGS = OrderSettings(seed=0, batch=4, window=8)
SIZES = (5, 3, 4, 1)


def clip_id(number: int) -> str:
    return clip_id_of(f"site-v{number:02d}", 0, SPEC)


def frames_of(number: int, count: int = 48) -> Video:
    """Frames that say in their pixels which clip and which frame they are."""
    frames = np.zeros((count, 16, 32, 3), np.uint8)
    frames[:, :, :16] = 10 + 16 * number
    frames[:, :, 16:] = (5 * np.arange(count))[:, None, None, None]
    return frames


def source(store: Store, keep: int = 1, **options: object) -> WindowSource:
    return WindowSource(shard_clips(store, "v1", "train"), keep_clips=keep, **{"workers": 1} | options)  # type: ignore[arg-type]


def take(loader: WindowLoader, steps: int) -> list[Batch]:
    return [next(loader) for _ in range(steps)]


def same(first: list[Batch], second: list[Batch]) -> bool:
    return len(first) == len(second) and all(
        one.places == other.places and np.array_equal(one.video_BTHWC, other.video_BTHWC)
        for one, other in zip(first, second, strict=True)
    )
