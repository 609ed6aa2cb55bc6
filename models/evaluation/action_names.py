"""Name latent actions by the shift of the view that each one causes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

_LEAST_SHIFT = 2  # pixels; a smaller shift counts as standing, because a dissolving sprite can look like one pixel
_REACH_X, _REACH_Y = 16, 10  # largest shift in pixels that is searched for between two frames


def view_shift(before_HWC: np.ndarray, after_HWC: np.ndarray) -> tuple[int, int]:
    """Return by how many pixels (right, down) the view moves from one frame to the next.

    This is the shift with the least mean absolute difference of luma over the overlap, and of equal ones the smallest.
    The view moves right when the content of the picture moves left.
    """
    before, after = (frame.astype(np.float32).mean(-1) for frame in (before_HWC, after_HWC))
    height, width = before.shape
    reach_x, reach_y = min(_REACH_X, width // 3), min(_REACH_Y, height // 3)
    best = (np.inf, 0, 0, 0)
    for down in range(-reach_y, reach_y + 1):
        for right in range(-reach_x, reach_x + 1):
            old = before[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)]
            new = after[max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)]
            best = min(best, (float(np.abs(old - new).mean()), abs(right) + abs(down), right, down))
    return best[2], best[3]


@dataclass(frozen=True)
class ActionName:
    """What a latent action does to the view, measured on rollouts that hold it down."""

    code: int
    label: str
    symbol: str
    right: float
    """Mean movement of the view to the right, in pixels per frame."""
    down: float
    """Mean movement of the view downwards, in pixels per frame."""
    agreement: float
    """Share of the measured steps that move in the most frequent direction."""

    @property
    def moves(self) -> bool:
        """Tell whether the view keeps moving one way while the action is held."""
        return self.symbol in _MOVES


_MOVES = {"→": "view moves right", "←": "view moves left", "↓": "view moves down", "↑": "view moves up"}
# the share of steps that must agree before a direction gets its name; "stands" needs nearly all
_LEAST_AGREEMENT = {**dict.fromkeys(_MOVES, 0.75), "•": 0.95}


def name_actions(held_NATHWC: np.ndarray) -> list[ActionName]:
    """Return a name for each latent action: the view moves left, right, up or down, stands, or does nothing steady.

    Args:
        held_NATHWC: rollouts of `hold_each_action`. Several start frames reveal an action whose effect depends on the
            scene.
    """
    count, actions, frames = held_NATHWC.shape[:3]
    names = []
    for code in range(actions):
        shifts = [
            view_shift(held_NATHWC[row, code, step], held_NATHWC[row, code, step + 1])
            for row in range(count)
            for step in range(frames - 1)
        ]
        right, down = (float(value) for value in np.mean(shifts, 0))
        directions = Counter(_direction(*shift) for shift in shifts)
        symbol, most = max(directions.items(), key=lambda item: (item[1], item[0]))
        agreement = most / len(shifts)
        label = _MOVES.get(symbol, "view stands")
        if agreement < _LEAST_AGREEMENT[symbol]:
            symbol, label = "~", "nothing steady"
        names.append(ActionName(code, label, symbol, right, down, agreement))
    return names


def _direction(right: int, down: int) -> str:
    if max(abs(right), abs(down)) < _LEAST_SHIFT:
        return "•"
    if abs(right) >= abs(down):
        return "→" if right > 0 else "←"
    return "↓" if down > 0 else "↑"
