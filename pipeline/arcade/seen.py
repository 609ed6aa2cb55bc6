"""Find the character, enemies and coins of the embedded platformer in frames, and read its ground and platforms.

A pixel belongs to the thing whose colour is nearest, where that colour is the thing's alone: it differs by `MARGIN` or
more from every colour of everything else, in all themes. A thing is a connected region of its own colours with at
least half of the pixels that the whole thing has. All colours and sizes are read from `platformer_art`, so new art
needs no change here.

    classes = classify(frames_NHWC, theme=0)
    regions = find(classes, CHARACTER, theme=0)      # one row per region, with its frame
    ground, platforms = read_terrain(classes)        # heights in pixels, per tile column

Frames may have been through H.264 or a tokenizer: colours may be off by about half of `MARGIN`.

Shapes: N frames, H W C pixels, G tile columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from pipeline.arcade.platformer import TILE, make_level
from pipeline.arcade.platformer_art import COIN as COIN_PICTURE
from pipeline.arcade.platformer_art import (
    COIN_COLOURS,
    ENEMY_COLOURS,
    HERO_COLOURS,
    PLAYER,
    THEMES,
    Colour,
    Picture,
    Theme,
)
from pipeline.arcade.platformer_art import ENEMY as ENEMY_PICTURES

Classes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
Heights = npt.NDArray[np.int64]

NOTHING, CHARACTER, ENEMY, COIN, GROUND, PLATFORM, SHARED = range(7)
NUM_CLASSES = 7
"""Classes of pixels; `SHARED` are colours of sprites that are not one thing's alone (outlines, eyes)."""
MARGIN = 30.0
"""Least Euclidean distance in RGB of a thing's own colour from all colours of everything else."""
NEAR_PX = 6.0
"""A region nearer than this to a place stands there. A thing that did not move its tile is 10 px off, of which another
pose and a video take up to 3; one that lost a part is up to 5 px off."""
LEAST_SHARE = 0.5
"""Share of a thing's own pixels that a region must have to count as the thing."""
_NEAR, _REACH = 25.0, 60.0  # distances in RGB: a pixel farther than `_REACH` from every colour belongs to nothing
_BITS = 5  # of each channel, in the table of colours
# pixels touch their eight neighbours in the same frame
_WITHIN_FRAME = np.zeros((3, 3, 3), bool)
_WITHIN_FRAME[1] = True


@dataclass(frozen=True, eq=False)
class Regions:
    """Connected regions of one thing's colours; row k of each array is a region, in the order of the frames."""

    frame: npt.NDArray[np.int64]
    row: npt.NDArray[np.float64]
    column: npt.NDArray[np.float64]
    """Middle of its bounding box, in pixels from the upper left corner."""
    size: npt.NDArray[np.int64]
    """Number of pixels."""


def classify(frames_NHWC: npt.NDArray[np.uint8], theme: int) -> Classes:
    """Return the class (N, H, W) of each pixel of uint8 RGB frames that show a theme."""
    cells = frames_NHWC >> (8 - _BITS)
    red, green, blue = (cells[..., channel].astype(np.uint16) for channel in range(3))
    return _table(theme)[red << 2 * _BITS | green << _BITS | blue]


def find(classes_NHW: Classes, thing: int, theme: int, least: float | None = None) -> Regions:
    """Return the regions of a thing (`CHARACTER`, `ENEMY` or `COIN`) in classified frames.

    Args:
        classes_NHW: see `classify`.
        thing: the class that is looked for.
        theme: index of the theme, because enemies differ by theme.
        least: least number of pixels; half of those of the whole thing by default.
    """
    labels, number = ndimage.label(classes_NHW == thing, structure=_WITHIN_FRAME)
    sizes = np.bincount(labels.reshape(-1), minlength=number + 1)
    large = np.flatnonzero(sizes[1:] >= (LEAST_SHARE * own_size(thing, theme) if least is None else least))
    boxes = ndimage.find_objects(labels)
    found = [boxes[index] for index in large]
    middles = [[(part.start + part.stop - 1) / 2 for part in box] for box in found]
    frame, row, column = np.array(middles, np.float64).reshape(-1, 3).T
    return Regions(frame.astype(np.int64), row, column, sizes[1:][large].astype(np.int64))


