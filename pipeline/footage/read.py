"""Read a video file as pictures on one time line, and account for every second of it.

    footage = Footage(path, "decode_error")
    for event in footage.events():      # Picture or Lost, in the order of the time line
        ...
    footage.end, footage.lost, footage.packets_ms

Picture k of the time line is what a player shows: the clock is carried on across jumps (`clock`), damage is a span
(`pictures`), and the length is that of the picture: not of the sound, the header or a tag. A file whose index names
pictures that are not there (it is cut off) has them booked as lost at its end.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from pipeline.errors import PermanentError
from pipeline.footage.appended import appended_s
from pipeline.footage.clock import Clock
from pipeline.footage.look import LookReader
from pipeline.footage.packets import read_packets
from pipeline.footage.pictures import Lost, Picture, Pictures
from pipeline.footage.stream import video_stream
from pipeline.media import open_media, reading_media

_INDEXED = "mov"


class Footage:
    """A video file being read; what is not read yet is not known yet."""

    def __init__(self, path: Path, error_class: str = "decode_error", no_stream: str = "no_video") -> None:
        self.path, self.error_class, self.no_stream = path, error_class, no_stream
        self.time_base = Fraction(1, 90000)
        self.looks: LookReader | None = None
        """How its pictures are to be shown; None before the first one."""
        self.end = 0
        """Length of the time line (units of the time base), known at the end."""
        self.missing = 0
        """How much of it the index names that is not in the file."""
        self.lost: list[Lost] = []
        """Spans without pictures that can be trusted."""
        self.jumps = 0
        """Times that the clock was carried on."""
        self.packets_ms = 0
        """Picture time of the packets: a second count, made without the decoder."""

    def events(self) -> Iterator[Picture | Lost]:
        """Yield pictures and losses, in the order of the time line.

        A loss may begin before the last `DELAY` pictures: these are then no longer to be trusted.

        Raises:
            PermanentError: it cannot be read, has no video stream, or nothing in it plays.
        """
        with reading_media(self.error_class), open_media(self.path) as container:
            stream = video_stream(container, self.no_stream)
            stream.codec_context.thread_count = 1
            clock = Clock(container, stream)
            self.time_base = clock.time_base
            pictures = Pictures(stream, clock)
            self.looks = pictures.looks
            for event in _read(container, stream, clock, pictures):
                if isinstance(event, Lost):
                    self.lost.append(event)
                yield event
            if pictures.zero is None:
                said = pictures.error or "there is no key frame in it"
                raise PermanentError(f"no frame could be decoded: {said}", error_class=self.error_class)
            self.end, self.jumps, self.packets_ms = pictures.end, clock.jumps, clock.read.ms
            self.missing = missing(container, stream, clock)
            if self.missing:
                loss = Lost(self.end, self.end + self.missing, "missing")
                self.end = loss.stop
                self.lost.append(loss)
                yield loss
            more = round(appended_s(self.path) / self.time_base) if _INDEXED in container.format.name else 0
            if more:
                loss = Lost(self.end, self.end + more, "appended")
                self.end = loss.stop
                self.lost.append(loss)
                yield loss


def _read(container: Any, stream: Any, clock: Clock, pictures: Pictures) -> Iterator[Picture | Lost]:
    for packet in read_packets(container, stream, clock):
        yield from pictures.feed(packet)
    yield from pictures.finish()


def missing(container: Any, stream: Any, clock: Clock) -> int:
    """Return the time of the pictures that an index names and that are not in the file, in units of the time base."""
    if _INDEXED not in container.format.name or not clock.read.packets:
        return 0
    lacking = (stream.frames or 0) - clock.packets
    mean = Fraction(clock.read.total, clock.read.packets)
    return round(lacking * mean) if lacking > 1 else 0
