"""Verify that a fetched file is a video, and that it is as long as its source and its header say.

A downloader's "success" says little: error pages named .mp4, truncated bodies and files of zero bytes all passed as
videos when measured. So every file is opened, read to its last packet, decoded until its first picture, and compared
with the duration that its header and its source claim. A file on one's own disk is not compared: what plays of it is
cut (see `pipeline.footage`). One that lasts too long is refused as soon as the times of its packets say so, whatever
its header says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from pipeline.errors import PermanentError, TooLongError
from pipeline.footage.clock import Clock
from pipeline.footage.packets import read_packets
from pipeline.footage.pictures import Picture, Pictures
from pipeline.footage.read import Footage
from pipeline.footage.stream import video_stream
from pipeline.media import open_media, reading_media

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
    path: Path,
    *,
    claimed_s: float | None = None,
    tolerance: float = 0.1,
    most_s: float = math.inf,
    own_file: bool = False,
) -> Media:
    """Return the measurements of a file in which something plays.

    Args:
        path: the file.
        claimed_s: the duration that its source claims, in seconds; None where it claims none.
        tolerance: share by which header and claim may differ from what is there (at least one second).
        most_s: the longest that it may last, in seconds.
        own_file: whether it lies on one's own disk: no part of it was lost on the way, so no claim is compared.

    Raises:
        PermanentError: class `invalid_media`, with what is wrong.
        TooLongError: it lasts longer than `most_s`.
        MemoryError: it needs more memory than there is.
    """
    size = path.stat().st_size
    if size == 0:
        raise _invalid("the file has no bytes")
    with reading_media("invalid_media", explain=lambda: _what(path)), open_media(path) as container:
        stream = video_stream(container, "invalid_media")
        media, end_s, doubted = _measured(container, stream, most_s)
        if not own_file:
            _compare(container, stream, media.duration_s, end_s, claimed_s, tolerance)
    if doubted and not own_file:
        _decode_all(path, media.duration_s, tolerance)
    return media


def _measured(container: Any, stream: Any, most_s: float) -> tuple[Media, float, bool]:
    """Read every packet, and decode until the first picture.

    Returns what was found, the file's own time at its end in seconds, and whether the container is damaged somewhere.

    Raises:
        PermanentError: nothing in it plays.
        TooLongError: the packets read so far last longer than `most_s` seconds.
    """
    context = stream.codec_context
    # threads double the time on small pictures, and the loop filter does not matter for finding a picture
    context.thread_type, context.thread_count = "NONE", 1
    context.options = {"skip_loop_filter": "all"}
    clock = Clock(container, stream)
    pictures = Pictures(stream, clock)
    most = most_s / clock.time_base
    plays = False
    for packet in read_packets(container, stream, clock):
        if not plays:
            plays = any(isinstance(event, Picture) for event in pictures.feed(packet))
        if clock.end is not None and clock.first is not None and clock.end - clock.first > most:
            raise TooLongError(float((clock.end - clock.first) * clock.time_base), most_s)
    if not clock.packets:
        raise _invalid("there is no frame in its video stream")
    if clock.packets == 1:
        raise _invalid("there is a single picture in it, not a video")
    if not plays and not any(isinstance(event, Picture) for event in pictures.finish()):
        raise _invalid(f"no frame of it can be decoded: {pictures.error or 'there is no key frame in it'}")
    first, end = clock.first or 0, clock.end
    units = clock.read.total if end is None else end - first
    seconds = float(units * clock.time_base)
    rate = clock.read.packets / seconds if seconds > 0 else 0.0
    media = Media(context.name, context.width, context.height, round(rate, 3), round(seconds, 3))
    return media, float((end or 0) * clock.time_base), bool(clock.doubts)


def _decode_all(path: Path, seconds: float, tolerance: float) -> None:
    """Raise where a damaged container lost more than its source may be wrong by: a part was cut on the way."""
    footage = Footage(path, "invalid_media")
    for _ in footage.events():
        pass
    lost = sum(lost.stop - lost.start for lost in footage.lost if lost.reason in {"damaged", "gap"})
    lost_s = float(lost * footage.time_base)
    if lost_s > tolerance * seconds:
        raise _invalid(f"it is cut off or damaged: {lost_s:.1f} s of its {seconds:.1f} s cannot be decoded")


def _compare(
    container: Any, stream: Any, seconds: float, end_s: float, claimed_s: float | None, tolerance: float
) -> None:
    """Raise where the header or the source claims more or less than there is: a body that was cut on the way."""
    # a header may count from zero although the first frame comes later; a shorter video is a truncated body
    longest = max(seconds, end_s)
    header_s = _header_seconds(container, stream)
    if header_s is not None and header_s - longest > max(tolerance * header_s, _SLACK_S):
        raise _invalid(f"it holds {seconds:.1f} s of video, its header says {header_s:.1f} s")
    lengths = (seconds, longest) if _counts_from_zero(container) else (seconds,)
    if claimed_s is not None and min(abs(length - claimed_s) for length in lengths) > max(
        tolerance * claimed_s, _SLACK_S
    ):
        raise _invalid(f"it holds {seconds:.1f} s of video, its source says {claimed_s:.1f} s")


def _header_seconds(container: Any, stream: Any) -> float | None:
    if stream.duration:
        return float(stream.duration * stream.time_base)
    # the container's duration covers all streams: it is the picture's only where there is no other stream
    if container.duration and len(container.streams) == 1:
        return float(container.duration / av.time_base)
    return None


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
