"""Measure how the camera moves from step to step, and whether it moves as someone who plays moves it.

A level that is played scrolls and turns, at many speeds. A title screen that scrolls by itself has one speed, a
terminal jumps by a line, and a menu stands. The move of each step is found from the sums of columns and of rows of luma
in a few bands, so a score bar that stands does not hide that the rest moves. Sums are of whole numbers, and what is
divided is exact, so that each processor gives the same numbers.

Shapes: T frames, H rows, W columns of luma; S = T - 1 steps, B bands, N cells of a profile, K moves that are compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.clips.samples import Planes

Moves = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.float64]

_BANDS_ACROSS, _BANDS_DOWN = 3, 4
_REACH_ACROSS, _REACH_DOWN = 16, 10
"""Largest move of a step, in pixels."""
_EXPLAINED = 0.5
"""Share of the difference between two frames that a move must explain, summed over the bands."""
_HELD = 2
"""Steps for which a direction must last to count: one step may be a mistake."""


@dataclass(frozen=True)
class Camera:
    """How the camera of a clip moves."""

    share: float
    """Share of the steps in which it moves."""
    sideways: float
    """Share of the steps in which it moves sideways."""
    turns_across: float
    """Share of the steps in which it turns between left and right."""
    turns_down: float
    """Share of the steps in which it turns between up and down."""
    speeds: float
    """Number of different speeds."""
    variety: float
    """Probability that two of the steps in which it moves have different moves; 0 for a screen that scrolls evenly."""


def camera_moves(luma: Planes) -> tuple[Moves, Moves]:
    """Return by how many pixels the picture moves to the right and down in each step; 0 where no move explains it.

    Args:
        luma: (T, H, W) uint8, of at most some 160x90 pixels (the sums of a band must fit 16 bits).

    Returns:
        Two arrays (S,).
    """
    count, height, width = luma.shape
    rows, columns = height // _BANDS_ACROSS, width // _BANDS_DOWN
    across = np.zeros((count, _BANDS_ACROSS, width), np.uint16)
    for row in range(rows):
        across += luma[:, row : _BANDS_ACROSS * rows : rows]
    down = luma[:, :, : _BANDS_DOWN * columns].reshape(count, height, _BANDS_DOWN, columns).sum(axis=3, dtype=np.uint16)
    return _profile_moves(across, _REACH_ACROSS), _profile_moves(down.swapaxes(1, 2), _REACH_DOWN)


def camera_of(across: Moves, down: Moves) -> Camera:
    """Return how the camera moves, from the moves of each step (S,)."""
    moving = (across != 0) | (down != 0)
    if not moving.any():
        return Camera(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    count = len(moving)
    moves = np.stack([across, down])[:, moving]
    _, often = np.unique(moves, axis=1, return_counts=True)
    return Camera(
        share=float(moving.mean()),
        sideways=float((across != 0).mean()),
        turns_across=_turns(across) / count,
        turns_down=_turns(down) / count,
        speeds=float(len(np.unique(np.abs(moves).sum(axis=0)))),
        variety=1 - int((often * often).sum()) / int(often.sum()) ** 2,
    )


def _profile_moves(profiles: npt.NDArray[np.uint16], reach: int) -> Moves:
    """Return the move of each step (S,) at which the profiles (T, B, N) differ least; 0 where it explains too little.

    What is compared is the mean squared difference of the profiles' slopes over the part that both frames show.
    """
    slopes = np.diff(profiles.astype(np.float64), axis=2)
    count, bands, size = slopes.shape
    reach = min(reach, size // 2)
    moves = np.arange(-reach, reach + 1)
    length = size + reach
    spectra = np.fft.rfft(slopes, length)
    # whole numbers far below 2^53: rounding takes away what the transform of one processor does otherwise
    products = np.rint(np.fft.irfft(np.conj(spectra[:-1]) * spectra[1:], length))[:, :, moves % length]
    squares = np.zeros((count, bands, size + 1))
    np.cumsum(slopes * slopes, axis=2, out=squares[:, :, 1:])
    first, second = squares[:-1], squares[1:]
    before = first[:, :, np.minimum(size, size - moves)] - first[:, :, np.maximum(0, -moves)]
    after = second[:, :, np.minimum(size, size + moves)] - second[:, :, np.maximum(0, moves)]
    differences = (before + after - 2 * products) / (size - np.abs(moves))
    standing = differences[:, :, reach : reach + 1]
    gains = np.maximum(standing - differences, 0)
    # band by band: the order of a sum must not depend on the processor
    gain, whole = gains[:, 0].copy(), standing[:, 0, 0].copy()
    for band in range(1, bands):
        gain += gains[:, band]
        whole += standing[:, band, 0]
    best = gain.argmax(axis=1)
    explained = gain[np.arange(len(best)), best] > _EXPLAINED * whole
    return np.where(explained, moves[best], 0)


def _turns(moves: Moves) -> int:
    """Return how often the direction changes to the opposite one, also with a stop between the two."""
    signs = np.sign(moves)
    starts = np.concatenate([[0], np.flatnonzero(np.diff(signs)) + 1])
    lengths = np.diff(np.concatenate([starts, [len(signs)]]))
    held = signs[starts[(lengths >= _HELD) & (signs[starts] != 0)]]
    return int(np.count_nonzero(held[1:] != held[:-1]))
