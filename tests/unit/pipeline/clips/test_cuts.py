"""Scene cuts: which frames begin another shot, and how their times are kept."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.clips.cuts import cut_ms, detect_cuts, longest_shot_share
from pipeline.clips.encode import encode_clip, planes_of
from pipeline.clips.features import measure
from pipeline.config.clips import ClipConfig

T, H, W = 40, 90, 160


def level(seed: int, height: int = H, width: int = W) -> np.ndarray:
    """Return a picture (height, width, 3) of tiles and of larger areas, in colours of its own."""
    rng = np.random.default_rng(seed)
    tiles = np.kron(rng.integers(0, 120, (-(-height // 10), -(-width // 10), 3)), np.ones((10, 10, 1), int))
    areas = np.kron(rng.integers(0, 120, (-(-height // 30), -(-width // 40), 3)), np.ones((30, 40, 1), int))
    return (15 + tiles[:height, :width] + areas[:height, :width]).astype(np.uint8)


def still(seed: int, frames: int = T) -> np.ndarray:
    return np.repeat(level(seed)[None], frames, axis=0)


def scroll(seed: int, speed: int, frames: int = T) -> np.ndarray:
    picture = level(seed, width=W + speed * frames)
    return np.stack([picture[:, speed * i : speed * i + W] for i in range(frames)])


def dimmed(frames: np.ndarray, gains: list[float]) -> np.ndarray:
    """Return frames at brightnesses of their own; the last gain counts for the rest."""
    share = np.array([*gains, *[gains[-1]] * (len(frames) - len(gains))])
    return (frames * share[:, None, None, None]).astype(np.uint8)


def cuts(*shots: np.ndarray, fps: int = 10) -> list[int]:
    return detect_cuts(*planes_of(np.concatenate(shots)), fps)


# -- what is a cut ----------------------------------------------------------------------------------------------------


def test_a_cut_is_the_first_frame_of_the_new_shot() -> None:
    assert cuts(still(1, 7), scroll(2, 3, 12), still(3, 21)) == [7, 19]


@pytest.mark.parametrize("place", [1, 2, 38, 39])
def test_a_cut_at_the_edge_of_a_clip_is_found(place: int) -> None:
    assert cuts(scroll(1, 2, place), scroll(2, 2, T - place)) == [place]


@pytest.mark.parametrize("speed", [3, 8, 14])
def test_a_cut_in_mid_scroll_is_found(speed: int) -> None:
    assert cuts(scroll(1, speed, 20), scroll(2, speed, 20)) == [20]


def test_a_teleport_within_one_level_is_a_cut() -> None:
    picture = level(4, width=2000)
    there = np.stack([picture[:, 3 * i : 3 * i + W] for i in range(20)])
    back = np.stack([picture[:, 1500 + 3 * i : 1500 + 3 * i + W] for i in range(20)])
    assert cuts(there, back) == [20]


def test_a_jump_between_two_places_that_share_sky_and_ground_is_a_cut() -> None:
    sky = np.linspace((60, 120, 250), (190, 220, 255), H)[:, None].repeat(1200, axis=1)
    sky[70:] = (60, 160, 60)
    rng = np.random.default_rng(3)
    for left in range(0, 1200, 30):  # platforms and clouds, elsewhere in each screen
        top = rng.integers(5, 75)
        sky[top : top + 9, left + rng.integers(0, 8) :][:, : rng.integers(10, 22)] = rng.integers(30, 250, 3)
    picture = sky.astype(np.uint8)
    shots = [np.stack([picture[:, at + 2 * i : at + 2 * i + W] for i in range(20)]) for at in (100, 800)]
    assert cuts(*shots) == [20]


def test_a_cut_between_black_bars_is_found() -> None:
    frames = np.concatenate([still(1, 20), still(2, 20)]).copy()
    frames[:, :, :60], frames[:, :, 100:] = 0, 0
    assert cuts(frames) == [20]


@pytest.mark.parametrize("black", [1, 3, 12])
@pytest.mark.parametrize("after", [1, 2], ids=["the same level", "another level"])
def test_a_fade_to_black_is_one_cut_at_the_first_frame_that_shows_something_again(black: int, after: int) -> None:
    out = dimmed(still(1, 12), [1 - i / 12 for i in range(12)])
    gone = np.zeros((black, H, W, 3), np.uint8)
    assert cuts(out, gone, still(after, 28 - black)) == [12 + black]
    slowly_back = dimmed(still(after, 28 - black), [(i + 1) / 12 for i in range(12)])
    assert cuts(out, gone, slowly_back)[0] in (12 + black, 13 + black)


def test_a_second_without_a_picture_is_a_cut_though_the_same_scene_returns() -> None:
    assert cuts(still(1, 12), np.zeros((10, H, W, 3), np.uint8), still(1, 18)) == [22]
    assert cuts(np.full((10, H, W, 3), 255, np.uint8), still(1, 30)) == [10]


def test_of_cuts_within_a_flash_s_time_the_last_one_counts() -> None:
    assert cuts(still(1, 15), still(2, 2), still(3, 23)) == [17]


# -- what is not ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("speed", [1, 5, 10, 13, 20])
def test_scrolling_is_no_cut_however_fast(speed: int) -> None:
    assert cuts(scroll(1, speed)) == []


@pytest.mark.parametrize("by", [(0, 36), (20, 0), (-18, 30)])
def test_a_camera_that_jumps_by_less_than_a_quarter_is_no_cut(by: tuple[int, int]) -> None:
    picture = level(5, 200, 300)
    before, after = picture[50 : 50 + H, 60 : 60 + W], picture[50 + by[0] :, 60 + by[1] :][:H, :W]
    assert cuts(np.stack([before] * 20 + [after] * 20)) == []


def test_a_camera_that_shakes_is_no_cut() -> None:
    picture, rng = level(6, 200, 300), np.random.default_rng(0)
    at = np.array([[50, 60]] * T)
    at[15:27] += rng.integers(-12, 13, (12, 2))
    assert cuts(np.stack([picture[y : y + H, x : x + W] for y, x in at])) == []


@pytest.mark.parametrize("speed", [0, 4])
@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (220, 20, 20)], ids=["white", "black", "red"])
@pytest.mark.parametrize("frames", [1, 2, 3])
def test_a_flash_of_up_to_three_frames_is_no_cut(frames: int, colour: tuple[int, int, int], speed: int) -> None:
    shown = scroll(7, speed).copy()
    shown[18 : 18 + frames] = colour
    assert cuts(shown) == []
    # nor where the scene glimmers through it
    shown = scroll(7, speed).copy()
    shown[18 : 18 + frames] = (0.1 * shown[18 : 18 + frames] + 0.9 * np.array(colour)).astype(np.uint8)
    assert cuts(shown) == []


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_another_picture_for_three_frames_is_a_flash_and_for_four_a_shot(frames: int) -> None:
    assert cuts(still(1, 15), still(2, frames), still(1, 25 - frames)) == []
    assert cuts(still(1, 15), still(2, 4), still(1, 21)) == [15, 19]


def test_a_flash_of_three_frames_at_10_fps_lasts_nine_at_30() -> None:
    shown = still(7).copy()
    shown[18:27] = 255
    assert cuts(shown, fps=30) == []
    assert cuts(shown, fps=10) == [27]


def test_an_explosion_is_no_cut() -> None:
    shown = scroll(8, 2).copy()
    rows, columns = np.mgrid[:H, :W]
    for index, radius in enumerate((10, 30, 50, 60, 40, 15)):
        shown[20 + index][np.hypot(rows - 40, columns - 70) < radius] = (255, 220, 120)
    assert cuts(shown) == []


def test_a_pause_menu_over_a_dimmed_picture_is_no_cut_neither_when_it_comes_nor_when_it_goes() -> None:
    shown = still(9).copy()
    shown[12:28] = shown[12:28] // 2
    shown[13:28, 25:65, 50:110] = (90, 110, 160)
    shown[14:28, 30:60:6, 60:100] = 255
    assert cuts(shown) == []


def test_a_dark_picture_that_flickers_is_no_cut() -> None:
    faint = (level(10) // 24)[None]
    assert cuts(np.concatenate([faint, faint // 2] * 20)) == []


def test_pictures_without_contrast_hold_no_cut() -> None:
    black, grey = np.zeros((20, H, W, 3), np.uint8), np.full((20, H, W, 3), 120, np.uint8)
    assert cuts(black, black) == cuts(black, grey) == cuts(grey, black) == []


# -- other formats, and how cuts are kept -----------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "height"), [(64, 64), (48, 48), (160, 120), (90, 160), (640, 360)])
def test_cuts_are_found_in_clips_of_every_size(width: int, height: int) -> None:
    shots = [np.stack([level(seed, height, width + 40)[:, 2 * i : 2 * i + width] for i in range(8)]) for seed in (1, 2)]
    assert cuts(*shots) == [8]


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
    found = measure(encoded.luma, encoded.chroma, len(encoded.mp4), config, lambda luma, chroma, fps: [5, 12])
    assert (found.cut_ms, found.num_cuts, found.longest_shot_share) == ([500, 1200], 2, 0.4)


def test_planes_are_those_that_the_encoder_is_given() -> None:
    frames = scroll(3, 2, 16)
    encoded = encode_clip(frames, ClipConfig(seconds=2, fps=8))
    for ours, given in zip(planes_of(frames), (encoded.luma, encoded.chroma), strict=True):
        assert np.array_equal(ours, given)