def stands_at(
    classes_NHW: Classes,
    thing: int,
    theme: int,
    places_K3: npt.NDArray[np.int64],
) -> Flags:
    """Tell for each place (K,) whether a thing stands there: a region of it nearer than `NEAR_PX`.

    Args:
        classes_NHW: see `classify`.
        thing: `ENEMY` or `COIN`.
        theme: index of the theme.
        places_K3: index of the frame, and upper left corner (row, column) of the whole thing in it. The pixels in the
            boxes of other places of the same frame do not count.
    """
    rows, columns = _pictures(thing, theme)[0].shape[:2]
    margin = TILE - 1
    around = ((0, 0), (margin, margin), (margin, margin))
    owner = np.zeros(classes_NHW.shape, np.int32)
    for place, (frame, top, left) in enumerate(places_K3.tolist(), 1):
        owner[frame, max(top, 0) : top + rows, max(left, 0) : left + columns] = place
    frame, top, left = (part[:, None, None] for part in places_K3.T)
    index = (
        frame,
        top + np.arange(rows + 2 * margin)[None, :, None],
        left + np.arange(columns + 2 * margin)[None, None, :],
    )
    owners = np.pad(owner, around)[index]
    mine = (owners == 0) | (owners == np.arange(1, len(places_K3) + 1)[:, None, None])
    windows = np.where(mine, np.pad(classes_NHW, around)[index], NOTHING).astype(np.uint8)
    regions = find(windows, thing, theme)
    middle = margin + (rows - 1) / 2, margin + (columns - 1) / 2
    near = (np.abs(regions.row - middle[0]) < NEAR_PX) & (np.abs(regions.column - middle[1]) < NEAR_PX)
    return np.isin(np.arange(len(places_K3)), regions.frame[near])


