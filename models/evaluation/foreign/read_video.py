"""Read one video of a folder of rollouts: a video file, or a folder of PNG frames in the order of their names.

Shapes: T frames, H W C pixels.
"""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import PermanentError
from pipeline.media import open_media, reading_media
from pipeline.regular_file import open_regular, read_regular

VIDEO_ENDINGS = (".mp4", ".webm", ".mkv", ".avi", ".mov", ".gif")
_OTHER_PICTURES = (".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".apng")
LARGEST_VIDEO = 128 << 20
"""Bytes of the frames of one video: 16 of 1920x1080, or 145 of 640x480."""
_MOST_FRAMES, _LARGEST_SIDE = 2000, 4096
_LARGEST_PICTURE = 64 << 20
_BAD = "bad_rollout"


def read_video(path: Path) -> NDArray[np.uint8]:
    """Return the frames (T, H, W, 3) of a video file or of a folder of PNG frames.

    Raises:
        PermanentError: it cannot be read, has no frame, more than `LARGEST_VIDEO` bytes of frames, too many or too
            large frames, or frames of several sizes.
    """
    try:
        frames = _read_pictures(path) if path.is_dir() else _read_file(path)
    except OSError as exc:
        raise PermanentError(f"it cannot be read ({exc.strerror or exc})", error_class=_BAD) from exc
    if not frames:
        raise PermanentError("it has no frame", error_class=_BAD)
    sizes = {frame.shape for frame in frames}
    if len(sizes) > 1:
        raise PermanentError("its frames have several sizes", error_class=_BAD)
    return _stacked(frames)


def _stacked(frames: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return frames as one array, and empty the list: `np.stack` would hold everything twice."""
    found = np.empty((len(frames), *frames[0].shape), np.uint8)
    for place in reversed(range(len(frames))):
        found[place] = frames.pop()
    return found


def _read_file(path: Path) -> list[NDArray[np.uint8]]:
    with open_regular(path):  # a pipe or a device would be waited for
        pass
    frames: list[NDArray[np.uint8]] = []
    with reading_media(_BAD), open_media(path) as container:
        if not container.streams.video:
            raise PermanentError("it has no video stream", error_class=_BAD)
        stream = container.streams.video[0]
        _check_side(stream.codec_context.width, stream.codec_context.height)
        for frame in container.decode(stream):
            _check_side(frame.width, frame.height)
            if len(frames) == _MOST_FRAMES:
                raise _too_long()
            _check_bytes(len(frames) + 1, frame.width, frame.height)
            frames.append(frame.to_ndarray(format="rgb24"))
    return frames


def _read_pictures(folder: Path) -> list[NDArray[np.uint8]]:
    files = [each for each in folder.iterdir() if not each.name.startswith(".")]
    if other := sorted(each.name for each in files if each.suffix.lower() in _OTHER_PICTURES):
        raise PermanentError(
            f"it has {other[0]}, and only PNG frames are read: save all frames as PNG", error_class=_BAD
        )
    names = sorted((each for each in files if each.suffix.lower() == ".png"), key=_natural)
    if len(names) > _MOST_FRAMES:
        raise _too_long()
    return [_read_picture(each, len(names)) for each in names]


def _read_picture(path: Path, count: int) -> NDArray[np.uint8]:
    """Return a frame of `count`, which are assumed to be as large."""
    data = read_regular(path, _LARGEST_PICTURE)
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            _check_side(*picture.size)
            _check_bytes(count, *picture.size)
            return np.asarray(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as exc:
        raise PermanentError(f"{path.name} is no PNG picture that can be read ({exc})", error_class=_BAD) from exc


def _natural(path: Path) -> tuple[list[tuple[int, str]], str]:
    # frame 10 comes after frame 9
    parts = re.findall(r"\d+|\D+", path.stem)
    return [(int(part), "") if part.isascii() and part.isdigit() else (0, part) for part in parts], path.name


def _check_side(width: int, height: int) -> None:
    if not 0 < max(width, height) <= _LARGEST_SIDE:
        raise PermanentError(
            f"its frames are {width}x{height}, and {_LARGEST_SIDE} a side is the most", error_class=_BAD
        )


def _check_bytes(count: int, width: int, height: int) -> None:
    if (size := count * width * height * 3) > LARGEST_VIDEO:
        raise PermanentError(
            f"{count} frames of {width}x{height} are {size / 2**20:.0f} MB in memory, and "
            f"{LARGEST_VIDEO / 2**20:.3g} MB a video are the most: give shorter or smaller videos",
            error_class=_BAD,
        )


def _too_long() -> PermanentError:
    return PermanentError(f"it has more than {_MOST_FRAMES} frames: cut it", error_class=_BAD)
