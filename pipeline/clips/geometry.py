"""Scale, turn and place a decoded picture onto a clip's frame, in the colours of BT.709 SDR.

The picture is scaled as decoded, in one step. Then come views of the result: the part that is shown (without baked-in
bars, under the rule `crop`), the orientation, and the place on the canvas.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.video.reformatter import Interpolation, VideoReformatter

from pipeline.clips.tone import tone_map
from pipeline.config.clips import ClipConfig
from pipeline.footage.look import HDR_TRANSFERS, UNSPECIFIED, YCGCO, Look, Orientation

Frames = npt.NDArray[np.uint8]
"""Frames of a clip, RGB: (T, H, W, 3)."""
_MAX_ASPECT = 16.0


@dataclass(frozen=True)
class Area:
    """A part of a decoded picture, in its pixels."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class Box:
    """How a decoded picture becomes a clip's frame: scaled to `width` x `height`, cut to `area`, turned, then placed.

    `area` is a part of the scaled picture. `x` and `y` are the place of its corner on the canvas, after turning.
    """

    width: int
    height: int
    area: Area
    orientation: Orientation
    x: int
    y: int
    changes: tuple[str, ...] = ()
    """What is done to the picture, in words: see `clips.changes`."""


@dataclass(frozen=True)
class ClipLook:
    """What a clip's row says about its picture."""

    transfer: str = "unspecified"
    """Transfer function of its frames; an HDR one if any frame has one."""
    changes: tuple[str, ...] = ()
    """What was done to any of its frames, sorted."""

    @classmethod
    def of(cls, frames: Iterable[ClipLook]) -> ClipLook:
        """Return the look of a clip from those of its frames."""
        looks = list(dict.fromkeys(frames))
        hdr = [look.transfer for look in looks if look.transfer in HDR_TRANSFERS]
        transfers = hdr or [look.transfer for look in looks]
        changes = {change for look in looks for change in look.changes}
        return cls(transfers[0], tuple(sorted(changes)))


def fit_box(
    width: int,
    height: int,
    look: Look,
    config: ClipConfig,
    inner: Area | None = None,
) -> tuple[Box, float]:
    """Return the box and the display aspect of a decoded picture.

    Args:
        width: columns as decoded.
        height: rows as decoded.
        look: its pixel aspect and orientation.
        config: size of a clip's frame and the aspect rule.
        inner: the picture without its baked-in bars, where they are cropped.
    """
    orientation = look.orientation
    inner = inner or Area(0, 0, width, height)
    wide, high = inner.width * float(look.sar), float(inner.height)
    if orientation.transposed:
        wide, high = high, wide
    aspect = wide / high
    bounded = min(max(aspect, 1 / _MAX_ASPECT), _MAX_ASPECT)
    fit_width, fit_height = config.width, config.height
    if config.aspect != "stretch":
        if (bounded > config.width / config.height) == (config.aspect == "pad"):
            fit_height = max(1, round(config.width / bounded))
        else:
            fit_width = max(1, round(config.height * bounded))
    placed = [_shown(fit_width, config.width), _shown(fit_height, config.height)]
    stretched = config.aspect == "stretch" and abs(aspect / (config.width / config.height) - 1) > 0.01
    done = {
        "rotated": orientation.turned,
        "mirrored": orientation.mirrored,
        "bars-cropped": inner != Area(0, 0, width, height),
        "pixel-aspect": look.sar != 1,
        "stretched": stretched,
        "padded": fit_width < config.width or fit_height < config.height,
        "cropped": fit_width > config.width or fit_height > config.height,
    }
    (x, left, shown_width), (y, top, shown_height) = placed
    if orientation.transposed:
        fit_width, fit_height = fit_height, fit_width
        left, top, shown_width, shown_height = top, left, shown_height, shown_width
    full_width, left = _whole(width, inner.left, inner.width, fit_width, left)
    full_height, top = _whole(height, inner.top, inner.height, fit_height, top)
    area = Area(left, top, shown_width, shown_height)
    return Box(full_width, full_height, area, orientation, x, y, tuple(name for name in done if done[name])), aspect


def _shown(fit: int, canvas: int) -> tuple[int, int, int]:
    """Return where a scaled side begins on the canvas, which part of it is shown, and how much."""
    offset = (canvas - fit) // 2
    return max(offset, 0), max(-offset, 0), min(fit, canvas)


