"""A platformer of our own, drawn with numpy: the embedded source's good gameplay, with its true actions known.

The world is made so that a small model can learn to run left and right in it within minutes: one large character
(20x20 px at 160x90), a camera that follows it along the level, two themes, levels that close to a ring (no ends to
run into), and actions that are held briefly and at random, so that the past does not give them away. The game runs
at 10 steps a second; a recording shows the steps with positions interpolated between them.

    actions = platformer_actions(seed=3, num_steps=500)              # int8, index into ACTIONS
    for frame in record_platformer(seed=3, num_steps=500, fps=30):   # 1,500 frames of uint8 (90, 160, 3)
        ...

Frame `k * fps / 10` is exactly state k, and `actions[k]` is held between state k and state k + 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.arcade.platformer_art import COIN, ENEMY, PLAYER, THEMES, Picture, Sprite, paint_level

ACTIONS = ("none", "left", "right", "jump", "jump-left", "jump-right")
"""Names of the actions, by index."""
STEPS_PER_SECOND = 10
WIDTH, HEIGHT, TILE = 160, 90, 10
NUM_TILES = 48
RING = NUM_TILES * TILE
"""Pixels around a level."""

# mostly on the ground: a small model that sees the character in the air half of the time learns to leave it out
_PROBABILITIES = (0.18, 0.28, 0.28, 0.08, 0.09, 0.09)
_HELD_STEPS = (2, 6)
# px a step. Running moves whole tiles: at half a tile a small latent action model codes the phase beside the direction,
# and a key that is held then stops after one step (measured). A jump rises while held, at most so many steps.
_RUN, _RISE, _MAX_RISE_STEPS = 10, 10, 3
_WALK = 5  # of an enemy
_PLAYER_COLUMN, _PLAYER_SIZE = 70, 20
_AWAY_STEPS = 80  # a taken coin or a beaten enemy is back after so many steps


def platformer_actions(seed: int, num_steps: int) -> npt.NDArray[np.int8]:
    """Return the scripted player's actions: indices into `ACTIONS`, each held 2 to 6 steps, drawn independently.

    A longer recording of the same seed starts with the actions of a shorter one.
    """
    rng = np.random.default_rng((seed, 1))
    actions = np.empty(num_steps, np.int8)
    start = 0
    while start < num_steps:
        action = rng.choice(len(ACTIONS), p=_PROBABILITIES)
        held = int(rng.integers(_HELD_STEPS[0], _HELD_STEPS[1] + 1))
        actions[start : start + held] = action
        start += held
    return actions


def record_platformer(seed: int, num_steps: int, *, fps: int = 30) -> Iterator[Picture]:
    """Yield the frames of a recording of `num_steps / 10` seconds.

    Args:
        seed: level, theme and actions follow from it.
        num_steps: game steps of a tenth of a second.
        fps: frames a second, a multiple of 10; `fps / 10` frames are yielded for each step.

    Yields:
        uint8 RGB (90, 160, 3), a fresh array each.
    """
    if fps < STEPS_PER_SECOND or fps % STEPS_PER_SECOND:
        raise ValueError(f"fps = {fps}: must be a multiple of {STEPS_PER_SECOND}")
    between = fps // STEPS_PER_SECOND
    level = make_level(seed)
    state = first_state(level)
    for action in platformer_actions(seed, num_steps):
        following = advance(level, state, int(action))
        for part in range(between):
            yield draw(level, state, following, part / between)
        state = following


@dataclass(frozen=True)
class Enemy:
    """A walker between two columns (px on the ring), `_WALK` px a step."""

    left: int
    right: int
    row: int
    phase: int

    def at(self, step: int) -> int:
        """Return its left column at a step."""
        span = (self.right - self.left) // _WALK
        offset = (step + self.phase) % (2 * span)
        return self.left + _WALK * min(offset, 2 * span - offset)


@dataclass(frozen=True)
class Level:
    """A ring of tiles; heights are px above the picture's lower edge."""

    theme: int
    ground: npt.NDArray[np.int64]
    """Height of the ground, one value a tile."""
    platforms: npt.NDArray[np.int64]
    """Height of the one-way platform over each tile, 0 where there is none."""
    coins: tuple[tuple[int, int], ...]
    """(column, height of the lower edge) of each coin, px."""
    enemies: tuple[Enemy, ...]
    background: Picture = field(repr=False, compare=False)
    """(90, RING + 160, 3): the ring, opened, with its first screen repeated at the end."""


@dataclass(frozen=True)
class State:
    """Everything that a step changes."""

    step: int
    x: int
    """Column of the character's left edge on the ring."""
    y: int
    """Height of its feet, px above the picture's lower edge."""
    rise: int
    """Steps that the present jump has risen; 0 on the ground, `_MAX_RISE_STEPS` once it falls."""
    facing: int
    running: int
    """Steps that it has run in a row up to now: a picture must not tell the action that is still to come."""
    airborne: bool
    coins_back: tuple[int, ...]
    """Step from which each coin is there again."""
    enemies_back: tuple[int, ...]
    """Step from which each enemy is there again."""


