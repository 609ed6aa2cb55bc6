"""Windows of held-out clips: what rollouts and reconstructions are measured on.

Shapes: N windows, T frames, H W C pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.evaluation.held_out import HeldOutClip
from pipeline.config import EvaluationConfig
from pipeline.errors import UserError


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of the held-out clips, and where each one comes from."""

    video_NTHWC: np.ndarray
    clips: list[int]
    """Index of each window's clip."""
    starts: list[int]
    """First frame of each window in its clip."""
    sources: list[str]
    """Video id of each window."""


def cut_windows(clips: Sequence[HeldOutClip], config: EvaluationConfig) -> Windows:
    """Return `windows_per_clip` windows of each clip, spread evenly; each holds a prompt and the frames after it.

    Raises:
        UserError: a clip is shorter than a window.
    """
    length = config.prompt_frames + config.horizon
    places = [
        (index, start)
        for index, clip in enumerate(clips)
        for start in _window_starts(clip, length, config.windows_per_clip)
    ]
    video = np.stack([clips[index].frames_THWC[start : start + length] for index, start in places])
    indices, starts = [index for index, _ in places], [start for _, start in places]
    return Windows(video, indices, starts, [clips[index].video_id for index in indices])


def _window_starts(clip: HeldOutClip, length: int, count: int) -> list[int]:
    last = len(clip.frames_THWC) - length
    if last < 0:
        raise UserError(
            f"clip {clip.clip_id} has {len(clip.frames_THWC)} frames, but a window needs {length}: lower "
            "evaluation.prompt_frames or evaluation.horizon"
        )
    return [int(start) for start in np.linspace(0, last, count)]
