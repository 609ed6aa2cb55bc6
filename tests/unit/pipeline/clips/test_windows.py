"""Which picked frames form a clip: runs are cut from their start, and no clip reaches over lost time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipeline.clips.windows import Pick, RunEnd, consecutive
from pipeline.config.clips import ClipConfig

CONFIG = ClipConfig(seconds=2, fps=10, width=48, height=48)


def run(start_ms: int, frames: int, end_ms: int) -> Iterator[Pick | RunEnd]:
    """Yield a run whose pictures show their number."""
    for index in range(frames):
        yield Pick(np.full((48, 48, 3), index, np.uint8), index, start_ms + 100 * index)
    yield RunEnd(end_ms)


def starts(*runs: Iterator[Pick | RunEnd]) -> list[int]:
    return [window.start_ms for window in consecutive((pick for part in runs for pick in part), CONFIG)]


def test_clips_follow_each_other_within_a_run_and_begin_anew_after_a_loss() -> None:
    assert starts(run(0, 45, 4500), run(7130, 41, 11230)) == [0, 2000, 7130, 9130]


def test_each_clip_has_its_own_frames_in_order() -> None:
    first, second = [window.frames for window in consecutive(run(0, 40, 4000), CONFIG)]
    assert first[:, 0, 0, 0].tolist() == list(range(20))
    assert second[:, 0, 0, 0].tolist() == list(range(20, 40))


def test_a_clip_whose_last_moment_is_not_on_screen_is_none_but_rounding_is_forgiven() -> None:
    assert starts(run(0, 20, 1950)) == []
    assert starts(run(0, 20, 1998)) == [0]
    assert starts(run(0, 20, 1997)) == []


def test_two_halves_around_a_loss_make_no_clip() -> None:
    assert starts(run(0, 10, 1000), run(1500, 19, 3400)) == []
