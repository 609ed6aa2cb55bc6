"""Measure play: how the camera moves, what moves by itself, and when, whatever the art of the game looks like.

A step from one frame to the next shows play where the camera moves, or where what moves goes on from where it was.
Pictures are averaged down to less than twice 160x90 pixels first, so that all numbers mean the same for clips of other
sizes.
"""

from __future__ import annotations

import numpy as np

from pipeline.clips.camera import Camera, camera_moves, camera_of
from pipeline.clips.motion import longest_run
from pipeline.clips.own_motion import LEAST, Mask, OwnMotion, own_motion_of
from pipeline.clips.samples import Planes

_ROWS, _COLUMNS = 90, 160
PLAY_NAMES: tuple[str, ...] = (
    "camera_share", "camera_sideways", "camera_turns_across", "camera_turns_down", "camera_speeds", "camera_variety",
    "own_motion", "movers", "compact_share", "track_share", "track_turns", "home_share", "centre_share", "play_seconds",
    "play_least", "camera_rest",
)  # fmt: skip
"""What each number of `play_of` is, in order."""


_PLAYED = 0.5
"""Share of a second's steps that must show play for it to be a second of play."""
_SECONDS = 16
"""Of so many seconds the poorest one does not count in `play_least`: a short break or a cut is no lack of play."""


def play_of(luma: Planes, fps: int, inner: tuple[int, int, int, int] | None = None) -> list[float]:
    """Return the numbers that `PLAY_NAMES` names, all finite; zeros for a picture that is too small to tell.

    Args:
        luma: (T, H, W) uint8.
        fps: frames a second.
        inner: top, bottom, left and right of the picture inside its dark bars, which stand while the camera moves.
    """
    side = max(1, min(15, max(luma.shape[1] // _ROWS, luma.shape[2] // _COLUMNS)))
    small = _averaged_down(luma, side)
    if inner is not None:
        top, bottom, left, right = (edge // side for edge in inner)
        small = np.ascontiguousarray(small[:, top:bottom, left:right])
    count, height, width = small.shape
    if count < 3 or height < LEAST or width < LEAST:
        return [0.0] * len(PLAY_NAMES)
    across, down = camera_moves(small)
    camera: Camera = camera_of(across, down)
    own: OwnMotion
    own, follows = own_motion_of(small, across, down)
    moving = (across != 0) | (down != 0)
    return [*vars(camera).values(), *vars(own).values(), *_seconds_of(moving | follows, fps), longest_run(~moving)]


def _seconds_of(play: Mask, fps: int) -> tuple[float, float]:
    """Return the share of the seconds that are mostly play, and the share of play in the poorest but one in sixteen.

    Args:
        play: which steps show play (S,).
        fps: steps a second; a last second of less than half of that is left out.
    """
    starts = range(0, max(1, len(play) - fps // 2), fps)
    shares = np.array([np.count_nonzero(second) / len(second) for second in (play[at : at + fps] for at in starts)])
    return float((shares >= _PLAYED).mean()), float(np.sort(shares)[len(shares) // _SECONDS])


def _averaged_down(luma: Planes, side: int) -> Planes:
    """Return pictures whose pixels are the means of squares of `side` pixels a side, whole ones alone."""
    if side == 1:
        return luma
    count, height, width = len(luma), luma.shape[1] // side, luma.shape[2] // side
    lines = np.zeros((count, height, luma.shape[2]), np.uint16)
    for row in range(side):
        lines += luma[:, row : height * side : side]
    pixels = np.zeros((count, height, width), np.uint16)
    for column in range(side):
        pixels += lines[:, :, column : width * side : side]
    return (pixels // side**2).astype(np.uint8)
