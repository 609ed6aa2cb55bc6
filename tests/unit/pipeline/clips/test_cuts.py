"""Scene cuts: which frames begin another shot, and how their times are kept."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.clips.cuts import cut_ms, longest_shot_share
from pipeline.clips.encode import encode_clip
from pipeline.clips.features import measure
from pipeline.config.clips import ClipConfig


def test_times_of_cuts_are_rounded_to_ms_and_lead_back_to_their_frames() -> None:
    assert cut_ms([1, 16, 159], 10) == [100, 1600, 15900]
    for fps in (3, 7, 24, 30, 60):
        frames = list(range(1, 20 * fps))
        assert [round(ms * fps / 1000) for ms in cut_ms(frames, fps)] == frames


@pytest.mark.parametrize(("cuts", "share"), [([], 1.0), ([10], 0.75), ([10, 20], 0.5), ([20], 0.5), ([39], 0.975)])
def test_the_longest_shot_is_a_share_of_the_clip(cuts: list[int], share: float) -> None:
    assert longest_shot_share(cuts, 40) == share


def test_a_detector_of_the_caller_decides_the_cuts_of_a_clip() -> None:
    frames = np.full((20, 90, 160, 3), 90, np.uint8)
    config = ClipConfig(seconds=2, fps=10)
    encoded = encode_clip(frames, config)
    found = measure(encoded.luma, encoded.chroma, len(encoded.mp4), config, lambda luma, chroma: [5, 12])
    assert (found.cut_ms, found.num_cuts, found.longest_shot_share) == ([500, 1200], 2, 0.4)
