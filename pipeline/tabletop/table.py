"""The physics of a table top: walls, things, and a pusher that goes where it is told until something holds it.

    table = Table(seed=0)
    table.step((1, 0), seconds=0.1)     # to the right
    table.look()                        # what a picture of it shows

Needs pymunk. The same seed and commands give the same places on one kind of processor.
Units: the table is 100 wide and 100 high; seconds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pymunk

from pipeline.tabletop.look import DEFORMABLE, KINDS, PUSHER_RADIUS, SIDE, Colour, Command, Look, Points, Seen
from pipeline.tabletop.things import Thing, make_thing

SPEED = 45.0
"""Of the pusher along each axis, in units a second."""
_SUBSTEP_S = 0.005
_CLOTHS: tuple[Colour, ...] = ((52, 56, 70), (70, 58, 50), (44, 66, 58))


class Table:
    """A table with three or four things in its quarters, at least one of them deformable, and the pusher between."""

    def __init__(self, seed: Sequence[int] | int) -> None:
        """Lay the table that a seed stands for."""
        rng = np.random.default_rng(seed)
        self.space = pymunk.Space()
        self.space.iterations = 15
        self._cloth = _CLOTHS[int(rng.integers(len(_CLOTHS)))]
        corners = ((0.0, 0.0), (SIDE, 0.0), (SIDE, SIDE), (0.0, SIDE))
        for one, other in zip(corners, (*corners[1:], corners[0]), strict=True):
            self.space.add(pymunk.Segment(self.space.static_body, one, other, 2.0))
        kinds = [DEFORMABLE[int(rng.integers(2))], *(KINDS[int(rng.integers(4))] for _ in range(rng.integers(2, 4)))]
        quarters = rng.permutation(4)[: len(kinds)]
        self.things = [
            make_thing(self.space, kind, _place(int(quarter), rng), rng)
            for kind, quarter in zip(kinds, quarters, strict=True)
        ]
        self._add_pusher(tuple(rng.uniform(46, 54, 2).tolist()))
        self.step((0, 0), 0.5)  # what was laid too near to something slides away from it

    def _add_pusher(self, at: tuple[float, float]) -> None:
        self.pusher = pymunk.Body(20.0, float("inf"))
        self.pusher.position = at
        shape = pymunk.Circle(self.pusher, PUSHER_RADIUS)
        shape.friction = 0.5
        self._motor = pymunk.Body(body_type=pymunk.Body.KINEMATIC)
        drive = pymunk.PivotJoint(self._motor, self.pusher, (0, 0), (0, 0))
        # the motor gives it a speed, up to a force: a thing that is pressed against a wall holds it
        drive.max_bias, drive.max_force = 0.0, 20_000.0
        self.space.add(self.pusher, shape, self._motor, drive)

    def step(self, command: Command, seconds: float) -> None:
        """Move the pusher in a direction for some time, and everything that it meets."""
        self._motor.velocity = (SPEED * command[0], SPEED * command[1])
        for _ in range(round(seconds / _SUBSTEP_S)):
            self.space.step(_SUBSTEP_S)

    def look(self) -> Look:
        """Return what a picture of the table shows now."""
        seen = [Seen(thing.kind, thing.colour, thing.outline(), thing.radius) for thing in self.things]
        return Look(self._cloth, tuple(seen), (self.pusher.position.x, self.pusher.position.y))


def _place(quarter: int, rng: np.random.Generator) -> tuple[float, float]:
    x, y = rng.uniform(-3, 3, 2).tolist()
    return 25.0 + 50.0 * (quarter % 2) + x, 25.0 + 50.0 * (quarter // 2) + y


def centres(things: Sequence[Thing]) -> Points:
    """Return the centres of things, (things, 2)."""
    return np.stack([thing.centre for thing in things])
