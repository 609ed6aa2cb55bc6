"""What the platformer looks like: sprites drawn as text, two themes, and the painting of a level's background."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Sprite:
    """A small picture with holes: `colours` (H, W, 3) where `opaque` (H, W)."""

    colours: Picture
    opaque: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Theme:
    """Colours of a world."""

    name: str
    sky: tuple[Colour, Colour]
    cloud: Colour
    ground: Colour
    lit: Colour
    joint: Colour
    bush: Colour
    platform: tuple[Colour, Colour]
    enemy: Colour


THEMES = (
    Theme("meadow", ((96, 168, 240), (150, 205, 250)), (250, 250, 255), (150, 92, 50), (88, 196, 70), (112, 66, 36),
          (48, 150, 64), ((226, 170, 84), (168, 112, 44)), (200, 52, 60)),
    Theme("dusk", ((58, 36, 96), (120, 60, 120)), (210, 130, 150), (70, 74, 98), (176, 186, 214), (48, 50, 70),
          (40, 100, 110), ((120, 150, 190), (70, 92, 140)), (90, 200, 120)),
)  # fmt: skip

_PALETTE: dict[str, Colour] = {
    "r": (240, 122, 32), "s": (248, 200, 152), "b": (20, 104, 112), "k": (28, 20, 28), "w": (255, 255, 255),
    "n": (110, 60, 24), "y": (252, 208, 40), "o": (214, 142, 20),
}  # fmt: skip

_HEAD = ("..rrrrrr..", ".rrrrrrrrr", ".nnsssks..", ".nsssskss.", ".nsssssss.")
_POSES = {
    "stand": (*_HEAD, "..rrbrr...", ".rrrbbrrr.", ".ssbbbbss.", "..bbbbbb..", "..nn..nn.."),
    "run-a": (*_HEAD, ".rrrbrrr..", "ssrrbbrrss", "..bbbbbb..", ".bbb..bbb.", "nn......nn"),
    "run-b": (*_HEAD, "..rrbrr...", "..rrbbrss.", "..bbbbbb..", "...bbbb...", "...nnnn..."),
    "jump": (*_HEAD, "ssrrbrrrss", ".rrrbbrrr.", ".bbbbbbbb.", "nbbb..bbbn", "n........n"),
}
_COIN = ("...yyyy...", "..ywwyyy..", ".ywyyyyoy.", ".ywyyyyoy.", ".ywyyyyoy.", ".ywyyyyoy.", ".yyyyyyoy.",
         ".yyyyyyoy.", "..yyoooy..", "...yyyy...")  # fmt: skip
_ENEMY = ("..eeeeee..", ".eeeeeeee.", "eeeeeeeeee", "ewwkeewwke", "ewwkeewwke", "eeeeeeeeee", "eeeeeeeeee",
          "eekkkkkkee", ".ee.ee.ee.", ".kk.kk.kk.")  # fmt: skip


def _sprite(rows: tuple[str, ...], scale: int = 1, **more: Colour) -> Sprite:
    palette = {**_PALETTE, **more, ".": (0, 0, 0)}
    assert all(len(row) == len(rows[0]) for row in rows)
    colours = np.array([[palette[key] for key in row] for row in rows], np.uint8)
    opaque = np.array([[key != "." for key in row] for row in rows])
    return Sprite(colours.repeat(scale, 0).repeat(scale, 1), opaque.repeat(scale, 0).repeat(scale, 1))


def _both_ways(name: str, rows: tuple[str, ...]) -> dict[tuple[str, int], Sprite]:
    right = _sprite(rows, scale=2)
    return {(name, 1): right, (name, -1): Sprite(right.colours[:, ::-1], right.opaque[:, ::-1])}


PLAYER: dict[tuple[str, int], Sprite] = {}
"""The character by (pose, facing): stand, run-a, run-b, jump; 1 looks right, -1 left. 20x20 px."""
for _name, _rows in _POSES.items():
    PLAYER |= _both_ways(_name, _rows)
COIN = _sprite(_COIN)
ENEMY = tuple(_sprite(_ENEMY, e=theme.enemy) for theme in THEMES)


def paint_level(
    rng: np.random.Generator,
    theme: int,
    ground: npt.NDArray[np.int64],
    platforms: npt.NDArray[np.int64],
    *,
    screen: int,
    height: int,
    tile: int,
) -> Picture:
    """Return what does not move: sky, clouds, bushes, ground and platforms.

    Args:
        rng: places clouds and bushes.
        theme: index into `THEMES`.
        ground: height of the ground in px, one value a tile.
        platforms: height of the platform over each tile in px, 0 for none.
        screen: columns of one screen, repeated at the end so that a view never wraps.
        height: rows.
        tile: px of a tile.

    Returns:
        uint8 (height, len(ground) * tile + screen, 3).
    """
    colours = THEMES[theme]
    num_tiles = len(ground)
    picture = np.empty((height, num_tiles * tile, 3), np.uint8)
    picture[: height // 2], picture[height // 2 :] = colours.sky
    for column in rng.choice(num_tiles // 4, size=6, replace=False) * 4 * tile:
        top = tile * int(rng.integers(0, 2))
        picture[top + 2 : top + 8, column + 4 : column + 26] = colours.cloud
        picture[top : top + 6, column + 10 : column + 20] = colours.cloud
    for index in rng.choice(num_tiles, size=8, replace=False):
        base = height - int(ground[index])
        picture[base - 6 : base, index * tile : (index + 1) * tile] = colours.bush
        picture[base - 9 : base - 6, index * tile + 2 : (index + 1) * tile - 2] = colours.bush
    for index in range(num_tiles):
        columns = slice(index * tile, (index + 1) * tile)
        top = height - int(ground[index])
        picture[top:, columns] = colours.ground
        picture[top + tile - 1 :: tile, columns] = colours.joint
        picture[top:, index * tile + tile - 1] = colours.joint
        picture[top : top + 3, columns] = colours.lit
        if platforms[index]:
            top = height - int(platforms[index])
            picture[top : top + 6, columns] = colours.platform[0]
            picture[top + 6 : top + tile, columns] = colours.platform[1]
            picture[top + 1 : top + 5, index * tile + tile - 1] = colours.platform[1]
    return np.concatenate([picture, picture[:, :screen]], axis=1)
