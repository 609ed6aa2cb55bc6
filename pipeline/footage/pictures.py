"""Decode packets into pictures with rising times, and spans in which no picture can be trusted.

The decoder decides what damage is: an error, or a picture that it says it patched. What is decoded after that refers to
broken pictures, so all is lost from the first picture that may be touched to the next key frame that decodes well. The
flags of a container are a suspicion: they count only where pictures are missing too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import av

from pipeline.footage.clock import Clock
from pipeline.footage.continuity import Continuity
from pipeline.footage.look import LookReader

DELAY = 17
"""Pictures after which damage is known: one of H.264 or HEVC is decoded at most 16 pictures before it is shown."""
_GAP_S = 0.25
_MOST_RECENT = 1024


@dataclass(slots=True)  # not frozen: that takes three times as long to make
class Picture:
    """A picture, and when it is shown (units of the time base from the start of the time line)."""

    frame: av.VideoFrame
    at: int


@dataclass(frozen=True, slots=True)
class Lost:
    """A span without pictures that can be trusted; it may take back the last `DELAY` pictures."""

    start: int
    stop: int
    reason: str
    """head | damaged | gap | still | missing."""


class Pictures:
    """The decoder of one stream, fed with packets in the order of the file."""

    def __init__(self, stream: Any, clock: Clock) -> None:
        self.clock = clock
        self.context = stream.codec_context
        self.looks = LookReader(stream)
        self._continuity = Continuity(stream.codec_context, clock)
        self.zero: int | None = None
        """When the time line starts, in the stream's own time; None before the first picture."""
        self.error = ""
        """What the decoder said first about damage."""
        self._reason = "head"
        self._lost_from: int | None = None
        self._seen_key = self._key_packet = False
        self._starts_with_key: bool | None = None
        self._recent: deque[int] = deque(maxlen=_MOST_RECENT)
        self._longest_gap = int(_GAP_S / clock.time_base)
        self._shown: deque[int] = deque(maxlen=DELAY)
        self._before: set[int] = set()
        self._step = clock.usual
        self._last: int | None = None
        self._last_dts: int | None = None
        self._wrong_pts = self._wrong_dts = 0
        self._ends = 0

    def feed(self, packet: Any) -> Iterator[Picture | Lost]:
        """Yield what is known after one more packet."""
        pts: int | None = packet.dts if packet.pts is None else packet.pts
        lost = self._continuity.lost_before(packet)
        if lost is not None and self.zero is not None:
            self._damaged(lost, "gap")
        frames, error = self._decoded(packet)
        if pts is not None and not packet.is_discard:
            self._recent.append(pts)
        if self._starts_with_key is None:
            self._starts_with_key = packet.is_keyframe
        if error:
            self._damaged(pts)
        elif self._reason:
            self._key_packet |= packet.is_keyframe
            if self._lost_from is not None and pts is not None and pts < self._lost_from:
                self._lost_from = pts  # it is decoded after the damage and shown before it
        for frame in frames:
            yield from self._look(frame)

    def finish(self) -> Iterator[Picture | Lost]:
        """Yield the last pictures, and what is lost at the end, after all packets were fed."""
        frames, _ = self._decoded(None)
        for frame in frames:
            yield from self._look(frame)
        if self.zero is None:
            return
        end = self.end
        if self._reason and self._lost_from is not None:
            start = self._begin(self._lost_from)
            if start < end:
                yield Lost(start, end, self._reason)
        elif end - self._ends > 2 * self._step:
            yield Lost(self._ends, end, "damaged")

    @property
    def end(self) -> int:
        """The length of the time line."""
        if self.zero is None:
            return 0
        latest = (self.clock.last or 0) - self.zero
        # packets after the last picture: the decoder made nothing of them
        return self._ends if latest < self._ends else latest + self._step

    def _decoded(self, packet: Any) -> tuple[list[av.VideoFrame], str]:
        """Return the frames of a packet, or the last ones for None, and the text of an error ("" for none)."""
        try:
            frames = self._taken(packet)
        except av.error.FFmpegError as exc:
            if isinstance(exc, MemoryError):
                raise
            text = exc.strerror or type(exc).__name__
            self.error = self.error or text
            return [], text
        self.looks.note(packet, frames)
        return frames, ""

    def _taken(self, packet: Any) -> list[av.VideoFrame]:
        try:
            return list(self.context.decode(packet))
        except av.error.BlockingIOError:
            # after errors, that of VP9 holds a packet that it refused, and takes no other one
            self.context.flush_buffers()
            return list(self.context.decode(packet))

    def _damaged(self, since: int | None, reason: str = "damaged") -> None:
        if self._reason:
            if self._reason == "head" or since is None or self._lost_from is None:
                return
            self._lost_from = min(self._lost_from, since)
        else:
            self._reason = reason
            self._before = set(islice(reversed(self._recent), 2 * DELAY))
            hole = self._continuity.late_hole
            known = [time for time in (since, hole) if time is not None]
            self._lost_from = min(known) if known else (self._last or 0) + self._step
        self._key_packet = False

    def _look(self, frame: av.VideoFrame) -> Iterator[Picture | Lost]:
        at = self._time(frame)
        self._seen_key |= frame.key_frame
        if frame.is_corrupt:
            self.error = self.error or "a damaged picture"
            self._damaged(self._touched_since(at))
            return
        if self._last is not None and at <= self._last:
            return  # this moment is taken
        if self._reason and self._lost_from is not None and at < self._lost_from:
            yield self._picture(frame, at)
            return
        if not self._reason:
            gap = self._gap_before(frame, at)
            if gap is not None:
                yield gap
            if not self._reason:
                yield self._picture(frame, at)
            return
        # a key frame that was decoded before the damage ends nothing
        if at in self._before or not self._recovers(frame):
            return
        if self.zero is None:
            first = self.clock.first
            self.zero = at if first is None or not 0 < at - first < self.clock.longest_step else first
            start = 0
        else:
            start = self._begin(self._lost_from or 0)
        if at - self.zero - start > (self._step if self._reason == "head" else 0):
            head = self._reason == "head" and not self._starts_with_key
            reason = "damaged" if self._reason == "head" and not head else self._reason
            yield Lost(start, at - self.zero, reason)
        elif self._reason == "head":
            self.zero = at
        self._reason, self._lost_from = "", None
        yield self._picture(frame, at)

    def _recovers(self, frame: av.VideoFrame) -> bool:
        """Tell whether a good picture refers to nothing before it."""
        if frame.key_frame:
            return True
        # H.264 decoders begin where the stream says that its pictures are whole, which may be no key frame
        if self._reason == "head" and self.context.name == "h264":
            return True
        return self._key_packet and not self._seen_key  # a decoder that marks no key frames

    def _picture(self, frame: av.VideoFrame, at: int) -> Picture:
        assert self.zero is not None
        if self._last is not None:
            # a rate that the stream claims may be wrong, and a still picture is no rate
            self._step = min(at - self._last, 2 * self._step)
        self._last = at
        placed = at - self.zero
        self._ends = placed + self.clock.lasts(frame.duration or self._step)
        self._shown.append(placed)
        return Picture(frame, placed)

    def _begin(self, time: int) -> int:
        """Return where a loss begins on the time line; pictures that are long shown are not taken back."""
        assert self.zero is not None
        return max(time - self.zero, self._shown[0] if len(self._shown) == DELAY else 0)

    def _gap_before(self, frame: av.VideoFrame, at: int) -> Lost | None:
        """Return the gap before a picture where it is no still picture, or begin a loss that it does not end."""
        assert self._last is not None
        assert self.zero is not None
        gap = at - self._last
        if gap <= 2 * self._step:
            return None
        start, near = self._last + self._step, 2 * self._step
        if gap > self.clock.longest_duration:
            return Lost(start - self.zero, at - self.zero, "still")
        if gap > self._longest_gap and sum(start <= time < at for time in self._recent) > 1:
            # there are packets of which the decoder made nothing
            if not frame.key_frame:
                self._damaged(start)
                return None
            return Lost(start - self.zero, at - self.zero, "damaged")
        if any(self._last - near <= doubt <= at + near for doubt in self.clock.doubts):
            return Lost(start - self.zero, at - self.zero, "gap")
        return None

    def _touched_since(self, at: int) -> int:
        """Return when the first picture is shown that was decoded after the picture of a time."""
        since = at
        for time in reversed(self._recent):
            if time == at:
                return since
            since = min(since, time)
        return at

    def _time(self, frame: av.VideoFrame) -> int:
        """Return when a frame is shown.

        Where times of showing go back, times of decoding may not (H.264 in AVI); where there are none, frames follow
        each other at the rate of the stream.
        """
        pts, dts = frame.pts, frame.dts
        if pts is not None and self._last is not None and pts <= self._last:
            self._wrong_pts += 1
        if dts is not None:
            self._wrong_dts += self._last_dts is not None and dts <= self._last_dts
            self._last_dts = dts
        if pts is None or (dts is not None and self._wrong_pts > self._wrong_dts):
            pts = dts
        if pts is None:
            pts = 0 if self._last is None else self._last + (frame.duration or self._step)
        return pts
