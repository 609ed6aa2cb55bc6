"""Find the scene cuts of a clip: the frames that begin another shot.

A cut is named by the first frame of the new shot. A cut between two clips is in neither of them, so frame 0 is never
a cut. Times of cuts are kept in ms from the clip's start; frame k lies at k / fps seconds.

`detect_cuts` is adaptive. A frame begins a new shot where it differs from the one before by several times what its
neighbours do, and shows another picture: not the same one moved (scrolling, shake), dimmed (a pause menu) or lit up.
Broad areas such as sky and ground do not make two pictures the same, details must agree too.
Where the old picture is back within 0.3 s, it was a flash. A picture without contrast (black, white) is no shot: one
that lasts longer than a flash, or that a fade leads to or from, is one cut, at the first frame that shows something
again. docs/clips.md has the rules, and how they compare with other detectors.

Shapes: T frames, H rows, W columns. luma (T, H, W), chroma (T, 2, H/2, W/2), both uint8 in video range (16..235).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np

from pipeline.clips.coarse import (
    Numbers,
    Pictures,
    coarse_pictures,
    contrasts,
    correlation,
    detail,
    likeness,
    regional_correlation,
    steps,
)
from pipeline.clips.samples import Planes

CutDetector = Callable[[Planes, Planes, int], list[int]]
"""Returns the first frame of each new shot, ascending, each in 1..T-1, from a clip's luma, chroma and frame rate."""

_MIN_STEP = 6.0
"""Levels by which a cut changes the coarse picture at least: the sum of three planes' mean differences."""
_MIN_RATIO = 2.5
"""How many times greater than its neighbours' mean (plus one level) the step of a cut is."""
_SAME = 0.7
"""Likeness from which two pictures may show the same scene (99 % of neighbouring frames reach 0.85; measured)."""
_SAME_DETAIL = 0.55
"""Likeness that their details have, too, where they do."""
_OTHER = 0.5
"""Likeness below which they show different scenes even in fast movement."""
_MOVED = 0.8
"""Likeness from which a picture is the one before, moved; also of the ninths of a picture under a window."""
_BLANK = 2.0
"""Contrast, in levels, below which a picture shows nothing; twice as much shows something."""
_FLASH_S = 0.3
"""Longest flash; also the shortest shot: of cuts that are closer, the last one counts."""
_NEIGHBOURS = 2
"""Steps on each side that a step is compared with."""


def cut_ms(frames: Sequence[int], fps: int) -> list[int]:
    """Return the times of frames in ms from the clip's start, rounded."""
    return [(2000 * frame + fps) // (2 * fps) for frame in frames]


def longest_shot_share(frames: Sequence[int], num_frames: int) -> float:
    """Return the longest stretch of frames between two cuts as a share of the clip; 1 without a cut."""
    edges = [0, *frames, num_frames]
    return max(after - before for before, after in pairwise(edges)) / num_frames


def detect_cuts(luma: Planes, chroma: Planes, fps: int) -> list[int]:
    """Return the first frame of each new shot."""
    return cuts_of(coarse_pictures(luma, chroma), fps)


def cuts_of(pictures: Pictures, fps: int) -> list[int]:
    """Return the first frame of each new shot of the coarse pictures (T, 3, h, w)."""
    contrast, scenes = contrasts(pictures), _Scenes(pictures)
    flash = max(1, round(_FLASH_S * fps))
    found = sorted({*_hard_cuts(scenes, contrast, flash), *_ends_of_blanks(scenes, contrast, flash, fps)})
    return [frame for frame, later in pairwise([*found, len(pictures) + flash]) if later - frame >= flash]


def cut_peak(pictures: Pictures) -> float:
    """Return the greatest ratio of a step of the coarse picture to its neighbours."""
    return float(_ratios(steps(pictures)).max())


def _ratios(step: Numbers) -> Numbers:
    """Return each step over the mean of its neighbours plus one level; at the ends there are fewer neighbours."""
    reach = range(-_NEIGHBOURS, _NEIGHBOURS + 1)
    padded, inside = np.pad(step, _NEIGHBOURS), np.pad(np.ones_like(step), _NEIGHBOURS)
    places = [slice(_NEIGHBOURS + by, _NEIGHBOURS + by + len(step)) for by in reach if by]
    total, count = sum(padded[place] for place in places), sum(inside[place] for place in places)
    return np.asarray(step / (total / np.maximum(count, 1) + 1))


class _Scenes:
    """Compares the frames of one clip; details are computed for those that are compared."""

    def __init__(self, pictures: Pictures) -> None:
        self.pictures = pictures
        self._details: dict[int, Pictures] = {}

    def alike(self, one: int, other: int) -> bool:
        """Tell whether two frames show the same scene: moved, dimmed, lit up, or under a window that has opened."""
        a, b = self.pictures[one], self.pictures[other]
        if regional_correlation(a, b, _BLANK) >= _MOVED:
            return True
        same = correlation(a, b) >= _SAME or likeness(a, b) >= _SAME
        return same and likeness(self._detail(one), self._detail(other)) >= _SAME_DETAIL

    def _detail(self, frame: int) -> Pictures:
        if frame not in self._details:
            self._details[frame] = detail(self.pictures[frame])
        return self._details[frame]


def _hard_cuts(scenes: _Scenes, contrast: Numbers, flash: int) -> Iterator[int]:
    """Yield the frames that suddenly show another picture than the frames before, which does not come back."""
    pictures = scenes.pictures
    step = steps(pictures)
    ratio = _ratios(step)
    shown = contrast >= _BLANK
    for index in np.flatnonzero((step >= _MIN_STEP) & (ratio >= 1) & shown[:-1] & shown[1:]):
        frame = int(index) + 1
        if ratio[index] < _MIN_RATIO and not _breaks_a_movement(pictures, frame):
            continue
        later = range(frame, min(frame + flash + 1, len(pictures)))
        earlier = range(frame - 2, max(frame - 2 - flash, -1), -1)
        pairs = [*((frame - 1, index) for index in later), *((index, frame) for index in earlier)]
        if not any(scenes.alike(a, b) for a, b in pairs if shown[a] and shown[b]):
            yield frame


def _breaks_a_movement(pictures: Pictures, frame: int) -> bool:
    """Tell whether the camera moves before and after a frame, and not from the one before to it.

    Where the picture scrolls fast, all steps are as large as that of a cut.
    """
    if correlation(pictures[frame - 1], pictures[frame]) >= _OTHER:
        return False
    around = [(a, a + 1) for a in (frame - 2, frame) if 0 <= a < len(pictures) - 1]
    return likeness(pictures[frame - 1], pictures[frame]) < _OTHER and all(
        likeness(pictures[a], pictures[b]) >= _MOVED for a, b in around
    )


def _ends_of_blanks(scenes: _Scenes, contrast: Numbers, flash: int, fps: int) -> Iterator[int]:
    """Yield the first frame after each run of blank ones, unless the run was a flash."""
    blank = np.concatenate([[False], contrast < _BLANK, [False]])
    edges = np.flatnonzero(blank[1:] != blank[:-1])
    for start, end in ((int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)):
        if end == len(contrast) or contrast[end : end + fps // 2].max() < 2 * _BLANK:
            continue
        if end - start > flash:
            yield end
        elif start > 0:
            around = contrast[max(0, start - fps) : end + fps].max()
            faded = 2 * min(contrast[start - 1], contrast[end]) < around
            if faded or not scenes.alike(start - 1, end):
                yield end
