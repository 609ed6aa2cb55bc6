"""Decode one video into its clips' frames: one decode in this process, frames picked by timestamp.

Frame k of the video is the source frame on screen at k/fps seconds after the first one: the last whose timestamp is
not later. That is exact on constant rates, on variable rates and where timestamps do not start at zero; a plain
`fps=10` filter is 1 to 2 source frames off on all of them (measured). Only picked frames are scaled and converted.
Memory holds the clip being filled, the one last yielded and a few decoded pictures, however long the video is.

Which videos count as decodable: errors before the first frame (a recording that starts between key frames) and in the
last second (a file cut off by its recorder) are ignored, and the video then ends at its last good frame. Any other
error, or a video that ends more than a second before the length it claims, is a PermanentError of class
`decode_error`: the video has no clips, and the message says where it broke.

    video = open_video(path, config.clips)
    for start_ms, frames in video.clips():   # (160, 90, 160, 3) uint8
        ...
    video.source_ms, video.display_aspect    # known once the clips were read
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from pipeline.clips.geometry import Frames, Scaler
from pipeline.config.clips import ClipConfig
from pipeline.errors import PermanentError
from pipeline.media import open_media, reading_media, video_stream

TAIL_S = 1
"""Seconds at the end of a video in which errors are passed over."""
MAX_GAP_S = 600
"""A longer pause between two frames is a broken timestamp, not a still picture."""
ROUNDING_MS = 2
"""What timestamps in whole milliseconds (Matroska) may lose of a video's length."""
# NAL units that a broken recording holds before its first key frame; beyond this it is not a video
_MAX_LEADING_ERRORS = 1000


