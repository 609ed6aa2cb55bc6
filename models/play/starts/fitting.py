"""Fit a picture of any size and shape to the size of the world's frames.

`crop` shows the middle of the picture, as much as fits the shape of a frame. `pad` shows all of it; each bar beside it
gets the mean colour of the edge that it touches. Black bars would be a thing that the world never saw, because clips
with bars are cropped before training, and an edge is mostly sky or ground.

A picture is shrunk by averaging areas, as the clips were. One that is enlarged by a whole number keeps its hard
pixels, as pixel art has them; others are enlarged smoothly.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from PIL import Image

Fit = Literal["crop", "pad"]
FITS: tuple[Fit, ...] = get_args(Fit)


def scaled(image: Image.Image, fit: Fit, width: int, height: int) -> Image.Image:
    """Return a picture scaled to a size: its middle for `crop`, all of it for `pad`, which may be narrower or lower.

    Transparent pixels do not bleed into their neighbours.
    """
    own = image.size
    if fit == "crop":
        box = _middle(own, width, height)
        size = (width, height)
    else:
        box = (0.0, 0.0, float(own[0]), float(own[1]))
        scale = min(width / own[0], height / own[1])
        size = (max(1, round(own[0] * scale)), max(1, round(own[1] * scale)))
    if own == size:
        return image
    return image.resize(size, _filter(box, size), box=box)


def padded(frame_HWC: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return a frame in the middle of a larger one, between bars in the mean colours of the edges that they touch."""
    own_height, own_width = frame_HWC.shape[:2]
    top, left = (height - own_height) // 2, (width - own_width) // 2
    canvas = np.empty((height, width, 3), np.uint8)
    canvas[top : top + own_height, left : left + own_width] = frame_HWC
    if own_width < width:
        canvas[:, :left] = _mean(frame_HWC[:, 0])
        canvas[:, left + own_width :] = _mean(frame_HWC[:, -1])
    if own_height < height:
        canvas[:top] = _mean(frame_HWC[0])
        canvas[top + own_height :] = _mean(frame_HWC[-1])
    return canvas


def _middle(own: tuple[int, int], width: int, height: int) -> tuple[float, float, float, float]:
    """Return the largest box in the middle of a picture that has the shape of a frame."""
    if own[0] * height > own[1] * width:
        kept = own[1] * width / height
        return ((own[0] - kept) / 2, 0.0, (own[0] + kept) / 2, float(own[1]))
    kept = own[0] * height / width
    return (0.0, (own[1] - kept) / 2, float(own[0]), (own[1] + kept) / 2)


def _filter(box: tuple[float, float, float, float], size: tuple[int, int]) -> Image.Resampling:
    across, down = size[0] / (box[2] - box[0]), size[1] / (box[3] - box[1])
    if across <= 1 and down <= 1:
        return Image.Resampling.BOX
    if across == down and across.is_integer():
        return Image.Resampling.NEAREST
    return Image.Resampling.BICUBIC


def _mean(edge_XC: np.ndarray) -> np.ndarray:
    return np.round(edge_XC.astype(np.float64).mean(0)).astype(np.uint8)
