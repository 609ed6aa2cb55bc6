"""Where the windows of a clip begin."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise


def window_starts(
    num_frames: int, window: int, stride: int, *, cut_ms: Sequence[int] = (), fps: float = 0.0
) -> list[int]:
    """Return the first frames of the windows of a clip, in order.

    Args:
        num_frames: frames of the clip.
        window: frames of a window.
        stride: frames between two starts.
        cut_ms: milliseconds from the start of the clip to the first frame of each new shot; windows begin anew there
            and none spans one.
        fps: frames per second of the clip; needed where there are cuts.
    """
    cuts = sorted({frame for ms in cut_ms if 0 < (frame := round(ms * fps / 1000)) < num_frames})
    edges = [0, *cuts, num_frames]
    return [start for first, end in pairwise(edges) for start in range(first, end - window + 1, stride)]
