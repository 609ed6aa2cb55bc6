"""By how many pixels the view moves from one frame to the next.

Shapes: H W C pixels.
"""

from __future__ import annotations

import numpy as np
from scipy.fft import irfft2, next_fast_len, rfft2

_REACH = 3  # the largest shift that is searched for is the side of the frame over this
_CANDIDATES = 12
_BOX = 0.45  # of the frame's height: what moves on its own, before and after, fits into such a square
_MOST_LEFT = 0.6  # a shift that leaves more than this share of the change unexplained is none


def view_shift(before_HWC: np.ndarray, after_HWC: np.ndarray) -> tuple[int, int]:
    """Return by how many pixels (right, down) the view moves from one frame to the next.

    The view moves right when the content of the picture moves left. A character that runs before a fixed camera must
    not count as the view, and may be the largest thing that changes. So of the shifts with the least squared error over
    the overlap that one is taken which leaves the least absolute error outside the square with the most of it; of equal
    ones the smallest. A picture that is painted anew, without a shift that explains it, has the shift 0.
    """
    if np.array_equal(before_HWC, after_HWC):
        return 0, 0
    before, after = (frame.mean(-1) for frame in (before_HWC, after_HWC))
    still = _error_elsewhere(before, after, 0, 0)
    found = [
        (_error_elsewhere(before, after, right, down), abs(right) + abs(down), right, down)
        for right, down in _candidates(before, after)
    ]
    error, _, right, down = min(found)
    return (right, down) if error <= _MOST_LEFT * still and error < still else (0, 0)


def overlap(right: int, down: int, height: int, width: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return what a frame and the next one both show, as slices of each, where the view moves (right, down)."""
    rows, columns = slice(max(down, 0), height + min(down, 0)), slice(max(right, 0), width + min(right, 0))
    later = slice(max(-down, 0), height + min(-down, 0)), slice(max(-right, 0), width + min(-right, 0))
    return (rows, columns), later


def _candidates(before: np.ndarray, after: np.ndarray) -> list[tuple[int, int]]:
    """Return the shifts (right, down) with the least mean squared error over the overlap."""
    height, width = before.shape
    reach_y, reach_x = height // _REACH, width // _REACH
    # so much padding that no shift within reach meets the other edge
    padded = (next_fast_len(height + reach_y, real=True), next_fast_len(width + reach_x, real=True))
    middle = (before.mean() + after.mean()) / 2  # products of small numbers lose less
    old, new = before - middle, after - middle
    old_freq, new_freq, old_square, new_square, one = rfft2(
        np.stack([old, new, old**2, new**2, np.ones_like(old)]).astype(np.float32), padded
    )
    # sum over p of (before(p) - after(p - shift))^2, for all shifts at once
    summed = irfft2(old_square * one.conj() + one * new_square.conj() - 2 * old_freq * new_freq.conj(), padded)
    downs, rights = np.arange(-reach_y, reach_y + 1), np.arange(-reach_x, reach_x + 1)
    error = summed[downs[:, None], rights] / ((height - np.abs(downs))[:, None] * (width - np.abs(rights)))
    best = (
        np.argpartition(error, _CANDIDATES, axis=None)[:_CANDIDATES] if error.size > _CANDIDATES else range(error.size)
    )
    return [(int(rights[place % len(rights)]), int(downs[place // len(rights)])) for place in best]


def _error_elsewhere(before: np.ndarray, after: np.ndarray, right: int, down: int) -> float:
    """Return the mean absolute error of a shift over the overlap, outside the square that holds the most of it."""
    height, width = before.shape
    first, second = overlap(right, down, height, width)
    error = np.abs(before[first] - after[second])
    side = max(1, min(round(_BOX * height), *error.shape))
    sums = np.zeros((error.shape[0] + 1, error.shape[1] + 1))
    sums[1:, 1:] = error.cumsum(0).cumsum(1)
    squares = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    return float((sums[-1, -1] - squares.max()) / (error.size - side * side + 1e-9))
