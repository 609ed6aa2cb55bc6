"""What is measured of a clip: each measurement sees what it is named for and nothing else."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.clips.encode import encode_clip, encode_frames
from pipeline.clips.features import FEATURE_NAMES, Measurements, measure
from pipeline.clips.flags import flag_masks, flags_of
from pipeline.clips.hashes import hash_frames
from pipeline.clips.stored import decode_clip, decode_frames
from pipeline.config.clips import ClipConfig

CONFIG = ClipConfig(seconds=4, fps=10)
T, H, W = 40, 90, 160


def level(seed: int, width: int = 800, sky: bool = False) -> np.ndarray:
    """Return a textured level (H, width, 3), under a flat sky if asked."""
    rng = np.random.default_rng(seed)
    tiles = rng.integers(40, 230, (9, width // 10, 3), dtype=np.uint8)
    picture = np.kron(tiles, np.ones((10, 10, 1), np.uint8))
    if sky:
        picture[:50] = (90, 150, 230)
    return picture


def scrolling(speed: int, seed: int = 0, sky: bool = False) -> np.ndarray:
    picture = level(seed, sky=sky)
    return np.stack([picture[:, speed * i : speed * i + W] for i in range(T)])


def measured(frames: np.ndarray, config: ClipConfig = CONFIG) -> Measurements:
    encoded = encode_clip(frames, config)
    return measure(encoded.luma, encoded.chroma, len(encoded.mp4), config)


def feature(measurements: Measurements, name: str) -> float:
    return measurements.features[FEATURE_NAMES.index(name)]


def test_a_scrolling_level_carries_no_flag() -> None:
    for speed in (1, 3, 8):
        assert flags_of(measured(scrolling(speed)), CONFIG) == []


@pytest.mark.parametrize("speed", [2, 4, 10])
def test_the_scroll_is_seen_with_its_speed(speed: int) -> None:
    found = measured(scrolling(speed, sky=True))
    assert feature(found, "scroll_share") > 0.9
    assert feature(found, "scroll_speed") == pytest.approx(speed, abs=1.1)


def test_a_level_that_scrolls_up_is_not_taken_for_one_that_scrolls_sideways() -> None:
    picture = level(0).transpose(1, 0, 2)
    picture = np.concatenate([picture, picture], axis=1)[:, :W]
    found = measured(np.stack([picture[3 * i : 3 * i + H] for i in range(T)]))
    assert feature(found, "scroll_share") < 0.1
    assert feature(found, "vertical_share") > 0.9


def test_a_black_clip_is_black_and_still() -> None:
    found = measured(np.zeros((T, H, W, 3), np.uint8))
    assert (found.black_share, found.still_share, found.motion) == (1.0, 1.0, 0.0)
    assert {"black", "still"} <= set(flags_of(found, CONFIG))


def test_a_black_intro_is_counted_by_its_share() -> None:
    frames = scrolling(3).copy()
    frames[:10] = 0
    assert measured(frames).black_share == pytest.approx(0.25)


def test_a_dark_level_is_not_black() -> None:
    assert measured((scrolling(3) * 0.35).astype(np.uint8)).black_share == 0


def test_a_starry_sky_is_not_black() -> None:
    rng = np.random.default_rng(0)
    sky = np.zeros((H, 400, 3), np.uint8)
    sky[rng.integers(0, H, 500), rng.integers(0, 400, 500)] = 255
    frames = np.stack([sky[:, 2 * i : 2 * i + W] for i in range(T)])
    frames[:, 40:50, 70:85] = (200, 220, 90)
    assert measured(frames).black_share == 0


def test_a_paused_game_is_still_though_a_cursor_blinks() -> None:
    frames = np.repeat(level(0)[None, :, :W], T, axis=0).copy()
    frames[::8, 40:44, 80:84] = 255
    found = measured(frames)
    assert found.still_share > 0.7
    assert found.num_cuts == 0


def test_a_small_figure_that_walks_is_not_still() -> None:
    frames = np.repeat(level(0)[None, :, :W], T, axis=0).copy()
    for i in range(T):
        frames[i, 60:70, 3 * i : 3 * i + 10] = (255, 255, 255)
    assert measured(frames).still_share == 0


@pytest.mark.parametrize(("top", "left", "share"), [(0, 20, 0.25), (10, 0, 2 / 9), (0, 54, 0.675)])
def test_dark_bars_are_measured(top: int, left: int, share: float) -> None:
    frames = scrolling(3).copy()
    frames[:, :top], frames[:, H - top :] = 0, 0
    frames[:, :, :left], frames[:, :, W - left :] = 0, 0
    assert measured(frames).letterbox_share == pytest.approx(share, abs=0.03)


def test_dark_bars_on_all_sides_do_not_hide_that_the_camera_moves() -> None:
    frames = scrolling(3, sky=True).copy()
    frames[:, :11], frames[:, 79:], frames[:, :, :20], frames[:, :, 140:] = 0, 0, 0, 0
    found = measured(frames)
    assert feature(found, "camera_share") == 1
    assert feature(found, "camera_rest") == feature(found, "own_motion") == 0


def test_a_flat_sky_is_no_border_and_no_overlay() -> None:
    found = measured(scrolling(3, sky=True))
    assert found.letterbox_share == 0
    assert found.overlay_share < 0.05


def test_cuts_are_counted() -> None:
    frames = np.concatenate([scrolling(2, seed=seed)[:10] for seed in range(4)])
    # brightness differs from scene to scene, as it does in a montage
    frames = (frames * np.repeat([1.0, 0.45, 0.9, 0.55], 10)[:, None, None, None]).astype(np.uint8)
    assert measured(frames).num_cuts == 3


@pytest.mark.parametrize("speed", [5, 10, 13])
def test_fast_scrolling_is_no_cut(speed: int) -> None:
    assert measured(scrolling(speed, seed=3, sky=True)).num_cuts == 0


def test_a_streamer_layout_is_overlay() -> None:
    frames = np.repeat(level(5)[None, :, :W], T, axis=0).copy()
    frames[:, 5:61, 55:155] = scrolling(3)[:, :56, :100]
    found = measured(frames)
    assert found.overlay_share > 0.35
    assert "overlay" in flags_of(found, CONFIG)


def test_a_game_that_does_not_scroll_is_no_overlay() -> None:
    frames = np.repeat(level(0)[None, :, :W], T, axis=0).copy()
    for i in range(T):
        frames[i, 60:70, 3 * i : 3 * i + 10] = (255, 255, 255)
    assert measured(frames).overlay_share == 0


def test_flags_of_a_row_and_of_a_table_agree() -> None:
    hdr, mapped = {"transfer": "smpte2084", "changes": []}, {"transfer": "arib-std-b67", "changes": ["tone-mapped"]}
    clips = [vars(measured(scrolling(3))) | hdr, vars(measured(np.zeros((T, H, W, 3), np.uint8))) | mapped]
    clips.append(clips[0] | {"transfer": None, "changes": None})  # as older versions wrote them
    table = pa.Table.from_pylist(clips)
    masks = flag_masks(table, CONFIG)
    for index, clip in enumerate(clips):
        assert [flag for flag, mask in masks.items() if mask[index]] == flags_of(clip, CONFIG)
    assert masks["hdr"].tolist() == [True, False, False]


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 5, 255]), st.integers(0, 255))
def test_every_number_is_finite(seed: int, spread: int, base: int) -> None:
    rng = np.random.default_rng(seed)
    frames = np.clip(base + rng.integers(-spread, spread + 1, (16, 48, 64, 3)), 0, 255).astype(np.uint8)
    found = measured(frames, ClipConfig(seconds=16, fps=1, width=64, height=48))
    assert len(found.features) == len(FEATURE_NAMES)
    assert np.isfinite(found.features).all()
    assert all(0 <= share <= 1 for share in (found.black_share, found.still_share, found.motion, found.overlay_share))


# -- hashes and bytes -------------------------------------------------------------------------------------------------


def distance(a: bytes, b: bytes) -> float:
    return float(np.unpackbits(np.frombuffer(a, np.uint8) ^ np.frombuffer(b, np.uint8)).sum() / 8)


def test_a_second_encode_hashes_alike_and_another_level_does_not() -> None:
    clip = measured(scrolling(3)).hashes[:64]
    rough = decode_clip(encode_clip(scrolling(3), ClipConfig(crf=32)).mp4)
    assert distance(clip, measured(rough).hashes[:64]) <= 3
    assert distance(clip, measured(scrolling(3, seed=9)).hashes[:64]) > 12


def test_the_second_half_is_the_hash_of_the_mirrored_clip() -> None:
    frames = scrolling(3)
    mirrored = measured(np.ascontiguousarray(frames[:, :, ::-1])).hashes
    assert distance(measured(frames).hashes[64:], mirrored[:64]) <= 1


def test_flat_frames_hash_to_zeros() -> None:
    noise = np.random.default_rng(0).integers(99, 102, (8, H, W)).astype(np.uint8)
    assert hash_frames(noise) == bytes(64)


def test_the_same_frames_give_the_same_bytes() -> None:
    frames = scrolling(3)
    assert len({encode_clip(frames, CONFIG).mp4 for _ in range(20)}) == 1
    assert encode_frames(frames) == encode_frames(frames)


def test_colours_survive_the_round_trip() -> None:
    frames = np.empty((16, H, W, 3), np.uint8)
    frames[:, :, :80], frames[:, :, 80:] = (200, 40, 60), (30, 90, 220)
    back = decode_clip(encode_clip(frames, CONFIG).mp4)
    for columns in (slice(10, 70), slice(90, 150)):
        difference = back[:, :, columns].astype(int) - frames[:, :, columns]
        assert np.abs(difference).max() <= 4
    strip = decode_frames(encode_frames(frames))
    assert np.abs(strip[0, :, 10:70].astype(int) - frames[0, :, 10:70]).max() <= 4
