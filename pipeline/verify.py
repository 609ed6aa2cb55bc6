"""Whether a fetched file is a video that plays from its first to its last second.

A downloader's "success" says little: an error page named .mp4, a body cut short and a file of zero bytes all passed
for videos when measured. So every file is opened, read through to its last packet, decoded in its first and last
second, and compared with the duration that its header and its source claim.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from pipeline.errors import PermanentError

# by name, so that a playlist or a script named .mp4 cannot make libav open other files and addresses
_DEMUXERS = "mov,mp4,matroska,webm,avi,flv,mpegts,mpeg,mpegvideo,ogg,asf,3gp,h264,hevc,ivf,m4v,dv,gxf,mxf,nut,gif,apng"
_EDGE_S = 1.0
# a header may round, and sound may end after the picture does
_SLACK_S = 1.0


@dataclass(frozen=True)
class Media:
    """What was measured of a file's video stream."""

    codec: str
    width: int
    height: int
    fps: float
    """Frames per second on average (the stream's own rate may vary)."""
    duration_s: float
    """From the first frame shown to the end of the last."""


def verify_media(path: Path, *, claimed_s: float | None = None, tolerance: float = 0.1) -> Media:
    """Return what a file holds, after decoding its first and last second.

    Args:
        path: the file.
        claimed_s: the duration its source claims, in seconds; None where it claims nothing.
        tolerance: share by which header and claim may differ from what is there (at least one second).

    Raises:
        PermanentError: class `invalid_media`, with what is wrong.
    """
    size = path.stat().st_size
    if size == 0:
        raise _invalid("the file has no bytes")
    try:
        with av.open(str(path), options={"format_whitelist": _DEMUXERS, "protocol_whitelist": "file"}) as container:
            return _verified(container, claimed_s, tolerance)
    except av.error.FFmpegError as error:
        text = error.strerror or type(error).__name__
        raise _invalid(f"{_what(path)}libav cannot read it ({text})") from error


def _verified(container: Any, claimed_s: float | None, tolerance: float) -> Media:
    cover = av.stream.Disposition.attached_pic
    streams = [stream for stream in container.streams.video if not stream.disposition & cover]
    if not streams:
        raise _invalid("there is no video stream in it")
    stream = streams[0]
    span = _span(container, stream)
    if span.frames < 2:
        raise _invalid("there is a single picture in it, not a video")
    seconds = float((span.end - span.first) * stream.time_base)
    header_s = _header_seconds(container, stream)
    # a header may count from zero where the first frame comes later; less than it says is a body cut short
    longest = max(seconds, float(span.end * stream.time_base))
    if header_s is not None and header_s - longest > max(tolerance * header_s, _SLACK_S):
        raise _invalid(f"it holds {seconds:.1f} s of video, its header says {header_s:.1f} s")
    if claimed_s is not None and abs(seconds - claimed_s) > max(tolerance * claimed_s, _SLACK_S):
        raise _invalid(f"it holds {seconds:.1f} s of video, its source says {claimed_s:.1f} s")
    _decode_edges(container, stream, span)
    context = stream.codec_context
    rate = span.frames / seconds if seconds > 0 else 0.0
    return Media(context.name, context.width, context.height, round(rate, 3), round(seconds, 3))


@dataclass(frozen=True)
class _Span:
    """Times of a stream as its packets tell them, in its time base."""

    first: int
    last: int
    end: int
    frames: int


def _span(container: Any, stream: Any) -> _Span:
    times: list[int] = []
    end = 0
    step = round(1 / (Fraction(stream.average_rate or 25) * stream.time_base))
    for packet in container.demux(stream):
        # containers as old as AVI tell decoding times only
        time = packet.dts if packet.pts is None else packet.pts
        if time is None or not packet.size or packet.is_discard:
            continue
        if packet.is_corrupt:
            raise _invalid(f"it is cut off or damaged after {len(times)} frames")
        step = packet.duration or step
        times.append(time)
        end = max(end, time + step)
    if not times:
        raise _invalid("there is no frame in its video stream")
    return _Span(min(times), max(times), end, len(times))


def _header_seconds(container: Any, stream: Any) -> float | None:
    if stream.duration:
        return float(stream.duration * stream.time_base)
    # the container's covers all streams: only where there is no other is it the picture's
    if container.duration and len(container.streams) == 1:
        return float(container.duration / av.time_base)
    return None


def _decode_edges(container: Any, stream: Any, span: _Span) -> None:
    """Decode the first and the last second; what cannot be decoded raises."""
    second = round(_EDGE_S / stream.time_base)
    container.seek(span.first, stream=stream, backward=True)
    if not any(True for _ in _frame_times(container, stream, span.first + second)):
        raise _invalid("no frame of its first second can be decoded")
    # some containers (transport streams) are not entered at a key frame: then all of it is decoded
    starts = (max(span.last - second, span.first), span.first)
    if not any(_latest(container, stream, start, span) >= span.last - second for start in starts):
        raise _invalid("no frame of its last second can be decoded")


def _latest(container: Any, stream: Any, start: int, span: _Span) -> int:
    """Return the time of the latest frame decoded from a start; before the first where none is."""
    latest = span.first - 1
    try:
        container.seek(start, stream=stream, backward=True)
        for time in _frame_times(container, stream, span.end):
            latest = max(latest, time)
    except av.error.FFmpegError:
        return span.first - 1
    return latest


def _frame_times(container: Any, stream: Any, stop: int) -> Iterator[int]:
    for frame in container.decode(stream):
        time = frame.dts if frame.pts is None else frame.pts
        if time is not None and time >= stop:
            return
        yield stop if time is None else time


def _what(path: Path) -> str:
    """Return a word on what the bytes look like, where that explains more than libav's error."""
    with path.open("rb") as file:
        start = file.read(512).lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<body")):
        return "it is a web page, not a video: "
    if start.startswith((b"#extm3u", b"ffconcat")):
        return "it is a playlist, not a video: "
    if start.startswith((b"{", b"[")):
        return "it is JSON, not a video: "
    return ""


def _invalid(message: str) -> PermanentError:
    return PermanentError(message, error_class="invalid_media")
