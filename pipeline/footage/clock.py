"""Place packets on one time line: a clock that jumps or starts again is carried on, as a player does.

Recorders start their clock again when they reconnect, joined files each begin at zero, and a transport stream's clock
ends at 2^33. The jump is found in the decoding times, which rise in the order of the file, and all times after it are
moved. So the decoder gives frames whose times rise too.

| step from packet to packet | what it is |
|---|---|
| back by more than a few pictures | the clock starts again: the next picture follows the last one |
| forward by more than 10 s (transport and program streams) or an hour (others) | a jump: likewise |
| no step, 16 times in a row | a clock that stands still: pictures follow each other at the usual rate |
| otherwise | time passes: a picture that stands still |
"""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from typing import Any

import av

from pipeline.footage.packet_time import PacketTime

LONGEST_STILL_S = 600
"""A picture that stands still for longer is booked as lost."""
LONGEST_STEP_S = 3600
"""A longer step from packet to packet is a jump of the clock."""
LONGEST_STEP_OF_BROADCAST_S = 10
"""The same for transport and program streams, whose format lets clocks jump (ffmpeg's own limit)."""
_LONGEST_REORDER_S = 10
"""A picture is not shown longer than this after it was decoded: otherwise its time is wrong."""
_LONGEST_USUAL_S = Fraction(1, 2)
_MOST_STANDING = 16
# beyond this, times cannot be moved within 64 bits
_WILD = 1 << 60
_MOST_DOUBTS = 1000
# it stores no times of decoding, and what libav guesses goes back and forth after a joint
_GUESSES_DTS = "matroska,webm"
_TS_DISCONT = 0x0200  # AVFMT_TS_DISCONT


class Clock:
    """The time line of one stream; all values are in units of its time base."""

    def __init__(self, container: Any, stream: Any) -> None:
        self.time_base: Fraction = stream.time_base or Fraction(1, 90000)
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        # a stream may claim any rate: one that is too low would make a clock that starts again look like reordering
        self.usual = max(1, round(min(1 / rate, _LONGEST_USUAL_S) / self.time_base))
        """The usual time from picture to picture."""
        broadcast = container.format.flags & _TS_DISCONT
        longest_s = LONGEST_STEP_OF_BROADCAST_S if broadcast else LONGEST_STEP_S
        self.longest_step = int(longest_s / self.time_base)
        self.longest_duration = int(LONGEST_STILL_S / self.time_base)
        self.packets = 0
        """Packets read, those that an edit list takes away included."""
        self.first: int | None = None
        """When the first picture is shown, as far as packets were read."""
        self.last: int | None = None
        """When the last picture is shown, as far as packets were read."""
        self.end: int | None = None
        """When the last picture leaves the screen, as far as packets were read."""
        self.jumps = 0
        """Times that the clock was carried on."""
        self.suspect = False
        """Whether the container broke or left out bytes before the next packet, or doubts the last one."""
        self.doubts: deque[int] = deque(maxlen=_MOST_DOUBTS)
        """When pictures are shown beside which the container is damaged: a gap there is a loss, not a still picture."""
        self._longest_reorder = int(_LONGEST_REORDER_S / self.time_base)
        # times of showing go back and forth by the pictures that are decoded early
        self._back = {"dts": round(2.5 * self.usual), "pts": max(round(1 / self.time_base), 16 * self.usual)}
        self.read = PacketTime(self.time_base, self._back, self.longest_step)
        self._times_of_decoding = container.format.name != _GUESSES_DTS
        self._offset = 0
        self._last: dict[str, int] = {}
        self._standing = 0
        self._began_again = False

    def place(self, packet: Any) -> Any:
        """Move the times of the next packet to the time line, extend it, and return the packet."""
        self.packets += 1
        pts, dts = packet.pts, packet.dts
        jumps = self.jumps
        if dts is not None and pts is not None and abs(pts - dts) > self._longest_reorder:
            packet.pts = pts = dts
        decoded = dts is not None and (pts is None or self._times_of_decoding)
        kind, time = ("dts", dts) if decoded else ("pts", pts)
        last = self._last.get(kind)
        offset = 0 if time is None else self._carried(kind, time)
        # libav discards a fragment of MP4 whose clock began again; what an edit list takes away makes no jump
        self._began_again = packet.is_discard and (self._began_again or self.jumps > jumps)
        if self._began_again:
            packet = _not_discarded(packet)
        if not packet.is_discard:
            self.read.add(time, self.lasts(packet.duration), kind)
        if time is None:
            return packet
        suspect, self.suspect = self.suspect or packet.is_corrupt, packet.is_corrupt
        joint = suspect or self.jumps > jumps or (decoded and last is not None and time + offset <= last)
        if joint and packet.is_keyframe and pts is not None:
            offset = self._after_all_shown(pts, offset, kind)
        if offset:
            if dts is not None:
                # None: `Continuity` would take what libav guesses after a joint for holes
                packet.dts = dts + offset if self._times_of_decoding or not self.jumps else None
            if pts is not None:
                packet.pts = pts = pts + offset
        shown = time + offset if pts is None else pts
        if suspect:
            self.doubts.append(shown)
        if packet.is_discard:
            return packet
        if self.first is None or shown < self.first:
            self.first = shown
        if self.last is None or shown >= self.last:
            # packets carry the step to the next one in the file, which is another picture than the next one shown
            self.last, self.end = shown, shown + self.lasts(packet.duration)
        return packet

    def lasts(self, duration: int | None) -> int:
        """Return how long a picture stays on the screen that says so itself (None or 0 where it does not)."""
        return min(duration or self.usual, self.longest_duration)

    def _after_all_shown(self, pts: int, offset: int, kind: str) -> int:
        """Return the offset with which a key frame at a joint is shown after all that was decoded before it.

        Segments of transport streams may overlap by the few pictures that are decoded early, and Matroska stores times
        of showing alone.
        """
        if self.last is None or pts + offset > self.last:
            return offset
        back = self.last + self.usual - pts - offset
        self._offset += back
        self._last[kind] += back
        return self._offset

    def _carried(self, kind: str, time: int) -> int:
        """Return by how much the times of a packet are moved."""
        # demuxers guess the first times of decoding: each kind of time is compared with its own kind alone
        last, placed = self._last.get(kind), time + self._offset
        self._last[kind] = placed
        if last is None:
            if abs(placed) > _WILD:
                self._offset -= placed
                self._last = {kind: 0}
            return self._offset
        step = placed - last
        self._standing = self._standing + 1 if step == 0 else 0
        if -self._back[kind] <= step <= self.longest_step and self._standing < _MOST_STANDING:
            return self._offset
        self.jumps += 1
        self._offset += self.usual - step
        self._last = {kind: last + self.usual}
        return self._offset


def _not_discarded(packet: Any) -> Any:
    """Return a copy of a packet without the mark by which a decoder drops its picture."""
    copy: Any = av.Packet(bytes(packet))
    copy.time_base, copy.pts, copy.dts, copy.duration = packet.time_base, packet.pts, packet.dts, packet.duration
    copy.is_keyframe = packet.is_keyframe
    return copy
