"""The table's physics: what is pushed moves, what is soft gives way and comes back, and rest is rest."""

from __future__ import annotations

import numpy as np
import pymunk
import pytest

from pipeline.tabletop.look import KINDS, SIDE, Kind
from pipeline.tabletop.table import SPEED, Table
from pipeline.tabletop.things import Thing, make_thing


def table_with(kind: Kind, x: float = 70.0) -> tuple[Table, Thing]:
    """Return a table with one thing, to the right of the pusher in the middle."""
    table = Table(0)
    for thing in table.things:
        for body in thing.bodies:
            body.position = (-500.0, -500.0)  # far outside of the walls
    thing = make_thing(table.space, kind, (x, 50.0), np.random.default_rng(0))
    table.pusher.position = (40.0, 50.0)
    return table, thing


def shape_of(thing: Thing) -> np.ndarray:
    """Return the distances between the points of a thing, which motion alone does not change."""
    points = thing.outline()
    return np.linalg.norm(points[:, None] - points[None], axis=-1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pushed_thing_moves_and_stops_when_it_is_left(kind: Kind) -> None:
    table, thing = table_with(kind)
    before = thing.centre
    table.step((1, 0), 0.8)
    pushed = thing.centre
    assert pushed[0] > before[0] + 4
    table.step((-1, 0), 0.4)
    left = thing.centre
    table.step((0, 0), 1.0)
    assert np.abs(thing.centre - left).max() < 0.5, "what nobody touches rests"


@pytest.mark.parametrize("kind", KINDS)
def test_ropes_and_blobs_change_their_shape_and_rigid_things_do_not(kind: Kind) -> None:
    table, thing = table_with(kind)
    rest = shape_of(thing)
    table.step((1, 0), 0.7)
    change = np.abs(shape_of(thing) - rest).max()
    assert (change > 2.0) == (kind in ("rope", "blob"))
    if kind == "blob":
        table.step((-1, 0), 1.0)
        assert np.abs(shape_of(thing) - rest).max() < change / 2, "its springs push it out again"


def test_the_pusher_goes_where_it_is_told_at_its_speed_until_a_wall_holds_it() -> None:
    table, _ = table_with("disc", x=300.0)
    table.step((0, -1), 0.5)
    assert table.pusher.position.y == pytest.approx(50 - 0.5 * SPEED, abs=2)
    table.step((0, -1), 2.0)
    assert 5 < table.pusher.position.y < 10
    table.step((0, 0), 0.2)
    rest = table.pusher.position
    table.step((0, 0), 0.5)
    assert (table.pusher.position - rest).length < 0.1


def test_a_seed_gives_one_table_and_others_give_others_all_with_something_deformable_inside_the_walls() -> None:
    first, again = Table([5, 1]), Table([5, 1])
    for table in (first, again):
        for command in ((1, 0), (0, 1), (-1, -1)):
            table.step(command, 0.3)
    assert [thing.outline().tolist() for thing in first.things] == [thing.outline().tolist() for thing in again.things]
    tables = [Table([5, number]) for number in range(8)]
    assert len({tuple(thing.kind for thing in table.things) for table in tables}) > 4
    for table in tables:
        assert {"rope", "blob"} & {thing.kind for thing in table.things}
        assert all((thing.outline() > 0).all() and (thing.outline() < SIDE).all() for thing in table.things)
    assert isinstance(first.space, pymunk.Space)