def frames_before(time: int, time_base: Fraction, fps: int) -> int:
    """Return how many of the times 0, 1/fps, 2/fps ... lie before `time` (in units of `time_base`), exactly."""
    return max(0, -((-time * time_base.numerator * fps) // time_base.denominator))


class SourceVideo:
    """A video being cut; `source_ms` and `display_aspect` are final once `clips` was read to its end."""

    def __init__(self, path: Path, config: ClipConfig) -> None:
        self.path, self.config = path, config
        self.source_ms = 0
        self._scaler = Scaler(config)

    @property
    def display_aspect(self) -> float:
        """Width over height as shown, of the first frame."""
        return self._scaler.display_aspect

    def clips(self) -> Iterator[tuple[int, Frames]]:
        """Yield each whole clip's start in ms and frames (num_frames, height, width, 3); the array is the caller's.

        Raises:
            PermanentError: `no_video`, or `decode_error` as the module says.
        """
        with reading_media("decode_error"):
            yield from self._clips()

    def _clips(self) -> Iterator[tuple[int, Frames]]:
        size = self.config.num_frames
        step_ms = self.config.seconds * 1000
        frames = np.empty((size, self.config.height, self.config.width, 3), np.uint8)
        filled = clips = 0
        ended_ms = 0
        for frame, sar, repeats, leaves_ms in self._shown():
            drawn: Frames | None = None
            for _ in range(repeats):
                if filled == size:
                    # not before the clip's last moment is known to be on screen: see ROUNDING_MS
                    yield clips * step_ms, frames
                    frames = np.empty_like(frames)
                    filled, clips = 0, clips + 1
                    drawn = None
                if drawn is None:
                    drawn = frames[filled]
                    self._scaler.draw(frame, sar, drawn)
                else:
                    frames[filled] = drawn
                filled += 1
            ended_ms = leaves_ms
        short_ms = (clips + 1) * step_ms - ended_ms
        if filled == size and short_ms <= ROUNDING_MS:
            ended_ms += max(short_ms, 0)
            yield clips * step_ms, frames
        self.source_ms = ended_ms

    def _shown(self) -> Iterator[tuple[av.VideoFrame, Fraction, int, int]]:
        """Yield each frame that is picked at least once, or is last.

        With its pixel aspect, the number of times k/fps that it is on screen, and when it leaves (ms from the start).
        """
        fps = self.config.fps
        first: int | None = None
        held: av.VideoFrame | None = None
        counted = 0
        last_step = 0
        with open_media(self.path) as container:
            stream = video_stream(container, "no_video")
            time_base = stream.time_base or Fraction(1, 90000)
            sar = stream.sample_aspect_ratio or Fraction(1)
            guess = stream.average_rate or stream.guessed_rate or Fraction(fps)
            usual = max(1, round(1 / (guess * time_base)))
            for frame in self._decoded(container, stream, time_base, usual):
                if held is not None and first is not None:
                    last_step = frame.pts - held.pts
                    if last_step * time_base > MAX_GAP_S:
                        raise _broken(f"timestamps jump by {float(last_step * time_base):.0f} s", held, first)
                    before = frames_before(frame.pts - first, time_base, fps)
                    if before > counted:
                        yield held, sar, before - counted, _ms(frame.pts - first, time_base)
                        counted = before
                else:
                    first = frame.pts
                held = frame
            if held is None or first is None:
                raise PermanentError("no frame could be decoded", error_class="decode_error")
            duration = held.duration or last_step or usual
            end = held.pts + min(duration, math.ceil(MAX_GAP_S / time_base)) - first
            # Matroska's length runs from zero, also where the first timestamp does not
            self._check_length(stream, container, max(end, first + end) * time_base)
            yield held, sar, max(0, frames_before(end, time_base, fps) - counted), _ms(end, time_base)

    def _decoded(self, container: Any, stream: Any, time_base: Fraction, usual: int) -> Iterator[av.VideoFrame]:
        """Yield frames with rising timestamps, up to the first error; raise if much follows that error."""
        stream.codec_context.thread_count = 1
        last: int | None = None
        first = step = leading = 0
        broken = ""
        tail = TAIL_S / time_base
        for packet in _packets(container, stream):
            frames, error = _frames_of(packet)
            if error:
                if last is None:
                    leading += 1
                    if leading > _MAX_LEADING_ERRORS:
                        raise PermanentError(f"no frame could be decoded: {error}", error_class="decode_error")
                else:
                    broken = broken or error
            seen = [frame.pts for frame in frames] + [getattr(packet, "pts", None)]
            if broken and last is not None and any(pts is not None and pts - last > tail for pts in seen):
                at = float((last - first) * time_base)
                raise PermanentError(f"{broken} at {at:.1f} s, and more follows", error_class="decode_error")
            for frame in [] if broken or error else frames:
                if frame.pts is None:
                    # only streams without timestamps at all: frames follow each other at the rate of the stream
                    frame.pts = 0 if last is None else last + max(step, usual)
                if last is None:
                    first = frame.pts
                elif frame.pts <= last:
                    continue  # a clock that ran backwards: this moment is taken
                else:
                    step = frame.pts - last
                last = frame.pts
                yield frame

    def _check_length(self, stream: Any, container: Any, reached: Fraction) -> None:
        """Raise where a video ends well before what its container claims for it (a truncated file decodes cleanly)."""
        claimed, tolerance = _claimed_s(stream, container)
        if claimed is not None and float(reached) < claimed - max(TAIL_S, tolerance * claimed):
            raise PermanentError(
                f"ends at {float(reached):.1f} s of the {claimed:.1f} s it claims", error_class="decode_error"
            )


def open_video(path: Path, config: ClipConfig) -> SourceVideo:
    """Return the video at a path, to be read by its `clips`; nothing is opened yet."""
    return SourceVideo(path, config)


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    """Yield packets, and the text of an error where the container itself breaks (which ends it)."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.FFmpegError as exc:
            if isinstance(exc, MemoryError):
                raise
            yield exc.strerror or type(exc).__name__
            return
        yield packet


def _frames_of(packet: Any) -> tuple[list[av.VideoFrame], str]:
    """Return a packet's frames and the text of its error ("" for none); a picture patched over a hole is an error."""
    if isinstance(packet, str):
        return [], packet
    try:
        frames = packet.decode()
    except av.error.FFmpegError as exc:
        if isinstance(exc, MemoryError):
            raise
        return [], exc.strerror or type(exc).__name__
    return frames, "a damaged picture" if any(frame.is_corrupt for frame in frames) else ""


def _claimed_s(stream: Any, container: Any) -> tuple[float | None, float]:
    """Return the length that the container claims for the video, in seconds, and the share it may be wrong by."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base), 0.0
    tag = next((text for key, text in stream.metadata.items() if key.upper().startswith("DURATION")), "")
    parts = tag.split(":")
    if len(parts) == 3:
        try:
            return int(parts[0]) * 3600 + int(parts[1]) * 60 + float(parts[2]), 0.0
        except ValueError:
            pass
    # the longest of all streams: sound may outlast the picture a little
    return (container.duration / av.time_base, 0.1) if container.duration else (None, 0.0)


def _ms(units: int, time_base: Fraction) -> int:
    return round(units * time_base * 1000)


def _broken(what: str, held: Any, first: int) -> PermanentError:
    return PermanentError(f"{what} at {float((held.pts - first) * held.time_base):.1f} s", error_class="decode_error")
