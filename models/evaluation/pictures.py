"""Draw pictures of a world: reconstructions beside true frames, and one rollout per latent action.

All are PNG or GIF bytes, and the same frames give the same bytes.

Shapes: N clips, A latent actions, T frames, H W C pixels.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from models.evaluation.action_names import ActionName
from models.sheets import GAP, INK, LINE, PAPER, font, png, sheet

_GIF_COLUMNS, _GIF_COLOURS, _GIF_TILE = 4, 128, 112
"""The last: pixels that a tile is wide at least, for its label."""


def contact_sheet(true_NTHWC: np.ndarray, shown_NTHWC: np.ndarray) -> bytes:
    """Return a PNG with two rows per clip: the true frames, and their reconstructions below."""
    rows = [frames for pair in zip(true_NTHWC, shown_NTHWC, strict=True) for frames in pair]
    labels = [("true", ""), ("reconstructed", "")] * len(true_NTHWC)
    return png(sheet(rows, labels, [f"t = {step}" for step in range(true_NTHWC.shape[1])]))


def rollout_sheet(held_ATHWC: np.ndarray, names: Sequence[ActionName]) -> bytes:
    """Return a PNG with one row per latent action: the start frame, then the frames while the action is held down."""
    labels = [(f"action {name.code + 1}", f"{name.label}\n{name.note}".strip()) for name in names]
    columns = ["start", *(f"t = {step}" for step in range(1, held_ATHWC.shape[1]))]
    return png(sheet(list(held_ATHWC), labels, columns))


def rollout_gif(held_ATHWC: np.ndarray, names: Sequence[ActionName], *, fps: int = 5) -> bytes:
    """Return a looping GIF with one tile per latent action, all from the same start frame.

    The default of 5 frames per second is half the speed of the clips, so that the effect of each action can be seen.
    Small frames are enlarged, so that labels lie beside one another.
    """
    times = -(-_GIF_TILE // held_ATHWC.shape[3])
    held_ATHWC = held_ATHWC.repeat(times, axis=2).repeat(times, axis=3)
    actions, count, height, width, _ = held_ATHWC.shape
    columns = min(_GIF_COLUMNS, actions)
    tile = (width + GAP, height + LINE + GAP)
    size = (columns * tile[0] + GAP, -(-actions // columns) * tile[1] + GAP)
    pictures = []
    for step in range(count):
        canvas = Image.new("RGB", size, PAPER)
        draw = ImageDraw.Draw(canvas)
        for code, name in enumerate(names):
            left, top = GAP + code % columns * tile[0], GAP + code // columns * tile[1]
            # a twin's effect stands beside the action that has it
            label = _fitted(draw, f"{name.code + 1}: {name.note or name.label}", width)
            draw.text((left, top), label, INK, font())
            canvas.paste(Image.fromarray(held_ATHWC[code, step]), (left, top + LINE))
        pictures.append(canvas)
    # one palette for all frames: a palette per frame would flicker
    strip = Image.fromarray(np.concatenate([np.asarray(picture) for picture in pictures]))
    palette = strip.quantize(_GIF_COLOURS, method=Image.Quantize.MEDIANCUT)
    frames = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    buffer = io.BytesIO()
    pause = [2 * round(1000 / fps), *([round(1000 / fps)] * (count - 1))]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=pause, loop=0, disposal=1)
    return buffer.getvalue()


def _fitted(draw: ImageDraw.ImageDraw, text: str, width: int) -> str:
    """Return a label that is at most `width` pixels wide, its end cut off where it has to be."""
    for end in range(len(text), 0, -1):
        shown = text if end == len(text) else f"{text[:end].rstrip()}..."
        if draw.textlength(shown, font()) <= width:
            return shown
    return ""


def png_of(frame_HWC: np.ndarray) -> bytes:
    """Return one uint8 frame as PNG."""
    return png(Image.fromarray(frame_HWC))


def frame_of(png: bytes) -> np.ndarray:
    """Return the uint8 RGB frame (H, W, C) of a PNG."""
    with Image.open(io.BytesIO(png)) as picture:
        return np.asarray(picture.convert("RGB"))
