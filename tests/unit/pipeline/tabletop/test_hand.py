"""The hand at the table: a command that moves nothing is not held for long."""

from __future__ import annotations

import numpy as np

from pipeline.tabletop.hand import Hand
from pipeline.tabletop.table import Table, centres

_STILL = 1.0


def held_in_a_row(episode: int, frames: int = 80) -> list[int]:
    """Return how many commands in a row moved the pusher by less than a unit, each time."""
    table, hand = Table([0, episode]), Hand(np.random.default_rng([0, episode, 1]))
    rows = [0]
    for _ in range(frames):
        before = np.array(table.look().pusher)
        command = hand.command(before, centres(table.things))
        table.step(command, 0.1)
        still = command != (0, 0) and float(abs(np.array(table.look().pusher) - before).max()) < _STILL
        if still:
            rows[-1] += 1
        elif rows[-1]:
            rows.append(0)
    return rows


def test_the_hand_lets_go_where_something_holds_the_pusher() -> None:
    rows = [held_in_a_row(episode) for episode in range(4)]
    assert sum(map(sum, rows)) < 0.1 * 4 * 80, "of a hand that pushes on it was 0.38 in 40 episodes"
    assert max(map(max, rows)) <= 6
