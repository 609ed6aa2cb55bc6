"""Scale, turn and place a decoded picture onto a clip's frame."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import Interpolation, VideoReformatter

from pipeline.config.clips import ClipConfig

Frames = npt.NDArray[np.uint8]
"""Frames of a clip, RGB: (T, H, W, 3)."""
_MAX_ASPECT = 16.0


@dataclass(frozen=True)
class Box:
    """How a decoded picture becomes a clip's frame: scaled to `width` x `height`, turned, then put on the canvas.

    `x` and `y` are the place of its corner on the canvas: positive under padding, negative under cropping.
    """

    width: int
    height: int
    turns: int
    x: int
    y: int


def fit_box(width: int, height: int, sar: Fraction, rotation: int, config: ClipConfig) -> tuple[Box, float]:
    """Return the box and the display aspect of a decoded picture.

    Args:
        width: columns as decoded.
        height: rows as decoded.
        sar: width of a pixel over its height.
        rotation: degrees counterclockwise by which players turn the picture.
        config: size of a clip's frame and the aspect rule.
    """
    turns = round(rotation / 90) % 4
    wide, high = width * float(sar), float(height)
    if turns % 2:
        wide, high = high, wide
    aspect = wide / high
    bounded = min(max(aspect, 1 / _MAX_ASPECT), _MAX_ASPECT)
    fit_width, fit_height = config.width, config.height
    if config.aspect != "stretch":
        full_width = (bounded > config.width / config.height) == (config.aspect == "pad")
        if full_width:
            fit_height = max(1, round(config.width / bounded))
        else:
            fit_width = max(1, round(config.height * bounded))
    x, y = (config.width - fit_width) // 2, (config.height - fit_height) // 2
    if turns % 2:
        fit_width, fit_height = fit_height, fit_width
    return Box(fit_width, fit_height, turns, x, y), aspect


class Scaler:
    """Scales decoded frames onto black canvases; one reformatter serves all frames."""

    def __init__(self, config: ClipConfig) -> None:
        self.config = config
        self.reformatter = VideoReformatter()
        self.display_aspect = 0.0
        """Width over height as shown, of the first frame that was drawn; 0 before it."""
        self._shape: tuple[Any, ...] = ()
        self._box = Box(1, 1, 0, 0, 0)

    def draw(self, frame: av.VideoFrame, sar: Fraction, canvas: Frames) -> None:
        """Draw a frame onto a canvas (height, width, 3)."""
        shape = (frame.width, frame.height, sar, frame.rotation)
        if shape != self._shape:
            box, aspect = fit_box(frame.width, frame.height, sar, frame.rotation, self.config)
            # the first frame decides, also where a stream changes its size on the way
            self.display_aspect = self.display_aspect or aspect
            self._shape, self._box = shape, box
        box = self._box
        scaled = self.reformatter.reformat(
            frame, width=box.width, height=box.height, format="rgb24", interpolation=Interpolation.AREA, threads=1
        )
        picture = np.rot90(pixels_of(scaled), box.turns)
        height, width = picture.shape[:2]
        top, left = max(box.y, 0), max(box.x, 0)
        cut = picture[max(-box.y, 0) :, max(-box.x, 0) :][: self.config.height, : self.config.width]
        if (height, width) != canvas.shape[:2]:
            canvas[:] = 0
        canvas[top : top + cut.shape[0], left : left + cut.shape[1]] = cut


def pixels_of(frame: av.VideoFrame) -> Frames:
    """Return the RGB pixels of a frame as a view (rows are padded in memory)."""
    plane = frame.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(frame.height, plane.line_size)
    return rows[:, : frame.width * 3].reshape(frame.height, frame.width, 3)
