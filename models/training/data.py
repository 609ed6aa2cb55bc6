"""Windows of training clips as tensors: the loader of `pipeline.shards.loader`, for torch.

    train, val = training_clips(store, version)
    windows = ClipWindows(train, cache_clips=64)
    batches = windows.batches(seed=0, batch=4, window=5)
    video_BTHWC, places = next(batches)
    saved = batches.state()      # `windows.batches(..., state=saved)` goes on from there

A sample that cannot be used (bytes that cannot be decoded, frames of another size than the others have, lost with its
tar) is skipped: the next clip in its place of the order takes its windows. Whether a sample can be used follows from
its bytes alone, so every run of the same shards skips the same ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from models.runtime.ranks import ALONE, Ranks
from pipeline.config.training import TrainingConfig
from pipeline.errors import UserError
from pipeline.progress import ProgressCallback
from pipeline.shards.loader.clips import Clip, ClipSet, ShardClips, Video, shard_clips
from pipeline.shards.loader.loader import Place, WindowLoader
from pipeline.shards.loader.order import OrderSettings
from pipeline.shards.loader.source import WindowSource
from pipeline.storage.store import Store

__all__ = ["Batches", "Clip", "ClipWindows", "Place", "TensorBatch", "Video", "check_window", "training_clips"]


class TensorBatch(NamedTuple):
    """The windows of a step."""

    video_BTHWC: Tensor
    """uint8."""
    places: list[Place]


class Batches:
    """An endless series of batches, in the order of their settings."""

    def __init__(self, loader: WindowLoader) -> None:
        self._loader = loader

    def __next__(self) -> TensorBatch:
        """Return the next batch; errors as of `WindowLoader`."""
        video, places = next(self._loader)
        return TensorBatch(torch.from_numpy(video), places)

    @property
    def wait_s(self) -> float:
        """Return the seconds in which batches were waited for."""
        return self._loader.wait_s

    @property
    def passed(self) -> dict[str, int]:
        """Return how many clips were met, and how many of them hold no window: `short`, or `cut` too often."""
        return self._loader.passed.about()

    def state(self) -> dict[str, Any]:
        """Return the position behind the last batch, for a checkpoint."""
        return self._loader.state()

    def close(self) -> None:
        """Stop decoding."""
        self._loader.close()


class ClipWindows(WindowSource):
    """Windows of clips as tensors."""

    def __init__(
        self,
        clips: ClipSet | Sequence[Clip],
        *,
        cache_clips: int,
        max_bad_share: float = 1.0,
        on_progress: ProgressCallback | None = None,
        restore: str = "",
        training: TrainingConfig | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        """Take windows from clips; arguments as of `WindowSource`, and how they are mixed from `training`."""
        self._training, self.ranks = training or TrainingConfig(), ranks
        super().__init__(
            clips,
            keep_clips=cache_clips,
            workers=self._training.decode_workers,
            max_bad_share=max_bad_share,
            on_progress=on_progress,
            restore=restore,
        )

    def batches(
        self,
        *,
        seed: int,
        batch: int,
        window: int,
        stream: int = 0,
        state: Mapping[str, Any] | None = None,
        window_name: str = "the window",
        ranks: Ranks | None = None,
        stride: int = 1,
    ) -> Batches:
        """Return the batches of an order, from its start or from where a state says; `close` them after use.

        Args:
            seed: of the order.
            batch: windows of a step, over all ranks; each gets its own.
            window: frames of a window.
            stream: separates trainings that share a seed.
            state: of batches of the same order; of another order, they begin with the epoch after it.
            window_name: the setting of the window's length, for an error.
            ranks: among whom a batch is divided; by default those of the training.
            stride: frames of a shot from one place where a window may begin to the next.
        """
        settings, ranks = self._order(seed, stream, batch, window, stride), ranks or self.ranks
        place = {"rank": ranks.rank, "ranks": ranks.count}
        return Batches(self.loader(settings, state=state, window_name=window_name, **place))

    def bad_of_all(self) -> dict[str, str]:
        """Return the clips that any rank has met and cannot use; all ranks call this, and know them all afterwards."""
        found = self.ranks.merged(self.bad)
        self.tally.add_known(found)
        return dict(sorted(found.items()))

    def batch(self, *, seed: int, batch: int, window: int, step: int = 0, stream: int = 0) -> TensorBatch:
        """Return the batch of one step of an order, uint8 (batch, window, H, W, 3), and where its windows lie."""
        video, places = self.first_batch(self._order(seed, stream, batch, window), step)
        return TensorBatch(torch.from_numpy(video), places)

    def spread(self, *, count: int, window: int) -> Tensor:
        """Return windows spread evenly over clips and time, the same at every call, uint8 (count, window, H, W, 3)."""
        return torch.from_numpy(self.spread_frames(count=count, window=window))

    def _order(self, seed: int, stream: int, batch: int, window: int, stride: int = 1) -> OrderSettings:
        return OrderSettings(
            seed=seed,
            stream=stream,
            batch=batch,
            window=window,
            windows_per_clip=self._training.windows_per_clip,
            mixed_clips=self._training.mixed_clips,
            shuffle_clips=self._training.shuffle_clips,
            stride=stride,
        )


def training_clips(store: Store, version: str | None) -> tuple[ShardClips, ShardClips]:
    """Return train and val clips of a shard version; UserError says what to do where there is nothing to train on."""
    if version is None:
        raise UserError("there are no training shards yet: materialize `training_shards` first (`lampworks run`)")
    train, val = shard_clips(store, version, "train"), shard_clips(store, version, "val")
    if not sum(train.counts):
        raise UserError(
            f"shards {version} hold no training clip: keep more clips (labels, decision.target_precision), or hold "
            "out fewer sources (split.val_share)"
        )
    return train, val


def check_window(windows: ClipWindows, window: int, name: str) -> None:
    """Raise a UserError unless the clips are as long as a window; `name` is the setting of the window."""
    if (frames := windows.shape[0]) < window:
        raise UserError(f"clips of {frames} frames hold no window of {window}: lower {name}, or raise clips.seconds")
