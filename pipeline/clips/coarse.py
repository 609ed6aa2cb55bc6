"""Compare frames by small pictures of them: their contrast, and how alike two are wherever the camera moved.

A coarse picture holds the mean of each cell (4x4 pixels of 160x90) in sixteenths of a level, for luma and both chroma
planes. All sums are of whole numbers below 2^53, so they are exact in any order, on every processor.

Shapes: T frames, 3 planes (luma, chroma, chroma), h rows and w columns of cells.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from pipeline.clips.samples import Planes

Pictures = npt.NDArray[np.float64]
"""Coarse pictures (T, 3, h, w), whole numbers of sixteenths of a level; a single one is (3, h, w)."""
Numbers = npt.NDArray[np.float64]

_ROWS, _COLUMNS = 24, 40
"""Most cells of a coarse picture."""
_DARK = 40
"""Video-range luma of a border: rows and columns of cells that never exceed it are left out."""
_UNIT = 16
_AROUND = 3
"""Cells on each side that a detail is compared with."""


def coarse_pictures(luma: Planes, chroma: Planes) -> Pictures:
    """Return the coarse pictures of a clip's frames, without the border that stays dark through all of them.

    Args:
        luma: (T, H, W) uint8.
        chroma: (T, 2, H/2, W/2) uint8.
    """
    height, width = luma.shape[1:]
    # even, so that a cell of chroma covers the same pixels
    rows, columns = 2 * -(-height // (2 * _ROWS)), 2 * -(-width // (2 * _COLUMNS))
    planes = [
        _cells(luma, rows, columns),
        _cells(chroma[:, 0], rows // 2, columns // 2),
        _cells(chroma[:, 1], rows // 2, columns // 2),
    ]
    lit = planes[0].max(axis=0) > _DARK * _UNIT
    if lit.any():
        down, across = np.flatnonzero(lit.any(axis=1)), np.flatnonzero(lit.any(axis=0))
        planes = [plane[:, down[0] : down[-1] + 1, across[0] : across[-1] + 1] for plane in planes]
    pictures = np.empty((len(luma), 3, *planes[0].shape[1:]), np.float64)
    for index, plane in enumerate(planes):
        pictures[:, index] = plane
    return pictures


def _cells(plane: Planes, rows: int, columns: int) -> npt.NDArray[np.uint32]:
    """Return the means over cells of rows x columns pixels, in sixteenths; pixels beyond whole cells are left out."""
    height, width = plane.shape[1] // rows * rows, plane.shape[2] // columns * columns
    down = np.zeros((len(plane), height // rows, plane.shape[2]), np.uint16)
    for row in range(rows):
        down += plane[:, row:height:rows]
    total = np.zeros((len(plane), height // rows, width // columns), np.uint32)
    for column in range(columns):
        total += down[:, :, column:width:columns]
    # in place: fresh memory for each result would cost more than the sums
    total *= _UNIT
    total //= rows * columns
    return total


def steps(pictures: Pictures) -> Numbers:
    """Return by how much each picture differs from the one before: (T - 1,), mean of cells, sum of planes, levels."""
    cells = pictures.shape[2] * pictures.shape[3]
    change = pictures[1:] - pictures[:-1]
    np.abs(change, out=change)
    return np.asarray(change.sum(axis=(1, 2, 3)) / (cells * _UNIT))


def contrasts(pictures: Pictures) -> Numbers:
    """Return each picture's standard deviation over its cells, of all planes, in levels: (T,); a black one has 0."""
    cells = pictures.shape[2] * pictures.shape[3]
    total, squares = pictures.sum(axis=(2, 3)), (pictures * pictures).sum(axis=(2, 3))
    variance = (cells * squares - total * total).sum(axis=1)
    return np.asarray(np.sqrt(variance) / (cells * _UNIT))


