"""What lies on a table: rigid discs and boxes, and two deformable things, a rope and a soft blob.

Each body rubs on the table, so that it stops soon after the pusher leaves it: a picture then says nearly all that the
next one depends on.

Units: the table is 100 wide and 100 high; seconds. Shapes: P points, 2 coordinates (x to the right, y down).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pymunk

from pipeline.tabletop.look import Colour, Kind, Points

_COLOURS: dict[Kind, tuple[Colour, ...]] = {
    "disc": ((66, 133, 214), (64, 190, 190)),
    "box": ((222, 84, 60), (232, 150, 50)),
    "rope": ((240, 220, 120), (235, 235, 235)),
    "blob": ((96, 190, 92), (190, 110, 200)),
}
_GRIP = 700.0
"""Deceleration by the friction of the table, in units a second squared: 50 a second end after 0.07 s."""
_ROPE_NODES, _ROPE_STEP, _ROPE_RADIUS = 9, 4.2, 2.2
_BLOB_NODES, _BLOB_RADIUS, _BLOB_NODE = 10, 9.0, 2.4


@dataclass(frozen=True, eq=False)
class Thing:
    """One thing: its bodies, and how its outline follows from them."""

    kind: Kind
    colour: Colour
    bodies: tuple[pymunk.Body, ...]
    """In the order of its outline: the only one of a rigid thing, the nodes of a rope, the ring of a blob."""
    corners: tuple[tuple[float, float], ...] = ()
    """Of a box, from its centre."""
    radius: float = 0.0
    """Of a disc, of a rope's thickness, and of what a blob's skin adds to its ring."""

    @property
    def centre(self) -> Points:
        """The mean of its bodies' places, (2,)."""
        return np.array([body.position for body in self.bodies], np.float64).mean(0)

    def outline(self) -> Points:
        """Return the points (P, 2) that it is drawn from: a centre, corners, or nodes in order."""
        if self.kind == "box":
            (body,) = self.bodies
            return np.array([body.local_to_world(corner) for corner in self.corners], np.float64)
        return np.array([body.position for body in self.bodies], np.float64)


def make_thing(space: pymunk.Space, kind: Kind, at: tuple[float, float], rng: np.random.Generator) -> Thing:
    """Put a thing of a kind onto the table, with sizes, angle and colour drawn from `rng`."""
    colour = _COLOURS[kind][int(rng.integers(len(_COLOURS[kind])))]
    angle, size = float(rng.uniform(0, math.pi)), float(rng.uniform(0.85, 1.15))
    if kind == "disc":
        body, radius = _body(space, at, 2.0), 7.0 * size
        _shape(space, pymunk.Circle(body, radius))
        return Thing(kind, colour, (body,), radius=radius)
    if kind == "box":
        body, half = _body(space, at, 2.0, angle), (8.0 * size, 5.5 * size)
        corners = tuple((x * half[0], y * half[1]) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1)))
        _shape(space, pymunk.Poly(body, corners))
        return Thing(kind, colour, (body,), corners=corners)
    if kind == "rope":
        return _rope(space, at, angle, colour)
    return _blob(space, at, colour, size)


def _rope(space: pymunk.Space, at: tuple[float, float], angle: float, colour: Colour) -> Thing:
    """Return nodes in a row, each held at its distance from the next, which bend freely."""
    along = (np.arange(_ROPE_NODES) - (_ROPE_NODES - 1) / 2) * _ROPE_STEP
    nodes = [_body(space, (at[0] + float(s) * math.cos(angle), at[1] + float(s) * math.sin(angle)), 0.3) for s in along]
    for node in nodes:
        _shape(space, pymunk.Circle(node, _ROPE_RADIUS))
    for one, other in itertools.pairwise(nodes):
        joint = pymunk.PinJoint(one, other)
        joint.collide_bodies = False
        space.add(joint)
    return Thing("rope", colour, tuple(nodes), radius=_ROPE_RADIUS)


def _blob(space: pymunk.Space, at: tuple[float, float], colour: Colour, size: float) -> Thing:
    """Return a ring of nodes on springs around a middle: what is pushed in comes out again."""
    ring, middle = _BLOB_RADIUS * size, _body(space, at, 0.4)
    _shape(space, pymunk.Circle(middle, 2.0))
    turns = 2 * math.pi * np.arange(_BLOB_NODES) / _BLOB_NODES
    nodes = [_body(space, (at[0] + ring * math.cos(t), at[1] + ring * math.sin(t)), 0.2) for t in turns]
    for node in nodes:
        _shape(space, pymunk.Circle(node, _BLOB_NODE))
    side = 2 * ring * math.sin(math.pi / _BLOB_NODES)
    for index, node in enumerate(nodes):
        space.add(pymunk.DampedSpring(node, middle, (0, 0), (0, 0), ring, 250.0, 4.0))
        beside = pymunk.DampedSpring(node, nodes[index - 1], (0, 0), (0, 0), side, 400.0, 4.0)
        beside.collide_bodies = False
        space.add(beside)
    return Thing("blob", colour, tuple(nodes), radius=_BLOB_NODE)


def _body(space: pymunk.Space, at: tuple[float, float], mass: float, angle: float = 0.0) -> pymunk.Body:
    """Return a body that rubs on the table."""
    body = pymunk.Body(mass, mass * 25.0)
    body.position, body.angle = at, angle
    slide = pymunk.PivotJoint(space.static_body, body, (0, 0), (0, 0))
    turn = pymunk.GearJoint(space.static_body, body, 0.0, 1.0)
    # joints that never correct a place only take speed away: friction
    slide.max_bias = turn.max_bias = 0.0
    slide.max_force, turn.max_force = _GRIP * mass, _GRIP * mass * 4.0
    space.add(body, slide, turn)
    return body


def _shape(space: pymunk.Space, shape: pymunk.Shape) -> None:
    shape.friction = 0.5
    space.add(shape)
