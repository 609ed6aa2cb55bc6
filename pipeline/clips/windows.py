"""Choose which picked frames form which clip.

A run is a part of the time line in which nothing is lost. `pipeline.clips.decode` picks the frames of each run (frame k
is the picture on screen k/fps seconds after the run began), and a rule of this module groups them. A rule is a function
of the picks of a whole video that yields `Window`s; no window reaches over a `RunEnd`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from pipeline.clips.geometry import ClipLook, Frames
from pipeline.config.clips import ClipConfig

ROUNDING_MS = 2
"""What timestamps in whole milliseconds (Matroska) may lose of a run's length."""


@dataclass(frozen=True, slots=True)
class Pick:
    """One picked frame."""

    picture: Frames
    """Its pixels (height, width, 3); not to be changed: the next pick may be the same picture."""
    index: int
    """Its number within its run."""
    ms: int
    """When it is shown, from the start of the time line."""
    look: ClipLook = field(default_factory=ClipLook)
    """What was done to the picture."""
    source: int = 0
    """Number of the source frame that it shows."""


@dataclass(frozen=True, slots=True)
class RunEnd:
    """The end of a run: time was lost after it, or the video ends."""

    ms: int
    """When the last picture of the run leaves the screen, from the start of the time line."""


@dataclass(frozen=True, slots=True)
class Window:
    """The frames of one clip."""

    start_ms: int
    end_ms: int
    frames: Frames
    """(num_frames, height, width, 3); the array is the caller's."""
    look: ClipLook
    """What was done to its pictures."""
    sources: tuple[int, ...] = ()
    """The number of the source frame that each of them shows."""


def consecutive(picks: Iterable[Pick | RunEnd], config: ClipConfig) -> Iterator[Window]:
    """Yield whole clips that follow each other from the start of each run; what is left of a run is no clip."""
    size, length_ms = config.num_frames, config.length_ms
    filled = start_ms = 0
    frames = np.empty((0,), np.uint8)
    looks: dict[ClipLook, None] = {}
    sources: list[int] = []
    for pick in picks:
        if isinstance(pick, RunEnd):
            # not before the last moment of the clip is known to be on screen
            if filled == size and start_ms + length_ms - pick.ms <= ROUNDING_MS:
                yield Window(start_ms, start_ms + length_ms, frames, ClipLook.of(looks), tuple(sources))
            filled = 0
            continue
        if filled == size:
            yield Window(start_ms, start_ms + length_ms, frames, ClipLook.of(looks), tuple(sources))
            filled = 0
        if not filled:
            frames = np.empty((size, *pick.picture.shape), np.uint8)
            start_ms, looks, sources = pick.ms, {}, []
        frames[filled] = pick.picture
        sources.append(pick.source)
        looks[pick.look] = None
        filled += 1
