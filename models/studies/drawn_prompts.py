"""Start frames that no world was trained on, drawn by code: sketches, photo-like pictures, frames of other games.

The same seed gives the same pictures. Photo-like pictures are rendered (sky, ridges of fractal noise, lit balls,
grain), because no photograph comes with this project; give your own folder for real ones.

Shapes: N pictures, H W C pixels, K colours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, UnidentifiedImageError

from models.play.starts.decode import DAMAGE
from pipeline.arcade.cabinet import play_cabinet
from pipeline.errors import UserError

OTHER_GAMES = ("jump_game", "shooter", "snake")
"""Sample games of pyxel (MIT) that are no platformer like the embedded one."""
_COLOURS = 8
_PLAYED = 60  # frames until a game shows play and not its title
_INK, _STROKE = (20, 20, 20), 2


def palette_of(frames_NHWC: np.ndarray) -> np.ndarray:
    """Return the main colours (K, 3), uint8, of frames, the most frequent first."""
    strip = Image.fromarray(np.concatenate(list(frames_NHWC)))
    counted = strip.quantize(_COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    shares = np.bincount(np.asarray(counted).ravel(), minlength=_COLOURS)
    colours = np.zeros((_COLOURS, 3), np.uint8)
    found = np.array(counted.getpalette() or [], np.uint8).reshape(-1, 3)[:_COLOURS]
    colours[: len(found)] = found
    return colours[np.argsort(-shares, kind="stable")]


def sketch(seed: int, palette_K3: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return a sketch of a level (H, W, 3), uint8, as by hand with a few pens: ground, platforms, a figure."""
    rng = np.random.default_rng((seed, 1))
    pens = [tuple(int(value) for value in colour) for colour in palette_K3]
    canvas = Image.new("RGB", (width, height), pens[0])
    draw = ImageDraw.Draw(canvas)
    ground = int(height * rng.uniform(0.75, 0.88))
    for row in range(ground, height, 3):
        draw.line(_shaky(rng, (0, row), (width, row)), pens[1], _STROKE)
    for _ in range(int(rng.integers(2, 5))):
        left, top = int(rng.uniform(0, 0.8) * width), int(rng.uniform(0.3, 0.7) * height)
        pen = pens[int(rng.integers(1, len(pens)))]
        for down in range(0, int(0.08 * height), 2):
            draw.line(_shaky(rng, (left, top + down), (left + 0.18 * width, top + down)), pen, _STROKE)
    x, size = int(rng.uniform(0.2, 0.8) * width), 0.2 * height
    head = (x - size / 6, ground - size, x + size / 6, ground - size * 2 / 3)
    draw.ellipse(head, outline=_INK, width=_STROKE)
    waist = (x, ground - size / 3)
    for start, end in (
        ((x, ground - size * 2 / 3), waist),
        (waist, (x - size / 5, ground)),
        (waist, (x + size / 5, ground)),
        ((x - size / 4, ground - size / 2), (x + size / 4, ground - size / 2)),
    ):
        draw.line(_shaky(rng, start, end), _INK, _STROKE)
    return np.asarray(canvas)


def photo_like(seed: int, height: int, width: int) -> np.ndarray:
    """Return a rendered picture (H, W, 3), uint8, with what photographs have: gradients, texture, shading and grain."""
    rng = np.random.default_rng((seed, 2))
    rows = np.linspace(0, 1, height)[:, None, None]
    above, below = rng.uniform(90, 220, 3), rng.uniform(150, 250, 3)
    picture = np.broadcast_to(above * (1 - rows) + below * rows, (height, width, 3)).copy()
    for ridge in range(3):
        line = height * (0.45 + 0.15 * ridge) + height * 0.15 * _noise(rng, width)
        ground = np.arange(height)[:, None] > line[None]
        texture = 1 + 0.35 * _noise(rng, width * height).reshape(height, width)
        colour = rng.uniform(30, 150, 3) * (1.2 - 0.25 * ridge)
        picture = np.where(ground[..., None], colour * texture[..., None], picture)
    yy, xx = np.mgrid[:height, :width]
    for _ in range(2):
        radius = height * rng.uniform(0.1, 0.2)
        dx, dy = (xx - rng.uniform(0, width)) / radius, (yy - height * rng.uniform(0.5, 0.9)) / radius
        inside = dx**2 + dy**2 < 1
        light = np.clip(0.25 + 0.75 * (np.sqrt(np.clip(1 - dx**2 - dy**2, 0, 1)) - 0.5 * dx - 0.6 * dy), 0.1, 1.3)
        picture = np.where(inside[..., None], rng.uniform(90, 220, 3) * light[..., None], picture)
    return np.clip(picture + rng.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)


