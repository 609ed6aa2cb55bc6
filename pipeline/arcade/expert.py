"""A scripted expert of the embedded platformer: it takes the coin in sight that it reaches first, and then runs on.

    level, state = make_level(seed), start_at(make_level(seed), column=120, facing=-1)
    action = expert_action(level, state)                     # index into ACTIONS
    share = taken(level, states) / len(level.coins)

It knows no more than a picture shows: the coins in the picture, ground and platforms between, and where it looks. The
shortest path is searched by the game's own rules; nothing in the game blocks or hurts. Where no coin is in reach it
runs on as it looks.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Sequence

from pipeline.arcade.platformer import (
    HEIGHT,
    RING,
    TILE,
    Level,
    State,
    advance,
    first_state,
    support_at,
)

_REACH = 8
"""Steps that are planned ahead: as many tiles as a picture shows on each side of the character, and one."""
_SIGHT_PX = 7 * TILE
_SIZE = 20
_LEFT, _NONE, _RIGHT = 1, 0, 2
_JUMP = 3
"""Added to a direction's action: the same with a jump."""


def start_at(level: Level, column: int, facing: int) -> State:
    """Return a state of step 0 on the ground or platform at a column of the ring, in pixels, looking left or right.

    Args:
        level: the level.
        column: of the character's left edge; it is moved to the tile that it lies in.
        facing: -1 or 1.
    """
    x = column % RING // TILE * TILE
    state = dataclasses.replace(first_state(level), x=x, facing=facing)
    return dataclasses.replace(state, y=support_at(level, x, HEIGHT))


def expert_action(level: Level, state: State) -> int:
    """Return the first action of a shortest path to a coin in sight; the run that it is in where there is none.

    Of paths of equal length it prefers those on the ground, and those that go on as it looks.
    """
    ahead, behind = (_RIGHT, _LEFT) if state.facing > 0 else (_LEFT, _RIGHT)
    order = (ahead, ahead + _JUMP, _NONE, _JUMP, behind, behind + _JUMP)
    coins = [
        coin for coin, back in zip(level.coins, state.coins_back, strict=True)
        if back <= state.step and _in_sight(coin[0], state.x)
    ]  # fmt: skip
    if not coins:
        return ahead
    seen = {(state.x, state.y)}
    places: deque[tuple[int, int, int, int]] = deque([(state.x, state.y, -1, 0)])
    while places:
        x, y, first, depth = places.popleft()
        for action in order:
            place = _moved(level, x, y, action)
            if place in seen:
                continue
            seen.add(place)
            begun = action if first < 0 else first
            if any(_touches(coin, *place) for coin in coins):
                return begun
            if depth + 1 < _REACH:
                places.append((*place, begun, depth + 1))
    return ahead


def coins_taken(states: Sequence[State]) -> int:
    """Return how many different coins were taken from the first of some consecutive states to the last."""
    first = states[0].coins_back
    # a coin that is taken is away for a time: the step from which it is back lies behind the step that took it
    return sum(
        any(state.coins_back[coin] > state.step + 1 and state.coins_back[coin] != first[coin] for state in states)
        for coin in range(len(first))
    )


def play_expert(level: Level, state: State, steps: int) -> tuple[list[State], list[int]]:
    """Return the `steps + 1` states of the expert's play, and its actions."""
    states, actions = [state], []
    for _ in range(steps):
        actions.append(expert_action(level, states[-1]))
        states.append(advance(level, states[-1], actions[-1]))
    return states, actions


def _moved(level: Level, x: int, y: int, action: int) -> tuple[int, int]:
    """Return where an action leads from a place, as `advance` does."""
    after = advance(level, _probe(level, x, y), action)
    return after.x, after.y


def _probe(level: Level, x: int, y: int) -> State:
    return dataclasses.replace(first_state(level), x=x, y=y)


def _in_sight(column: int, x: int) -> bool:
    away = (column - x + RING // 2) % RING - RING // 2
    return -_SIGHT_PX <= away <= _SIGHT_PX + _SIZE - TILE


def _touches(coin: tuple[int, int], x: int, y: int) -> bool:
    column, row = coin
    near = (column - x + TILE - 1) % RING < _SIZE + TILE - 1
    return near and row < y + _SIZE and row + TILE > y
