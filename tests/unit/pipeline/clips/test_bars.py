"""Baked-in bars are cropped before the aspect rule; dark scenes, subtitles and bars of a part of the video are not."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from pipeline.clips.bars import find_bars
from pipeline.clips.decode import open_video
from pipeline.clips.geometry import Area
from pipeline.config import ClipConfig
from tests.media import write_video

RECORDINGS = os.environ.get("LAMPWORKS_RECORDINGS")
CROPPED = ClipConfig(seconds=2, crop_bars=True)
FPS = 10
KEYS = {"every second": "10", "one": "1000"}


def play(count: int, height: int, width: int) -> np.ndarray:
    """Return frames (T, H, W, 3) of a textured level that scrolls."""
    level = (
        np.random.default_rng(1).integers(60, 255, (height // 8 + 1, 80, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    )
    return np.stack([level[:height, 2 * i : 2 * i + width] for i in range(count)])


def boxed(picture: np.ndarray, top: int, bottom: int, left: int, right: int) -> np.ndarray:
    """Return frames between black bars."""
    return np.pad(picture, ((0, 0), (top, bottom), (left, right), (0, 0)))


def written(path: Path, frames: np.ndarray, gop: str = "10") -> Path:
    return write_video(path, frames, fps=FPS, options={"preset": "ultrafast", "crf": "24", "g": gop})


@pytest.mark.parametrize("keys", KEYS)
@pytest.mark.parametrize(
    ("bars", "aspect"),
    [
        ((24, 24, 0, 0), 320 / 132),  # wide-screen in 16:9
        ((0, 0, 40, 40), 240 / 180),  # 4:3 in 16:9
        ((20, 20, 48, 48), 224 / 140),  # both
    ],
)
def test_bars_are_found_and_nothing_of_them_is_left(
    tmp_path: Path, bars: tuple[int, int, int, int], aspect: float, keys: str
) -> None:
    top, bottom, left, right = bars
    inner = play(100, 180 - top - bottom, 320 - left - right)
    path = written(tmp_path / "v.mp4", boxed(inner, *bars), KEYS[keys])
    [area] = find_bars(path).values()
    assert np.abs(np.array([area.left, area.top]) - (left, top)).max() <= 1
    assert np.abs(np.array([area.width, area.height]) - inner.shape[2:0:-1]).max() <= 2
    assert find_bars(path) == {(320, 180): area}
    video = open_video(path, CROPPED)
    windows = list(video.windows())
    assert len(windows) == 5
    assert video.display_aspect == pytest.approx(aspect, rel=0.02)
    shown = windows[0].frames.max(axis=(0, 3)) > 50
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    wide = min(160, round(90 * area.width / area.height))
    assert abs(len(columns) - wide) <= 1
    assert abs(len(rows) - min(90, round(160 * area.height / area.width))) <= 1
    for window in windows:
        assert "bars-cropped" in window.look.changes
    # without the option, the bars stay
    [first, *_] = open_video(path, ClipConfig(seconds=2)).windows()
    assert "bars-cropped" not in first.look.changes


def dark_space() -> np.ndarray:
    """Return a black sky in which small figures cross the middle."""
    frames = np.zeros((100, 180, 320, 3), np.uint8)
    for i, frame in enumerate(frames):
        frame[80:100, 3 * i : 3 * i + 16] = 220
        frame[60 + i % 50, 160:164] = 255
    return frames


def cave() -> np.ndarray:
    """Return a level that is lit around the player alone, and dark towards the edges."""
    light = np.exp(-(((np.arange(180) - 90) / 30.0)[:, None] ** 2) - ((np.arange(320) - 160) / 50.0)[None] ** 2)
    return (play(100, 180, 320) * light[None, :, :, None]).astype(np.uint8)


def subtitled() -> np.ndarray:
    frames = boxed(play(100, 132, 320), 24, 24, 0, 0)
    frames[30:60, 160:170, 120:200] = 200
    return frames


def boxed_at_first() -> np.ndarray:
    frames = play(100, 180, 320).copy()
    frames[:50, :24] = frames[:50, -24:] = 0
    return frames


def one_sided() -> np.ndarray:
    return boxed(play(100, 140, 320), 0, 40, 0, 0)


def black() -> np.ndarray:
    return np.zeros((100, 180, 320, 3), np.uint8)


def night() -> np.ndarray:
    """Return a scene whose upper and lower parts are dark and textured."""
    frames = play(100, 180, 320).copy()
    frames[:, :40] = frames[:, :40] // 12
    frames[:, -40:] = frames[:, -40:] // 12
    return frames


def decorated() -> np.ndarray:
    """Return a scene between two dark bands of vertical stripes that never change."""
    frames = boxed(play(100, 100, 320), 40, 40, 0, 0)
    frames[:, :40, ::16] = frames[:, -40:, ::16] = 25
    frames[:, :, 8::16][:, :40] = frames[:, :, 8::16][:, -40:] = 25
    return frames


def pulsing() -> np.ndarray:
    """Return a scene between two dark bands that brighten and darken."""
    frames = boxed(play(100, 100, 320), 40, 40, 0, 0)
    level = (12 + 12 * np.sin(np.arange(100) / 6)).astype(np.uint8)[:, None, None, None]
    frames[:, :40] = frames[:, -40:] = level
    return frames


SCENES = [dark_space, cave, subtitled, boxed_at_first, one_sided, black, night, decorated, pulsing]


@pytest.mark.parametrize("scene", SCENES)
def test_dark_scenes_and_what_shows_something_are_not_cropped(tmp_path: Path, scene) -> None:
    frames = scene()
    for keys in KEYS.values():
        path = written(tmp_path / f"{keys}.mp4", frames, keys)
        assert find_bars(path) == {}
    [window, *_] = open_video(path, CROPPED).windows()
    assert "bars-cropped" not in window.look.changes


@pytest.mark.skipif(not RECORDINGS, reason="LAMPWORKS_RECORDINGS names no folder of real recordings")
@pytest.mark.slow
def test_of_real_recordings_the_two_with_bars_are_cropped() -> None:
    assert RECORDINGS is not None
    found = {}
    for path in sorted((Path(RECORDINGS) / "videos").iterdir()):
        if path.stem not in ("v053", "v055"):  # no videos
            found[path.stem] = find_bars(path)
    # two square games in 16:9; space shooters, mazes and caves are dark to the edge and stay whole
    square = {(640, 360): Area(140, 0, 360, 360)}
    assert {name: areas for name, areas in found.items() if areas} == {"v015": square, "v037": square}
