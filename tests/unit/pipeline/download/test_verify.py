"""What counts as a video: files as downloads leave them, whole, late, damaged in one place or cut short."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.download.verify import verify_media
from pipeline.errors import PermanentError, TooLongError
from pipeline.footage.pictures import Pictures
from tests.media import run_ffmpeg

SECONDS = 8


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same 8 s with frames that refer both ways and a key frame every 2 s, in the containers that sites use."""
    folder = tmp_path_factory.mktemp("films")
    whole = folder / "film.mp4"
    picture = ["-f", "lavfi", "-i", f"testsrc2=size=160x96:rate=15:duration={SECONDS}"]
    coding = ["-c:v", "libx264", "-g", "30", "-bf", "3", "-preset", "medium", "-pix_fmt", "yuv420p"]
    run_ffmpeg(*picture, *coding, "-movflags", "+faststart", str(whole))
    films = {"mp4": whole}
    for suffix in ("mkv", "ts", "flv"):
        films[suffix] = folder / f"film.{suffix}"
        run_ffmpeg("-i", str(whole), "-c", "copy", str(films[suffix]))
    films["webm"] = folder / "film.webm"
    coding = ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-b:v", "200k", "-g", "30"]
    run_ffmpeg(*picture, *coding, str(films["webm"]))
    return films


def broken(film: Path, folder: Path, start: float, stop: float, *, cut: bool = False) -> Path:
    """Write a film with a part of its bytes replaced by noise (or left out), given as shares of the file."""
    data = bytearray(film.read_bytes())
    first, last = int(start * len(data)), int(stop * len(data))
    data[first:last] = b"" if cut else np.random.default_rng(1).bytes(last - first)
    path = folder / film.name
    path.write_bytes(bytes(data))
    return path


@pytest.mark.parametrize("kind", ["mp4", "mkv", "webm", "ts", "flv"])
def test_a_whole_film_is_measured_in_every_container(films: dict[str, Path], kind: str) -> None:
    media = verify_media(films[kind], claimed_s=SECONDS)
    assert (media.width, media.height) == (160, 96)
    assert media.duration_s == pytest.approx(SECONDS, abs=0.1)
    assert media.fps == pytest.approx(15, abs=0.2)


