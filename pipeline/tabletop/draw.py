"""Draw a table as a picture, with numpy alone: distances to outlines, with soft edges of one pixel.

Shapes: S rows and columns of pixels, P points, N pixels of a part of the picture.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.tabletop.look import PUSHER_RADIUS, SIDE, Colour, Look, Points, Seen

Picture = npt.NDArray[np.uint8]
_RIM = 1.2
"""Width of the dark rim of a thing."""
_PUSHER: tuple[Colour, Colour] = ((24, 24, 28), (250, 250, 250))


def draw(look: Look, size: int) -> Picture:
    """Return a picture (S, S, 3) of a table."""
    canvas = np.empty((size, size, 3), np.float32)
    canvas[:] = look.cloth
    for thing in look.things:
        _paint(canvas, thing)
    place = np.array([look.pusher])
    dark, bright = _PUSHER
    for radius, colour in ((PUSHER_RADIUS, dark), (PUSHER_RADIUS - 1.6, bright), (PUSHER_RADIUS - 3.8, dark)):
        rows, columns, at = _part(canvas, place, radius)
        _mix(canvas[rows, columns], _to_line(at, place) - radius, colour, size)
    return (canvas + 0.5).astype(np.uint8)


def _paint(canvas: npt.NDArray[np.float32], thing: Seen) -> None:
    size = len(canvas)
    rows, columns, at = _part(canvas, thing.outline, thing.radius)
    solid = thing.kind in ("box", "blob")
    distance = (_to_area if solid else _to_line)(at, thing.outline) - thing.radius
    red, green, blue = thing.colour
    _mix(canvas[rows, columns], distance, (red // 2, green // 2, blue // 2), size)
    _mix(canvas[rows, columns], distance + _RIM, thing.colour, size)


def _part(canvas: npt.NDArray[np.float32], points: Points, margin: float) -> tuple[slice, slice, Points]:
    """Return the rows and columns around points, and the places of their pixels (rows, columns, 2)."""
    size = len(canvas)
    low = np.floor((points.min(0) - margin) * size / SIDE).astype(int) - 1
    high = np.ceil((points.max(0) + margin) * size / SIDE).astype(int) + 1
    (x0, y0), (x1, y1) = np.clip(low, 0, size), np.clip(high, 0, size)
    xs, ys = (np.arange(x0, x1) + 0.5) * SIDE / size, (np.arange(y0, y1) + 0.5) * SIDE / size
    return slice(y0, y1), slice(x0, x1), np.stack(np.meshgrid(xs, ys), -1)


def _mix(part: npt.NDArray[np.float32], distance: Points, colour: Colour, size: int) -> None:
    """Lay a colour over pixels whose distance to an area (negative inside) is below half a pixel."""
    share = np.clip(0.5 - distance * size / SIDE, 0, 1)[..., None].astype(np.float32)
    part += share * (np.array(colour, np.float32) - part)


def _to_line(at: Points, points: Points) -> Points:
    """Return the distances of pixels to a line through points; of one point, to that."""
    if len(points) == 1:
        return np.asarray(np.linalg.norm(at - points[0], axis=-1))
    return _to_edges(at, points[:-1], points[1:])


def _to_area(at: Points, corners: Points) -> Points:
    """Return the distances of pixels to a polygon, negative inside of it."""
    after = np.roll(corners, -1, 0)
    inside = np.zeros(at.shape[:2], bool)
    x, y = at[..., 0], at[..., 1]
    for (x0, y0), (x1, y1) in zip(corners.tolist(), after.tolist(), strict=True):
        if y0 != y1:
            inside ^= ((y0 > y) != (y1 > y)) & (x < x0 + (x1 - x0) * (y - y0) / (y1 - y0))
    distance = _to_edges(at, corners, after)
    return np.where(inside, -distance, distance)


def _to_edges(at: Points, ones: Points, others: Points) -> Points:
    """Return the distances of pixels to the nearest of some edges, from `ones` to `others` (P, 2)."""
    nearest = np.full(at.shape[:2], np.inf)
    for one, other in zip(ones, others, strict=True):
        edge, away = other - one, at - one
        share = np.clip(away @ edge / max(float(edge @ edge), 1e-12), 0, 1)
        nearest = np.minimum(nearest, np.linalg.norm(away - share[..., None] * edge, axis=-1))
    return nearest
