"""Write a path of a game as a film that other programs play: MP4, or GIF.

Pictures are enlarged by whole pixels, because players would blur them.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np
from PIL import Image

from models.evaluation.pictures import frame_of

MAX_FRAMES = {"mp4": 3000, "gif": 600}
"""Most frames of a recording, by its kind; of a longer path the last ones are recorded."""
MEDIA_TYPES = {"mp4": "video/mp4", "gif": "image/gif"}
_WIDTH = {"mp4": 640, "gif": 320}
_SHORTEST_GIF_FRAME_MS = 20  # browsers show shorter ones at 100 ms
_PALETTE_FRAMES = 16


def film_of(pngs: Sequence[bytes], kind: str, fps: float) -> bytes:
    """Return the bytes of a film.

    Args:
        pngs: its frames, all of one size.
        kind: `mp4` or `gif`.
        fps: frames per second.
    """
    return _mp4(pngs, fps) if kind == "mp4" else _gif(pngs, fps)


def _mp4(pngs: Sequence[bytes], fps: float) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as film:
        stream = film.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
        # 4:2:0, which every player shows, needs even sizes
        first = _enlarged(pngs[0], "mp4")
        stream.height, stream.width = (size + size % 2 for size in first.shape[:2])
        stream.pix_fmt, stream.options = "yuv420p", {"crf": "16", "preset": "veryfast"}
        stream.thread_count = 1
        for png in pngs:
            frame = _enlarged(png, "mp4")
            padded = np.pad(frame, [(0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)], "edge")
            for packet in stream.encode(av.VideoFrame.from_ndarray(padded, "rgb24")):
                film.mux(packet)
        for packet in stream.encode():
            film.mux(packet)
    return buffer.getvalue()


def _gif(pngs: Sequence[bytes], fps: float) -> bytes:
    # one palette for all frames: a palette per frame would flicker
    spread = np.linspace(0, len(pngs) - 1, min(len(pngs), _PALETTE_FRAMES)).astype(int)
    strip = Image.fromarray(np.concatenate([frame_of(pngs[index]) for index in spread]))
    palette = strip.quantize(256, method=Image.Quantize.MEDIANCUT)

    def drawn(png: bytes) -> Image.Image:
        return Image.fromarray(_enlarged(png, "gif")).quantize(palette=palette, dither=Image.Dither.NONE)

    buffer = io.BytesIO()
    pause = max(_SHORTEST_GIF_FRAME_MS, round(1000 / fps))
    drawn(pngs[0]).save(
        buffer, "GIF", save_all=True, append_images=(drawn(png) for png in pngs[1:]), duration=pause, loop=0, disposal=1
    )
    return buffer.getvalue()


def _enlarged(png: bytes, kind: str) -> np.ndarray:
    frame = frame_of(png)
    times = max(1, _WIDTH[kind] // frame.shape[1])
    return frame.repeat(times, 0).repeat(times, 1)