def other_games(count: int, height: int, width: int) -> list[np.ndarray]:
    """Return frames of other games in play, in turns; they keep their form, with bars beside them."""
    frames = []
    for number in range(count):
        game = OTHER_GAMES[number % len(OTHER_GAMES)]
        played = list(play_cabinet(game, number, _PLAYED))
        frames.append(fitted(Image.fromarray(played[-1]), height, width))
    return frames


def pictures_of(folder: Path, count: int, height: int, width: int) -> tuple[list[np.ndarray], dict[str, str]]:
    """Return the first pictures of a folder by name, with bars beside them, and why entries before them are left out.

    Hidden files are no pictures.

    Raises:
        UserError: there is no such folder, or no picture in it can be read.
    """
    if not folder.is_dir():
        raise UserError(f"{str(folder)!r} is no folder: name one that holds pictures (PNG, JPEG)")
    found: list[np.ndarray] = []
    left_out: dict[str, str] = {}
    for path in sorted(path for path in folder.iterdir() if not path.name.startswith(".")):
        if len(found) == count:
            break
        if not path.is_file():  # a pipe would be waited for
            left_out[path.name] = "it is no file"
            continue
        try:
            with Image.open(path) as picture:
                found.append(fitted(picture.convert("RGB"), height, width))
        except UnidentifiedImageError:
            left_out[path.name] = "it is no picture"
        except (*DAMAGE, Image.DecompressionBombError) as exc:
            left_out[path.name] = f"it cannot be read ({type(exc).__name__})"
    if not found:
        reasons = "".join(f"; {name}: {why}" for name, why in left_out.items())
        raise UserError(f"{str(folder)!r} holds no picture that can be read: put PNG or JPEG files into it{reasons}")
    return found, left_out


def fitted(picture: Image.Image, height: int, width: int) -> np.ndarray:
    """Return a picture (H, W, 3), uint8, scaled to fit, on black."""
    scale = min(height / picture.height, width / picture.width)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    canvas = Image.new("RGB", (width, height))
    canvas.paste(picture.resize(size, Image.Resampling.LANCZOS), ((width - size[0]) // 2, (height - size[1]) // 2))
    return np.asarray(canvas)


def drawn(count: int, draw: Callable[[int], np.ndarray]) -> list[np.ndarray]:
    """Return the pictures of the seeds 0, 1, .. ."""
    return [draw(seed) for seed in range(count)]


def _shaky(rng: np.random.Generator, start: Sequence[float], end: Sequence[float]) -> list[tuple[float, float]]:
    """Return the points of a line as a hand draws it."""
    along = np.linspace(0, 1, 8)[:, None]
    points = np.array(start) * (1 - along) + np.array(end) * along + rng.normal(0, 0.7, (8, 2))
    return [(float(x), float(y)) for x, y in points]


def _noise(rng: np.random.Generator, length: int) -> np.ndarray:
    """Return fractal noise (length,), about -1 to 1: octaves of interpolated random values."""
    total, places = np.zeros(length), np.arange(length)
    for octave in range(1, 7):
        knots = rng.uniform(-1, 1, 2**octave + 1)
        total += np.interp(places / length * 2**octave, np.arange(len(knots)), knots) / 2**octave
    return total
