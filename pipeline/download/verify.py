"""Verify that a fetched file is a video that plays from its first to its last second.

A downloader's "success" says little: error pages named .mp4, truncated bodies and files of zero bytes all passed as
videos when measured. So every file is opened, read to its last packet, decoded in its first and last second, and
compared with the duration that its header and its source claim. One that lasts too long is refused as soon as the times
of its packets say so, whatever its header says, and before more than its first second is decoded.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from pipeline.errors import PermanentError, TooLongError
from pipeline.media import open_media, reading_media, video_stream

_EDGE_S = 1.0
# a header may round, and sound may end after the picture does
_SLACK_S = 1.0

# boxes that an MP4 or QuickTime file may begin with
_BOXES = {b"ftyp", b"mdat", b"wide", b"free", b"skip", b"pnot", b"uuid", b"styp"}
_MOST_BOXES = 10_000
_UNFINISHED = (
    "it was not finished or not closed by its recorder, or its end is cut off (its moov atom is missing): copy it "
    "again once the recording is closed. "
)


@dataclass(frozen=True)
class Media:
    """Measurements of a file's video stream."""

    codec: str
    width: int
    height: int
    fps: float
    """Frames per second on average (the stream's own rate may vary)."""
    duration_s: float
    """From the first frame shown to the end of the last."""


def verify_media(
    path: Path, *, claimed_s: float | None = None, tolerance: float = 0.1, most_s: float = math.inf
) -> Media:
    """Return the measurements of a file, after decoding its first and last second.

    Args:
        path: the file.
        claimed_s: the duration that its source claims, in seconds; None where it claims none.
        tolerance: share by which header and claim may differ from what is there (at least one second).
        most_s: the longest that it may last, in seconds.

    Raises:
        PermanentError: class `invalid_media`, with what is wrong.
        TooLongError: it lasts longer than `most_s`.
        MemoryError: it needs more memory than there is.
    """
    size = path.stat().st_size
    if size == 0:
        raise _invalid("the file has no bytes")
    with reading_media("invalid_media", explain=lambda: _what(path)), open_media(path) as container:
        return _verified(container, claimed_s, tolerance, most_s)


def _verified(container: Any, claimed_s: float | None, tolerance: float, most_s: float) -> Media:
    stream = video_stream(container, "invalid_media")
    # threads double the time on small pictures, and the loop filter does not matter for finding damage
    stream.codec_context.thread_type, stream.codec_context.thread_count = "NONE", 1
    stream.codec_context.options = {"skip_loop_filter": "all"}
    span = _span(container, stream, most_s)
    if span.frames < 2:
        raise _invalid("there is a single picture in it, not a video")
    seconds = float((span.end - span.first) * stream.time_base)
    # a header may count from zero although the first frame comes later; a shorter video is a truncated body
    longest = max(seconds, float(span.end * stream.time_base))
    header_s = _header_seconds(container, stream)
    if header_s is not None and header_s - longest > max(tolerance * header_s, _SLACK_S):
        raise _invalid(f"it holds {seconds:.1f} s of video, its header says {header_s:.1f} s")
    lengths = (seconds, longest) if _counts_from_zero(container) else (seconds,)
    if claimed_s is not None and min(abs(length - claimed_s) for length in lengths) > max(
        tolerance * claimed_s, _SLACK_S
    ):
        raise _invalid(f"it holds {seconds:.1f} s of video, its source says {claimed_s:.1f} s")
    if not span.opens:
        raise _invalid("no frame of its first second can be decoded")
    if not _ends(container, stream, span):
        raise _invalid("no frame of its last second can be decoded")
    context = stream.codec_context
    rate = span.frames / seconds if seconds > 0 else 0.0
    return Media(context.name, context.width, context.height, round(rate, 3), round(seconds, 3))


@dataclass(frozen=True)
class _Span:
    """The extent of a stream, read from its packets; times in its time base."""

    first: int
    last: int
    end: int
    frames: int
    opens: bool
    """Whether an undamaged frame of the first second could be decoded."""
    start: int
    """Where to seek for the beginning."""
    entry: int
    """Where to seek for the last second: the last key frame at least a second before the end."""