def detail(picture: Pictures) -> Pictures:
    """Return what stands out from the seven cells around, each way: a picture (3, h, w) without its broad areas.

    Two places of one level share sky and ground, which do not tell whether they are the same place.
    """
    padded = np.pad(picture, ((0, 0), (_AROUND, _AROUND), (_AROUND, _AROUND)), mode="edge")
    height, width = picture.shape[1:]
    reach = range(2 * _AROUND + 1)
    down = np.sum([padded[:, by : by + height] for by in reach], axis=0)
    around = np.sum([down[:, :, by : by + width] for by in reach], axis=0)
    return np.asarray(picture - np.floor(around / len(reach) ** 2))


def likeness(one: Pictures, other: Pictures) -> float:
    """Return the correlation of two pictures, as they are or with the camera's move undone, whichever is greater.

    1 for the same picture at any brightness and contrast, about 0 for unrelated ones. A move is up to a third of the
    picture up or down and up to a quarter sideways, the one at which the lumas correlate best.
    """
    down, across = _best_move(one[0], other[0])
    height, width = one.shape[1:]
    return max(
        correlation(one, other),
        correlation(
            one[:, max(0, down) : height + min(0, down), max(0, across) : width + min(0, across)],
            other[:, max(0, -down) : height - max(0, down), max(0, -across) : width - max(0, across)],
        ),
    )


def correlation(one: Pictures, other: Pictures) -> float:
    """Return the correlation of two pictures over the cells of all planes; 0 where one has no contrast."""
    a_variance, b_variance, shared = _moments(one, other)
    return shared / float(np.sqrt(a_variance * b_variance)) if a_variance and b_variance else 0.0


def regional_correlation(one: Pictures, other: Pictures, least: float) -> float:
    """Return the median correlation of a picture's ninths: a window that opens over some of them does not change it.

    Ninths whose contrast is below `least` levels in both pictures do not count; 0 where fewer than three count.
    """
    height, width = one.shape[1:]
    found = []
    for row in range(3):
        for column in range(3):
            rows = slice(row * height // 3, (row + 1) * height // 3)
            columns = slice(column * width // 3, (column + 1) * width // 3)
            a, b = one[:, rows, columns], other[:, rows, columns]
            a_variance, b_variance, _ = _moments(a, b)
            if max(a_variance, b_variance) >= (a[0].size * _UNIT * least) ** 2:
                found.append(correlation(a, b))
    return float(np.median(found)) if len(found) >= 3 else 0.0


def _moments(one: Pictures, other: Pictures) -> tuple[float, float, float]:
    """Return both variances and the covariance of two pictures, times the squared number of cells."""
    cells = one.shape[1] * one.shape[2]
    a, b = one.reshape(3, cells), other.reshape(3, cells)
    a_sum, b_sum = a.sum(axis=1), b.sum(axis=1)
    return (
        float((cells * (a * a).sum(axis=1) - a_sum * a_sum).sum()),
        float((cells * (b * b).sum(axis=1) - b_sum * b_sum).sum()),
        float((cells * (a * b).sum(axis=1) - a_sum * b_sum).sum()),
    )


def _best_move(one: Numbers, other: Numbers) -> tuple[int, int]:
    """Return the move (rows, columns) of `other` at which the part that it shares with `one` correlates best."""
    height, width = one.shape
    down, across = height // 3, width // 4

    def moved(plane: Numbers) -> Numbers:
        padded = np.pad(plane, ((down, down), (across, across)))
        return np.asarray(sliding_window_view(padded, (height, width)).reshape(-1, height * width))

    inside = np.ones_like(one)
    columns = np.stack([inside.ravel(), one.ravel(), (one * one).ravel()], axis=1)
    # every sum over the shared part, for all moves at once; outside of it, one of the two factors is 0
    cells, a_sum, a_squares = (moved(inside) @ columns).T
    b_sum, products = (moved(other) @ columns[:, :2]).T
    b_squares = moved(other * other) @ columns[:, 0]
    variances = (cells * a_squares - a_sum * a_sum) * (cells * b_squares - b_sum * b_sum)
    shared = cells * products - a_sum * b_sum
    correlations = np.where(variances > 0, shared / np.sqrt(np.maximum(variances, 1)), -1)
    row, column = divmod(int(correlations.argmax()), 2 * across + 1)
    return down - row, across - column
