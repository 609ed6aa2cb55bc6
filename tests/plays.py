"""Drawn games as planes of luma, 10 frames a second: what the search for copies is tested on."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

Luma = npt.NDArray[np.uint8]
"""Frames of luma (T, 90, 160)."""


def backdrop(level: int) -> Luma:
    """Return a level's picture (90, 160): blocks of several shades, with texture."""
    random = np.random.default_rng(level)
    picture = np.kron(random.integers(60, 200, (6, 10)), np.ones((15, 16), int)) + random.integers(0, 12, (90, 160))
    return picture.astype(np.uint8)


def fixed_camera(play: int, frames: int, *, level: int = 0, scenery: bool = True) -> Luma:
    """Return a play of a single-screen game: the level and its patrolling enemies are the same, the player is not."""
    film = np.repeat(backdrop(level)[None], frames, axis=0)
    random = np.random.default_rng(1000 + play)
    x, y, speed, rise = float(random.integers(20, 140)), 60.0, 0.0, 0.0
    for step in range(frames):
        if scenery:
            for row, period in ((10, 31), (34, 47)):
                at = int(20 + 50 * (1 + np.sin(2 * np.pi * step / period)))
                film[step, row : row + 8, at : at + 10] = 235
        if step % 6 == 0:
            speed, rise = float(random.integers(-4, 5)), float(random.choice([0.0, -7.0]))
        x, y, rise = float(np.clip(x + speed, 0, 148)), float(np.clip(y + rise, 5, 72)), rise + 1.5
        film[step, int(y) : int(y) + 12, int(x) : int(x) + 9] = 20
    return film


def scrolling(play: int, frames: int, *, level: int = 0) -> Luma:
    """Return a play of a game that scrolls: how fast and how far is the player's."""
    random = np.random.default_rng(500 + level)
    world = np.kron(random.integers(40, 220, (9, 200)), np.ones((10, 10), int)).astype(np.uint8)
    steps = np.repeat(np.random.default_rng(play).integers(-2, 6, frames // 8 + 1), 8)[:frames]
    places = np.clip(np.cumsum(steps), 0, world.shape[1] - 160)
    return np.stack([world[:, place : place + 160] for place in places])


@functools.cache
def _noise() -> npt.NDArray[np.int16]:
    return np.random.default_rng(7).integers(-4, 5, (80, 90, 160)).astype(np.int16)


def second_encode(film: Luma, *, seed: int = 0, gain: float = 1.0, noise: int = 1) -> Luma:
    """Return frames as another encode leaves them: noise, and a little more contrast if asked."""
    changed = film.astype(np.int16)
    if gain != 1:
        changed = ((changed - 126) * gain).astype(np.int16) + 126
    shown = np.roll(_noise(), 3 * seed, axis=0)
    changed += noise * shown[np.arange(len(film)) % len(shown)]
    return np.clip(changed, 16, 235).astype(np.uint8)


def with_bars(film: Luma) -> Luma:
    """Return frames at four fifths of their size, between black bars on all sides."""
    rows, columns = np.arange(72) * 90 // 72, np.arange(128) * 160 // 128
    framed = np.full_like(film, 16)
    framed[:, 9:81, 16:144] = film[:, rows][:, :, columns]
    return framed


def with_logo(film: Luma) -> Luma:
    """Return frames with a logo in a corner."""
    marked = film.copy()
    marked[:, 5:15, 130:155] = 235
    return marked
