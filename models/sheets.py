"""Draw sheets of frames: labelled rows, as one picture of a bounded size.

The same frames give the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

PAPER, INK, FAINT = (250, 249, 246), (32, 33, 36), (120, 122, 128)
GAP, LINE = 4, 16
_LABEL_WIDTH = 132
_QUALITIES = (85, 70, 50, 30, 10)


def sheet(rows: Sequence[np.ndarray], labels: Sequence[tuple[str, str]], columns: Sequence[str]) -> Image.Image:
    """Return a picture with a row of frames (T, H, W, C) per label (a name and a note), and a title per column."""
    height, width = rows[0].shape[1:3]
    size = (_LABEL_WIDTH + len(columns) * (width + GAP), LINE + GAP + len(rows) * (height + GAP))
    canvas = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(canvas)
    for index, title in enumerate(columns):
        draw.text((_LABEL_WIDTH + index * (width + GAP), 2), title, FAINT, font())
    for row, (frames, (label, note)) in enumerate(zip(rows, labels, strict=True)):
        top = LINE + GAP + row * (height + GAP)
        middle = top + height // 2 - (LINE if note else LINE // 2)
        draw.text((GAP, middle), label, INK, font())
        draw.text((GAP, middle + LINE), note, FAINT, font())
        for index, frame in enumerate(frames):
            canvas.paste(Image.fromarray(frame), (_LABEL_WIDTH + index * (width + GAP), top))
    return canvas


def font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font of labels."""
    return ImageFont.load_default(12)


def png(picture: Image.Image) -> bytes:
    """Return a picture as PNG."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def bounded(picture: Image.Image, most_bytes: int) -> tuple[bytes, str]:
    """Return a picture as PNG, or as JPEG of falling quality where that is too large, and the file's ending.

    One that is still too large at the lowest quality is made smaller.
    """
    found = png(picture)
    if len(found) <= most_bytes:
        return found, "png"
    while True:
        for quality in _QUALITIES:
            buffer = io.BytesIO()
            picture.convert("RGB").save(buffer, "JPEG", quality=quality)
            if buffer.tell() <= most_bytes:
                return buffer.getvalue(), "jpg"
        picture = picture.reduce(2)
