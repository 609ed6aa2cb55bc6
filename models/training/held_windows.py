"""Windows of held-out clips that a training is measured on while it runs: the same at every measurement, in memory."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from models.training.data import ClipWindows, TensorBatch


class SpreadWindows(Protocol):
    """Gives fixed windows of a set of clips."""

    def spread(self, *, count: int, window: int) -> Tensor:
        """Return windows spread over the set, the same at every call, uint8 (count, window, H, W, 3)."""

    def batch(self, *, seed: int, batch: int, window: int) -> TensorBatch:
        """Return windows with where they lie, the same at every call."""


class HeldWindows:
    """Windows spread over the clips of a set, decoded once."""

    def __init__(self, windows: ClipWindows, *, count: int, window: int) -> None:
        """Decode the windows.

        Args:
            windows: of the clips.
            count: how many.
            window: frames of each.
        """
        video, self.places = windows.spread_places(count=count, window=window)
        self.video_BTHWC = torch.from_numpy(video)

    def spread(self, *, count: int, window: int) -> Tensor:
        """Return the first `count` windows, cut to `window` frames."""
        return self.video_BTHWC[:count, :window]

    def batch(self, *, seed: int, batch: int, window: int) -> TensorBatch:
        """Return these windows with where they lie, whatever the seed."""
        return TensorBatch(self.spread(count=batch, window=window), self.places[:batch])

    @property
    def clip_ids(self) -> list[str]:
        """Return the clip of each window."""
        return [place.clip_id for place in self.places]
