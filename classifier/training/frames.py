"""Frames as the network sees them: read from the store in parts, kept once, and shared by all folds.

Dimension keys: N clips, K frames of a clip, C channels, H rows, W columns.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from classifier.training.arrays import Rows
from pipeline.clips.read import read_planes
from pipeline.config import ClassifierConfig
from pipeline.storage.store import Store

READERS = 4
CHUNK = 128
"""Clips that are read at a time."""
MOST_IN_MEMORY = 256 << 20
"""Bytes of frames up to which they are kept in memory; more lie in a temporary file without a name."""


@dataclass(frozen=True)
class ClipFrames:
    """Frames of N clips: rows of an array that is shared, never copied."""

    all_MKCHW: Tensor
    """uint8."""
    rows_N: Rows
    """Place of each clip in `all_MKCHW`."""

    def take(self, rows: Rows) -> ClipFrames:
        """Return the frames of some of the clips."""
        return ClipFrames(self.all_MKCHW, self.rows_N[rows])

    def read(self, rows: Rows) -> Tensor:
        """Return a copy of the frames of some clips (N, K, C, H, W)."""
        return self.all_MKCHW[torch.from_numpy(self.rows_N[rows])]


def clip_frames(planes_KCHW: NDArray[np.uint8], config: ClassifierConfig) -> Tensor:
    """Return a clip's stored frames as the network sees them: uint8 (K, 3, H, W), evenly spaced, averaged down."""
    stored = len(planes_KCHW)
    count = min(config.frames_per_clip, stored)
    chosen = [(2 * i + 1) * stored // (2 * count) for i in range(count)]
    frames = planes_KCHW if count == stored else planes_KCHW[chosen]
    factor = max(1, frames.shape[2] // config.input_height)
    height, width = frames.shape[2] // factor, frames.shape[3] // factor
    if factor > 1:
        # in numpy, because torch would start threads of its own in every reading thread; in whole numbers, rows before
        # columns, which is a twentieth of the time of `mean` over the blocks (0.13 for 2.6 ms), for the same result
        kind = np.uint16 if factor <= 16 else np.uint32
        rows = np.zeros((count, 3, height, width * factor), kind)
        for row in range(factor):
            rows += frames[:, :, row : height * factor : factor, : width * factor]
        total = np.zeros((count, 3, height, width), kind)
        for column in range(factor):
            total += rows[..., column::factor]
        frames = np.rint(total / np.float32(factor * factor)).astype(np.uint8)
    return torch.from_numpy(np.ascontiguousarray(frames))


def read_clip_frames(
    store: Store, rows: Sequence[Mapping[str, Any]], config: ClassifierConfig
) -> list[Tensor | Exception]:
    """Return the frames of each row, in order; for a clip whose frames cannot be read, the error instead.

    Args:
        store: the store.
        rows: rows of `clips` with `FRAME_COLUMNS`.
        config: number of frames and size.
    """

    def read(row: Mapping[str, Any]) -> Tensor | Exception:
        # a damaged or missing tar costs its own clips only; any other error is a bug and is raised
        try:
            return clip_frames(read_planes(store, row), config)
        except (OSError, EOFError, ValueError) as exc:
            return exc

    # in the order of bytes in the tars, so that neighbouring ranges are read one after the other
    order = sorted(range(len(rows)), key=lambda i: (rows[i]["tar"] or "", rows[i]["frames_offset"] or 0))
    with ThreadPoolExecutor(READERS) as readers:
        found = dict(zip(order, readers.map(lambda i: read(rows[i]), order), strict=True))
    return [found[i] for i in range(len(rows))]


def load_frames(
    store: Store, rows: Sequence[Mapping[str, Any]], config: ClassifierConfig
) -> tuple[ClipFrames, dict[int, str]]:
    """Return the frames of all rows, and by place the reason of each row whose frames could not be read.

    The pictures are decoded in parts and kept at the network's input size only. The frames of a row that could not be
    read are undefined.
    """
    frames: Tensor | None = None
    failed: dict[int, str] = {}
    for start in range(0, len(rows), CHUNK):
        for place, found in enumerate(read_clip_frames(store, rows[start : start + CHUNK], config), start):
            if isinstance(found, Exception):
                failed[place] = str(found)
                continue
            if frames is None:
                frames = _space((len(rows), *found.shape))
            if found.shape != frames.shape[1:]:
                failed[place] = f"frames of shape {tuple(found.shape)}, those of other clips {tuple(frames.shape[1:])}"
                continue
            frames[place] = found
    if frames is None:
        frames = torch.zeros(len(rows), config.frames_per_clip, 3, 1, 1, dtype=torch.uint8)
    return ClipFrames(frames, np.arange(len(rows))), failed


def _space(shape: tuple[int, ...]) -> Tensor:
    size = int(np.prod(shape))
    if size <= MOST_IN_MEMORY:
        return torch.zeros(shape, dtype=torch.uint8)
    # the file has no name: it is gone with the last reference, however the process ends
    with tempfile.TemporaryFile() as file:
        file.truncate(size)
        return torch.from_numpy(np.memmap(file, np.uint8, "r+", shape=shape))
