"""What a picture of the table top shows, and the words that all of this folder shares; no physics is needed to read it.

Units: the table is 100 wide and 100 high, x to the right and y down. Shapes: P points, 2 coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

SIDE = 100.0
PUSHER_RADIUS = 6.0
Kind = Literal["disc", "box", "rope", "blob"]
KINDS: tuple[Kind, ...] = get_args(Kind)
DEFORMABLE: tuple[Kind, ...] = ("rope", "blob")
Points = npt.NDArray[np.float64]
Colour = tuple[int, int, int]
Command = tuple[int, int]
"""Direction along x and y, each -1, 0 or 1."""


@dataclass(frozen=True, eq=False)
class Seen:
    """One thing as it is drawn."""

    kind: Kind
    colour: Colour
    outline: Points
    """(P, 2): the centre of a disc, the corners of a box, the nodes of a rope or of a blob's ring in order."""
    radius: float
    """Of a disc, of a rope, and of what a blob's skin adds to its ring; 0 for a box."""


@dataclass(frozen=True, eq=False)
class Look:
    """All that a picture of a table shows."""

    cloth: Colour
    things: tuple[Seen, ...]
    pusher: tuple[float, float]
