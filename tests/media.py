"""Tiny real videos: what tests feed to downloads, clips and trainings."""

from __future__ import annotations

import io
import os
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import numpy as np

TICK = Fraction(1, 90000)
_OPTIONS = {
    "libx264": {"preset": "ultrafast", "crf": "18"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "crf": "30", "b": "0"},
}


def write_video(path: Path, frames: Iterable[np.ndarray], **settings: Any) -> Path:
    """Write uint8 RGB frames (H, W, 3) as a real file and return its path; the settings are those of `_encode`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        _encode(container, frames, **settings)
    return path


def video_bytes(frames: Iterable[np.ndarray], **settings: Any) -> bytes:
    """Return uint8 RGB frames (H, W, 3) as the bytes of an mp4; the settings are those of `_encode`."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        _encode(container, frames, **settings)
    return buffer.getvalue()


def at_rest(folder: Path, hours: float = 1.0) -> Path:
    """Date every file below a folder some hours back, as files that nobody writes any more, and return the folder."""
    for path in folder.rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() - 3600 * hours,) * 2)
    return folder


def run_ffmpeg(*arguments: str | Path) -> bytes:
    """Run the ffmpeg of the wheel and return what it writes to standard output; a file that is there is replaced."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


def _encode(
    container: Any,
    frames: Iterable[np.ndarray],
    *,
    fps: int | Fraction = 30,
    codec: str = "libx264",
    pts: Sequence[int] | None = None,
    time_base: Fraction = TICK,
    pix_fmt: str = "yuv420p",
    sample_aspect_ratio: Fraction | None = None,
    options: Mapping[str, str] | None = None,
    audio: bool = False,
) -> None:
    """Encode frames into an open container.

    Args:
        container: what `av.open` returned.
        frames: pictures of one size.
        fps: the rate, where `pts` does not say when each frame is shown.
        codec: the encoder.
        pts: the frames' times in units of `time_base`; uneven ones make the rate variable.
        time_base: seconds per unit of time.
        pix_fmt: pixel format.
        sample_aspect_ratio: width of a pixel as a share of its height.
        options: of the encoder, in place of fast ones.
        audio: whether silence is added.
    """
    stream = container.add_stream(codec, rate=fps)
    stream.options = dict(_OPTIONS.get(codec, {}) if options is None else options)
    sound = container.add_stream("aac", rate=8000) if audio else None
    count = 0
    for index, picture in enumerate(frames):
        if not index:
            stream.height, stream.width = picture.shape[:2]
            stream.pix_fmt = pix_fmt
            stream.codec_context.time_base = time_base
            if sample_aspect_ratio is not None:
                stream.codec_context.sample_aspect_ratio = sample_aspect_ratio
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        frame.pts = pts[index] if pts is not None else round(index / Fraction(fps) / time_base)
        frame.time_base = time_base
        container.mux(stream.encode(frame))
        count += 1
    container.mux(stream.encode())
    if sound is not None:
        for start in range(0, int(count / fps * 8000), 1024):
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            silence.sample_rate, silence.pts = 8000, start
            container.mux(sound.encode(silence))
        container.mux(sound.encode())