def read_terrain(classes_NHW: Classes) -> tuple[Heights, Heights, Flags]:
    """Return the heights in pixels of ground and platform (N, G) in each tile column, and where one may be hidden.

    A cell of the grid of tiles is ground where at least half of its pixels are, and so for platforms. The ground ends
    at the first cell from below that is none. The third array (N, G) tells the columns in which a sprite may cover a
    platform.
    """
    frames, height, width = classes_NHW.shape
    cells = classes_NHW.reshape(frames, height // TILE, TILE, width // TILE, TILE)
    ground = (cells == GROUND).mean((2, 4)) >= 0.5
    platform = (cells == PLATFORM).mean((2, 4)) >= 0.5
    sprite = np.isin(cells, (CHARACTER, ENEMY, COIN, SHARED)).mean((2, 4)) >= 0.25
    # rows from below: row r ends at height (r + 1) * TILE
    heights = np.cumprod(ground[:, ::-1], 1).sum(1) * TILE
    rows = np.arange(1, height // TILE + 1)[None, :, None]
    platforms = (platform[:, ::-1] * rows).max(1) * TILE
    return heights.astype(np.int64), platforms.astype(np.int64), sprite.any(1)


# -- colours of the art ----------------------------------------------------------------------------------------------


@lru_cache
def own_colours(thing: int, theme: int) -> tuple[Colour, ...]:
    """Return the colours that tell a thing, sorted.

    They are those that the art names, as far as they are at least `MARGIN` from everything else's in all themes.
    """
    others: set[Colour] = {colour for one in THEMES for colour in _scenery(one)}
    for other in {CHARACTER, ENEMY, COIN} - {thing}:
        for any_theme in range(len(THEMES)):
            others |= _colours_of(_pictures(other, any_theme))
    return tuple(
        sorted(
            colour
            for colour in _named_colours(thing, theme)
            if min(_distance(colour, other) for other in others) >= MARGIN
        )
    )


@lru_cache
def own_size(thing: int, theme: int) -> int:
    """Return the pixels of the largest region of its own class that a thing has, in the picture with the fewest."""
    sizes = []
    for picture in _pictures(thing, theme):
        labels, _ = ndimage.label(classify(picture[None], theme)[0] == thing, structure=_WITHIN_FRAME[1])
        sizes.append(int(np.bincount(labels.reshape(-1))[1:].max(initial=0)))
    return min(sizes)


def _named_colours(thing: int, theme: int) -> tuple[Colour, ...]:
    return {CHARACTER: HERO_COLOURS, ENEMY: ENEMY_COLOURS[theme], COIN: COIN_COLOURS}[thing]


def _pictures(thing: int, theme: int) -> list[Picture]:
    pictures = {CHARACTER: list(PLAYER.values()), ENEMY: list(ENEMY_PICTURES[theme].values()), COIN: [COIN_PICTURE]}
    return pictures[thing]


def _colours_of(pictures: Sequence[Picture]) -> set[Colour]:
    return {(int(r), int(g), int(b)) for picture in pictures for r, g, b in picture.reshape(-1, 3)}


def _scenery(theme: Theme) -> dict[Colour, int]:
    """Return the colours of what does not move, with their classes."""
    empty = (*theme.sky, theme.cloud, theme.bush)
    return {
        **dict.fromkeys(empty, NOTHING),
        **dict.fromkeys(theme.platform, PLATFORM),
        **dict.fromkeys((theme.ground, theme.lit, theme.joint), GROUND),
    }


def _distance(first: Colour, second: Colour) -> float:
    return float(np.linalg.norm(np.subtract(first, second)))


@lru_cache
def _table(theme: int) -> npt.NDArray[np.uint8]:
    """Return the class of each colour, by the leading bits of its channels.

    A colour near one of the art's has its class. Others are looked up among the colours that sprites take at their
    edges in a video.
    """
    clean: dict[Colour, int] = {}
    for thing in (CHARACTER, ENEMY, COIN):
        own = own_colours(thing, theme)
        clean |= {colour: thing if colour in own else SHARED for colour in _colours_of(_pictures(thing, theme))}
    clean |= _scenery(THEMES[theme])
    drawn = [picture for thing in (CHARACTER, ENEMY, COIN) for picture in _pictures(thing, theme)]
    edges = [(_as_video(picture).reshape(-1, 3), _exact(picture, clean)) for picture in [*drawn, _background(theme)]]
    levels = np.stack(np.unravel_index(np.arange(1 << 3 * _BITS), (1 << _BITS,) * 3), -1) + 0.5
    levels *= 1 << 8 - _BITS
    distance, nearest = cKDTree(np.array(list(clean))).query(levels)
    table = np.array(list(clean.values()), np.uint8)[nearest]
    far = np.flatnonzero(distance > _NEAR)
    colours, classes = _most_frequent(*(np.concatenate(parts) for parts in zip(*edges, strict=True)))
    mixed, nearest = cKDTree(colours).query(levels[far])
    table[far] = np.where(np.minimum(mixed, distance[far]) > _REACH, NOTHING, classes[nearest])
    return table


def _most_frequent(
    colours_NC: npt.NDArray[np.uint8], classes_N: Classes
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the distinct colours, and the class that each one has most often."""
    packed = colours_NC.astype(np.int64) @ (1 << 16, 1 << 8, 1) * NUM_CLASSES + classes_N
    pairs, number = np.unique(packed, return_counts=True)
    pairs = pairs[np.argsort(-number, kind="stable")]
    colours, first = np.unique(pairs // NUM_CLASSES, return_index=True)
    return np.stack([colours >> 16, colours >> 8 & 255, colours & 255], -1), pairs[first] % NUM_CLASSES


def _background(theme: int) -> Picture:
    """Return the background of the first level of a theme."""
    return next(level.background for level in map(make_level, count()) if level.theme == theme)


def _exact(picture_HWC: Picture, classes: Mapping[Colour, int]) -> Classes:
    """Return the class (H * W,) of each pixel of a picture in the art's own colours."""
    colours, which = np.unique(picture_HWC.reshape(-1, 3), axis=0, return_inverse=True)
    known = [classes[int(red), int(green), int(blue)] for red, green, blue in colours]
    return np.array(known, np.uint8)[which.reshape(-1)]


def _as_video(picture_HWC: Picture) -> Picture:
    """Return a picture whose colour, not brightness, is the mean of 2x2 pixels, as in the yuv420p of a video."""
    height, width = picture_HWC.shape[:2]
    pixels = picture_HWC.astype(np.float32)
    luma = pixels @ np.array([0.299, 0.587, 0.114], np.float32)
    chroma = pixels - luma[..., None]
    blocks = chroma.reshape(height // 2, 2, width // 2, 2, 3).mean((1, 3))
    return (luma[..., None] + blocks.repeat(2, 0).repeat(2, 1) + 0.5).clip(0, 255).astype(np.uint8)
