"""Measure what moves by itself: what changes after the move of the camera is undone.

Someone who plays moves a figure, and enemies move: small compact things, most of the time, that go on from where they
were. A cursor blinks in its place, a window opens at once, and a screen of noise or rain changes everywhere. A pixel
has changed where it lies outside of what the pixels around it were one step before, so half a pixel of movement and the
noise of a codec are no change. All counts are of whole numbers, so each processor gives the same.

Shapes: T frames, H rows, W columns of luma; S = T - 1 steps, h rows and w columns of blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.clips.camera import Moves
from pipeline.clips.samples import Planes

Mask = npt.NDArray[np.bool_]

_MARGIN = 6
"""Levels by which a pixel must lie outside of what was around it."""
_BLOCK = 5
"""Pixels a side of a block..."""
_CHANGED = 4
"""... and how many of its 25 must change for the block to move."""
_WINDOW = 6
"""Blocks a side of the window in which most moves..."""
_COMPACT = 0.6
"""... and the share of all moving blocks in it from which they are one compact thing."""
_NEAR = 3
"""Blocks by which that window may move in a step, each way, to follow the same thing."""
_EVEN = 0.001
"""Added to the shares whose quotient says where it moves: next to nothing anywhere is not in the middle."""
LEAST = _WINDOW * _BLOCK
"""Pixels that a picture must have each way."""


@dataclass(frozen=True)
class OwnMotion:
    """What moves by itself in a clip."""

    share: float
    """Mean share of the picture that moves by itself."""
    movers: float
    """Mean number of separate things that do."""
    compact: float
    """Share of the steps in which that is mostly one compact thing."""
    track: float
    """Share of the steps in which the place where most moves goes on from where it was: someone moves there."""
    turns: float
    """Share of the steps in which that track turns back, sideways or up and down."""
    home: float
    """Share of the steps in which the block moves that does so most often."""
    centre: float
    """How much of it is in the middle half of the picture against the rest, block for block: 0.5 for the same."""


def own_motion_of(luma: Planes, across: Moves, down: Moves) -> tuple[OwnMotion, Mask]:
    """Return what moves by itself, and in which steps that goes on from where it was: (S,).

    Args:
        luma: (T, H, W) uint8, of at least `LEAST` pixels each way.
        across: by how many pixels the camera moves the picture to the right in each step (S,).
        down: the same, downwards.
    """
    moving = _blocks(_changes(luma, across, down)) >= _CHANGED
    steps, height, width = moving.shape
    per_step = moving.reshape(steps, -1).sum(axis=1)
    often = moving.sum(axis=0)
    top, left = height // 4, width // 4
    middle = often[top : height - top, left : width - left]
    inside = int(middle.sum()) / (middle.size * steps)
    outside = int(often.sum() - middle.sum()) / ((often.size - middle.size) * steps)
    most, row, column = _densest(moving)
    down_by, across_by = np.diff(row), np.diff(column)
    follows = (np.abs(down_by) <= _NEAR) & (np.abs(across_by) <= _NEAR) & (most[1:] > 0) & (most[:-1] > 0)
    found = OwnMotion(
        share=int(per_step.sum()) / moving.size,
        movers=_things(moving) / steps,
        compact=float(((most > 0) & (most >= _COMPACT * per_step)).mean()),
        track=float(follows.mean()),
        turns=(_turns(down_by[follows]) + _turns(across_by[follows])) / steps,
        home=int(often.max()) / steps,
        centre=inside / (inside + outside + _EVEN),
    )
    return found, np.concatenate([[False], follows])


def _changes(luma: Planes, across: Moves, down: Moves) -> Mask:
    """Return which pixels lie outside of what was around them before the camera moved: (S, H, W).

    Pixels at the border, and those that the move brought into the picture, have not changed.
    """
    count, height, width = luma.shape
    changed = np.zeros((count - 1, height, width), bool)
    for step, (right, low) in enumerate(zip(across.tolist(), down.tolist(), strict=True)):
        darkest, lightest = _around(luma[step])
        rows = slice(max(1, 1 + low), height - 1 + min(0, low))
        columns = slice(max(1, 1 + right), width - 1 + min(0, right))
        was = (slice(rows.start - low, rows.stop - low), slice(columns.start - right, columns.stop - right))
        now = luma[step + 1, rows, columns]
        changed[step, rows, columns] = (now > lightest[was]) | (now < darkest[was])
    return changed


def _around(picture: Planes) -> tuple[Planes, Planes]:
    """Return the least and the greatest level of each pixel and its eight neighbours, with the margin; (H, W) each.

    Rows are taken as one line, so those at the left and right border are mixed with the next row's: they do not count.
    """
    height, width = picture.shape
    line = picture.reshape(-1)
    found = []
    for choose in (np.minimum, np.maximum):
        three = choose(line[:-2], line[2:])
        choose(three, line[1:-1], out=three)
        nine = choose(three[: -2 * width], three[2 * width :])
        choose(nine, three[width:-width], out=nine)
        whole = line.copy()
        whole[width + 1 : width + 1 + len(nine)] = nine
        found.append(whole.reshape(height, width))
    darkest, lightest = found
    np.maximum(darkest, _MARGIN, out=darkest)
    np.minimum(lightest, 255 - _MARGIN, out=lightest)
    darkest -= np.uint8(_MARGIN)
    lightest += np.uint8(_MARGIN)
    return darkest, lightest


def _blocks(changed: Mask) -> npt.NDArray[np.uint8]:
    """Return the number of changed pixels of each block: (S, h, w)."""
    steps, height, width = changed.shape
    rows, columns = height // _BLOCK, width // _BLOCK
    lines = np.zeros((steps, rows, width), np.uint8)
    for row in range(_BLOCK):
        lines += changed[:, row : rows * _BLOCK : _BLOCK]
    blocks = np.zeros((steps, rows, columns), np.uint8)
    for column in range(_BLOCK):
        blocks += lines[:, :, column : columns * _BLOCK : _BLOCK]
    return blocks


def _things(moving: Mask) -> int:
    """Return the number of separate things in all steps, less the holes in them (by Euler's formula)."""
    beside, below = moving[:, :, 1:] & moving[:, :, :-1], moving[:, 1:] & moving[:, :-1]
    squares = beside[:, 1:] & beside[:, :-1]
    return int(moving.sum()) - int(beside.sum()) - int(below.sum()) + int(squares.sum())


def _densest(moving: Mask) -> tuple[Moves, Moves, Moves]:
    """Return how many blocks move in the window in which most do, and its first row and column: (S,) each."""
    steps, height, width = moving.shape
    sums = np.zeros((steps, height + 1, width + 1), np.int16)
    sums[:, 1:, 1:] = moving.cumsum(axis=1, dtype=np.int16).cumsum(axis=2, dtype=np.int16)
    low, right = sums[:, _WINDOW:], sums[:, :-_WINDOW]
    counts = low[:, :, _WINDOW:] - low[:, :, :-_WINDOW] - right[:, :, _WINDOW:] + right[:, :, :-_WINDOW]
    best = counts.reshape(steps, -1).argmax(axis=1)
    row, column = np.divmod(best, counts.shape[2])
    return counts.reshape(steps, -1).max(axis=1).astype(np.int64), row, column


def _turns(moves: Moves) -> int:
    """Return how often a move is followed by one in the opposite direction, steps without a move left out."""
    directions = np.sign(moves[moves != 0])
    return int(np.count_nonzero(directions[1:] != directions[:-1]))
