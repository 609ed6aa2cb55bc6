"""A clip's signature: its picture in 6 x 8 cells of mean luma, five times a second.

Motion shows as cells that change over time, so two signatures can be aligned in time and compared without decoding
anything. A signature is 48 bytes a step (3,840 for 16 s): the first step's cells, then differences from step to step
modulo 256, which a table compresses to about 900 bytes. All sums are integers, so it is the same on every processor.

The cells divide the picture inside its dark bars, so that a copy with bars has the signature of one without.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

Planes = npt.NDArray[np.uint8]
Pictures = npt.NDArray[np.uint8]
"""Coarse pictures: (..., steps, CELLS), levels of luma."""

ROWS, COLUMNS = 6, 8
CELLS = ROWS * COLUMNS
MIRROR = np.arange(CELLS).reshape(ROWS, COLUMNS)[:, ::-1].ravel()
"""Places of the mirrored picture's cells."""
_STEPS_PER_S = 5
_DARK = 40  # video-range luma of a bar: also where the whole picture was made a little brighter
_BAR_SHARE = 0.8  # of a bar's pixels in a row or column that are dark: a logo may stand in a bar
_LEAST_SHOWN = 0.3  # of the height or width: narrower is a dark picture, not one between bars


def frames_per_step(fps: float) -> int:
    """Return how many frames one step of a signature averages."""
    return max(1, round(fps / _STEPS_PER_S))


def step_ms(fps: float) -> float:
    """Return the length of a step in milliseconds: 200 at 10 frames per second."""
    return 1000 * frames_per_step(fps) / fps


def shown_part(luma: Planes) -> Planes:
    """Return the frames (T, H, W) without the dark bars at their sides; opposite bars are taken as equally wide."""
    dark = luma.max(axis=0) <= _DARK
    left = _bar(dark.mean(axis=0))
    width = dark.shape[1] - left
    top = _bar(dark[:, left:width].mean(axis=1))
    return luma[:, top : dark.shape[0] - top, left:width]


def _bar(dark_share: npt.NDArray[np.float64]) -> int:
    lit = np.flatnonzero(dark_share < _BAR_SHARE)
    if not len(lit):
        return 0
    bar = int(min(lit[0], len(dark_share) - 1 - lit[-1]))
    return bar if len(dark_share) - 2 * bar >= _LEAST_SHOWN * len(dark_share) else 0


def signature_of(shown: Planes, fps: float) -> bytes:
    """Return the signature of a clip's frames (T, H, W), given without bars (see `shown_part`)."""
    group = frames_per_step(fps)
    steps = len(shown) // group
    height, width = shown.shape[1:]
    row_edges, column_edges = np.arange(ROWS) * height // ROWS, np.arange(COLUMNS) * width // COLUMNS
    # frame by frame, then rows by slices: five times as fast as `reduceat` over all of it
    summed = np.zeros((steps, height, width), np.uint16)
    for frame in range(group):
        summed += shown[frame : steps * group : group]
    rows = np.empty((steps, ROWS, width), np.uint32)
    for row, (start, end) in enumerate(pairwise([*row_edges.tolist(), height])):
        summed[:, start:end].sum(axis=1, dtype=np.uint32, out=rows[:, row])
    sums = np.add.reduceat(rows, column_edges, axis=2).reshape(steps, CELLS)
    areas = np.outer(np.diff([*row_edges, height]), np.diff([*column_edges, width])).ravel() * group
    pictures = ((2 * sums + areas) // (2 * areas)).astype(np.uint8)
    return np.concatenate([pictures[:1], np.diff(pictures, axis=0)]).tobytes()


def pictures_of(signature: bytes) -> Pictures:
    """Return the coarse pictures (steps, CELLS) of a signature."""
    return np.cumsum(np.frombuffer(signature, np.uint8).reshape(-1, CELLS), axis=0, dtype=np.uint8)
