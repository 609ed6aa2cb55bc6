"""Clips of the embedded platformer as it was drawn: no video file, no shards, and the truth at hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from models.evaluation.held_out import HeldOutClip
from models.training.data import Clip, ClipWindows
from pipeline.arcade.platformer import advance, first_state, make_level, platformer_actions
from pipeline.arcade.truth import TrueStates
from pipeline.config.training import TrainingConfig


def drawn_clip(seed: int, num_frames: int) -> HeldOutClip:
    """Return the first frames of the game of a seed at 10 FPS, with its true actions and states."""
    actions = platformer_actions(seed, num_frames - 1)
    level = make_level(seed)
    states = [first_state(level)]
    for action in actions:
        states.append(advance(level, states[-1], int(action)))
    truth = TrueStates(level, tuple(states), mirrored=False)
    frames_THWC = np.stack([truth.shown(index) for index in range(num_frames)])
    name = f"level-{seed}"
    return HeldOutClip(name, name, 0, frames_THWC, actions.astype(np.int64), truth)


def drawn_clips(seeds: Iterable[int], num_frames: int) -> list[HeldOutClip]:
    """Return a clip of each seed."""
    return [drawn_clip(seed, num_frames) for seed in seeds]


def windows_of(clips: Sequence[HeldOutClip], training: TrainingConfig) -> ClipWindows:
    """Return the windows of clips, which are in memory already; `training` says how they are mixed."""
    listed = [
        Clip(clip.clip_id, lambda clip=clip: clip.frames_THWC, num_frames=len(clip.frames_THWC))  # type: ignore[misc]
        for clip in clips
    ]
    return ClipWindows(listed, cache_clips=len(listed), training=training)
