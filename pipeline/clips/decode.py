"""Decode one video into its clips' frames: one decode in this process, frames picked by timestamp.

`pipeline.footage` says which pictures the video has, when each is shown, and which seconds are lost. Within a run (a
part without a loss), frame k is the source picture on screen k/fps seconds after the run began: the last whose time is
not later. That is exact on constant rates, on variable rates and where timestamps do not start at zero; a plain
`fps=10` filter is 1 to 2 source frames off on all of them (measured). Only picked frames are scaled and converted.
`pipeline.clips.windows` says which of them form a clip. Memory holds the clip being filled, the one last yielded and a
few decoded pictures, however long the video is.

    video = open_video(path, config.clips)
    for start_ms, frames in video.clips():   # (160, 90, 160, 3) uint8
        ...
    video.source_ms, video.lost, video.display_aspect    # known once the clips were read
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from pipeline.clips.bars import find_bars
from pipeline.clips.cuts import CutDetector, detect_cuts
from pipeline.clips.episodes import episodes
from pipeline.clips.geometry import Frames, Scaler
from pipeline.clips.shots import shots
from pipeline.clips.windows import ROUNDING_MS, Pick, RunEnd, Window, consecutive
from pipeline.config.clips import ClipConfig
from pipeline.footage.losses import Loss
from pipeline.footage.pictures import DELAY, Picture
from pipeline.footage.read import Footage


def frames_before(time: int, time_base: Fraction, fps: int) -> int:
    """Return how many of the times 0, 1/fps, 2/fps ... lie before `time` (in units of `time_base`), exactly."""
    return max(0, -((-time * time_base.numerator * fps) // time_base.denominator))


class SourceVideo:
    """A video being cut; all but its clips is final once `clips` was read to its end."""

    def __init__(self, path: Path, config: ClipConfig, detect: CutDetector = detect_cuts) -> None:
        self.config = config
        self._detect_cuts = detect
        self._footage = Footage(path)
        self._scaler = Scaler(config)
        self._clip_ends: list[int] = []
        self.num_pictures = 0
        """Source frames that were decoded."""

    @property
    def source_ms(self) -> int:
        """Length of the picture."""
        return self._rounded(self._footage.end)

    @property
    def lost(self) -> list[Loss]:
        """Spans of it that cannot be cut, each with its reason."""
        return [Loss(self._rounded(lost.start), self._rounded(lost.stop), lost.reason) for lost in self._footage.lost]

    @property
    def packets_ms(self) -> int:
        """Picture time of the packets of the file, counted without the decoder."""
        return self._footage.packets_ms

    @property
    def display_aspect(self) -> float:
        """Width over height as shown, of the first frame."""
        return self._scaler.display_aspect

    def clips(self) -> Iterator[tuple[int, Frames]]:
        """Yield each whole clip's start in ms and frames (num_frames, height, width, 3); the array is the caller's.

        Raises:
            PermanentError: `no_video`, or `decode_error`: it cannot be read, or nothing in it plays.
        """
        for window in self.windows():
            yield window.start_ms, window.frames

    def windows(self) -> Iterator[Window]:
        """Yield each whole clip as `clips` does, with its end and what was done to its pictures."""
        if self.config.crop_bars:
            self._scaler.bars = find_bars(self._footage.path)
        for window in self._grouped():
            self._clip_ends.append(window.end_ms)
            yield window

    def _grouped(self) -> Iterator[Window]:
        if self.config.mode == "episodes":
            return episodes(self._picks(), self.config)
        if self.config.start_after_cut:
            return shots(self._picks(), self.config, self._detect_cuts)
        return consecutive(self._picks(), self.config)

    def _picks(self) -> Iterator[Pick | RunEnd]:
        """Yield the picked frames of each run, once no damage can be found in them any more."""
        run: _Run | None = None
        for event in self._footage.events():
            if isinstance(event, Picture):
                run = run or _Run(event.at, self._footage, self.config.fps, self._scaler)
                yield from run.add(event, self.num_pictures)
                self.num_pictures += 1
            elif run is not None:
                yield from run.close(event.start)
                run = None
        if run is not None:
            yield from run.close(self._footage.end)

    def _rounded(self, units: int) -> int:
        """Return a time in ms, or the end of a clip that ended there but for what rounding lost (see `windows`)."""
        ms = round(units * self._footage.time_base * 1000)
        place = bisect_left(self._clip_ends, ms)
        if place < len(self._clip_ends) and self._clip_ends[place] - ms <= ROUNDING_MS:
            return self._clip_ends[place]
        return ms


class _Run:
    """The picks of one run; those of the last `DELAY` pictures wait, because a loss may take them back."""

    def __init__(self, start: int, footage: Footage, fps: int, scaler: Scaler) -> None:
        self.start, self.footage, self.fps, self.scaler = start, footage, fps, scaler
        self.start_ms = round(start * footage.time_base * 1000)
        self._held: Picture | None = None
        self._source = 0
        self._pictures = self._counted = 0
        self._waiting: deque[tuple[int, Pick]] = deque()

    def add(self, picture: Picture, source: int) -> Iterator[Pick]:
        """Take the next picture, and its number in the video; yield the picks that are certain now."""
        self._show_until(picture.at)
        self._held, self._source = picture, source
        self._pictures += 1
        while self._waiting and self._waiting[0][0] <= self._pictures - DELAY:
            yield self._waiting.popleft()[1]

    def close(self, end: int) -> Iterator[Pick | RunEnd]:
        """Yield the last picks and the end of the run."""
        self._show_until(end)
        count = frames_before(end - self.start, self.footage.time_base, self.fps)
        for _, pick in self._waiting:
            if pick.index < count:
                yield pick
        yield RunEnd(round(max(end, self.start) * self.footage.time_base * 1000))

    def _show_until(self, time: int) -> None:
        """Pick the picture on screen for each moment before a time."""
        if self._held is None:
            return
        before = frames_before(time - self.start, self.footage.time_base, self.fps)
        if before <= self._counted:
            return
        config = self.scaler.config
        canvas = np.empty((config.height, config.width, 3), np.uint8)
        assert self.footage.looks is not None
        look = self.scaler.draw(self._held.frame, self.footage.looks.of(self._held.frame), canvas)
        for index in range(self._counted, before):
            ms = self.start_ms + index * 1000 // self.fps
            self._waiting.append((self._pictures, Pick(canvas, index, ms, look, self._source)))
        self._counted = before


def open_video(path: Path, config: ClipConfig, detect: CutDetector = detect_cuts) -> SourceVideo:
    """Return the video at a path, to be read by its `clips`; nothing is opened yet.

    Args:
        path: the file.
        config: what a clip is.
        detect: finds scene cuts, where `config.start_after_cut` asks for them.
    """
    return SourceVideo(path, config, detect)
