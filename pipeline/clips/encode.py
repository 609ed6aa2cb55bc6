"""Encode a clip's frames: H.264 in mp4, and the strip of sampled frames as JPEG.

One thread, fixed settings and no clock, so that the same frames give the same bytes with the same libraries on every
x86-64 processor (see docs/data.md).
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from PIL import Image

from pipeline.clips.geometry import Frames
from pipeline.clips.samples import Planes, sample_indices
from pipeline.config.clips import ClipConfig

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
    luma, chroma = _empty_planes(frames)
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
            frame = _in_planes(reformatter, picture)
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


def planes_of(frames: Frames) -> tuple[Planes, Planes]:
    """Return the planes that the encoder would be given for frames: luma (T, H, W) and chroma (T, 2, H/2, W/2)."""
    luma, chroma = _empty_planes(frames)
    reformatter = VideoReformatter()
    for index, picture in enumerate(frames):
        frame = _in_planes(reformatter, picture)
        luma[index] = _plane(frame, 0)
        chroma[index, 0], chroma[index, 1] = _plane(frame, 1), _plane(frame, 2)
    return luma, chroma


def encode_frames(frames: Frames) -> bytes:
    """Return the eight sampled frames of a clip, side by side, as one JPEG (quality 90, full colour)."""
    strip = np.concatenate(list(frames[sample_indices(len(frames))]), axis=1)
    buffer = io.BytesIO()
    Image.fromarray(strip).save(buffer, "jpeg", quality=90, subsampling=0)
    return buffer.getvalue()


def _empty_planes(frames: Frames) -> tuple[Planes, Planes]:
    count, height, width, _ = frames.shape
    return np.empty((count, height, width), np.uint8), np.empty((count, 2, height // 2, width // 2), np.uint8)


def _in_planes(reformatter: VideoReformatter, picture: Frames) -> av.VideoFrame:
    return reformatter.reformat(av.VideoFrame.from_ndarray(picture, format="rgb24"), format="yuv420p", threads=1)


def _plane(frame: av.VideoFrame, index: int) -> Planes:
    plane = frame.planes[index]
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
