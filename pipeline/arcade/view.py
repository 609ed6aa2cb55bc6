"""Where the embedded platformer's view is, read from its own pictures, so that another camera needs no change here."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from pipeline.arcade.platformer import HEIGHT, Level, State, draw
from pipeline.arcade.platformer_art import Picture


def bare(level: Level) -> Level:
    """Return a level without enemies and coins, whose background tells its columns; for states of `alone`."""
    return replace(level, coins=(), enemies=(), background=_numbered_columns(level.background.shape[1]))


def alone(state: State) -> State:
    """Return a state of the same level without enemies and coins."""
    return replace(state, coins_back=(), enemies_back=())


def camera_of(level: Level, state: State) -> int:
    """Return the column of the ring at the left edge of the screen."""
    return camera_of_bare(bare(level), alone(state))


def camera_of_bare(level: Level, state: State) -> int:
    """Return the same for a level of `bare` and a state of `alone`."""
    picture = draw(level, state, state, 0.0)
    # the character may stand in one corner
    red, green, _ = next(corner for corner in (picture[0, 0], picture[-1, 0]) if corner[2] == 255)
    return int(red) << 8 | int(green)


@lru_cache
def _numbered_columns(width: int) -> Picture:
    # red and green tell the column; with so much blue it looks like nothing that is searched for
    columns = np.arange(width)
    colours = np.stack([columns >> 8, columns & 255, np.full(width, 255)], -1).astype(np.uint8)
    return np.broadcast_to(colours, (HEIGHT, width, 3))
