"""Frames picked by timestamp: exact on every rate, whole clips only, and broken videos end with a reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.clips.decode import frames_before, open_video
from pipeline.config.clips import ClipConfig
from pipeline.errors import PermanentError
from pipeline.footage.pictures import Lost, Picture
from pipeline.footage.read import Footage
from tests.media import run_ffmpeg, write_video

SHORT = ClipConfig(seconds=2, fps=10)
BITS = 10


def counter_frame(index: int, width: int = 160, height: int = 96) -> np.ndarray:
    """Return a picture that shows `index` in binary: two rows of five bright or dark squares."""
    picture = np.full((height, width, 3), 60, np.uint8)
    cell_w, cell_h = width // 5, height // 2
    for bit in range(BITS):
        row, column = divmod(bit, 5)
        value = 230 if index >> bit & 1 else 20
        picture[row * cell_h : (row + 1) * cell_h, column * cell_w : (column + 1) * cell_w] = value
    return picture


def read_counter(picture: np.ndarray) -> int:
    """Return the number that a (scaled, unpadded) counter picture shows."""
    height, width = picture.shape[:2]
    centres = [
        picture[(2 * (bit // 5) + 1) * height // 4, (2 * (bit % 5) + 1) * width // 10].mean() for bit in range(BITS)
    ]
    return sum((value > 128) << bit for bit, value in enumerate(centres))


def write_counter(
    path: Path,
    times_s: list[Fraction],
    *,
    codec: str = "libx264",
    time_base: Fraction = Fraction(1, 90000),
    size: tuple[int, int] = (160, 96),
    rate: Fraction | int = 30,
) -> Path:
    """Write counter frames shown at the given times."""
    options = {"preset": "ultrafast", "crf": "20", "g": "30"} if codec == "libx264" else None
    frames = (counter_frame(index, *size) for index in range(len(times_s)))
    pts = [round(time / time_base) for time in times_s]
    return write_video(path, frames, fps=rate, codec=codec, pts=pts, time_base=time_base, options=options)


def constant(rate: Fraction | int, seconds: float, start: Fraction = Fraction(0)) -> list[Fraction]:
    return [start + index / Fraction(rate) for index in range(round(seconds * Fraction(rate)))]


def on_screen(times: list[Fraction], count: int, fps: int = 10) -> list[int]:
    """Return the truth: for each k/fps the last frame shown no later (with the timestamps as written, to 1/90000)."""
    shown = [Fraction(round(time * 90000), 90000) for time in times]
    return [max(i for i, time in enumerate(shown) if time - shown[0] <= Fraction(k, fps)) for k in range(count)]


def counters(path: Path, config: ClipConfig = SHORT) -> list[list[int]]:
    """Return the counters of each clip's frames (the pictures are wider than 16:9 is not: bars cut off)."""
    clips = []
    for _, frames in open_video(path, config).clips():
        columns = np.flatnonzero(frames.max(axis=(0, 1, 3)) > 10)
        clips.append([read_counter(picture[:, columns[0] : columns[-1] + 1]) for picture in frames])
    return clips


@pytest.mark.parametrize(
    "rate", [7, 10, 15, 24, 25, Fraction(30000, 1001), 30, 60], ids=lambda rate: f"{float(rate):.2f}fps"
)
def test_each_frame_is_the_one_on_screen_at_its_time(tmp_path: Path, rate: Fraction) -> None:
    times = constant(rate, 4.5)
    clips = counters(write_counter(tmp_path / "v.mp4", times, rate=rate))
    assert list(chain.from_iterable(clips)) == on_screen(times, 40)


def test_a_variable_rate_is_exact_too(tmp_path: Path) -> None:
    steps = np.random.default_rng(0).choice([1 / 60, 1 / 30, 0.11, 0.37], 90)
    times = [Fraction(round(float(t) * 90000), 90000) for t in np.concatenate([[0], np.cumsum(steps)])]
    times = [time for time in times if time < 8]
    clips = counters(write_counter(tmp_path / "v.mp4", times))
    assert len(clips) >= 3
    assert list(chain.from_iterable(clips)) == on_screen(times, 20 * len(clips))


