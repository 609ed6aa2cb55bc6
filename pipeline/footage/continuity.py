"""Find packets that are missing before a packet: a hole in time in a stream whose rate is steady, or that is damaged.

A demuxer that meets damaged bytes goes on at the next place that it understands, and says nothing. What is missing is a
hole in the times of decoding. Where the rate varies, a hole is a picture that stands still; where it was steady for a
while, or beside a place that the container itself doubts, pictures are missing.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import Any

from pipeline.footage.clock import Clock
from pipeline.footage.h264 import numbering

_STEADY = 100
"""Equal steps after which a rate is steady."""
# Matroska stores no times of decoding: what stands for them shows a hole some pictures late
_LOOK_BACK = 20


class Continuity:
    """The steps between the packets of one stream."""

    def __init__(self, context: Any, clock: Clock) -> None:
        self.clock = clock
        self._codec: str = context.name
        self._numbering = numbering(context.extradata) if context.name == "h264" else None
        self._packets: deque[Any] = deque(maxlen=_LOOK_BACK)
        self._last_dts: int | None = None
        self._step = clock.usual
        self._missing = 0
        self.complete = False
        """Whether the last hole is a picture that stands still: the numbers of its pictures go on."""
        self._steady = self._count = self._holes = 0

    def hole(self, packet: Any) -> int | None:
        """Return since when pictures are missing before the next packet; None where none are."""
        dts: int | None = packet.dts
        last, self._last_dts = self._last_dts, dts
        self._packets.append(packet)
        self._count += 1
        if dts is None or last is None:
            return None
        step = dts - last
        if abs(step - self._step) <= max(1, self._step // 8):
            self._steady += 1
            return None
        doubts = self.clock.doubts
        doubted = bool(doubts) and doubts[-1] in {packet.pts, self._packets[-2].pts}
        # a steady rate with holes all the time is none
        steady = self._steady >= _STEADY and self._holes <= 2 + self._count // 120
        if step > 1.6 * self._step and (steady or doubted):
            self._holes += 1
            self._missing = round(step / self._step) - 1
            return last + self._step
        self._step, self._steady = max(step, 1), 0
        return None

    def lost_since(self, hole: int) -> int | None:
        """Return since when pictures refer to missing ones, of which some belong into a hole; None where none do."""
        packet, self.complete = self._packets[-1], False
        if packet.is_keyframe or self._codec == "hevc":  # the decoder of HEVC says so itself
            return None
        if self._numbering is None or self._missing >= self._numbering.count // 2:
            return hole
        for before, after in pairwise(self._packets):
            lost = self._numbering.lost_between(bytes(before), bytes(after))
            if lost is None:
                return hole
            if lost:
                return min(hole, hole if before.dts is None else before.dts + self._step)
        self.complete = True
        return None
