"""Add up the picture time of a stream from its packets, whatever a decoder makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

# packets of one time in a row, after which the clock stands still
_MOST_AT_ONCE = 16


class PacketTime:
    """The picture time of a stream, added up from the steps between its packets in the order of the file.

    This is a second count beside the time line of the pictures that were shown: see `pipeline.inspect.conservation`.
    """

    def __init__(self, time_base: Fraction, back: Mapping[str, int], longest_step: int) -> None:
        self.time_base = time_base
        self.back, self.longest_step = back, longest_step
        self.packets = 0
        self.total = 0
        """In units of the time base."""
        self._latest: int | None = None
        self._standing = 0
        self._kind = ""

    def add(self, time: int | None, duration: int, kind: str = "dts") -> None:
        """Count one packet by its decoding time as the file says it, and how long its picture lasts.

        Args:
            time: when it is decoded, or when it is shown where that alone is known.
            duration: of its picture.
            kind: which time it is. The two are not compared: a demuxer guesses the first times of decoding.
        """
        self.packets += 1
        changed, self._kind = kind != self._kind, kind
        if time is None or self._latest is None or changed:
            self.total += duration
            self._latest = time if time is not None else self._latest
            return
        step = time - self._latest
        self._standing = 0 if step else self._standing + 1
        if 0 < step <= self.longest_step:
            self.total += step
        elif -self.back[kind] <= step <= 0 and self._standing < _MOST_AT_ONCE:
            return  # beside or before a picture that is counted already
        else:
            self.total += duration  # the clock jumps or stands still: a picture lasts as long as it says itself
        self._latest = time

    @property
    def ms(self) -> int:
        """Picture time in ms."""
        return round(self.total * self.time_base * 1000)
