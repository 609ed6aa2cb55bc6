"""Add up the picture time of a stream from its packets, whatever a decoder makes of them."""

from __future__ import annotations

from fractions import Fraction


class PacketTime:
    """The picture time of a stream, added up from the steps between its packets in the order of the file.

    This is a second count beside the time line of the pictures that were shown: see `pipeline.inspect.conservation`.
    """

    def __init__(self, time_base: Fraction, longest_step: int) -> None:
        self.time_base = time_base
        self.longest_step = longest_step
        self.packets = 0
        self.total = 0
        """In units of the time base."""
        self._last: int | None = None

    def add(self, time: int | None, duration: int) -> None:
        """Count one packet by its decoding time as the file says it, and how long its picture lasts."""
        step = None if time is None or self._last is None else time - self._last
        self.packets += 1
        # a clock that jumps or stands still says nothing: then a picture lasts as long as it says itself
        self.total += step if step is not None and 0 < step <= self.longest_step else duration
        self._last = time if time is not None else self._last

    @property
    def ms(self) -> int:
        """Picture time in ms."""
        return round(self.total * self.time_base * 1000)
