"""What lies over a game that scrolls is found: face cameras, chat, whole layouts; what belongs to the game is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.clips.overlay import overlay_of
from pipeline.clips.texture import blockiness, text_density

T, H, W = 40, 90, 160


def level(seed: int, width: int = 800) -> Any:
    """Return a tiled level (H, width) of luma."""
    tiles = np.random.default_rng(seed).integers(30, 220, (9, width // 10), dtype=np.uint8)
    return np.kron(tiles, np.ones((10, 10), np.uint8))


def scrolling(speed: int, seed: int = 0, *, vertical: bool = False) -> Any:
    picture = level(seed)
    if vertical:
        tall = np.concatenate([np.roll(picture, 37 * n, axis=1)[:, :W] for n in range(8)])
        return np.stack([tall[speed * i : speed * i + H] for i in range(T)])
    return np.stack([picture[:, speed * i : speed * i + W] for i in range(T)])


def parallax(speed: int) -> Any:
    """Return a level whose upper half scrolls at a quarter of the speed of the lower."""
    near, far = level(1), level(2)
    return np.stack(
        [np.concatenate([far[:45, speed * i // 4 :][:, :W], near[45:, speed * i :][:, :W]]) for i in range(T)]
    )


def face(time: int, height: int, width: int, *, border: bool) -> Any:
    """Return a drawn face camera: a wall with a shelf, and a head that moves and blinks."""
    y, x = np.mgrid[:height, :width]
    picture = np.full((height, width), 90, np.uint8)
    picture[: height // 3], picture[height // 4 : height // 4 + 3, width // 8 : width // 3] = 110, 60
    centre_y, centre_x = height * 0.55 + 1.2 * np.sin(time / 3), width * 0.5 + 2 * np.sin(time / 5)
    picture[((y - centre_y) / (height * 0.3)) ** 2 + ((x - centre_x) / (width * 0.17)) ** 2 < 1] = 180
    if time % 9:
        eyes = (np.abs(y - centre_y + 1) < 1.5) & (np.abs(np.abs(x - centre_x) - width * 0.07) < 1.5)
        picture[eyes] = 30
    if border:
        picture[[0, -1]], picture[:, [0, -1]] = 230, 230
    return picture


def text(height: int, width: int, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    picture = np.full((height, width), 40, np.uint8)
    for row in range(2, height - 4, 6):
        picture[row : row + 3, 2 : width - 3][rng.random((3, width - 5)) < 0.5] = 200
    return picture


def with_camera(frames: Any, top: int, left: int, height: int = 24, width: int = 34, *, border: bool = True) -> Any:
    frames = frames.copy()
    for time, frame in enumerate(frames):
        frame[top : top + height, left : left + width] = face(time, height, width, border=border)
    return frames


@pytest.mark.parametrize("border", [True, False])
@pytest.mark.parametrize(("top", "left"), [(0, 126), (66, 0), (60, 4), (4, 4), (62, 122)])
@pytest.mark.parametrize("speed", [2, 7])
def test_a_face_camera_is_found_where_it_is(border: bool, top: int, left: int, speed: int) -> None:
    found = overlay_of(with_camera(scrolling(speed), top, left, border=border))
    assert found.panel_share == pytest.approx(24 * 34 / (H * W), abs=0.02)
    assert found.share >= found.panel_share


def test_a_streamer_layout_is_found_whole() -> None:
    game, chat = scrolling(3)[:, :68, :120], text(600, 40, 3)
    frames = np.full((T, H, W), 30, np.uint8)
    frames[:, :68, :120], frames[:, 68:, :120] = game, text(22, 120, 5)
    for time, frame in enumerate(frames):
        frame[:60, 120:] = chat[time // 4 * 6 :][:60]
        frame[60:, 120:] = face(time, 30, 40, border=True)
    found = overlay_of(frames)
    assert found.share == pytest.approx(1 - 68 * 120 / (H * W), abs=0.08)
    assert found.panel_share > 0.2


@pytest.mark.parametrize(
    "frames",
    [scrolling(2), scrolling(5, 1), scrolling(3, vertical=True), parallax(4), np.repeat(level(4)[None, :, :W], T, 0)],
    ids=["slow", "fast", "vertical", "parallax", "still"],
)
def test_a_game_alone_has_no_overlay(frames: Any) -> None:
    assert overlay_of(frames).panel_share == 0
    assert overlay_of(frames).share < 0.03


def test_a_horizon_that_scrolls_is_no_overlay() -> None:
    frames = scrolling(4)
    frames[:, 40:60], frames[:, 60:63] = 200, 40
    assert overlay_of(frames) == (0.0, 0.0)


def test_a_picture_too_small_or_too_short_tells_nothing() -> None:
    assert overlay_of(scrolling(2)[:, :30]) == (0.0, 0.0)
    assert overlay_of(scrolling(2)[:6]) == (0.0, 0.0)


def test_text_that_stays_is_dense_and_a_level_is_not() -> None:
    page = text(H, W, 1)
    assert text_density(np.repeat(page[None], T, 0)) > 0.5
    assert text_density(scrolling(7)) < 0.05
    assert text_density(np.repeat(level(1)[None, :, :W], T, 0)) < 0.05


@pytest.mark.parametrize("side", [4, 8])
def test_a_grid_of_blocks_is_seen_over_noise(side: int) -> None:
    rng = np.random.default_rng(0)
    smooth = np.full((8, 88, 160), 120) + rng.integers(0, 3, (8, 88, 160))
    blocks = np.kron(rng.integers(0, 12, (8, 88 // side, 160 // side)), np.ones((1, side, side), int))
    assert blockiness(smooth.astype(np.uint8)) < 0.15
    assert blockiness((smooth + blocks).astype(np.uint8)) > 0.5
