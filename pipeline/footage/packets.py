"""Read the packets of a stream past errors of the container, with times on one time line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av

from pipeline.footage.clock import Clock

# a container that breaks this often without a packet between has nothing more to give
_MOST_ERRORS = 100
_GAPLESS = {"matroska,webm", "flv"}
# of a cluster with its first block: 26 bytes
_LONGEST_HEADER = 128


def read_packets(container: Any, stream: Any, clock: Clock) -> Iterator[Any]:
    """Yield the packets of a stream, their times placed on the time line.

    Errors of the container are passed over: `clock.suspect` says that the next packet comes after one, or after bytes
    that the demuxer did not understand. Empty packets are left out: a recorder writes them for a picture that it
    dropped, and a decoder takes them for the end.
    """
    errors = 0
    # these store packet after packet, of all streams: what lies between two is bytes that were passed over
    gapless = container.format.name in _GAPLESS
    end: int | None = None
    while True:
        try:
            for packet in container.demux() if gapless else container.demux(stream):
                if not packet.size:
                    continue
                if gapless and packet.pos is not None and packet.pos >= 0:
                    if end is not None and packet.pos - end > _LONGEST_HEADER:
                        clock.suspect = True
                    end = packet.pos + packet.size
                    if packet.stream_index != stream.index:
                        continue
                errors = 0
                yield clock.place(packet)
        except IndexError:
            # PyAV raises it at the end of a file in which a stream appeared that the header did not announce
            return
        except av.error.FFmpegError as error:
            if isinstance(error, MemoryError):
                raise
            clock.suspect = True
            errors += 1
            if errors > _MOST_ERRORS:
                return
        else:
            return
