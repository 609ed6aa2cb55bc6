"""What is measured of play: the move of the camera, and what moves by itself, on drawn luma."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.clips.play import PLAY_NAMES, play_of
from pipeline.clips.texture import standing_texture

T, H, W, FPS = 60, 90, 160, 10


def level(seed: int = 0, width: int = 1200) -> np.ndarray:
    """Return a textured level (H, width) under a flat sky."""
    rng = np.random.default_rng(seed)
    picture = np.kron(rng.integers(40, 200, (9, width // 10), dtype=np.uint8), np.ones((10, 10), np.uint8))
    picture[:40] = 180
    return picture


def seen_from(places: np.ndarray) -> np.ndarray:
    """Return the level from each place of the camera: (T, H, W)."""
    return np.stack([level()[:, place : place + W] for place in places.tolist()])


def play(luma: np.ndarray) -> dict[str, float]:
    return dict(zip(PLAY_NAMES, play_of(luma, FPS), strict=True))


STANDING = seen_from(np.full(T, 200))
STEPS = T - 1


@pytest.mark.parametrize("speed", [-9, -1, 1, 2, 13])
def test_a_screen_that_scrolls_by_itself_has_one_speed_and_no_turns(speed: int) -> None:
    found = play(seen_from((0 if speed > 0 else 700) + speed * np.arange(T)))
    assert found["camera_share"] == found["camera_sideways"] == 1
    assert (found["camera_speeds"], found["camera_variety"], found["camera_turns_across"]) == (1, 0, 0)
    assert found["own_motion"] == found["movers"] == found["track_share"] == 0, "all of it is the camera's move"


def test_a_camera_that_someone_moves_has_many_speeds_stops_and_turns() -> None:
    pace = np.repeat([2, 5, 0, -4, -7, 0, 3, 6, 1, -2], 6)
    found = play(seen_from(300 + np.cumsum(pace)))
    assert found["camera_share"] == pytest.approx(np.mean(pace[1:] != 0))
    assert found["camera_turns_across"] == pytest.approx(3 / STEPS)
    assert found["camera_speeds"] == 7
    assert found["camera_variety"] > 0.8


def test_a_camera_that_climbs_and_falls_turns_up_and_down() -> None:
    tall = np.vstack([level(seed, 200)[:, :W] for seed in range(6)])
    places = 100 + np.cumsum(np.repeat([4, -3, 5, -2], 15))
    found = play(np.stack([tall[place : place + H] for place in places.tolist()]))
    assert found["camera_share"] == 1
    assert found["camera_sideways"] == found["camera_turns_across"] == 0
    assert found["camera_turns_down"] == pytest.approx(3 / STEPS)


def test_a_score_bar_that_stands_does_not_hide_that_the_level_moves() -> None:
    luma = seen_from(3 * np.arange(T))
    luma[:, :20] = np.kron(np.random.default_rng(1).integers(20, 235, (4, 32)), np.ones((5, 5)))
    assert play(luma)["camera_share"] == 1


def test_a_figure_that_walks_and_turns_back_is_one_compact_thing_on_a_track() -> None:
    luma, place = STANDING.copy(), 20 + np.cumsum(np.repeat([2, -2, 2, -2, 2], 12))
    for frame, left in zip(luma, place.tolist(), strict=True):
        frame[60:72, left : left + 8] = 16
    found = play(luma)
    assert found["camera_share"] == 0
    assert found["compact_share"] == 1
    assert found["track_share"] > 0.9
    assert 4 / STEPS <= found["track_turns"] < 0.3


def test_a_figure_that_keeps_its_place_while_the_level_scrolls_moves_by_itself() -> None:
    luma = seen_from(4 * np.arange(T))
    luma[:, 50:66, 74:86] = np.random.default_rng(2).integers(16, 60, (T, 16, 12))
    found = play(luma)
    assert found["camera_share"] == 1
    assert found["home_share"] > 0.9, "its own place changes in nearly every step"
    assert found["centre_share"] > 0.9
    assert found["own_motion"] < 0.1


def test_three_things_that_move_apart_are_three_movers_and_no_compact_one() -> None:
    luma = STANDING.copy()
    for step, frame in enumerate(luma):
        for top, left in ((10, 5), (45, 100), (70, 30)):
            frame[top : top + 10, left : left + 10] = 235 if step % 2 else 16
    found = play(luma)
    assert found["movers"] == 3
    assert found["compact_share"] == 0


def test_a_cursor_that_blinks_once_a_second_is_on_no_track() -> None:
    luma = STANDING.copy()
    luma[::10, 40:46, 80:86] = 235
    found = play(luma)
    assert found["track_share"] < 0.25
    assert found["home_share"] < 0.25


def test_rain_of_letters_moves_everywhere_and_on_no_track() -> None:
    rng = np.random.default_rng(3)
    luma = np.where(np.kron(rng.random((T, 18, 32)) < 0.3, np.ones((1, 5, 5))), 200, 16).astype(np.uint8)
    found = play(luma)
    assert found["camera_share"] < 0.1
    assert found["own_motion"] > 0.3
    assert found["track_share"] < 0.5
    assert found["compact_share"] == 0


def test_a_window_that_opens_moves_once_and_then_stands() -> None:
    luma = STANDING.copy()
    luma[20:, 20:70, 30:130] = 120
    found = play(luma)
    assert found["camera_share"] == found["track_share"] == 0
    assert 0 < found["home_share"] <= 1 / STEPS


def test_the_seconds_of_play_are_counted_and_the_longest_rest_of_the_camera() -> None:
    pace = np.repeat([3, 0, 0, 3, 3, 3], 10)
    luma = seen_from(200 + np.cumsum(pace))
    found = play(luma)
    assert found["play_seconds"] == pytest.approx(4 / 6)
    assert found["play_least"] == 0
    assert found["camera_rest"] == pytest.approx(20 / STEPS)
    for step in range(9, 31):  # meanwhile a figure walks: it is played although the camera rests
        luma[step, 60:72, 2 * step : 2 * step + 8] = 16
    found = play(luma)
    assert found["play_seconds"] == 1
    assert found["play_least"] > 0.8
    assert found["camera_rest"] == pytest.approx(20 / STEPS)


def test_the_panels_of_an_editor_stand_around_the_game_in_its_preview() -> None:
    def found_in(luma: np.ndarray) -> float:
        changes = np.abs(np.diff(luma.astype(np.int16), axis=0)) > 6
        return standing_texture(luma[::8], changes.mean(axis=0))

    # edges of tiles lie inside of blocks
    desktop, game = seen_from(np.full(T, 203)), seen_from(3 * np.arange(T))
    editor = desktop.copy()
    editor[:, 40:90, 50:130] = game[:, 40:90, 50:130]
    assert found_in(desktop) == 1
    assert 0.4 < found_in(editor) < 0.9
    assert found_in(game) < 0.1
    assert found_in(np.full((T, H, W), 90, np.uint8)) == 0, "nothing has texture"


def test_noise_of_a_codec_and_half_a_pixel_of_movement_are_no_motion() -> None:
    noise = np.random.default_rng(4).integers(-3, 4, STANDING.shape)
    assert play((STANDING + noise).astype(np.uint8))["own_motion"] == 0
    half = STANDING.astype(np.uint16)
    half[1::2, :, 1:] = (half[1::2, :, 1:] + half[1::2, :, :-1]) // 2
    assert play(half.astype(np.uint8))["own_motion"] == 0


@pytest.mark.parametrize("side", [2, 4])
def test_clips_of_other_sizes_have_the_same_numbers(side: int) -> None:
    luma = seen_from(300 + np.cumsum(np.repeat([2, 5, 0, -4, -7, 3], 10)))
    large = luma.repeat(side, axis=1).repeat(side, axis=2)
    assert play_of(large, FPS) == play_of(luma, FPS)


def test_pictures_that_are_too_small_to_tell_have_zeros() -> None:
    assert set(play_of(STANDING[:, :20, :20], FPS)) == {0.0}
    assert set(play_of(STANDING[:2], FPS)) == {0.0}
    assert np.isfinite(play_of(STANDING[:3, :30, :30], FPS)).all()
