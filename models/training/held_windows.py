"""Windows of held-out clips that a training is measured on while it runs: the same at every measurement, in memory."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from models.training.data import ClipWindows, TensorBatch
from pipeline.progress import ProgressCallback, notify


class SpreadWindows(Protocol):
    """Gives fixed windows of a set of clips."""

    def spread(self, *, count: int, window: int) -> Tensor:
        """Return windows spread over the set, the same at every call, uint8 (count, window, H, W, 3)."""

    def batch(self, *, seed: int, batch: int, window: int) -> TensorBatch:
        """Return windows with where they lie, the same at every call."""


def held_count(
    windows: ClipWindows, *, asked: int, window: int, setting: str, on_progress: ProgressCallback | None
) -> int:
    """Return how many windows a training is measured on: those asked for, or all that the clips hold side by side.

    More would repeat frames that are measured already, at the price of as much time again. Where it is fewer than
    asked, that is said.

    Args:
        windows: of the clips.
        asked: how many.
        window: frames of each.
        setting: that asks for them.
        on_progress: receives the line.
    """
    there = windows.count_apart(window, most=asked)
    # of none, the error says so where they are decoded
    if 0 < there < asked:
        notify(
            f"{setting} = {asked:,}: the {windows.num_clips:,} clips to measure on hold {there:,} windows of {window} "
            "frames side by side, and these are measured",
            on_progress,
        )
    return max(1, there)


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
