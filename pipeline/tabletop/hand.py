"""Decide what the pusher does: go behind a thing, push it to some place, choose another, with pauses and detours.

The hand looks at places and knows no physics. It commands one of eight directions or none, each for two frames or
more, as a person with a stick does. Where something holds the pusher it lets go at once, and goes another way: of
demonstrations in which a stick pushes on against a wall, a world learns that commands do nothing.
"""

from __future__ import annotations

import numpy as np

from pipeline.tabletop.look import SIDE, Command, Points

_BEHIND = 17.0
"""From the centre of a thing to where pushing it begins."""
_NEAR = 5.0
_HELD = 1.5
"""The pusher moves less than that in a frame where something holds it, of 4.5 where nothing does."""
_PAUSE_SHARE, _DETOUR_SHARE = 0.06, 0.15


class Hand:
    """The one that holds the stick in an episode."""

    def __init__(self, rng: np.random.Generator) -> None:
        """Take the stick; all its choices are drawn from `rng`."""
        self._rng = rng
        self._command: Command = (0, 0)
        self._frames = 0  # for which the command still holds
        self._push = 0  # decisions for which the thing is still pushed
        self._aim: tuple[int, Points] | None = None  # a thing, and where it shall go
        self._was: Points | None = None  # the pusher's place a frame ago

    def command(self, pusher: Points, centres: Points) -> Command:
        """Return the command of the next frame.

        Args:
            pusher: its place, (2,).
            centres: of the things, (things, 2).
        """
        if self._is_held(pusher):
            self._aim, self._push = None, 0
            self._command = self._away(pusher)
            self._frames = int(self._rng.integers(2, 5))
        elif self._frames <= 0:
            self._command = self._decide(pusher, centres)
            self._frames = int(self._rng.integers(2, 5))
        self._frames -= 1
        self._was = pusher
        return self._command

    def _is_held(self, pusher: Points) -> bool:
        return self._command != (0, 0) and self._was is not None and bool((abs(pusher - self._was) < _HELD).all())

    def _away(self, pusher: Points) -> Command:
        """Return a direction other than the last one, rather inwards."""
        ways = self._rng.normal(size=(8, 2)) + (SIDE / 2 - pusher) / SIDE
        return next((command for command in map(compass, ways) if command != self._command), (0, 0))

    def _decide(self, pusher: Points, centres: Points) -> Command:
        chance = self._rng.random()
        if chance < _PAUSE_SHARE:
            return (0, 0)
        if chance < _PAUSE_SHARE + _DETOUR_SHARE:
            return compass(self._rng.normal(size=2))
        if self._aim is None:
            self._aim = int(self._rng.integers(len(centres))), self._rng.uniform(20, SIDE - 20, 2)
        thing, goal = self._aim
        way = goal - centres[thing]
        way = way / max(float(np.linalg.norm(way)), 1e-6)
        if self._push:
            self._push -= 1
            if not self._push:
                self._aim = None
            return compass(way)
        behind = np.clip(centres[thing] - _BEHIND * way, 8, SIDE - 8)
        if float(np.linalg.norm(behind - pusher)) < _NEAR:
            self._push = int(self._rng.integers(3, 6))
            return compass(way)
        return compass(behind - pusher)


def compass(way: Points) -> Command:
    """Return the nearest of eight directions; none for no way at all."""
    length = float(np.linalg.norm(way))
    if length < 1e-6:
        return (0, 0)
    # an axis is left out where its part is less than the sine of 22.5 degrees
    x, y = (0 if abs(part) < 0.3827 * length else int(np.sign(part)) for part in way.tolist())
    return x, y