def _span(container: Any, stream: Any, most_s: float) -> _Span:
    """Read every packet; decode those of the first second.

    Raises:
        TooLongError: the packets read so far last longer than `most_s` seconds.
    """
    first = last = end = start = entry = None
    keys: deque[tuple[int, int]] = deque()
    frames = 0
    second = round(_EDGE_S / stream.time_base)
    step = round(1 / (Fraction(stream.average_rate or 25) * stream.time_base))
    head = _Edge()
    most = most_s / stream.time_base
    # half of the cost of a small file is in this loop: no call in it that is not needed
    for packet in container.demux(stream):
        time = packet.pts
        if time is None:
            time = packet.dts
        if first is None and time is not None:
            head = _Edge(time, time + second)
        if not head.passed:
            head.see(packet.decode())
        if time is None or not packet.size or packet.is_discard:
            continue
        if packet.is_corrupt:
            raise _invalid(f"it is cut off or damaged after {frames} frames")
        frames += 1
        step = packet.duration or step
        if first is None or last is None or end is None:
            first, last, end, start = time, time, time, _place(container, packet)
        if time < first:
            first = time
        if time > last:
            last = time
        if time + step > end:
            end = time + step
        if end - first > most:
            raise TooLongError(float((end - first) * stream.time_base), most_s)
        if packet.is_keyframe:
            keys.append((time, _place(container, packet)))
        while keys and keys[0][0] <= last - second:
            entry = keys.popleft()[1]
    if first is None or last is None or end is None or start is None:
        raise _invalid("there is no frame in its video stream")
    return _Span(first, last, end, frames, head.sound, start, start if entry is None else entry)


def _header_seconds(container: Any, stream: Any) -> float | None:
    if stream.duration:
        return float(stream.duration * stream.time_base)
    # the container's duration covers all streams: it is the picture's only where there is no other stream
    if container.duration and len(container.streams) == 1:
        return float(container.duration / av.time_base)
    return None


def _ends(container: Any, stream: Any, span: _Span) -> bool:
    """Tell whether an undamaged frame of the last second can be decoded."""
    second = round(_EDGE_S / stream.time_base)
    # in a transport stream a seek may miss the key frame: then all of it is decoded
    for place in dict.fromkeys((span.entry, span.start)):
        tail = _Edge(max(span.last - second, span.first), span.end)
        with _tried():
            container.seek(place, stream=stream, backward=True)
            for packet in container.demux(stream):
                time = _time(packet)
                # up to the last second, only the frames that others refer to
                early = time is not None and time < tail.start
                stream.codec_context.skip_frame = "NONREF" if early else "DEFAULT"
                tail.see(packet.decode())
            if tail.sound:
                return True
    return False


@contextmanager
def _tried() -> Iterator[None]:
    """Let libav fail to find or decode something; a lack of memory is no such failure."""
    try:
        yield
    except av.error.FFmpegError as error:
        if isinstance(error, MemoryError):
            raise


@dataclass
class _Edge:
    """A span of time that must be decoded, in the stream's time base."""

    start: int = 0
    stop: int = 0
    sound: bool = False
    """Whether an undamaged frame of it was decoded."""
    passed: bool = False
    """Whether a frame after it was."""

    def see(self, frames: Iterable[Any]) -> None:
        """Look at frames as the decoder gives them, in the order of showing."""
        for frame in frames:
            time = _time(frame)
            if time is None:
                continue
            self.passed |= time >= self.stop
            self.sound |= self.start <= time < self.stop and not frame.is_corrupt


def _time(item: Any) -> int | None:
    """Return when a packet or frame is shown; old containers such as AVI have decoding times only."""
    time: int | None = item.dts if item.pts is None else item.pts
    return time


def _place(container: Any, packet: Any) -> int:
    """Return the time by which a seek finds a packet; MPEG's own containers are searched by decoding time."""
    by_decoding = packet.pts is None or (packet.dts is not None and container.format.name in {"mpegts", "mpeg"})
    place: int = packet.dts if by_decoding else packet.pts
    return place


def _counts_from_zero(container: Any) -> bool:
    """Whether durations of this kind of file begin at zero, however late its first frame is."""
    return "matroska" in container.format.name


def _what(path: Path) -> str:
    """Return what the bytes look like, where that explains more than libav's error; else ""."""
    with path.open("rb") as file:
        start = file.read(512).lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<body")):
        return "it is a web page, not a video: "
    if start.startswith((b"#extm3u", b"ffconcat")):
        return "it is a playlist, not a video: "
    if start.startswith((b"{", b"[")):
        return "it is JSON, not a video: "
    return _UNFINISHED if _lacks_moov(path) else ""


def _lacks_moov(path: Path) -> bool:
    """Tell whether it is an MP4 or QuickTime file without the atom that a recorder writes last."""
    size = path.stat().st_size
    place = 0
    with path.open("rb") as file:
        for _ in range(_MOST_BOXES):
            file.seek(place)
            header = file.read(16)
            length, kind = int.from_bytes(header[:4]), header[4:8]
            if kind == b"moov" or (not place and kind not in _BOXES):
                return False
            if length == 1:  # the real length follows
                length = int.from_bytes(header[8:16])
            place += length
            if length < 8 or place >= size:  # 0: up to the end of the file
                return True
    return False


def _invalid(message: str) -> PermanentError:
    return PermanentError(message, error_class="invalid_media")
