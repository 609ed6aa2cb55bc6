import itertools

import numpy as np
import pytest

from pipeline.arcade.platformer import (
    ACTIONS,
    RING,
    TILE,
    advance,
    draw,
    first_state,
    make_level,
    platformer_actions,
    record_platformer,
)


def play(level, names):
    states = [first_state(level)]
    for name in names:
        states.append(advance(level, states[-1], ACTIONS.index(name)))
    return states


def moves(seed, count):
    """Return (state, state after it, action) of a recording."""
    level, found = make_level(seed), []
    state = first_state(level)
    for action in platformer_actions(seed, count).tolist():
        after = advance(level, state, action)
        found.append((state, after, action))
        state = after
    return found


def test_the_same_seed_gives_the_same_recording_and_another_one_another():
    first, again, other = (list(record_platformer(seed, 12, fps=20)) for seed in (4, 4, 5))
    assert len(first) == 24
    assert first[0].shape == (90, 160, 3)
    assert first[0].dtype == np.uint8
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_longer_recording_starts_like_a_shorter_one():
    assert np.array_equal(platformer_actions(3, 50), platformer_actions(3, 400)[:50])


def test_actions_are_held_briefly_and_all_occur():
    actions = platformer_actions(0, 4000)
    assert set(actions.tolist()) == set(range(len(ACTIONS)))
    changes = np.flatnonzero(np.diff(actions)) + 1
    assert np.diff(changes).min() >= 2
    assert 3 < np.diff(changes).mean() < 6, "two draws in a row may be the same action"


def test_each_step_of_a_jump_below_the_ceiling_rises_and_nothing_else_does():
    bumps = 0
    for seed in range(6):
        for before, after, action in moves(seed, 400):
            jumps = ACTIONS[action].startswith("jump")
            assert (after.y > before.y) == (jumps and before.y < 60)
            bumps += jumps and before.y == 60
    assert bumps > 20, "now and then a jump is held there"


def test_what_a_picture_shows_is_on_the_grid_of_tiles():
    for _, after, _ in moves(5, 200):
        assert after.x % TILE == after.y % TILE == 0
    for enemy in make_level(5).enemies:
        assert {enemy.at(step) % TILE for step in range(60)} == {0}


def test_every_frame_at_a_step_is_that_state_whatever_the_rate():
    at_10 = list(record_platformer(2, 30, fps=10))
    at_30 = list(record_platformer(2, 30, fps=30))
    assert np.array_equal(at_10, at_30[::3])
    level, state = make_level(2), first_state(make_level(2))
    for frame, action in zip(at_10, platformer_actions(2, 30), strict=True):
        assert np.array_equal(frame, draw(level, state, state, 0.0))
        state = advance(level, state, int(action))


def test_a_frame_does_not_tell_the_action_that_is_still_to_come():
    level = make_level(1)
    state = play(level, ["right", "jump", "left", "left"])[-1]
    frames = [draw(level, state, advance(level, state, action), 0.0) for action in range(len(ACTIONS))]
    assert all(np.array_equal(frame, frames[0]) for frame in frames)


def test_running_scrolls_the_world_by_whole_tiles_in_its_direction():
    level = make_level(0)
    right = play(level, ["right"] * 60)
    assert [(b.x - a.x) % RING for a, b in itertools.pairwise(right)] == [TILE] * 60, "nothing blocks"
    left = play(level, ["left"])
    assert left[-1].x == RING - TILE
    assert (right[1].facing, left[1].facing) == (1, -1)
    # far from the character, what was seen one tile to the right is now here
    before, after = (draw(level, state, state, 0.0) for state in (right[0], right[1]))
    assert np.array_equal(before[:19, 110:150], after[:19, 100:140])


def test_a_jump_rises_while_held_bumps_at_the_ceiling_and_falls_back():
    level = make_level(1)
    states = play(level, ["jump"] * 9 + ["none"] * 9)
    heights = [state.y for state in states]
    top = heights.index(60)
    assert heights[: top + 1] == list(range(heights[0], 61, 10))
    assert heights[top : top + 3] == [60, 50, 60], "the head is at the ceiling"
    assert not states[-1].airborne
    released = play(level, ["jump", "none"])
    assert released[-1].y == released[0].y, "a short press is a short jump"


def test_an_enemy_walks_a_tile_in_two_steps_from_end_to_end_and_shows_where_and_when():
    for enemy in make_level(2).enemies:
        columns = [enemy.at(step) for step in range(60)]
        assert (min(columns), max(columns)) == (enemy.left, enemy.right)
        for step in range(59):
            moved = columns[step + 1] - columns[step]
            assert moved == (TILE * enemy.facing(step) if enemy.ducks(step) else 0)


def test_neighbouring_platforms_do_not_touch():
    for seed in range(20):
        platforms = make_level(seed).platforms
        both = (platforms > 0) & (np.roll(platforms, -1) > 0)
        assert (platforms[both] == np.roll(platforms, -1)[both]).all()


def test_what_is_touched_goes_and_comes_back_out_of_sight():
    level = make_level(3)
    states = play(level, ["right"] * 30 + ["none"] * 100 + ["right"] * 100)
    gone = [[back > state.step for back in state.coins_back] for state in states]
    assert not any(gone[0])
    taken = next(step for step, each in enumerate(gone) if any(each))
    index = gone[taken].index(True)
    assert states[taken].coins_back[index] == taken + 80
    back = next(step for step in range(taken, len(gone)) if not gone[step][index])
    column = (level.coins[index][0] - states[back].x + 70) % RING
    assert back >= taken + 80
    assert column >= 170 or column == 160, "it is not in the picture when it comes back"


def test_the_character_stands_on_ground_or_platform_and_inside_the_picture():
    for seed in range(6):
        level = make_level(seed)
        state = first_state(level)
        for action in platformer_actions(seed, 300):
            state = advance(level, state, int(action))
            tiles = np.arange(state.x // TILE, (state.x + 19) // TILE + 1) % 48
            assert state.y >= level.ground[tiles].max()
            assert state.y <= 60


@pytest.mark.parametrize("fps", [0, 25, 5])
def test_a_rate_that_does_not_hold_whole_steps_is_refused(fps):
    with pytest.raises(ValueError, match=f"fps = {fps}: must be a multiple of 10"):
        next(record_platformer(0, 3, fps=fps))