@pytest.mark.parametrize("kind", ["mp4", "mkv", "webm", "ts", "flv"])
def test_a_film_without_its_second_half_is_refused_where_anything_tells_its_length(
    films: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    half = broken(films[kind], tmp_path, 0.5, 1.0, cut=True)
    with pytest.raises(PermanentError, match=r"cut off|holds [345]") as caught:
        verify_media(half, claimed_s=SECONDS)
    assert caught.value.error_class == "invalid_media"


@pytest.mark.parametrize(("kind", "start", "stop"), [("mp4", 0.05, 0.12), ("mp4", 0.75, 1.0)])
def test_noise_in_a_part_refuses_nothing_that_plays_elsewhere(
    films: dict[str, Path], tmp_path: Path, kind: str, start: float, stop: float
) -> None:
    media = verify_media(broken(films[kind], tmp_path, start, stop), claimed_s=SECONDS)
    assert media.duration_s == pytest.approx(SECONDS, abs=0.2)


def test_packets_that_the_container_doubts_refuse_nothing_that_plays(films: dict[str, Path], tmp_path: Path) -> None:
    whole = films["ts"].read_bytes()
    middle = len(whole) // 188 // 2 * 188
    # packets of a transport stream are numbered: here six are missing
    lost = tmp_path / "lost.ts"
    lost.write_bytes(whole[:middle] + whole[middle + 6 * 188 :])
    assert verify_media(lost, claimed_s=SECONDS, tolerance=0.3).duration_s == pytest.approx(SECONDS, abs=0.2)
    # as much as a source may be wrong by; beyond that a part was cut on the way, but not on one's own disk
    with pytest.raises(PermanentError, match=r"cut off or damaged: \d\.\d s of its 8\.0 s cannot be decoded"):
        verify_media(lost, tolerance=0.01)
    assert verify_media(lost, tolerance=0.01, own_file=True).duration_s == pytest.approx(SECONDS, abs=0.2)


@pytest.mark.parametrize("kind", ["mp4", "mkv", "webm", "ts", "flv"])
def test_a_file_on_ones_own_disk_is_measured_as_far_as_it_plays(
    films: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    half = broken(films[kind], tmp_path, 0.5, 1.0, cut=True)
    media = verify_media(half, claimed_s=SECONDS, own_file=True)
    assert 2.5 < media.duration_s < 6


def test_a_file_in_which_nothing_plays_is_refused(films: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="no frame of it can be decoded") as caught:
        verify_media(broken(films["mp4"], tmp_path, 0.04, 1.0), own_file=True)
    assert caught.value.error_class == "invalid_media"


def test_a_late_first_frame_is_no_missing_one(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (60, 64, 64, 3), np.uint8)
    late = make_video(tmp_path / "late.mkv", frames, pts=[900_000 + 6000 * index for index in range(60)])
    # Matroska counts from zero, so its header and its source may say 14 s for the 4 s that are there
    assert verify_media(late, claimed_s=14.0).duration_s == pytest.approx(4.0, abs=0.1)
    assert verify_media(late, claimed_s=4.0).duration_s == pytest.approx(4.0, abs=0.1)
    with pytest.raises(PermanentError, match=r"holds 4\.0 s of video, its source says 9\.0 s"):
        verify_media(late, claimed_s=9.0)


def test_a_late_start_of_a_broadcast_hides_no_missing_end(films: dict[str, Path], tmp_path: Path) -> None:
    late = tmp_path / "late.ts"
    run_ffmpeg("-i", str(films["mp4"]), "-c", "copy", "-output_ts_offset", "100", str(late))
    assert verify_media(late, claimed_s=SECONDS).duration_s == pytest.approx(SECONDS, abs=0.1)
    with pytest.raises(PermanentError, match=r"its source says 100\.0 s"):
        verify_media(late, claimed_s=100.0)


def test_one_key_frame_for_a_whole_film_is_enough(films: dict[str, Path], tmp_path: Path) -> None:
    single = tmp_path / "single.mp4"
    run_ffmpeg("-i", str(films["mp4"]), "-c:v", "libx264", "-g", "1000", "-keyint_min", "1000", str(single))
    assert verify_media(single, claimed_s=SECONDS).duration_s == SECONDS


def test_sound_that_ends_after_the_picture_is_no_cut(films: dict[str, Path], tmp_path: Path) -> None:
    sounding = tmp_path / "sounding.mkv"
    run_ffmpeg("-i", str(films["mp4"]), "-f", "lavfi", "-i", "sine=duration=12", "-c:v", "copy", str(sounding))
    assert verify_media(sounding).duration_s == pytest.approx(SECONDS, abs=0.1)


def test_a_good_video_is_measured(clip_file: Path) -> None:
    media = verify_media(clip_file, claimed_s=4.0)
    assert (media.codec, media.width, media.height, media.fps, media.duration_s) == ("h264", 160, 96, 15.0, 4.0)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("zero.mp4", "no bytes"),
        ("page.mp4", "web page"),
        ("json.mp4", "JSON"),
        ("playlist.mp4", "playlist"),
        ("script.mp4", "playlist"),
        ("noise.mp4", "cannot read it"),
        ("no-index.mp4", "cannot read it"),
        ("cut.mp4", "no frame in its video stream"),
        ("cut.mkv", "no frame in its video stream|cannot read it"),
        ("sound.mp4", "no video stream"),
        ("picture.mp4", "single picture"),
        ("blank.mp4", "no frame of it can be decoded"),
    ],
)
def test_what_only_looks_like_a_video_is_refused_with_a_reason(traps: Path, name: str, reason: str) -> None:
    with pytest.raises(PermanentError, match=reason) as caught:
        verify_media(traps / name)
    assert caught.value.error_class == "invalid_media"


def test_a_duration_that_the_source_did_not_claim_is_refused(clip_file: Path) -> None:
    assert verify_media(clip_file, claimed_s=4.9).duration_s == 4.0
    with pytest.raises(PermanentError, match=r"holds 4\.0 s of video, its source says 9\.0 s"):
        verify_media(clip_file, claimed_s=9.0)