def _whole(size: int, inner_start: int, inner: int, fit: int, start: int) -> tuple[int, int]:
    """Return the scaled size of a whole side, and where `fit` pixels of its inner part begin, `start` after its edge.

    The whole is scaled a little larger where the edges of the inner part would fall inside a pixel, so that none of the
    pixels shown is a mixture with a bar.
    """
    if inner == size:
        return fit, start
    whole = -(-size * fit // inner)
    while True:
        first = -(-inner_start * whole // size)
        if first + fit <= (inner_start + inner) * whole // size:
            return whole, first + start
        whole += 1


class Scaler:
    """Scales decoded frames onto black canvases; one reformatter serves all frames."""

    def __init__(self, config: ClipConfig) -> None:
        self.config = config
        self.bars: Mapping[tuple[int, int], Area] = {}
        """The picture inside of baked-in bars, by decoded width and height."""
        self.display_aspect = 0.0
        """Width over height as shown, of the first frame that was drawn; 0 before it."""
        self.reformatter = VideoReformatter()
        self._shape: tuple[Any, ...] = ()
        self._box = Box(1, 1, Area(0, 0, 1, 1), Orientation(), 0, 0)
        self._drawn = ClipLook()

    def draw(self, frame: av.VideoFrame, look: Look, canvas: Frames) -> ClipLook:
        """Draw a frame onto a canvas (height, width, 3) and return what was done to it."""
        shape = (frame.width, frame.height, look)
        if shape != self._shape:
            inner = self.bars.get((frame.width, frame.height))
            box, aspect = fit_box(frame.width, frame.height, look, self.config, inner)
            # the first frame decides, also where a stream changes its size on the way
            self.display_aspect = self.display_aspect or aspect
            self._shape, self._box = shape, box
            mapped = look.colours.mappable and self.config.hdr == "tone-map"
            self._drawn = ClipLook(look.colours.transfer, box.changes + (("tone-mapped",) if mapped else ()))
        box, area, mapped = self._box, self._box.area, "tone-mapped" in self._drawn.changes
        picture = self._scaled(frame, look, box, mapped)
        picture = picture[area.top : area.top + area.height, area.left : area.left + area.width]
        if mapped:
            picture = tone_map(picture, look.colours.transfer, look.colours.primaries)
        picture = oriented(picture, box.orientation)
        height, width = picture.shape[:2]
        if (height, width) != canvas.shape[:2]:
            canvas[:] = 0
        canvas[box.y : box.y + height, box.x : box.x + width] = picture
        return self._drawn

    def _scaled(self, frame: av.VideoFrame, look: Look, box: Box, deep: bool) -> npt.NDArray[Any]:
        """Return the scaled picture as R'G'B' (H, W, 3), of 16 bits if `deep`."""
        colours = look.colours
        matrix = colours.matrix
        if matrix == YCGCO:
            matrix = UNSPECIFIED if frame.format.is_rgb else YCGCO
        if frame.colorspace != matrix or frame.color_range != colours.full_range:
            frame.colorspace = UNSPECIFIED if matrix == YCGCO else matrix
            frame.color_range = colours.full_range
        full = colours.full_range == 2
        kind = ("yuvj444p" if full else "yuv444p") if matrix == YCGCO else "rgb48le" if deep else "rgb24"
        scaled = self.reformatter.reformat(
            frame, width=box.width, height=box.height, format=kind, interpolation=Interpolation.AREA, threads=1
        )
        if matrix == YCGCO:
            return _of_ycgco(scaled, full)
        return pixels_of(scaled, "<u2" if deep else "u1")


def oriented(picture: npt.NDArray[Any], orientation: Orientation) -> npt.NDArray[Any]:
    """Return a view of a picture (H, W, 3) in an orientation."""
    if orientation.transposed:
        picture = picture.swapaxes(0, 1)
    rows = slice(None, None, -1 if orientation.flip_y else 1)
    return picture[rows, :: -1 if orientation.flip_x else 1]


def _of_ycgco(frame: av.VideoFrame, full_range: bool) -> Frames:
    """Return YCgCo planes of 8 bits (which libswscale does not convert) as R'G'B' (H, W, 3)."""
    planes = [
        np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width].astype(np.float32)
        for plane in frame.planes
    ]
    luma, green, orange = planes[0], planes[1] - 128, planes[2] - 128
    if not full_range:
        luma, green, orange = (luma - 16) * (255 / 219), green * (255 / 224), orange * (255 / 224)
    red, blue = luma - green + orange, luma - green - orange
    picture = np.stack([red, luma + green, blue], axis=-1)
    return np.rint(picture.clip(0, 255)).astype(np.uint8)


def pixels_of(frame: av.VideoFrame, dtype: str = "u1") -> npt.NDArray[Any]:
    """Return the RGB pixels of a frame as a view (rows are padded in memory)."""
    plane = frame.planes[0]
    rows = np.frombuffer(plane, dtype).reshape(frame.height, -1)
    return rows[:, : frame.width * 3].reshape(frame.height, frame.width, 3)
