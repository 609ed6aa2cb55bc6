"""Group picked frames into clips that begin with a shot: `clips.start_after_cut`.

A clip begins with the first frame of a shot, or where the clip before it ended within the same shot; none holds a cut.
What is left of a shot that is shorter than a clip, or of its end, is in no clip.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from pipeline.clips.cuts import CutDetector
from pipeline.clips.encode import planes_of
from pipeline.clips.geometry import ClipLook, Frames
from pipeline.clips.windows import ROUNDING_MS, Pick, RunEnd, Window
from pipeline.config.clips import ClipConfig


def shots(picks: Iterable[Pick | RunEnd], config: ClipConfig, detect: CutDetector) -> Iterator[Window]:
    """Yield whole clips without a cut; each begins with a shot or follows the one before.

    The detector is asked about the frames of one clip at a time, the planes that the clip's own measurements are made
    from, so that a clip's row names no cut either.
    """
    held: list[Pick] = []
    for pick in picks:
        if len(held) == config.num_frames:
            frames = np.stack([each.picture for each in held])
            cut = _last_cut(frames, config, detect)
            start_ms = held[0].ms
            # as in `windows.consecutive`: not before the last moment of the clip is known to be on screen
            on_screen = isinstance(pick, Pick) or start_ms + config.length_ms - pick.ms <= ROUNDING_MS
            if not cut and on_screen:
                look = ClipLook.of(each.look for each in held)
                sources = tuple(each.source for each in held)
                yield Window(start_ms, start_ms + config.length_ms, frames, look, sources)
            held = held[cut:] if cut else []
        if isinstance(pick, RunEnd):
            held = []
        else:
            held.append(pick)


def _last_cut(frames: Frames, config: ClipConfig, detect: CutDetector) -> int:
    """Return the last cut of a clip's frames; 0 where there is none."""
    return max(detect(*planes_of(frames), config.fps), default=0)
