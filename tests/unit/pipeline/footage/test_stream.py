"""The stream that a player shows is the video, wherever it stands in the file."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from pipeline.errors import PermanentError
from pipeline.footage.stream import video_stream
from tests.media import run_ffmpeg

FILM = ("-f", "lavfi", "-i", "testsrc2=size=128x72:rate=10:duration=2")
SMALL_FILM = ("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=10:duration=2")
PICTURE = ("-f", "lavfi", "-i", "color=size=640x640:rate=1:duration=1")
SOUND = ("-f", "lavfi", "-i", "sine=duration=2")
ENCODED = ("-c:v:1", "libx264", "-pix_fmt:v:1", "yuv420p")


def chosen(path: Path) -> tuple[int, int]:
    with av.open(str(path)) as container:
        stream = video_stream(container, "no_video")
        return stream.width, stream.height


def test_an_attached_picture_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    cover = ("-map", "1", "-map", "0", "-c:v:0", "mjpeg", "-frames:v:0", "1", "-disposition:v:0", "attached_pic")
    run_ffmpeg(*FILM, *PICTURE, *cover, *ENCODED, path)
    assert chosen(path) == (128, 72)


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_a_single_picture_that_nobody_marked_as_a_cover_comes_after_a_film(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"v.{ending}"
    run_ffmpeg(*FILM, *PICTURE, "-map", "1", "-map", "0", "-c:v:0", "mjpeg", "-frames:v:0", "1", *ENCODED, path)
    assert chosen(path) == (128, 72)


@pytest.mark.parametrize(("default", "shown"), [("0", (64, 48)), ("1", (128, 72))])
def test_the_stream_that_is_marked_as_default_is_shown(tmp_path: Path, default: str, shown: tuple[int, int]) -> None:
    path = tmp_path / "v.mkv"
    other = "1" if default == "0" else "0"
    marks = (f"-disposition:v:{default}", "default", f"-disposition:v:{other}", "0")
    run_ffmpeg(*SMALL_FILM, *FILM, "-map", "0", "-map", "1", "-c:v", "libx264", "-pix_fmt", "yuv420p", *marks, path)
    assert chosen(path) == shown


def test_of_equals_the_one_with_the_most_pixels_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "v.ts"
    run_ffmpeg(*SMALL_FILM, *FILM, "-map", "0", "-map", "1", "-c:v", "libx264", "-pix_fmt", "yuv420p", path)
    assert chosen(path) == (128, 72)


def test_sound_with_a_cover_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    cover = ("-map", "0", "-map", "1", "-c:v", "mjpeg", "-frames:v", "1", "-disposition:v:0", "attached_pic")
    run_ffmpeg(*SOUND, *PICTURE, *cover, path)
    with pytest.raises(PermanentError, match="there is no video stream in it") as caught:
        chosen(path)
    assert caught.value.error_class == "no_video"
