"""Decode a stored clip: its mp4 and its strip of sampled frames."""

from __future__ import annotations

import io

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from PIL import Image

from pipeline.clips.geometry import Frames, pixels_of
from pipeline.clips.samples import BAD_SAMPLE, NUM_SAMPLES
from pipeline.errors import PermanentError

# what PyAV and numpy raise for bytes that are no video, and for videos whose frames have several sizes
DAMAGED = (av.FFmpegError, ValueError, IndexError, AttributeError, TypeError, KeyError, OverflowError)


def decode_clip(mp4: bytes) -> Frames:
    """Return the frames of a stored clip as uint8 RGB (num_frames, height, width, 3)."""
    reformatter = VideoReformatter()
    with av.open(io.BytesIO(mp4)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        # one reused reformatter halves the cost of `frame.to_ndarray(format="rgb24")` (measured: 16 for 33 ms)
        pictures = [
            pixels_of(reformatter.reformat(frame, format="rgb24", threads=1)).copy()
            for frame in container.decode(stream)
        ]
    return np.stack(pictures)


def decode_stored_clip(mp4: bytes) -> Frames:
    """Return the frames of a stored clip as `decode_clip` does.

    Raises:
        PermanentError: the bytes cannot be decoded (`bad_sample`).
    """
    try:
        return decode_clip(mp4)
    except DAMAGED as exc:
        raise undecodable(mp4, exc) from exc


def undecodable(mp4: bytes, exc: Exception) -> PermanentError:
    """Return the error of a stored clip whose bytes cannot be decoded."""
    why = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
    return PermanentError(f"its {len(mp4)} bytes cannot be decoded ({why})", error_class=BAD_SAMPLE)


def decode_frames(jpeg: bytes) -> Frames:
    """Return the sampled frames of a strip as uint8 RGB (8, H, W, 3)."""
    with Image.open(io.BytesIO(jpeg)) as image:
        strip = np.asarray(image.convert("RGB"))
    height, width, _ = strip.shape
    return np.ascontiguousarray(strip.reshape(height, NUM_SAMPLES, width // NUM_SAMPLES, 3).swapaxes(0, 1))


def decode_planes(jpeg: bytes) -> Frames:
    """Return the sampled frames of a strip as `decode_frames` does, but one plane per colour (8, 3, H, W).

    A network reads planes, and Pillow gives them in less time than numpy turns interleaved colours (measured: 0.77 for
    0.98 ms a strip of 160x90).
    """
    with Image.open(io.BytesIO(jpeg)) as image:
        width, height = image.size
        planes = np.empty((NUM_SAMPLES, 3, height, width // NUM_SAMPLES), np.uint8)
        for colour, plane in enumerate(image.convert("RGB").split()):
            strip = np.frombuffer(plane.tobytes(), np.uint8)
            planes[:, colour] = strip.reshape(height, NUM_SAMPLES, width // NUM_SAMPLES).swapaxes(0, 1)
    return planes