@pytest.mark.parametrize(("name", "codec"), [("v.mkv", "libx264"), ("v.ts", "libx264"), ("v.webm", "libvpx-vp9")])
def test_a_first_timestamp_that_is_not_zero_moves_nothing(tmp_path: Path, name: str, codec: str) -> None:
    # 25 FPS: 40 ms is exact in Matroska's whole milliseconds
    times = constant(25, 4.2, start=Fraction(37, 10))
    clips = counters(write_counter(tmp_path / name, times, codec=codec, rate=25))
    assert list(chain.from_iterable(clips)) == on_screen(times, 40)


def test_clips_are_consecutive_and_the_rest_is_counted(tmp_path: Path) -> None:
    video = open_video(write_counter(tmp_path / "v.mp4", constant(30, 5.5)), SHORT)
    clips = list(video.clips())
    assert [start for start, _ in clips] == [0, 2000]
    assert all(frames.shape == (20, 90, 160, 3) and frames.dtype == np.uint8 for _, frames in clips)
    assert video.source_ms == 5500


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv"])
@pytest.mark.parametrize("rate", [30, 60, 24])
def test_a_video_of_exactly_whole_clips_loses_none_to_rounding(tmp_path: Path, name: str, rate: int) -> None:
    video = open_video(write_counter(tmp_path / name, constant(rate, 4), rate=rate), SHORT)
    assert len(list(video.clips())) == 2
    assert video.source_ms == 4000


def test_a_short_video_has_no_clips_and_is_all_remainder(tmp_path: Path) -> None:
    video = open_video(write_counter(tmp_path / "v.mp4", constant(30, 1.9)), SHORT)
    assert list(video.clips()) == []
    assert video.source_ms == 1900


def test_a_last_frame_that_leaves_too_early_makes_no_clip(tmp_path: Path) -> None:
    # all of 0, 0.1 ... 1.9 s are on screen, but the video ends at 1.95 s
    video = open_video(write_counter(tmp_path / "v.mp4", constant(20, 1.95), rate=20), SHORT)
    assert list(video.clips()) == []


# -- broken videos --------------------------------------------------------------------------------------------------


def faststart(source: Path, target: Path) -> bytes:
    """Return the file's bytes with its index in front, so that what is cut off is pictures."""
    run_ffmpeg("-i", source, "-c", "copy", "-movflags", "+faststart", target)
    return target.read_bytes()


def noise_video(path: Path, seconds: float) -> Path:
    frames = np.random.default_rng(0).integers(0, 255, (round(seconds * 10), 64, 64, 3), dtype=np.uint8)
    return write_video(path, frames, fps=10, options={"preset": "ultrafast", "g": "10"})


