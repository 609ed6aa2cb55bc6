"""Measure play: how the camera moves, and what moves by itself, whatever the art of the game looks like.

Pictures are averaged down to some 160x90 pixels first, so that all numbers mean the same for clips of other sizes.
"""

from __future__ import annotations

import numpy as np

from pipeline.clips.camera import Camera, camera_moves, camera_of
from pipeline.clips.own_motion import LEAST, OwnMotion, own_motion_of
from pipeline.clips.samples import Planes

_ROWS, _COLUMNS = 90, 160
PLAY_NAMES: tuple[str, ...] = (
    "camera_share", "camera_sideways", "camera_turns_across", "camera_turns_down", "camera_speeds", "camera_variety",
    "own_motion", "movers", "compact_share", "track_share", "track_turns", "home_share", "centre_share",
)  # fmt: skip
"""What each number of `play_of` is, in order."""


def play_of(luma: Planes) -> list[float]:
    """Return the numbers that `PLAY_NAMES` names, all finite; zeros for a picture that is too small to tell.

    Args:
        luma: (T, H, W) uint8.
    """
    small = _averaged_down(luma)
    count, height, width = small.shape
    if count < 3 or height < LEAST or width < LEAST:
        return [0.0] * len(PLAY_NAMES)
    moves = camera_moves(small)
    camera: Camera = camera_of(*moves)
    own: OwnMotion = own_motion_of(small, *moves)
    return [*vars(camera).values(), *vars(own).values()]


def _averaged_down(luma: Planes) -> Planes:
    """Return pictures of less than twice 160x90 pixels: each pixel the mean of a square of whole pixels."""
    count, height, width = luma.shape
    side = max(1, min(15, max(height // _ROWS, width // _COLUMNS)))
    if side == 1:
        return np.ascontiguousarray(luma)
    height, width = height // side, width // side
    lines = np.zeros((count, height, luma.shape[2]), np.uint16)
    for row in range(side):
        lines += luma[:, row : height * side : side]
    pixels = np.zeros((count, height, width), np.uint16)
    for column in range(side):
        pixels += lines[:, :, column : width * side : side]
    return (pixels // side**2).astype(np.uint8)
