"""Find packets that are missing before a packet: a hole in the times of decoding, with evidence that it is a loss.

A demuxer that meets damaged bytes goes on at the next place that it understands, and says nothing. What is missing is a
hole in the times of decoding; but a picture that stands still is such a hole too, where the rate varies. What tells
them apart: the container doubts a packet there or passed bytes over (`Clock.doubts`), the numbers that H.264 gives its
pictures do not go on, or what comes after it is damaged.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import Any

from pipeline.footage.clock import Clock
from pipeline.footage.h264 import numbering

# Matroska stores no times of decoding: what stands for them shows a hole some pictures late
_LOOK_BACK = 20
# the first slice comes after parameter sets and messages
_LONGEST_START = 1 << 16


class Continuity:
    """The steps between the packets of one stream."""

    def __init__(self, context: Any, clock: Clock) -> None:
        self.clock = clock
        self._codec: str = context.name
        self._numbering = numbering(context.extradata) if context.name == "h264" else None
        self._packets: deque[Any] = deque(maxlen=_LOOK_BACK)
        self._unchecked = 0
        self._last_dts: int | None = None
        self._step = clock.usual
        self._hole: int | None = None
        self._since_hole = 0

    def lost_before(self, packet: Any) -> int | None:
        """Return since when pictures are lost to which the next packet, or one after it, refers; None for none."""
        dts: int | None = packet.dts
        last, self._last_dts = self._last_dts, dts
        self._packets.append(packet)
        self._since_hole += 1
        self._unchecked = min(self._unchecked + 1, _LOOK_BACK)
        if dts is None or last is None:
            return None
        step, usual = dts - last, self._step
        self._step = max(step, 1)
        if step * 5 <= usual * 8:
            return None
        hole, missing = last + usual, step // usual - 1
        self._hole, self._since_hole = hole, 0
        doubts = self.clock.doubts
        doubted = bool(doubts) and any(doubts[-1] == known.pts for known in self._packets)
        broken = self._numbers_broken()
        if packet.is_keyframe or self._codec == "hevc":  # the decoder of HEVC says so itself
            return None
        if broken is not None:
            return min(hole, broken)
        # numbers begin again: many missing pictures may hide in them
        known = self._numbering is not None and missing < self._numbering.count // 2
        return hole if doubted and not known else None

    @property
    def late_hole(self) -> int | None:
        """Since when pictures are missing a few packets ago, if any are: with damage here, they are a loss too."""
        return self._hole if self._since_hole < _LOOK_BACK else None

    def _numbers_broken(self) -> int | None:
        """Return after which packet the numbers of H.264 do not go on, among those that were not looked at yet."""
        if self._numbering is None:
            return None
        recent = list(self._packets)[-self._unchecked - 1 :]
        self._unchecked = 0
        for before, after in pairwise(recent):
            if self._numbering.lost_between(_start_of(before), _start_of(after)):
                return self._last_dts if before.dts is None else before.dts
        return None


def _start_of(packet: Any) -> bytes:
    return bytes(memoryview(packet)[:_LONGEST_START])
