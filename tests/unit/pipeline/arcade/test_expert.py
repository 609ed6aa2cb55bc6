"""The scripted expert takes every coin in sight by the game's own rules, and needs no more than a picture shows."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pipeline.arcade.expert import coins_taken, expert_action, play_expert, start_at
from pipeline.arcade.platformer import ACTIONS, RING, Level, State, advance, draw, make_level

LEVELS = [make_level(seed) for seed in range(900_000, 900_006)]


def taken_by(level: Level, state: State, action: int | None) -> int:
    """Play 60 steps of the expert, or of one action."""
    if action is None:
        return coins_taken(play_expert(level, state, 60)[0])
    states = [state]
    for _ in range(60):
        states.append(advance(level, states[-1], action))
    return coins_taken(states)


def test_the_expert_takes_nearly_every_coin_and_running_alone_does_not() -> None:
    starts = [(level, start_at(level, 100 * index, (-1, 1)[index % 2])) for index, level in enumerate(LEVELS)]
    total = sum(len(level.coins) for level in LEVELS)
    expert = sum(taken_by(level, state, None) for level, state in starts)
    runs = sum(taken_by(level, state, ACTIONS.index("right")) for level, state in starts)
    assert expert >= 0.9 * total
    assert runs < 0.8 * total


@pytest.mark.parametrize("facing", [-1, 1])
def test_without_a_coin_in_sight_it_runs_on_as_it_looks(facing: int) -> None:
    level = dataclasses.replace(LEVELS[0], coins=())
    state = dataclasses.replace(start_at(level, 0, facing), coins_back=())
    assert ACTIONS[expert_action(level, state)] == ("left" if facing < 0 else "right")


def test_a_coin_behind_it_that_is_nearer_makes_it_turn() -> None:
    level = LEVELS[0]
    state = start_at(level, 240, 1)
    row = state.y
    near, far = (200, row), (300, row)
    turned = dataclasses.replace(level, coins=(near, far))
    own = dataclasses.replace(state, coins_back=(0, 0))
    assert ACTIONS[expert_action(turned, own)] == "left"
    assert ACTIONS[expert_action(dataclasses.replace(level, coins=(far, near)), own)] == "left"
    # once it is taken, the other one counts
    gone = dataclasses.replace(own, coins_back=(80, 0))
    assert ACTIONS[expert_action(turned, gone)] == "right"


def test_the_expert_acts_by_what_the_picture_shows() -> None:
    level = LEVELS[1]
    by_picture: dict[bytes, set[int]] = {}
    for column in range(0, RING, 30):
        for facing in (-1, 1):
            state = start_at(level, column, facing)
            picture = draw(level, state, state, 0.0).tobytes()
            by_picture.setdefault(picture, set()).add(expert_action(level, state))
            # an enemy's walk and the number of the step change nothing
            later = dataclasses.replace(state, step=7)
            assert expert_action(level, later) == expert_action(level, state)
    assert {len(actions) for actions in by_picture.values()} == {1}


def test_a_coin_counts_once_though_it_comes_back() -> None:
    level = LEVELS[2]
    states = [start_at(level, 0, 1)]
    for _ in range(200):  # four times around
        states.append(advance(level, states[-1], ACTIONS.index("right")))
    assert coins_taken(states[:1]) == 0
    assert coins_taken(states[:60]) == coins_taken(states) <= len(level.coins)
    # one that was away from the start on was taken by nobody
    gone = dataclasses.replace(states[0], coins_back=(70,) * len(level.coins))
    assert coins_taken([gone, advance(level, gone, ACTIONS.index("right"))]) == 0


def test_a_start_stands_on_what_carries_it() -> None:
    for level in LEVELS:
        for column in range(0, RING, 50):
            state = start_at(level, column, 1)
            stays = advance(level, state, ACTIONS.index("none"))
            assert (stays.x, stays.y, stays.airborne) == (state.x, state.y, False)
    assert np.all([start_at(LEVELS[0], 127, 1).x == 120])
