"""Find what lies over a game and keeps its place while the game scrolls: face cameras, chat, panels, whole layouts.

Two signs, both of places that stay. A block whose texture is the same in frames that lie seconds apart keeps its place;
where a game scrolls, its own blocks do not. And the border of a window is a straight edge that stays on one line of
pixels for the whole clip, whatever moves on its two sides; so a face camera is found although the face in it moves.

Where a game stands still (a fixed camera, a menu) everything keeps its place, and nothing can be told: 0 then. All
counts are integers, and what is divided is exact, so that each processor gives the same numbers.

Shapes: T frames, H rows, W columns of luma; B blocks of 5x5 pixels.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.clips.samples import Planes

_SAMPLES = 12
"""Frames of the clip that are compared, spread over its length."""
_BLOCK = 5
_TEXTURED = 12
"""Mean square of a block's differences between neighbours (levels) from which it has texture."""
_STAYS, _GOES = 0.6, 0.3
"""Correlation of a block's texture over the clip, from which it keeps its place, and up to which it does not."""
_LEAST_GOING = 0.12
"""Share of the picture whose texture must go for a game to scroll..."""
_GOING_OF_TEXTURED = 0.4
"""... and share of all blocks with texture."""
_EDGE = 8
"""Levels between the two sides of a window's border..."""
_EDGE_SHARE = 0.75
"""... and the share of the samples (one way less the other way) in which it must be there."""
_LEAST_HEIGHT, _LEAST_WIDTH, _LARGEST = 12, 16, 0.5
"""Least size of a window in pixels, and its largest share of the picture."""
_SIDE = 0.7
"""Share of a side of a window that must be such an edge, or lie at the picture's border."""
_RUNS = 48
"""Straight edges of each direction that are looked at, the longest first."""
_DOCKED = 4
"""Groups of blocks at the picture's border that are looked for, the largest first."""

Mask = npt.NDArray[np.bool_]


class Overlay(NamedTuple):
    """What lies over a game, as shares of the picture."""

    share: float
    """All that keeps its place while the rest scrolls: windows, and texture docked to the picture's border."""
    panel_share: float
    """Windows with straight borders alone: face cameras, chat, panels."""


class _Window(NamedTuple):
    top: int
    bottom: int
    left: int
    right: int


def overlay_of(luma: Planes) -> Overlay:
    """Return what lies over the game in a clip.

    Args:
        luma: (T, H, W) uint8, without dark borders.
    """
    height, width = luma.shape[1:]
    if height < 4 * _LEAST_HEIGHT or width < 4 * _LEAST_WIDTH or len(luma) < _SAMPLES:
        return Overlay(0.0, 0.0)
    samples = luma[np.linspace(3, len(luma) - 4, _SAMPLES).astype(int)].astype(np.int32)
    weights = _weights(samples)
    going = np.count_nonzero(weights == _GOING)
    textured = going + np.count_nonzero((weights == _STAYING) | (weights == 0))
    if going < _LEAST_GOING * weights.size or going < _GOING_OF_TEXTURED * textured:
        return Overlay(0.0, 0.0)
    covered = np.zeros((height, width), bool)
    for top, bottom, left, right in _docked(weights):
        covered[top * _BLOCK : bottom * _BLOCK, left * _BLOCK : right * _BLOCK] = True
    panels = np.zeros_like(covered)
    for window in _windows(samples):
        panels[window.top : window.bottom + 1, window.left : window.right + 1] = True
    return Overlay(float((covered | panels).mean()), float(panels.mean()))


# -- blocks that keep their place ---------------------------------------------------------------------------------

_STAYING, _GOING, _PLAIN = 25, -25, -2
"""Weights of blocks in the search for groups; 0 between staying and going. A plain block says little."""


def _weights(samples: Any) -> Any:
    """Return the weight of each block, int (H / 5, W / 5)."""
    across, down = np.diff(samples, axis=2)[:, :-1], np.diff(samples, axis=1)[:, :, :-1]
    stays, textured = zip(*map(_same_texture, (across, down)), strict=True)
    both = textured[0] & textured[1]
    kept = np.where(both, np.minimum(*stays), np.where(textured[0], *stays))
    weights = np.where(kept > _STAYS, _STAYING, np.where(kept > _GOES, 0, _GOING))
    # a horizon is the same wherever it scrolls to: only a block with texture in both directions can be seen to stay
    return np.where(both | ((textured[0] | textured[1]) & (weights == _GOING)), weights, _PLAIN)


def _same_texture(differences: Any) -> tuple[Any, Mask]:
    """Return the mean correlation of each block's differences between any two samples, and whether it has any."""
    count, height, width = differences.shape
    rows, columns = height // _BLOCK, width // _BLOCK
    blocks = differences[:, : rows * _BLOCK, : columns * _BLOCK].reshape(count, rows, _BLOCK, columns, _BLOCK)
    energy = (blocks * blocks).sum(axis=(0, 2, 4), dtype=np.int64)
    whole = blocks.sum(axis=0)
    pairs = (whole * whole).sum(axis=(1, 3), dtype=np.int64) - energy
    textured = energy > _TEXTURED * count * _BLOCK * _BLOCK
    return pairs / np.maximum((count - 1) * energy, 1), textured