def reason(path: Path) -> PermanentError:
    with pytest.raises(PermanentError) as caught:
        list(open_video(path, SHORT).clips())
    return caught.value


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("empty.mp4", b""),
        ("page.mp4", b"<!doctype html><html><body>not here</body></html>"),
        ("noise.mp4", b"\0" * 999),
    ],
)
def test_what_is_no_video_is_named(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    error = reason(tmp_path / name)
    assert error.error_class == "decode_error"
    assert str(tmp_path) not in str(error)


def test_a_file_without_pictures_is_named(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    assert reason(tmp_path / "a.mp4").error_class == "no_video"


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv"])
def test_a_truncated_video_is_cut_as_far_as_it_plays(tmp_path: Path, name: str) -> None:
    whole = noise_video(tmp_path / name, 8)
    data = faststart(whole, tmp_path / f"front-{name}")
    (tmp_path / f"cut-{name}").write_bytes(data[: len(data) * 6 // 10])
    video = open_video(tmp_path / f"cut-{name}", SHORT)
    assert [start for start, _ in video.clips()] == [0, 2000]
    if name == "v.mp4":  # its index names what is missing
        assert video.source_ms == pytest.approx(8000, abs=100)
        assert video.lost[-1].reason == "missing"
        assert video.lost[-1].end_ms == video.source_ms
    else:
        assert 4000 < video.source_ms < 6000


def test_damage_in_the_middle_costs_the_clips_that_it_touches(tmp_path: Path) -> None:
    data = bytearray(noise_video(tmp_path / "v.mp4", 8).read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = np.random.default_rng(1).integers(0, 255, 4000, dtype=np.uint8).tobytes()
    (tmp_path / "v.mp4").write_bytes(data)
    video = open_video(tmp_path / "v.mp4", SHORT)
    starts = [start for start, _ in video.clips()]
    ((lost),) = video.lost
    assert lost.reason == "damaged"
    assert 3000 < lost.start_ms < 5000
    # the clips after it begin with the first whole picture
    assert starts == [*range(0, lost.start_ms - 1999, 2000), *range(lost.end_ms, video.source_ms - 1999, 2000)]


def test_a_last_second_that_is_broken_costs_only_itself(tmp_path: Path) -> None:
    data = faststart(noise_video(tmp_path / "v.mp4", 5), tmp_path / "front.mp4")
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) - len(data) // 20])
    video = open_video(tmp_path / "cut.mp4", SHORT)
    assert [start for start, _ in video.clips()] == [0, 2000]
    assert video.source_ms == pytest.approx(5000, abs=100)  # its index names what is missing
    assert 0 < sum(loss.ms for loss in video.lost) <= 1000


def test_a_picture_that_stands_for_long_is_not_filled_with_copies(tmp_path: Path) -> None:
    times = [*constant(10, 2.1), *constant(10, 2, start=Fraction(1000))]
    video = open_video(write_counter(tmp_path / "v.mp4", times, rate=10), SHORT)
    assert [start for start, _ in video.clips()] == [0, 1_000_000]
    assert [(loss.start_ms, loss.end_ms, loss.reason) for loss in video.lost] == [(2100, 1_000_000, "still")]
    assert video.source_ms == video.packets_ms == 1_002_000


# -- which frame is picked -------------------------------------------------------------------------------------------


@given(
    st.integers(0, 10**7),
    st.sampled_from([Fraction(1, 90000), Fraction(1, 1000), Fraction(1001, 30000), Fraction(1, 12288)]),
    st.sampled_from([1, 7, 10, 25]),
)
def test_the_times_before_a_moment_are_counted_exactly(time: int, time_base: Fraction, fps: int) -> None:
    count = frames_before(time, time_base, fps)
    assert Fraction(count, fps) >= time * time_base
    assert count == 0 or Fraction(count - 1, fps) < time * time_base


def test_frames_that_follow_each_other_at_any_distance_are_picked_by_their_time(
    tmp_path: Path, make_video: Callable[..., Path]
) -> None:
    pts = [0, 3000, 3003, 20000, 21000, 45000, 90000, 99000, 180000, 183000]
    pictures = np.stack([counter_frame(index) for index in range(len(pts))])
    path = make_video(tmp_path / "v.mp4", pictures, pts=pts)
    assert counters(path) == [on_screen([Fraction(time, 90000) for time in pts], 20)]


def test_clips_go_on_across_a_clock_that_starts_again(tmp_path: Path) -> None:
    part = tmp_path / "part.ts"
    write_counter(part, constant(30, 1.5))
    (tmp_path / "joined.ts").write_bytes(part.read_bytes() * 4)
    video = open_video(tmp_path / "joined.ts", SHORT)
    assert [start for start, _ in video.clips()] == [0, 2000, 4000]
    assert video.source_ms == pytest.approx(6000, abs=100)
    assert video.lost == []


def test_a_loss_that_is_known_late_takes_back_what_was_picked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_counter(tmp_path / "v.mp4", constant(20, 5), rate=20)
    read = Footage.events

    def late(footage: Footage) -> Iterator[Picture | Lost]:
        for number, event in enumerate(read(footage)):
            yield event
            if number == 46:  # 2.3 s: a picture shown at 1.9 s is found to be damaged
                footage.lost.append(Lost(round(1.9 / footage.time_base), round(2.35 / footage.time_base), "damaged"))
                yield footage.lost[-1]

    monkeypatch.setattr(Footage, "events", late)
    video = open_video(path, SHORT)
    assert [start for start, _ in video.clips()] == [2350]
    assert video.source_ms - sum(loss.ms for loss in video.lost) - 2000 == 2550