@pytest.mark.parametrize("suffix", ["mkv", "webm", "avi", "mov", "ts", "flv"])
def test_every_common_container_is_read(tmp_path: Path, clip_file: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    codec = ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"] if suffix == "webm" else ["-c", "copy"]
    run_ffmpeg("-i", str(clip_file), *codec, str(path))
    media = verify_media(path, claimed_s=4.0)
    assert (media.width, media.height) == (160, 96)
    assert media.duration_s == pytest.approx(4.0, abs=0.2)


def test_a_slow_show_of_pictures_and_a_late_start_are_videos(tmp_path: Path, make_video: Callable[..., Path]) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (5, 64, 64, 3), np.uint8)
    slow = make_video(tmp_path / "slow.mp4", frames, pts=[90000 * second for second in (0, 3, 6, 9, 12)])
    assert verify_media(slow).duration_s >= 12
    late = make_video(tmp_path / "late.mkv", frames, pts=[900_000 + 6000 * index for index in range(5)])
    assert verify_media(late).duration_s < 2


# -- recordings that nobody closed, and videos that last for ever ---------------------------------------------------


@pytest.mark.parametrize("kind", ["cut off", "without an end", "long box"])
def test_a_recording_that_was_not_closed_is_said_to_be_one(tmp_path: Path, kind: str) -> None:
    whole = tmp_path / "whole.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=10:duration=2", "-pix_fmt", "yuv420p", whole)
    data = whole.read_bytes()
    mdat, moov = data.index(b"mdat") - 4, data.index(b"moov") - 4
    head = {
        "cut off": data[mdat : mdat + 8],
        "without an end": bytes(4) + b"mdat",  # as a recorder leaves it that writes the length last
        "long box": b"\0\0\0\1mdat" + (moov - mdat + 8).to_bytes(8),
    }[kind]
    left = tmp_path / "left.mp4"
    left.write_bytes(data[:mdat] + head + data[mdat + 8 : moov])
    with pytest.raises(PermanentError, match="was not finished or not closed by its recorder") as caught:
        verify_media(left)
    assert caught.value.error_class == "invalid_media"
    assert "copy it again once the recording is closed" in str(caught.value)
    # the recorder closes it
    left.write_bytes(data)
    assert verify_media(left).duration_s == pytest.approx(2, abs=0.1)


def test_a_file_with_a_moov_atom_that_is_damaged_was_closed(tmp_path: Path, films: dict[str, Path]) -> None:
    data = bytearray(films["mp4"].read_bytes())
    place = data.index(b"moov") + 4
    data[place : place + 400] = bytes(400)
    (tmp_path / "damaged.mp4").write_bytes(data)
    with pytest.raises(PermanentError) as caught:
        verify_media(tmp_path / "damaged.mp4")
    assert "recorder" not in str(caught.value)


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two hundred frames, a quarter of an hour from one to the next: two days."""
    path = tmp_path_factory.mktemp("endless") / "endless.mkv"
    coding = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-fps_mode", "passthrough")
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=10:duration=20", "-vf", "setpts=N*900/TB", *coding, path)
    return path


@pytest.mark.parametrize("header_s", [None, 0.0, 20.0, 12.1e6])
def test_a_video_that_lasts_too_long_is_refused_whatever_its_header_says(
    tmp_path: Path, endless: Path, header_s: float | None
) -> None:
    path = tmp_path / "endless.mkv"
    data = bytearray(endless.read_bytes())
    place = data.index(b"\x44\x89\x88") + 3  # Duration, a double in milliseconds
    if header_s is not None:
        data[place : place + 8] = struct.pack(">d", header_s * 1000)
    path.write_bytes(data)
    with pytest.raises(TooLongError) as caught:
        verify_media(path, most_s=43200)
    assert caught.value.error_class == "too_long"
    assert "download.max_duration_s = 43200 allows 12.0 h" in str(caught.value)
    assert 43200 < caught.value.seconds < 43200 + 2000


def test_it_is_refused_before_its_frames_are_decoded(endless: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[object] = []
    feed = Pictures.feed

    def noted(pictures: Pictures, packet: object) -> object:
        fed.append(packet)
        return feed(pictures, packet)

    monkeypatch.setattr(Pictures, "feed", noted)
    with pytest.raises(TooLongError):
        verify_media(endless, most_s=43200)
    assert 1 <= len(fed) <= 50


def test_a_longer_limit_takes_it(endless: Path) -> None:
    assert verify_media(endless, most_s=200_000).duration_s > 43200


def test_a_first_timestamp_that_is_late_makes_no_video_long(tmp_path: Path) -> None:
    path = tmp_path / "late.mkv"
    picture = ("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=10:duration=2", "-pix_fmt", "yuv420p")
    run_ffmpeg(*picture, "-output_ts_offset", "90000", path)
    assert verify_media(path, most_s=43200).duration_s == pytest.approx(2, abs=0.1)
