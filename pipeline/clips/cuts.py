"""Find the scene cuts of a clip: the frames that begin another shot.

A cut is named by the first frame of the new shot. A cut between two clips is in neither of them, so frame 0 is never
a cut. Times of cuts are kept in ms from the clip's start; frame k lies at k / fps seconds.

Shapes: T frames, H rows, W columns. luma (T, H, W), chroma (T, 2, H/2, W/2), both uint8 in video range (16..235).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from pipeline.clips.samples import Floats, Planes

CutDetector = Callable[[Planes, Planes], list[int]]
"""Returns the first frame of each new shot from a clip's luma and chroma, ascending, each in 1..T-1."""

_ROWS, _COLUMNS = 9, 16  # coarse grid of the cut score
_CUT_SCORE, _CUT_RATIO, _CUT_HISTOGRAM = 6.0, 3.0, 0.12


def cut_ms(frames: Sequence[int], fps: int) -> list[int]:
    """Return the times of frames in ms from the clip's start, rounded."""
    return [(2000 * frame + fps) // (2 * fps) for frame in frames]


def longest_shot_share(frames: Sequence[int], num_frames: int) -> float:
    """Return the longest stretch of frames between two cuts as a share of the clip; 1 without a cut."""
    edges = [0, *frames, num_frames]
    return max(after - before for before, after in pairwise(edges)) / num_frames


def frame_histograms(luma: Planes) -> Floats:
    """Return each frame's histogram over 16 levels of luma, of every ninth pixel; rows sum to 1."""
    levels = (luma[:, ::3, ::3] >> 4).reshape(len(luma), -1).astype(np.int32)
    levels += np.arange(len(luma), dtype=np.int32)[:, None] * 16
    counts = np.bincount(levels.ravel(), minlength=len(luma) * 16).reshape(len(luma), 16)
    return np.asarray(counts / levels.shape[1], np.float32)


def detect_cuts(luma: Planes, chroma: Planes) -> list[int]:
    """Return the first frame of each new shot.

    A cut is a step of the coarse picture that is large, is several times its neighbours, and changes the histogram. A
    fast scroll has steps that are as large, but all of them are, and the colours stay.
    """
    step = _steps(luma, chroma)
    palette = np.abs(np.diff(frame_histograms(luma), axis=0)).sum(axis=1) / 2
    cut = (step >= _CUT_SCORE) & (_ratios(step) >= _CUT_RATIO) & (palette >= _CUT_HISTOGRAM)
    return [int(frame) + 1 for frame in np.flatnonzero(cut)]


def cut_peak(luma: Planes, chroma: Planes) -> float:
    """Return the greatest ratio of a step of the coarse picture to its neighbours."""
    return float(_ratios(_steps(luma, chroma)).max())


def _steps(luma: Planes, chroma: Planes) -> Floats:
    """Return by how much the coarse picture changes at each of the T - 1 steps, in levels."""
    step = np.zeros(len(luma) - 1, np.float32)
    for plane in (luma, chroma[:, 0], chroma[:, 1]):
        step += np.abs(np.diff(_coarse(plane), axis=0)).mean(axis=(1, 2))
    return step


def _ratios(step: Floats) -> Floats:
    padded = np.pad(step, 2, mode="reflect") if len(step) > 2 else np.pad(step, 2)
    neighbours = (padded[:-4] + padded[1:-3] + padded[3:-1] + padded[4:]) / 4
    return np.asarray(step / (neighbours + 1), np.float32)


def _coarse(plane: Planes) -> Floats:
    """Return means over a 9x16 grid (pixels beyond whole cells are left out)."""
    height, width = plane.shape[1] // _ROWS, plane.shape[2] // _COLUMNS
    cut = plane[:, : height * _ROWS, : width * _COLUMNS]
    rows = cut.reshape(len(plane), _ROWS, height, -1).sum(axis=2, dtype=np.uint16)
    return rows.reshape(len(plane), _ROWS, _COLUMNS, width).sum(axis=3, dtype=np.float32) / (height * width)
