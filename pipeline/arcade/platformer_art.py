"""What the platformer looks like: pictures drawn as text, two themes, and the painting of a level's background."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]


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
    "r": (240, 122, 32), "s": (248, 200, 152), "b": (20, 104, 112), "n": (110, 60, 24), "f": (255, 84, 20),
    "h": (255, 226, 150), "k": (28, 20, 28), "w": (255, 255, 255), "y": (252, 208, 40), "o": (206, 134, 16),
}  # fmt: skip
HERO_COLOURS: tuple[Colour, ...] = tuple(_PALETTE[key] for key in "rsb")
"""Cap, skin and suit: colours that nothing else in a picture has, in either theme."""
COIN_COLOURS: tuple[Colour, ...] = tuple(_PALETTE[key] for key in "yo")
ENEMY_COLOURS: tuple[tuple[Colour, ...], ...] = tuple((theme.enemy,) for theme in THEMES)
"""By theme."""

# Every sprite fills its tiles. A sprite with holes shows the background through them: each pose times each background
# is then a patch of its own, and a small tokenizer and dynamics learn none of them (measured: 179 patches for a hero
# with holes, 24 without). The head is the same in all poses for the same reason.
_HEAD = ("kkkkkkkkkk", "krrrrrrrrk", "krrrrrrrww", "ksssskwskk", "kssssksskk")
_POSES = {
    "stand": (*_HEAD, "kssssssssk", "kbbbbbbbbk", "kbbssbbbbk", "kkbbkkbbkk", "kknnkknnnk"),
    "stride": (*_HEAD, "kssssssssk", "kbbbbbbbbk", "kbbbbssbbk", "kbbbkkkbbk", "nnnkkkkknn"),
    "jump": (*_HEAD, "kssssssssk", "sbbbbbbbbs", "sbbbbbbbbs", "kffhhhhffk", "kkfhhhhfkk"),
    "fall": (*_HEAD, "sssssssssk", "sbbbbbbbbs", "kbbbbbbbbs", "kbbkkkkbbk", "kknnkknnkk"),
}
_COIN = ("oooooooooo", "oyyyyyyyyo", "oywwyyyyoo", "oywyyyyyoo", "oyyyooyyoo", "oyyyooyyoo", "oyyyyyyyoo",
         "oyyyyyyyoo", "oyooooooyo", "oooooooooo")  # fmt: skip
# an enemy that ducks steps next: a picture says all that the next one depends on
_ENEMY = ("kkkkkkkkkk", "keeeeeeeek", "keeeeeeeek", "kewwkewwkk", "kewkkewkkk", "keeeeeeeek", "keekkkkeek",
          "keeeeeeeek", "kekkekkekk", "kkkkkkkkkk")  # fmt: skip
_ENEMY_DUCKS = ("kkkkkkkkkk", "kkkkkkkkkk", "keeeeeeeek", "keeeeeeeek", "kewwkewwkk", "kewkkewkkk", "keeeeeeeek",
                "keekkkkeek", "keeeeeeeek", "kkekkekkek")  # fmt: skip


def _picture(rows: tuple[str, ...], scale: int = 1, **more: Colour) -> Picture:
    palette = {**_PALETTE, **more}
    assert all(len(row) == len(rows[0]) for row in rows)
    return np.array([[palette[key] for key in row] for row in rows], np.uint8).repeat(scale, 0).repeat(scale, 1)


def _both_ways(picture: Picture) -> dict[int, Picture]:
    return {1: picture, -1: picture[:, ::-1]}


PLAYER = {
    (pose, way): picture for pose, rows in _POSES.items() for way, picture in _both_ways(_picture(rows, 2)).items()
}
"""The character by (pose, facing): stand, stride, jump, fall; 1 looks right, -1 left. 20x20 px."""
COIN = _picture(_COIN)
ENEMY = tuple(
    {
        (ducks, way): picture
        for ducks, rows in ((False, _ENEMY), (True, _ENEMY_DUCKS))
        for way, picture in _both_ways(_picture(rows, e=theme.enemy)).items()
    }
    for theme in THEMES
)
"""By theme, the enemy by (whether it ducks, facing). 10x10 px."""


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
    """Return what does not move: sky, clouds, bushes, ground, platforms, and the ceiling of one tile.

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
    # a whole number of tiles from the top
    horizon = height // 2 // tile * tile + tile
    picture[:horizon], picture[horizon:] = colours.sky
    for column in rng.choice(num_tiles // 4, size=6, replace=False) * 4 * tile:
        top = tile * int(rng.integers(1, 3))
        picture[top + 2 : top + 8, column + 4 : column + 26] = colours.cloud
        picture[top : top + 6, column + 10 : column + 20] = colours.cloud
    for index in rng.choice(num_tiles, size=4, replace=False):
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
    picture[: tile - 3], picture[tile - 3 : tile] = colours.joint, colours.ground
    picture[: tile - 3, tile // 2 - 1 :: tile] = colours.ground
    return np.concatenate([picture, picture[:, :screen]], axis=1)