def _docked(weights: Any) -> list[tuple[int, int, int, int]]:
    """Return groups of staying blocks that touch the picture's border: top, bottom, left, right in blocks."""
    left_over, found = weights.copy(), []
    for _ in range(_DOCKED):
        total, (top, bottom, left, right) = _heaviest(left_over)
        if total < 3 * _STAYING:
            break
        left_over[top:bottom, left:right] = _PLAIN
        height, width = weights.shape
        if top == 0 or left == 0 or bottom == height or right == width:
            found.append((top, bottom, left, right))
    return found


def _heaviest(weights: Any) -> tuple[int, tuple[int, int, int, int]]:
    """Return the rectangle of at least 2x2 blocks with the largest sum, and that sum."""
    height, width = weights.shape
    down = np.zeros((height + 1, width), np.int64)
    down[1:] = weights.cumsum(axis=0)
    tops, bottoms = np.triu_indices(height + 1, k=2)
    sums = np.zeros((len(tops), width + 1), np.int64)
    sums[:, 1:] = (down[bottoms] - down[tops]).cumsum(axis=1)
    least = np.minimum.accumulate(sums[:, :-2], axis=1)
    gains = sums[:, 2:] - least
    row, column = divmod(int(gains.argmax()), gains.shape[1])
    left = int(sums[row, : column + 1].argmin())
    return int(gains[row, column]), (int(tops[row]), int(bottoms[row]), left, column + 2)


# -- windows with straight borders --------------------------------------------------------------------------------


def _windows(samples: Any) -> list[_Window]:
    """Return rectangles whose four sides are edges that stay, or lie at the picture's border."""
    height, width = samples.shape[1:]
    spread = _spread(samples)
    upright = (_stays(samples, 2) | _jump(spread, 1)).T
    level = _stays(samples, 1) | _jump(spread, 0)
    found: set[_Window] = set()
    flat = _runs(level, _LEAST_WIDTH)
    for column, first, last in _runs(upright, _LEAST_HEIGHT):
        for row, start, end in flat:
            # the ends of an upright and of a level edge meet in a corner of the window
            for top, bottom in ((row, last),) * (abs(row - first) <= 3) + ((first, row),) * (abs(row - last) <= 3):
                for left, right in ((column, end),) * (abs(column - start) <= 3) + ((start, column),) * (
                    abs(column - end) <= 3
                ):
                    window = _Window(top, bottom, left, right)
                    if _is_window(window, upright, level, height, width):
                        found.add(window)
    return sorted(found)


def _is_window(window: _Window, upright: Mask, level: Mask, height: int, width: int) -> bool:
    top, bottom, left, right = window
    if bottom - top < _LEAST_HEIGHT or right - left < _LEAST_WIDTH:
        return False
    if (bottom - top) * (right - left) > _LARGEST * height * width:
        return False
    return all(
        _side(edges, line, begin, end, most) >= _SIDE
        for edges, begin, end, most, lines in (
            (upright, top, bottom, width, (left, right)),
            (level, left, right, height, (top, bottom)),
        )
        for line in lines
    )


def _side(edges: Mask, line: int, begin: int, end: int, most: int) -> float:
    """Return the share of a side that is an edge, give or take two pixels; 1 at the picture's border."""
    if line <= 2 or line >= most - 2:
        return 1.0
    return float(edges[max(0, line - 2) : line + 2, begin:end].any(axis=0).mean())


def _stays(samples: Any, axis: int) -> Mask:
    """Return where one neighbour is brighter than the other in nearly all samples."""
    step = np.diff(samples, axis=axis)
    lean = (step > _EDGE).sum(axis=0) - (step < -_EDGE).sum(axis=0)
    return np.asarray(np.abs(lean) >= _EDGE_SHARE * len(samples))


def _spread(samples: Any) -> Any:
    """Return each pixel's standard deviation over the samples, in levels."""
    count = len(samples)
    total = samples.sum(axis=0)
    return np.sqrt((count * (samples * samples).sum(axis=0) - total * total).astype(np.float64)) / count


def _jump(spread: Any, axis: int) -> Mask:
    """Return where a pixel changes much and its neighbour hardly: the border of a window without a line around it."""
    first, second = (spread[:, 1:], spread[:, :-1]) if axis else (spread[1:], spread[:-1])
    more, less = np.maximum(first, second), np.minimum(first, second)
    return np.asarray((more > 10) & (more > 3 * (less + 1.5)))


def _runs(edges: Mask, least: int) -> list[tuple[int, int, int]]:
    """Return straight edges of a length, the longest first: line, first pixel, pixel after the last."""
    found = []
    for line in np.flatnonzero(edges.sum(axis=1) >= 0.85 * least).tolist():
        places = np.flatnonzero(edges[line])
        breaks = np.flatnonzero(np.diff(places) > 3)
        starts, ends = np.concatenate([[0], breaks + 1]), np.concatenate([breaks, [len(places) - 1]])
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            length = int(places[end] - places[start]) + 1
            if length >= least and end - start + 1 >= 0.85 * length:
                found.append((-length, line, int(places[start]), int(places[end]) + 1))
    return [run[1:] for run in sorted(found)[:_RUNS]]
