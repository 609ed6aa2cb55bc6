"""A platformer of our own, drawn with numpy: the embedded source's good gameplay, with its true actions known.

The world is made so that a small model can learn to play it within minutes. Everything moves whole tiles of 10 px a
step, and a tile is a patch of the tokenizer. Every sprite fills its tiles. A picture says all that the next one depends
on, beside the action: poses tell the next stride and the air, an enemy shows where it looks and when it steps. One
large character (20x20 px at 160x90), a camera that follows it along the level, two themes, levels that close to a ring
(no ends to run into). Actions are held briefly and at random, so that the past does not give them away. The game runs
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

from pipeline.arcade.platformer_art import COIN, ENEMY, PLAYER, THEMES, Picture, paint_level

ACTIONS = ("none", "left", "right", "jump", "jump-left", "jump-right")
"""Names of the actions, by index."""
STEPS_PER_SECOND = 10
WIDTH, HEIGHT, TILE = 160, 90, 10
NUM_TILES = 48
RING = NUM_TILES * TILE
"""Pixels around a level."""

_ON_GROUND, _JUMPS = (1, 2, 2), (1, 1, 1)  # odds of none, left, right, and of the same with a jump
_JUMP_SHARE = 0.54  # of the holds that may begin one
_HELD_STEPS, _JUMP_STEPS = (2, 6), (2, 3)
# now and then a jump is held for long, up to the ceiling: a player does that, too
_LONG_JUMP_SHARE, _LONG_JUMP_STEPS = 0.16, (5, 8)
# px a step. All moves are whole tiles: at half a tile a small latent action model codes the phase beside the direction,
# and a key that is held then stops after one step (measured).
_RUN, _RISE, _FALL = 10, 10, 10
_STEPS_A_WALK = 2  # an enemy moves a tile in so many steps
_PLAYER_COLUMN, _PLAYER_SIZE = 70, 20
_TOP = HEIGHT - TILE - _PLAYER_SIZE  # of its feet: a ceiling of one tile
_PLATFORMS = np.array([30, 40])  # heights
_AWAY_STEPS = 80  # a taken coin or a beaten enemy is back after so many steps, once it is out of sight


def platformer_actions(seed: int, num_steps: int) -> npt.NDArray[np.int8]:
    """Return the scripted player's actions: indices into `ACTIONS`, each held some steps, drawn independently.

    A jump rises for as long as it is held, so after a jump of n steps something else is held for at least n. A longer
    recording of the same seed starts with the actions of a shorter one.
    """
    rng = np.random.default_rng((seed, 1))
    actions = np.empty(num_steps, np.int8)
    start = owed = 0
    while start < num_steps:
        jumps = not owed and rng.random() < _JUMP_SHARE
        odds = np.array(_JUMPS if jumps else _ON_GROUND, float)
        action = int(rng.choice(3, p=odds / odds.sum())) + 3 * jumps
        lengths = _JUMP_STEPS if jumps else _HELD_STEPS
        if jumps and rng.random() < _LONG_JUMP_SHARE:
            lengths = _LONG_JUMP_STEPS
        held = max(owed, int(rng.integers(lengths[0], lengths[1] + 1)))
        owed = held if jumps else 0
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
    """A walker from one end of a platform to the other and back, a tile in two steps."""

    left: int
    """Leftmost column of its left edge (px on the ring)."""
    right: int
    """Rightmost one."""
    row: int
    """Height of its feet."""
    phase: int

    def at(self, step: int) -> int:
        """Return its left column at a step."""
        span, offset = self._offset(step)
        return self.left + TILE * min(offset, 2 * span - offset)

    def facing(self, step: int) -> int:
        """Return 1 where it walks to the right next, -1 to the left."""
        span, offset = self._offset(step)
        return 1 if offset < span else -1

    def ducks(self, step: int) -> bool:
        """Tell whether it moves to the next tile in the next step."""
        return (step + self.phase) % _STEPS_A_WALK == _STEPS_A_WALK - 1

    def _offset(self, step: int) -> tuple[int, int]:
        span = (self.right - self.left) // TILE
        return span, (step + self.phase) // _STEPS_A_WALK % (2 * span)


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
    facing: int
    strides: bool
    """Which of the two poses of a run it has: it changes with each step of a run on the ground. A picture must not tell
    the action that is still to come."""
    airborne: bool
    rises: bool
    """Whether it rises. With one pose for both ways a fall is a jump played backwards, and a latent action that tells
    jumping from not jumping then tells falling from standing, too (measured)."""
    coins_back: tuple[int, ...]
    """Step from which each coin is there again."""
    enemies_back: tuple[int, ...]
    """Step from which each enemy is there again."""


def make_level(seed: int) -> Level:
    """Return the level of a seed: flat ground, 7 one-way platforms, 6 coins, 3 enemies, one of the themes."""
    rng = np.random.default_rng((seed, 0))
    theme = int(rng.integers(len(THEMES)))
    # flat: a step that is climbed looks like a jump, and the keys that run would not lead over it
    height = int(rng.integers(1, 3)) * TILE
    ground = np.full(NUM_TILES, height, np.int64)
    platforms = np.zeros(NUM_TILES, np.int64)
    spans = []
    for start in rng.choice(NUM_TILES // 6, size=7, replace=False) * 6:
        # a jump from the ground reaches each of them, and none from them the top of the picture
        first, row = int(start + rng.integers(0, 2)), int(rng.choice(_PLATFORMS[height + 2 * TILE <= _PLATFORMS]))
        # the last tile of a slot stays free: neighbours do not touch, and enemies see where their platform ends
        length = min(int(rng.integers(3, 6)), int(start) + 5 - first)
        platforms[first : first + length] = row
        spans.append((first, first + length - 1, row))
    surface = np.maximum(ground, platforms)
    coins = tuple(
        (int(tile) * TILE, int((surface if rng.random() < 0.7 else ground)[tile]) + TILE)
        for tile in sorted(rng.choice(NUM_TILES, size=6, replace=False))
    )
    enemies = tuple(
        Enemy(first * TILE, last * TILE, row, int(rng.integers(0, 16)))
        for first, last, row in (spans[index] for index in sorted(rng.choice(len(spans), size=3, replace=False)))
    )
    background = paint_level(rng, theme, ground, platforms, screen=WIDTH, height=HEIGHT, tile=TILE)
    return Level(theme, ground, platforms, coins, enemies, background)


def first_state(level: Level) -> State:
    """Return the state of step 0: standing at column 0."""
    away = (0,) * len(level.coins), (0,) * len(level.enemies)
    return State(0, 0, support_at(level, 0, HEIGHT), 1, False, False, False, *away)


def support_at(level: Level, x: int, y: int) -> int:
    """Return the height of what carries a character at column x with feet at y: ground, or a platform not above."""
    tiles = np.arange(x // TILE, (x + _PLAYER_SIZE - 1) // TILE + 1) % NUM_TILES
    ground = int(level.ground[tiles].max())
    platforms = level.platforms[tiles]
    return max([ground, *platforms[platforms <= y].tolist()])


def advance(level: Level, state: State, action: int) -> State:
    """Return the state after one step under an action: nothing ever blocks.

    A jump rises for as long as it is held. At the ceiling the character bumps its head and falls a tile, whatever is
    held, and without a jump it falls, too.
    """
    name = ACTIONS[action]
    run = _RUN * (name.endswith("right") - name.endswith("left"))
    x = (state.x + run) % RING
    rises = name.startswith("jump") and state.y < _TOP
    if rises:
        y, airborne = max(state.y + _RISE, support_at(level, x, 0)), True
    else:
        support = support_at(level, x, state.y)
        y = max(support, state.y - _FALL)
        airborne = y > support
    strides = bool(run) and not airborne and not state.strides
    step = state.step + 1
    coins = _taken(state.coins_back, [c[0] for c in level.coins], [c[1] for c in level.coins], x, y, step)
    columns = [enemy.at(step) for enemy in level.enemies]
    enemies = _taken(state.enemies_back, columns, [enemy.row for enemy in level.enemies], x, y, step)
    return State(step, x, y, int(np.sign(run)) or state.facing, strides, airborne, rises, coins, enemies)


def _taken(back: tuple[int, ...], xs: list[int], ys: list[int], x: int, y: int, step: int) -> tuple[int, ...]:
    """Return from which step each thing is there again.

    Those that the character touches now are sent away. None comes back in sight: it would come out of nothing.
    """
    result = list(back)
    for index, (column, row) in enumerate(zip(xs, ys, strict=True)):
        if back[index] == step and _in_sight(column, x):
            result[index] = step + 1
        near = (column - x + TILE - 1) % RING < _PLAYER_SIZE + TILE - 1
        if near and row < y + _PLAYER_SIZE and row + TILE > y and back[index] < step:
            result[index] = step + _AWAY_STEPS
    return tuple(result)


def _in_sight(column: int, x: int) -> bool:
    """Tell whether a thing at a column of the ring is in the picture, or a step from it, with the character at x."""
    return (column - x + _PLAYER_COLUMN + 2 * TILE) % RING < WIDTH + 3 * TILE


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
            picture = ENEMY[level.theme][enemy.ducks(state.step), enemy.facing(state.step)]
            _put(frame, picture, (now + round((then - now) * part) - camera) % RING, enemy.row)
    _put(frame, PLAYER[_pose(state), state.facing], _PLAYER_COLUMN, y)
    return frame


def _pose(state: State) -> str:
    if state.airborne:
        return "jump" if state.rises else "fall"
    return "stride" if state.strides else "stand"


def _put(frame: Picture, picture: Picture, column: int, height: int) -> None:
    """Draw a picture with its lower left corner at (column, height above the lower edge), cut at the edges."""
    if column > RING - TILE:
        column -= RING
    rows, columns = picture.shape[:2]
    top = HEIGHT - height - rows
    left, right = max(column, 0), min(column + columns, WIDTH)
    upper, lower = max(top, 0), min(top + rows, HEIGHT)
    if left < right and upper < lower:
        frame[upper:lower, left:right] = picture[upper - top : lower - top, left - column : right - column]
