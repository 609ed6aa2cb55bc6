"""The frame that stands for a whole video: the one at a third of its length."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.clips.thumbnail import frame_at_a_third
from pipeline.errors import PermanentError
from tests.media import run_ffmpeg, write_video

# 6 s of 10 frames a second: each is a little brighter than the one before
FRAMES = np.repeat(np.arange(20, 200, 3, dtype=np.uint8), 64 * 64 * 3).reshape(60, 64, 64, 3)


@pytest.mark.parametrize(("start", "seconds"), [(0, None), (0, 6.0), (333_000, 6.0)])
def test_it_is_the_one_at_a_third_wherever_timestamps_begin(
    tmp_path: Path, make_video: Callable[..., Path], start: int, seconds: float | None
) -> None:
    path = make_video(tmp_path / "v.mkv", FRAMES, fps=10, pts=[start + 9000 * index for index in range(60)])
    frame = frame_at_a_third(path, seconds)
    assert frame is not None
    assert np.asarray(frame).mean() == pytest.approx(int(FRAMES[20, 0, 0, 0]), abs=1)


def test_a_length_beyond_the_end_gives_the_last_frame(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    path = make_video(tmp_path / "v.mp4", FRAMES, fps=10)
    frame = frame_at_a_third(path, 600.0)
    assert frame is not None
    assert np.asarray(frame).mean() == pytest.approx(int(FRAMES[-1, 0, 0, 0]), abs=4)


def test_what_is_no_video_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "page.mp4").write_bytes(b"<html></html>")
    with pytest.raises(PermanentError, match="cannot read it") as caught:
        frame_at_a_third(tmp_path / "page.mp4")
    assert caught.value.error_class == "invalid_media"


def test_a_turned_video_is_shown_upright(tmp_path: Path) -> None:
    frame = np.zeros((96, 160, 3), np.uint8)
    frame[:, :40] = 255
    upright = write_video(tmp_path / "v.mp4", [frame] * 30, fps=10)
    turned = tmp_path / "turned.mp4"
    run_ffmpeg("-display_rotation", "90", "-i", upright, "-c", "copy", turned)
    image = frame_at_a_third(turned)
    assert image is not None
    shown = np.asarray(image.convert("L"))
    assert shown.shape == (160, 96)
    # counterclockwise, as players turn it: the left side is below
    assert shown[130:].mean() > 200
    assert shown[:100].mean() < 30
