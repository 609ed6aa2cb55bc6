"""Windows of training clips, drawn from (seed, step) alone, so that a resumed run gets the same ones.

    clips = shard_clips(store, version, "train")
    windows = ClipWindows(clips, cache_clips=64)
    video_BTHWC, places = windows.batch(seed=0, step=17, batch=4, window=5)

A clip is decoded when one of its windows is needed. The most recently used clips stay decoded, up to `cache_clips`, so
memory does not grow with the data set.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline.clips.stored import decode_clip
from pipeline.errors import UserError
from pipeline.shards.read import read_samples
from pipeline.shards.splits import Split
from pipeline.storage.store import Store

Video = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Clip:
    """A clip that can be decoded."""

    clip_id: str
    load: Callable[[], Video]
    """Returns uint8 (T, H, W, 3)."""


class Place(NamedTuple):
    """The position of a window."""

    clip_id: str
    start: int
    """Index of its first frame."""


class ClipWindows:
    """Windows of clips, with a least-recently-used cache of decoded clips."""

    def __init__(self, clips: Sequence[Clip], *, cache_clips: int) -> None:
        if not clips:
            raise ValueError("no clips to take windows from")
        self.clips, self._cache_clips = list(clips), cache_clips
        self._cache: OrderedDict[int, Video] = OrderedDict()

    def video(self, index: int) -> Video:
        """Return a decoded clip, uint8 (T, H, W, 3)."""
        if index in self._cache:
            self._cache.move_to_end(index)
            return self._cache[index]
        try:
            video = self.clips[index].load()
        except Exception as exc:
            exc.add_note(f"clip {self.clips[index].clip_id}")
            raise
        self._cache[index] = video
        if len(self._cache) > self._cache_clips:
            self._cache.popitem(last=False)
        return video

    def batch(self, *, seed: int, step: int, batch: int, window: int, stream: int = 0) -> tuple[Tensor, list[Place]]:
        """Return the windows of a step, uint8 (batch, window, H, W, 3), and where they lie.

        Clips do not repeat within a batch if there are enough of them. `stream` separates trainings that share a seed.
        """
        rng = np.random.default_rng((seed, stream, step))
        indices = rng.choice(len(self.clips), size=batch, replace=batch > len(self.clips))
        windows, places = [], []
        for index in indices.tolist():
            video = self.video(index)
            start = int(rng.integers(0, len(video) - window + 1))
            windows.append(video[start : start + window])
            places.append(Place(self.clips[index].clip_id, start))
        return torch.from_numpy(np.stack(windows)), places

    def spread(self, *, count: int, window: int) -> Tensor:
        """Return windows spread evenly over clips and time, the same at every call, uint8 (count, window, H, W, 3)."""
        windows = []
        for number in range(count):
            video = self.video(number * len(self.clips) // count)
            last = len(video) - window
            windows.append(video[(start := number * 37 % (last + 1)) : start + window])
        return torch.from_numpy(np.stack(windows))


def shard_clips(store: Store, version: str, split: Split) -> list[Clip]:
    """Return the clips of a split of a shard version, in the order of their ids; nothing is decoded yet."""
    samples = read_samples(store, version, split)
    clips = [Clip(sample.clip_id, _Loader(store, sample.tar, sample.offset, sample.size)) for sample in samples]
    return sorted(clips, key=lambda clip: clip.clip_id)


@dataclass(frozen=True)
class _Loader:
    store: Store
    path: str
    offset: int
    size: int

    def __call__(self) -> Video:
        return decode_clip(self.store.read_range(self.path, self.offset, self.size))


def training_clips(store: Store, version: str | None, window: int) -> tuple[list[Clip], list[Clip]]:
    """Return train and val clips of a shard version; UserError says what to do where there is nothing to train on."""
    if version is None:
        raise UserError("there are no training shards yet: materialize `training_shards` first (lampworks run)")
    train, val = shard_clips(store, version, "train"), shard_clips(store, version, "val")
    if not train:
        raise UserError(
            f"shards {version} hold no training clip: keep more clips (labels, decision.target_precision), or hold "
            "out fewer sources (split.val_share)"
        )
    if len(frames := train[0].load()) < window:
        raise UserError(
            f"clips of {len(frames)} frames hold no window of {window}: lower the window or cut longer clips"
        )
    return train, val
