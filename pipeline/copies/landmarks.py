"""Landmarks: moments of a clip that its content marks, so that a copy has them too, wherever it starts.

A landmark is a moment at which a coarse brightness (of the whole picture, of its upper against its lower half, of its
middle against its sides, of its even rows against its odd ones) has a peak or a dip. What changes around it is its
code: for four spans of time and each of 24 places, whether the picture gets brighter or darker. A place and its
mirror image are summed, so a mirrored copy has the same landmarks and codes.

Two landmarks with like codes are a candidate for a copy, and their times give the lag. A clip has four to five.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.copies.signature import COLUMNS, ROWS, Pictures
from pipeline.copies.timeline import Ints

Words = npt.NDArray[np.uint64]

_SIDE = COLUMNS // 2
_SPANS = (-5, -2, 2, 5)  # steps: a second and 0.4 s, before and after
_MARGIN = 5  # steps at both ends of a clip that have no landmark: a code needs them
_RADIUS = 4  # steps: a peak is higher than all within 0.8 s
_PEAKS = 2  # of each brightness, the sharpest
_LEAST_CHANGE, _RELATIVE = 3, 0.25  # levels of two cells; of the span's greatest change
_LEAST_BITS = 3
BITS = len(_SPANS) * 2 * ROWS * _SIDE
"""Bits of a code: 192."""
WORDS = BITS // 64
LEAST_LIKENESS = 0.6
"""Likeness of two codes that makes their clips candidates (copies: 0.6 up, others: 0.6 % of all pairs; measured)."""


def _weights() -> npt.NDArray[np.float32]:
    """Return the brightnesses as weights of places: (4, ROWS * _SIDE)."""
    rows, columns = np.indices((ROWS, _SIDE))
    upper, middle = np.where(rows < ROWS // 2, 1, -1), np.where(columns < _SIDE // 2, -1, 1)
    even = np.where(rows % 2 == 0, 1, -1)
    return np.stack([np.ones_like(rows), upper, middle, even]).reshape(4, -1).astype(np.float32)


_WEIGHTS = _weights()


@dataclass(frozen=True)
class Landmarks:
    """Landmarks of some clips."""

    clip: Ints
    """Number of each landmark's clip."""
    step: Ints
    """When: a step of the clip."""
    code: Words
    """What changes there: (N, WORDS)."""


def landmarks(pictures: Pictures, clip: Ints) -> Landmarks:
    """Return the landmarks of clips of equal length.

    Args:
        pictures: coarse pictures (N, steps, CELLS).
        clip: the clips' numbers.
    """
    folded = _folded(pictures)
    steps = folded.shape[1]
    if steps <= 2 * _MARGIN:
        return Landmarks(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, WORDS), np.uint64))
    peaks = np.zeros(folded.shape[:2], bool)
    # whole numbers below 2^24, which floats hold exactly: their products are faster
    brightness = folded.astype(np.float32) @ _WEIGHTS.T
    for number in range(len(_WEIGHTS)):
        peaks |= _sharpest(brightness[:, :, number].astype(np.int32))
    owner, step = np.nonzero(peaks)
    code, bits = _codes(folded, owner, step)
    told = bits >= _LEAST_BITS
    return Landmarks(clip[owner[told]], step[told], code[told])


def _folded(pictures: Pictures) -> npt.NDArray[np.int32]:
    """Return the sums of each place and its mirror image: (N, steps, ROWS * _SIDE)."""
    cells = pictures.reshape(*pictures.shape[:2], ROWS, COLUMNS).astype(np.int32)
    return (cells[..., :_SIDE] + cells[..., : _SIDE - 1 : -1]).reshape(*pictures.shape[:2], -1)


def _sharpest(brightness: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """Return where a brightness (N, steps) has its sharpest peaks and dips: a mask of the same shape."""
    ends = np.concatenate([brightness[:, :1], brightness, brightness[:, -1:]], axis=1)
    smooth = ends[:, :-2] + 2 * ends[:, 1:-1] + ends[:, 2:]
    width = 2 * _RADIUS + 1
    around = np.lib.stride_tricks.sliding_window_view(smooth, width, axis=1)
    high, low = around.max(axis=2), around.min(axis=2)
    # times from _RADIUS on have their whole surroundings; those nearer to an end than _MARGIN are no landmarks
    here = smooth[:, _RADIUS:-_RADIUS]
    is_peak = ((here == high) | (here == low)) & (high > low)
    sharpness = np.abs(2 * here - smooth[:, : -2 * _RADIUS] - smooth[:, 2 * _RADIUS :])
    sharpness = np.where(is_peak, sharpness, -1)
    sharpness[:, : _MARGIN - _RADIUS] = sharpness[:, sharpness.shape[1] - (_MARGIN - _RADIUS) :] = -1
    order = np.argsort(-sharpness, axis=1, kind="stable")[:, :_PEAKS]
    chosen = np.zeros(brightness.shape, bool)
    rows = np.arange(len(brightness))[:, None]
    chosen[rows, order + _RADIUS] = np.take_along_axis(sharpness, order, axis=1) > 0
    return chosen


def _codes(folded: npt.NDArray[np.int32], owner: Ints, step: Ints) -> tuple[Words, Ints]:
    """Return the codes of moments (N, WORDS), and how many bits each has set."""
    here = folded[owner, step]
    parts = []
    for span in _SPANS:
        change = folded[owner, step + span] - here
        least = np.maximum(_LEAST_CHANGE, _RELATIVE * np.abs(change).max(axis=1, initial=0, keepdims=True))
        parts += [change >= least, change <= -least]
    bits = np.concatenate(parts, axis=1)
    return np.packbits(bits, axis=1).view(np.uint64), bits.sum(axis=1)


def likeness(first: Words, second: Words) -> npt.NDArray[np.float64]:
    """Return how much codes (..., WORDS) have in common: bits set in both over bits set in either."""
    both = np.bitwise_count(first & second).sum(axis=-1, dtype=np.int64)
    either = np.bitwise_count(first | second).sum(axis=-1, dtype=np.int64)
    return both / np.maximum(1, either)
