"""Frames as the network sees them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from classifier.training.examples import clip_frames
from pipeline.config import ClassifierConfig


def test_frames_are_chosen_evenly_and_averaged_down():
    config = ClassifierConfig(input_height=45, frames_per_clip=4)
    frames = np.zeros((8, 90, 160, 3), np.uint8)
    frames[:] = (np.arange(8) * 10)[:, None, None, None]
    frames[:, ::2] += 4
    small = clip_frames(frames, config)
    assert small.shape == (4, 3, 45, 80)
    assert [int(picture.unique()) for picture in small] == [12, 32, 52, 72]
    assert clip_frames(frames, replace(config, input_height=90, frames_per_clip=8)).shape == (8, 3, 90, 160)
