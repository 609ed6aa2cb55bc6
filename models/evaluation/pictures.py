"""Draw pictures of a world: reconstructions beside true frames, and one rollout per latent action.

All are PNG or GIF bytes, and the same frames give the same bytes.

Shapes: N clips, A latent actions, T frames, H W C pixels.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from models.evaluation.action_names import ActionName

_PAPER, _INK, _FAINT = (250, 249, 246), (32, 33, 36), (120, 122, 128)
_GAP, _LABEL_WIDTH, _LINE = 4, 132, 16
_GIF_COLUMNS, _GIF_COLOURS = 4, 128


def contact_sheet(true_NTHWC: np.ndarray, shown_NTHWC: np.ndarray) -> bytes:
    """Return a PNG with two rows per clip: the true frames, and their reconstructions below."""
    rows = [frames for pair in zip(true_NTHWC, shown_NTHWC, strict=True) for frames in pair]
    labels = [("true", ""), ("reconstructed", "")] * len(true_NTHWC)
    return _png(_sheet(rows, labels, [f"t = {step}" for step in range(true_NTHWC.shape[1])]))


def rollout_sheet(held_ATHWC: np.ndarray, names: Sequence[ActionName]) -> bytes:
    """Return a PNG with one row per latent action: the start frame, then the frames while the action is held down."""
    labels = [(f"action {name.code + 1}", f"{name.label}\n{name.note}".strip()) for name in names]
    columns = ["start", *(f"t = {step}" for step in range(1, held_ATHWC.shape[1]))]
    return _png(_sheet(list(held_ATHWC), labels, columns))


def rollout_gif(held_ATHWC: np.ndarray, names: Sequence[ActionName], *, fps: int = 5) -> bytes:
    """Return a looping GIF with one tile per latent action, all from the same start frame.

    The default of 5 frames per second is half the speed of the clips, so that the effect of each action can be seen.
    """
    actions, count, height, width, _ = held_ATHWC.shape
    columns = min(_GIF_COLUMNS, actions)
    tile = (width + _GAP, height + _LINE + _GAP)
    size = (columns * tile[0] + _GAP, -(-actions // columns) * tile[1] + _GAP)
    pictures = []
    for step in range(count):
        canvas = Image.new("RGB", size, _PAPER)
        draw = ImageDraw.Draw(canvas)
        for code, name in enumerate(names):
            left, top = _GAP + code % columns * tile[0], _GAP + code // columns * tile[1]
            # a twin's effect stands beside the action that has it
            draw.text((left, top), f"{name.code + 1}: {name.note or name.label}", _INK, _font())
            canvas.paste(Image.fromarray(held_ATHWC[code, step]), (left, top + _LINE))
        pictures.append(canvas)
    # one palette for all frames: a palette per frame would flicker
    strip = Image.fromarray(np.concatenate([np.asarray(picture) for picture in pictures]))
    palette = strip.quantize(_GIF_COLOURS, method=Image.Quantize.MEDIANCUT)
    frames = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    buffer = io.BytesIO()
    pause = [2 * round(1000 / fps), *([round(1000 / fps)] * (count - 1))]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=pause, loop=0, disposal=1)
    return buffer.getvalue()


def png_of(frame_HWC: np.ndarray) -> bytes:
    """Return one uint8 frame as PNG."""
    return _png(Image.fromarray(frame_HWC))


def frame_of(png: bytes) -> np.ndarray:
    """Return the uint8 RGB frame (H, W, C) of a PNG."""
    with Image.open(io.BytesIO(png)) as picture:
        return np.asarray(picture.convert("RGB"))


def _sheet(rows: Sequence[np.ndarray], labels: Sequence[tuple[str, str]], columns: Sequence[str]) -> Image.Image:
    height, width = rows[0].shape[1:3]
    size = (_LABEL_WIDTH + len(columns) * (width + _GAP), _LINE + _GAP + len(rows) * (height + _GAP))
    canvas = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(canvas)
    for index, title in enumerate(columns):
        draw.text((_LABEL_WIDTH + index * (width + _GAP), 2), title, _FAINT, _font())
    for row, (frames, (label, note)) in enumerate(zip(rows, labels, strict=True)):
        top = _LINE + _GAP + row * (height + _GAP)
        middle = top + height // 2 - (_LINE if note else _LINE // 2)
        draw.text((_GAP, middle), label, _INK, _font())
        draw.text((_GAP, middle + _LINE), note, _FAINT, _font())
        for index, frame in enumerate(frames):
            canvas.paste(Image.fromarray(frame), (_LABEL_WIDTH + index * (width + _GAP), top))
    return canvas


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(12)


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