def make_level(seed: int) -> Level:
    """Return the level of a seed: gentle ground, 7 one-way platforms, 10 coins, 3 enemies, one of the themes."""
    rng = np.random.default_rng((seed, 0))
    theme = int(rng.integers(len(THEMES)))
    ground = np.empty(NUM_TILES, np.int64)
    tile, height = 0, int(rng.integers(1, 4))
    while tile < NUM_TILES:
        length = int(rng.integers(3, 8))
        ground[tile : tile + length] = height * TILE
        tile += length
        height = 2 if height != 2 else int(rng.choice([1, 3]))
    platforms = np.zeros(NUM_TILES, np.int64)
    for start in rng.choice(NUM_TILES // 6, size=7, replace=False) * 6:
        first, length, row = int(start + rng.integers(0, 2)), int(rng.integers(3, 6)), int(rng.integers(4, 6))
        platforms[first : first + length] = row * TILE
    surface = np.maximum(ground, platforms)
    coins = tuple(
        (int(tile) * TILE, int((surface if rng.random() < 0.7 else ground)[tile]) + TILE)
        for tile in sorted(rng.choice(NUM_TILES, size=10, replace=False))
    )
    enemies = tuple(_make_enemy(rng, ground, start) for start in sorted(rng.choice(6, size=3, replace=False) * 8))
    background = paint_level(rng, theme, ground, platforms, screen=WIDTH, height=HEIGHT, tile=TILE)
    return Level(theme, ground, platforms, coins, enemies, background)


def _make_enemy(rng: np.random.Generator, ground: npt.NDArray[np.int64], start: int) -> Enemy:
    first = int(start + rng.integers(0, 3))
    last = first + int(rng.integers(2, 5))
    row = int(ground[np.arange(first, last + 1) % NUM_TILES].max())
    return Enemy(first * TILE, last * TILE, row, int(rng.integers(0, 16)))


def first_state(level: Level) -> State:
    """Return the state of step 0: standing at column 0."""
    away = (0,) * len(level.coins), (0,) * len(level.enemies)
    return State(0, 0, _support(level, 0, HEIGHT), 0, 1, 0, False, *away)


def _support(level: Level, x: int, y: int) -> int:
    """Return the height of what carries a character at column x with feet at y: ground, or a platform not above."""
    tiles = np.arange(x // TILE, (x + _PLAYER_SIZE - 1) // TILE + 1) % NUM_TILES
    ground = int(level.ground[tiles].max())
    platforms = level.platforms[tiles]
    return max([ground, *platforms[platforms <= y].tolist()])


def advance(level: Level, state: State, action: int) -> State:
    """Return the state after one step under an action: steps of the ground are climbed, nothing ever blocks."""
    name = ACTIONS[action]
    run = _RUN * (name.endswith("right") - name.endswith("left"))
    running = state.running + 1 if run else 0
    x = (state.x + run) % RING
    grounded = not state.airborne
    rise = 0 if grounded else state.rise
    if name.startswith("jump") and rise < _MAX_RISE_STEPS:
        y, rise = state.y + _RISE, rise + 1
        y = max(y, _support(level, x, 0))
        airborne = True
    else:
        support = _support(level, x, state.y)
        y = max(support, state.y - _RISE)
        airborne = y > support
        rise = _MAX_RISE_STEPS if airborne else 0
    step = state.step + 1
    coins = _taken(state.coins_back, [c[0] for c in level.coins], [c[1] for c in level.coins], x, y, step)
    columns = [enemy.at(step) for enemy in level.enemies]
    enemies = _taken(state.enemies_back, columns, [enemy.row for enemy in level.enemies], x, y, step)
    return State(step, x, y, rise, int(np.sign(run)) or state.facing, running, airborne, coins, enemies)


def _taken(back: tuple[int, ...], xs: list[int], ys: list[int], x: int, y: int, step: int) -> tuple[int, ...]:
    """Return from which step each thing is there again, those that the character touches now being sent away."""
    result = list(back)
    for index, (column, row) in enumerate(zip(xs, ys, strict=True)):
        near = (column - x + TILE - 1) % RING < _PLAYER_SIZE + TILE - 1
        if near and row < y + _PLAYER_SIZE and row + TILE > y and back[index] <= step:
            result[index] = step + _AWAY_STEPS
    return tuple(result)


def draw(level: Level, state: State, following: State, part: float) -> Picture:
    """Return the picture between two states: `part` 0 is the first, positions move linearly to the second."""
    moved = (following.x - state.x + RING // 2) % RING - RING // 2
    x = (state.x + round(moved * part)) % RING
    y = state.y + round((following.y - state.y) * part)
    camera = (x - _PLAYER_COLUMN) % RING
    frame = level.background[:, camera : camera + WIDTH].copy()
    for (column, row), back in zip(level.coins, state.coins_back, strict=True):
        if back <= state.step:
            _put(frame, COIN, (column - camera) % RING, row)
    for enemy, back in zip(level.enemies, state.enemies_back, strict=True):
        if back <= state.step:
            now, then = enemy.at(state.step), enemy.at(state.step + 1)
            _put(frame, ENEMY[level.theme], (now + round((then - now) * part) - camera) % RING, enemy.row)
    pose = "jump" if state.airborne else _run_pose(state)
    _put(frame, PLAYER[pose, state.facing], _PLAYER_COLUMN, y)
    return frame


def _run_pose(state: State) -> str:
    if not state.running:
        return "stand"
    return "run-a" if state.running % 2 else "run-b"


def _put(frame: Picture, sprite: Sprite, column: int, height: int) -> None:
    """Draw a sprite with its lower left corner at (column, height above the lower edge), cut at the edges."""
    if column > RING - TILE:
        column -= RING
    rows, columns = sprite.opaque.shape
    top = HEIGHT - height - rows
    left, right = max(column, 0), min(column + columns, WIDTH)
    upper, lower = max(top, 0), min(top + rows, HEIGHT)
    if left >= right or upper >= lower:
        return
    part = np.s_[upper - top : lower - top, left - column : right - column]
    frame[upper:lower, left:right][sprite.opaque[part]] = sprite.colours[part][sprite.opaque[part]]
