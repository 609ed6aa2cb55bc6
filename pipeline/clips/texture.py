"""Measure the texture of a clip: sharpness, edges, text that stays, and the grid of a codec's blocks.

Sums are of integers, so that each processor gives the same numbers. Shapes: (T, H, W) luma, uint8.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.clips.samples import Floats, Planes

_SAMPLES = 12
_STROKE, _REACH = 16, 3
"""Levels by which a stroke differs from both sides, and its greatest width in pixels."""
_ROWS, _COLUMNS, _STROKES = 5, 10, 8
"""A block of text has so many strokes in so many rows and columns."""
_SIDE, _TEXTURE = 5, 24
"""Pixels a side of a block, and the levels between its brightest and darkest pixel from which it has texture."""
_HARDLY = 0.02
"""Share of the steps in which a pixel may change that hardly ever does."""
_GRIDS = (4, 8, 16)
"""Sides of a codec's blocks in pixels of a clip."""


def sharpness_and_edges(samples: Planes) -> tuple[float, Floats]:
    """Return the variance of the Laplacian, and each sampled frame's share of edge pixels."""
    values = samples.astype(np.float32)
    centre = values[:, 1:-1, 1:-1]
    down, across = values[:, 2:, 1:-1], values[:, 1:-1, 2:]
    laplacian = values[:, :-2, 1:-1] + down + values[:, 1:-1, :-2] + across - 4 * centre
    edges = np.abs(down - centre) + np.abs(across - centre) > 30
    return float(laplacian.var()), edges.mean(axis=(1, 2), dtype=np.float32)


def text_density(luma: Planes) -> float:
    """Return the share of the picture that is text, or as dense as text, and stays where it is.

    Strokes are looked for in the mean of frames over the whole clip: what scrolls is blurred away in it. The scenery
    of a game that does not scroll stays too, so this is no proof of a menu.
    """
    total = luma[np.linspace(0, len(luma) - 1, _SAMPLES).astype(int)].sum(axis=0, dtype=np.int32)
    step = np.diff(total, axis=1)
    up, down = step > _STROKE * _SAMPLES, step < -_STROKE * _SAMPLES
    strokes = np.zeros(step.shape, bool)
    for width in range(1, _REACH + 1):
        strokes[:, :-width] |= (up[:, :-width] & down[:, width:]) | (down[:, :-width] & up[:, width:])
    rows, columns = strokes.shape[0] // _ROWS, strokes.shape[1] // _COLUMNS
    blocks = strokes[: rows * _ROWS, : columns * _COLUMNS].reshape(rows, _ROWS, columns, _COLUMNS)
    return float((blocks.sum(axis=(1, 3)) >= _STROKES).mean()) if blocks.size else 0.0


def standing_texture(samples: Planes, activity: Any) -> float:
    """Return the share of what has texture that hardly ever changes: the panels of a desktop, a menu, a score bar.

    Args:
        samples: (T, H, W) uint8, of the whole clip.
        activity: share of the steps in which each pixel changes (H, W).
    """
    rows, columns = samples.shape[1] // _SIDE, samples.shape[2] // _SIDE

    def blocks(plane: Any) -> Any:
        return plane[: rows * _SIDE, : columns * _SIDE].reshape(rows, _SIDE, columns, _SIDE)

    total = blocks(samples.sum(axis=0, dtype=np.int32))
    textured = total.max(axis=(1, 3)) - total.min(axis=(1, 3)) > _TEXTURE * len(samples)
    stands = textured & (blocks(activity).max(axis=(1, 3)) <= _HARDLY)
    return int(stands.sum()) / int(textured.sum()) if textured.any() else 0.0


def blockiness(samples: Planes) -> float:
    """Return by how much the differences at the lines of a grid exceed those beside them, as a share; 0 for none.

    The grid of blocks of 4, 8 or 16 pixels, in either direction, that shows most. Tiles of a game show too.
    """
    values = samples.astype(np.int32)
    profiles = [np.abs(np.diff(values, axis=axis)).sum(axis=(0, 3 - axis), dtype=np.int64) for axis in (1, 2)]
    area = values[:, 1:, 1:].size
    return max(_excess(profile * profile.size, area, side) for profile in profiles for side in _GRIDS)


def _excess(profile: Any, area: int, side: int) -> float:
    """Return the excess of the strongest line of a grid over the middle one; `profile / area` is in levels."""
    whole = len(profile) // side * side
    if whole < 4 * side:
        return 0.0
    lines = profile[:whole].reshape(-1, side).sum(axis=0) * side / whole
    # a level is added, or noise on a plain picture would be a grid
    return float((lines.max() + area) / (np.median(lines) + area) - 1)
