"""A clip's frames to bytes: H.264 in mp4, the strip of sampled frames as JPEG, and tars that are always the same.

One thread, pinned settings and no clock, so that the same frames give the same bytes on any machine with the same
libraries.
"""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass
from fractions import Fraction
from typing import IO, cast

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from PIL import Image

from pipeline.clips.decode import Frames
from pipeline.clips.features import NUM_SAMPLES, Planes, sample_indices
from pipeline.config.clips import ClipConfig

_TAR_BLOCK = 512
# SMPTE 170M, which the conversion uses: named in the stream, or a browser may guess another
_COLOUR = 6
_VIDEO_RANGE = 1
# cpu-independent: without it the look-ahead of x264 on AVX-512 gives other bytes in a third of all runs (measured,
# 27 of 80), with it always those of the plain C code, at no cost
_X264 = {"preset": "veryfast", "threads": "1", "x264-params": "cpu-independent=1"}


@dataclass(frozen=True)
class EncodedClip:
    """A clip's mp4 bytes, with the planes that the encoder was given: luma (T, H, W), chroma (T, 2, H/2, W/2)."""

    mp4: bytes
    luma: Planes
    chroma: Planes


def encode_clip(frames: Frames, config: ClipConfig) -> EncodedClip:
    """Return frames (T, H, W, 3) uint8 RGB as an mp4 with a key frame every `gop` frames."""
    count, height, width, _ = frames.shape
    luma = np.empty((count, height, width), np.uint8)
    chroma = np.empty((count, 2, height // 2, width // 2), np.uint8)
    buffer = io.BytesIO()
    packets = 0
    reformatter = VideoReformatter()
    with av.open(buffer, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream("libx264", rate=config.fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.gop_size = config.gop
        stream.options = _X264 | {"crf": str(config.crf)}
        context = stream.codec_context
        context.thread_count = 1
        context.time_base = Fraction(1, config.fps)
        context.colorspace = context.color_primaries = context.color_trc = _COLOUR
        context.color_range = _VIDEO_RANGE
        for index, picture in enumerate(frames):
            frame = reformatter.reformat(
                av.VideoFrame.from_ndarray(picture, format="rgb24"), format="yuv420p", threads=1
            )
            luma[index] = _plane(frame, 0)
            chroma[index, 0], chroma[index, 1] = _plane(frame, 1), _plane(frame, 2)
            frame.pts, frame.time_base = index, context.time_base
            encoded = stream.encode(frame)
            packets += len(encoded)
            container.mux(encoded)
        encoded = stream.encode()
        packets += len(encoded)
        container.mux(encoded)
    assert packets == count, f"{packets} packets of {count} frames"
    return EncodedClip(buffer.getvalue(), luma, chroma)


def encode_frames(frames: Frames) -> bytes:
    """Return the eight sampled frames of a clip, side by side, as one JPEG (quality 90, full colour)."""
    strip = np.concatenate(list(frames[sample_indices(len(frames))]), axis=1)
    buffer = io.BytesIO()
    Image.fromarray(strip).save(buffer, "jpeg", quality=90, subsampling=0)
    return buffer.getvalue()


def decode_frames(jpeg: bytes) -> Frames:
    """Return the sampled frames of a strip as uint8 RGB (8, H, W, 3)."""
    with Image.open(io.BytesIO(jpeg)) as image:
        strip = np.asarray(image.convert("RGB"))
    height, width, _ = strip.shape
    return np.ascontiguousarray(strip.reshape(height, NUM_SAMPLES, width // NUM_SAMPLES, 3).swapaxes(0, 1))


class TarWriter:
    """Writes a tar whose bytes depend on names and contents alone, and tells where each member's data lies."""

    def __init__(self, file: IO[bytes] | io.RawIOBase) -> None:
        self._tar = tarfile.TarFile(fileobj=cast(IO[bytes], file), mode="w", format=tarfile.GNU_FORMAT)

    def add(self, name: str, data: bytes) -> int:
        """Add a member and return the offset of its first byte in the tar."""
        member = tarfile.TarInfo(name)
        member.size, member.mtime, member.mode = len(data), 0, 0o444
        self._tar.addfile(member, io.BytesIO(data))
        return int(self._tar.offset) - -(-len(data) // _TAR_BLOCK) * _TAR_BLOCK

    def close(self) -> None:
        """Write the end of the tar; the file stays open."""
        self._tar.close()


def _plane(frame: av.VideoFrame, index: int) -> Planes:
    plane = frame.planes[index]
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
