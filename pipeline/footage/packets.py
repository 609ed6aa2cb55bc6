"""Read the packets of a stream past errors of the container, with times on one time line."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import av

from pipeline.footage.clock import Clock

# a container that breaks this often without a packet between has nothing more to give
_MOST_ERRORS = 100


def read_packets(container: Any, stream: Any, clock: Clock) -> Iterator[Any]:
    """Yield the packets of a stream, their times placed on the time line.

    Errors of the container are passed over: `clock.suspect` says that the next packet comes after one. Empty packets
    are left out: a recorder writes them for a picture that it dropped, and a decoder takes them for the end.
    """
    errors = 0
    while True:
        try:
            for packet in container.demux(stream):
                if packet.size:
                    errors = 0
                    clock.place(packet)
                    yield packet
        except av.error.FFmpegError as error:
            if isinstance(error, MemoryError):
                raise
            clock.suspect = True
            errors += 1
            if errors > _MOST_ERRORS:
                return
        else:
            return
