"""Pictures on a clip's frame: aspect, orientation and pixel aspect as a player shows them."""

from __future__ import annotations

import os
import struct
from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.clips.decode import open_video
from pipeline.clips.geometry import Area, fit_box
from pipeline.config.clips import ClipConfig
from pipeline.footage.look import Look, Orientation, orientation_of
from tests.media import run_ffmpeg, write_video

SHORT = ClipConfig(seconds=2, fps=10)
CASES = os.environ.get("LAMPWORKS_CASES")
real_cases = pytest.mark.skipif(not CASES, reason="LAMPWORKS_CASES names no folder of odd files")
IDENTITY = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)


def white_box(frames: np.ndarray) -> tuple[int, int, int, int]:
    """Return (top, bottom, left, right) of what is not black in the first frame."""
    bright = frames[0].max(axis=2) > 40
    rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def write_white(path: Path, width: int, height: int, sar: Fraction | None = None) -> Path:
    frames = np.full((20, height, width, 3), 255, np.uint8)
    return write_video(path, frames, fps=10, pix_fmt="yuv444p", sample_aspect_ratio=sar)


@pytest.mark.parametrize(
    ("width", "height", "sar", "box", "changes"),
    [
        (320, 180, None, (0, 90, 0, 160), ()),
        (320, 240, None, (0, 90, 20, 140), ("padded",)),  # 4:3 between bars
        (90, 160, None, (0, 90, 54, 105), ("padded",)),  # vertical
        (420, 180, None, (10, 79, 0, 160), ("padded",)),  # 21:9
        (240, 180, Fraction(4, 3), (0, 90, 0, 160), ("pixel-aspect",)),  # 4:3 pixels shown as 16:9
        (161, 91, None, (0, 90, 0, 159), ("padded",)),  # odd sizes
    ],
)
def test_padding_keeps_the_whole_picture_and_its_aspect(
    tmp_path: Path,
    width: int,
    height: int,
    sar: Fraction | None,
    box: tuple[int, int, int, int],
    changes: tuple[str, ...],
) -> None:
    video = open_video(write_white(tmp_path / "v.mp4", width, height, sar), SHORT)
    [window] = list(video.windows())
    frames = window.frames
    assert white_box(frames) == box
    assert video.display_aspect == pytest.approx(width / height * float(sar or 1), rel=1e-3)
    assert window.look.changes == changes


@pytest.mark.parametrize(("aspect", "change"), [("crop", "cropped"), ("stretch", "stretched")])
@pytest.mark.parametrize("size", [(320, 240), (90, 160), (420, 180)])
def test_cropping_and_stretching_fill_the_frame(
    tmp_path: Path, aspect: str, change: str, size: tuple[int, int]
) -> None:
    config = ClipConfig(seconds=2, aspect=aspect)
    video = open_video(write_white(tmp_path / "v.mp4", *size), config)
    [window] = list(video.windows())
    frames = window.frames
    assert white_box(frames) == (0, 90, 0, 160)
    assert window.look.changes == (change,)


# -- orientation ----------------------------------------------------------------------------------------------------


