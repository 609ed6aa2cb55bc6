"""Find bars that are baked into a video (letterbox, pillarbox, both), so that they can be cropped before it is scaled.

A first pass looks at the key frames, one a second at most, and decodes nothing else; where there are too few of them,
at all frames. So the bars are known before the first clip, hold for the whole video, and are the same at every run.

A bar is told from a dark scene by four things. It is dark and even in every picture that was looked at, to the same
level; it has a partner of its size on the other side; and in half of the pictures the line beside it is lit along a
good part of its length, as the edge of a picture is and the edge of a cave or of a starry sky is not. What shows
anything in the bars (subtitles, a logo) is not cropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import VideoReformatter

from pipeline.clips.geometry import Area
from pipeline.footage.stream import video_stream
from pipeline.media import open_media, reading_media

_LEAST_PICTURES, _MOST_PICTURES = 8, 512
_KEY_STEP_S, _STEP_S = Fraction(1), Fraction(1, 4)
"""Least time between two pictures that are looked at: key frames, and where all frames are decoded."""
_DARK = 40
"""Luma of video range up to which a pixel of a bar may lie, as for `letterbox_share`."""
_LIT_NOISE = 0.005
"""Share of a line that may be brighter: what compression leaves beside an edge."""
_EVEN = 2
"""Levels by which the pixels of a bar may differ: from line to line, in time (means), and within a line (deviation)."""
_EDGE_LIT = 0.25
"""Share of the line beside a bar that is lit, in half of the pictures."""
_LEAST_BAR, _SKEW, _LEAST_INNER = 0.01, 0.02, 0.3
"""Shares of a side: the thinnest bar, the difference between partners, the smallest picture between them."""
_SHOWN = 0.01
"""Share of lit pixels from which a picture shows anything."""
Shares = npt.NDArray[np.float32]


@dataclass
class _Lines:
    """What is known of the lines (rows or columns) of the pictures of one size."""

    lit: list[Shares] = field(default_factory=list)
    """Share of lit pixels of each line, a picture each."""
    lowest: Shares | None = None
    """Lowest and highest mean of each line."""
    highest: Shares | None = None
    spread: Shares | None = None
    """Greatest standard deviation within each line."""

    def add(self, luma: npt.NDArray[np.uint8], axis: int) -> None:
        """Take a picture; `axis` runs along the lines."""
        self.lit.append((luma > _DARK).mean(axis=axis, dtype=np.float32))
        means, spread = luma.mean(axis=axis, dtype=np.float32), luma.std(axis=axis, dtype=np.float32)
        self.spread = spread if self.spread is None else np.maximum(self.spread, spread)
        self.lowest = means if self.lowest is None else np.minimum(self.lowest, means)
        self.highest = means if self.highest is None else np.maximum(self.highest, means)

    def bars(self) -> tuple[int, int]:
        """Return how many lines belong to the bar before and after the picture, 0 and 0 where there are none."""
        assert self.lowest is not None
        assert self.highest is not None
        assert self.spread is not None
        lit = np.stack(self.lit)
        picture = np.flatnonzero(lit.max(axis=0) > _LIT_NOISE)
        if not len(picture):
            return 0, 0
        size = lit.shape[1]
        before, after = int(picture[0]), size - 1 - int(picture[-1])
        inner = size - before - after
        if min(before, after) < max(2, _LEAST_BAR * size) or abs(before - after) > max(4, _SKEW * size):
            return 0, 0
        if inner < _LEAST_INNER * size:
            return 0, 0
        # the outer half: compression smears the edge of the picture into the bar
        bar = np.r_[0 : -(-before // 2), size - -(-after // 2) : size]
        if self.highest[bar].max() - self.lowest[bar].min() > _EVEN or self.spread[bar].max() > _EVEN:
            return 0, 0
        shown = lit[lit.mean(axis=1) > _SHOWN]
        strip = max(2, size // 40)
        edges = np.minimum(
            shown[:, before : before + strip].max(axis=1), shown[:, size - after - strip : size - after].max(axis=1)
        )
        enough = len(shown) >= _LEAST_PICTURES and np.count_nonzero(edges >= _EDGE_LIT) * 2 >= len(shown)
        return (before, after) if enough else (0, 0)


def find_bars(path: Path) -> dict[tuple[int, int], Area]:
    """Return the picture between baked-in bars, by the decoded width and height of pictures that have such bars.

    Raises:
        PermanentError: `no_video` or `decode_error`: it cannot be read.
    """
    found = _look(path, keys_only=True)
    if sum(len(rows.lit) for rows, _ in found.values()) < _LEAST_PICTURES:
        found = _look(path, keys_only=False)
    areas = {}
    for (width, height), (rows, columns) in found.items():
        (top, bottom), (left, right) = rows.bars(), columns.bars()
        area = Area(left, top, width - left - right, height - top - bottom)
        if area != Area(0, 0, width, height):
            areas[width, height] = area
    return areas


def _look(path: Path, *, keys_only: bool) -> dict[tuple[int, int], tuple[_Lines, _Lines]]:
    """Return what the pictures of each size show, rows and columns."""
    found: dict[tuple[int, int], tuple[_Lines, _Lines]] = {}
    reformatter = VideoReformatter()
    step = _KEY_STEP_S if keys_only else _STEP_S
    last: Fraction | None = None
    for frame in _frames(path, keys_only):
        if frame.is_corrupt or frame.pts is None:
            continue
        time = frame.pts * Fraction(frame.time_base or 0)
        if last is not None and 0 <= time - last < step:
            continue
        last = time
        rows, columns = found.setdefault((frame.width, frame.height), (_Lines(), _Lines()))
        luma = _luma(reformatter, frame)
        rows.add(luma, axis=1)
        columns.add(luma, axis=0)
        if len(rows.lit) >= _MOST_PICTURES:
            # a long video: every second one will do, and memory stays bounded
            rows.lit, columns.lit, step = rows.lit[::2], columns.lit[::2], 2 * step
    return found


def _frames(path: Path, keys_only: bool) -> Iterator[Any]:
    """Yield the frames of the video, or only its key frames, past errors."""
    with reading_media("decode_error"), open_media(path) as container:
        stream = video_stream(container, "no_video")
        context = stream.codec_context
        context.thread_count = 1
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                if packet.size and keys_only and not packet.is_keyframe:
                    continue
                yield from packet.decode()
            except av.error.FFmpegError as error:
                if isinstance(error, MemoryError):
                    raise


def _luma(reformatter: VideoReformatter, frame: av.VideoFrame) -> npt.NDArray[np.uint8]:
    """Return the luma of a frame (H, W); what has another format is converted."""
    frame = frame if frame.format.name in ("yuv420p", "yuvj420p") else reformatter.reformat(frame, format="yuv420p")
    plane = frame.planes[0]
    return np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
