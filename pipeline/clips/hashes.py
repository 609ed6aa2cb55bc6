"""What copies of a clip are found by: difference hashes of its sampled frames, and its signature over time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.clips.samples import NUM_SAMPLES, Floats, Planes, sample_indices
from pipeline.copies.signature import shown_part, signature_of

HASH_BYTES = NUM_SAMPLES * 8
"""Bytes of a clip's hashes: 64 bits for each sampled frame. As many follow for the mirrored frames."""
_HASH_MARGIN = 1.0  # levels by which a neighbour must be brighter: flat areas hash to zeros, not to noise


@dataclass(frozen=True)
class Look:
    """How a clip looks, and how its picture moves; both of the picture inside its dark bars."""

    hashes: bytes
    """Eight 64-bit difference hashes, then those of the mirrored frames."""
    signature: bytes
    """Coarse pictures over time."""


def look_of(luma: Planes, fps: float) -> Look:
    """Return the look of a clip's frames (T, H, W) of video-range luma."""
    shown = shown_part(luma)
    samples = shown[sample_indices(len(shown))]
    return Look(hash_frames(samples) + hash_frames(samples[:, :, ::-1]), signature_of(shown, fps))


def hash_frames(luma: Planes) -> bytes:
    """Return the 64-bit difference hash of each frame (N, H, W): whether a cell is brighter than its left neighbour.

    Cells are means over an 8x9 grid. Neighbours must differ by more than a level, so a hash and that of the mirrored
    frame together say where the picture rises, falls and is flat.
    """
    grid = _cells(luma, 8, 9)
    return np.packbits((grid[:, :, 1:] - grid[:, :, :-1] > _HASH_MARGIN).reshape(len(luma), 64), axis=1).tobytes()


def _cells(planes: Planes, rows: int, columns: int) -> Floats:
    """Return means over a grid of cells whose sizes differ by a pixel at most."""
    height, width = planes.shape[1:]
    row_edges, column_edges = np.arange(rows) * height // rows, np.arange(columns) * width // columns
    sums = np.add.reduceat(np.add.reduceat(planes.astype(np.float32), row_edges, axis=1), column_edges, axis=2)
    heights, widths = np.diff([*row_edges, height]), np.diff([*column_edges, width])
    return np.asarray(sums / (heights[:, None] * widths[None, :]), np.float32)