def corners(width: int, height: int) -> np.ndarray:
    """Return a picture of four quarters in four greys, so that no two orientations look the same."""
    picture = np.empty((height, width, 3), np.uint8)
    for (row, column), value in zip(product((0, 1), (0, 1)), (30, 90, 150, 220), strict=True):
        picture[row * height // 2 : (row + 1) * height // 2, column * width // 2 : (column + 1) * width // 2] = value
    return picture


@pytest.fixture(scope="module")
def upright(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("upright") / "v.mp4", [corners(160, 96)] * 20, fps=10)


EIGHT = [(a, b, c, d) for a, b, c, d in product((1, 0, -1), repeat=4) if abs(a * d - b * c) == 1 and a * b == c * d]


@pytest.mark.parametrize("turn", [turn for turn in EIGHT if turn != (1, 0, 0, 1)])
def test_every_display_matrix_is_shown_as_ffmpeg_shows_it(
    tmp_path: Path, upright: Path, turn: tuple[int, int, int, int]
) -> None:
    a, b, c, d = (part << 16 for part in turn)
    content = upright.read_bytes()
    # the first matrix is that of the movie, the second that of the track
    place = content.index(IDENTITY, content.index(IDENTITY) + 1)
    turned = tmp_path / "turned.mp4"
    turned.write_bytes(content[:place] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + content[place + 36 :])
    height, width = (160, 96) if b else (96, 160)
    shown = run_ffmpeg("-i", turned, "-frames:v", "1", "-vf", "format=rgb24", "-f", "rawvideo", "-")
    truth = np.frombuffer(shown, np.uint8).reshape(height, width, 3)
    video = open_video(turned, ClipConfig(seconds=2, width=width, height=height))
    [window] = list(video.windows())
    frames = window.frames
    assert np.abs(frames[0].astype(int) - truth).mean() < 4
    mirrored = a * d - b * c < 0
    assert ("mirrored" in window.look.changes) == mirrored


def test_all_eight_orientations_are_tried() -> None:
    assert len(set(EIGHT)) == 8


@pytest.mark.parametrize(("degrees", "top_left"), [(90, 150), (180, 220), (270, 90), (-90, 90)])
def test_a_rotate_tag_turns_a_picture_without_a_matrix(
    tmp_path: Path, upright: Path, degrees: int, top_left: int
) -> None:
    tagged = tmp_path / "v.mkv"
    run_ffmpeg("-i", upright, "-c", "copy", "-metadata:s:v:0", f"rotate={degrees}", tagged)
    video = open_video(tagged, SHORT)
    [window] = list(video.windows())
    frames = window.frames
    first = frames[0].mean(axis=2)
    inside = first[:, first.max(axis=0) > 10]
    assert abs(inside[4, 4] - top_left) < 12
    assert "rotated" in window.look.changes


def test_a_tag_of_no_number_and_a_short_matrix_turn_nothing(tmp_path: Path, upright: Path) -> None:
    tagged = tmp_path / "v.mkv"
    run_ffmpeg("-i", upright, "-c", "copy", "-metadata:s:v:0", "rotate=nan", tagged)
    video = open_video(tagged, SHORT)
    [window] = list(video.windows())
    assert window.look.changes == ("padded",)
    assert orientation_of(b"\0" * 8) == orientation_of(b"\0" * 36) == Orientation()


@real_cases
def test_a_mirrored_file_is_mirrored_and_not_upside_down() -> None:
    assert CASES is not None
    path = Path(CASES) / "mirrored_display_matrix.mov"
    video = open_video(path, ClipConfig(seconds=2))
    window = next(iter(video.windows()))
    plain = run_ffmpeg("-noautorotate", "-i", path, "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    source = np.frombuffer(plain, np.uint8).reshape(90, 160, 3).astype(int)
    assert np.abs(window.frames[0] - source[:, ::-1]).mean() < 4
    assert window.look.changes == ("mirrored",)


# -- pixel aspect ---------------------------------------------------------------------------------------------------


def test_each_frame_has_its_own_pixel_aspect(tmp_path: Path) -> None:
    parts = [(320, 180, None), (240, 180, Fraction(4, 3)), (320, 240, Fraction(4, 3))]
    options = {"preset": "veryfast", "crf": "18", "bf": "3", "g": "10"}
    for index, (width, height, sar) in enumerate(parts):
        noise = np.random.default_rng(index).integers(0, 20, (20, height, width, 3), np.uint8) + 200
        write_video(tmp_path / f"{index}.ts", noise, fps=10, options=options, sample_aspect_ratio=sar)
    listed = tmp_path / "parts.txt"
    listed.write_text("".join(f"file {index}.ts\n" for index in range(len(parts))))
    joined = tmp_path / "joined.ts"
    run_ffmpeg("-f", "concat", "-i", listed, "-c", "copy", joined)
    video = open_video(joined, ClipConfig(seconds=6))
    [window] = list(video.windows())
    frames = window.frames
    boxes = [white_box(frames[index : index + 1]) for index in range(60)]
    assert set(boxes) == {(0, 90, 0, 160)}, [(index, box) for index, box in enumerate(boxes) if box[0] or box[2]]
    assert window.look.changes == ("pixel-aspect",)


def test_a_pixel_aspect_that_changes_alone_changes_with_its_frame(tmp_path: Path) -> None:
    options = {"preset": "veryfast", "crf": "18", "bf": "3", "g": "10"}
    for index, sar in enumerate((Fraction(4, 3), Fraction(1))):
        white = np.full((20, 180, 240, 3), 220, np.uint8)
        write_video(tmp_path / f"{index}.ts", white, fps=10, options=options, sample_aspect_ratio=sar)
    listed = tmp_path / "parts.txt"
    listed.write_text("file 0.ts\nfile 1.ts\n")
    run_ffmpeg("-f", "concat", "-i", listed, "-c", "copy", tmp_path / "joined.ts")
    [window] = list(open_video(tmp_path / "joined.ts", ClipConfig(seconds=4)).windows())
    boxes = [white_box(window.frames[index : index + 1]) for index in range(40)]
    assert boxes == [(0, 90, 0, 160)] * 20 + [(0, 90, 20, 140)] * 20


@real_cases
def test_both_parts_of_a_file_whose_pixel_aspect_changes_fill_the_frame() -> None:
    assert CASES is not None
    video = open_video(Path(CASES) / "pixel_aspect_changes_at_18s_of_36s.ts", ClipConfig(seconds=2))
    changes = [window.look.changes for window in video.windows()]
    assert changes[:9] == [()] * 9
    assert changes[9:] == [("pixel-aspect",)] * 9  # neither part is padded


# -- boxes ----------------------------------------------------------------------------------------------------------

ORIENTATIONS = st.builds(Orientation, st.booleans(), st.booleans(), st.booleans())


@given(
    st.integers(1, 5000),
    st.integers(1, 5000),
    st.sampled_from(["pad", "crop", "stretch"]),
    ORIENTATIONS,
)
def test_a_box_touches_the_frame_or_covers_it(width: int, height: int, aspect: str, orientation: Orientation) -> None:
    box, _ = fit_box(width, height, Look(orientation=orientation), ClipConfig(aspect=aspect))
    shown = (box.area.width, box.area.height)
    shown = shown[::-1] if orientation.transposed else shown
    assert shown == (160, 90) if aspect != "pad" else shown[0] == 160 or shown[1] == 90
    assert 1 <= shown[0] <= 160
    assert 1 <= shown[1] <= 90
    assert (box.x, box.y) == ((160 - shown[0]) // 2, (90 - shown[1]) // 2)
    assert 0 <= box.area.left <= box.width - box.area.width
    assert 0 <= box.area.top <= box.height - box.area.height


@given(
    st.integers(64, 2000),
    st.integers(64, 2000),
    st.tuples(st.floats(0, 0.4), st.floats(0, 0.4), st.floats(0, 0.4), st.floats(0, 0.4)),
    st.sampled_from(["pad", "crop", "stretch"]),
    ORIENTATIONS,
)
def test_a_box_shows_nothing_of_the_bars(
    width: int,
    height: int,
    shares: tuple[float, float, float, float],
    aspect: str,
    orientation: Orientation,
) -> None:
    left, right, top, bottom = shares
    inner = Area(int(left * width), int(top * height), 0, 0)
    inner = Area(
        inner.left, inner.top, width - inner.left - int(right * width), height - inner.top - int(bottom * height)
    )
    box, aspect_shown = fit_box(width, height, Look(orientation=orientation), ClipConfig(aspect=aspect), inner)
    for size, whole, first, length, start, part in (
        (width, box.width, inner.left, inner.width, box.area.left, box.area.width),
        (height, box.height, inner.top, inner.height, box.area.top, box.area.height),
    ):
        assert first * whole <= start * size
        assert (start + part) * size <= (first + length) * whole
    expected = inner.height / inner.width if orientation.transposed else inner.width / inner.height
    assert aspect_shown == pytest.approx(expected)
