"""Give each direction of the keyboard the latent action whose measured effect goes there.

A chord is one key, or two that are held together: names of `KeyboardEvent.code`, joined by `+`, the vertical one first.
Number keys are no chords: key k always plays code k - 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Direction = tuple[int, int]
"""To the right (-1, 0, 1) and upwards (-1, 0, 1)."""

DIRECTIONS: dict[str, Direction] = {
    "→": (1, 0), "←": (-1, 0), "↑": (0, 1), "↓": (0, -1), "↗": (1, 1), "↖": (-1, 1), "↘": (1, -1), "↙": (-1, -1),
}  # fmt: skip
"""The direction of each symbol of an effect that goes somewhere."""
_KEYS: dict[Direction, tuple[str, ...]] = {
    (1, 0): ("ArrowRight", "KeyD"),
    (-1, 0): ("ArrowLeft", "KeyA"),
    (0, 1): ("ArrowUp", "KeyW", "Space"),
    (0, -1): ("ArrowDown", "KeyS"),
}


@dataclass(frozen=True)
class Effect:
    """What decides which keys a latent action gets."""

    code: int
    symbol: str
    """Of `DIRECTIONS`; codes with another symbol get no chord."""
    strength: float
    """Pixels per frame; of equal symbols the strongest effect gets the keys."""
    twin: bool = False
    """Whether the effect is that of another code, which gets the keys."""


def chords_of(direction: Direction) -> list[str]:
    """Return the chords that ask for a direction; a diagonal mixes arrows, letters and the space bar freely."""
    right, up = direction
    if right and up:
        return [f"{one}+{other}" for one in _KEYS[0, up] for other in _KEYS[right, 0]]
    return list(_KEYS.get(direction, ()))


def own_chords(effects: Sequence[Effect]) -> dict[int, tuple[str, ...]]:
    """Return the chords of each code whose effect is exactly what they ask for; the others have none."""
    best = _best_by_direction(effects)
    return {code: tuple(chords_of(direction)) for direction, code in best.items()}


def all_chords(effects: Sequence[Effect]) -> dict[str, int]:
    """Return the code that each chord plays.

    Where no code goes in exactly that direction, the chord plays the nearest one within an eighth of a turn. Of two
    that are equally near, a diagonal plays the vertical part, because a player who runs and presses up wants to jump.
    """
    best = _best_by_direction(effects)
    strength = {effect.code: effect.strength for effect in effects}
    played: dict[str, int] = {}
    for direction in DIRECTIONS.values():
        if direction in best:
            code = best[direction]
        elif near := _neighbours(direction, best):
            code = best[max(near, key=lambda one: (one[0] == 0, strength[best[one]], -best[one]))]
        else:
            continue
        played.update(dict.fromkeys(chords_of(direction), code))
    return played


def _best_by_direction(effects: Sequence[Effect]) -> dict[Direction, int]:
    best: dict[Direction, int] = {}
    for effect in sorted(effects, key=lambda one: (-one.strength, one.code)):
        if not effect.twin and effect.symbol in DIRECTIONS:
            best.setdefault(DIRECTIONS[effect.symbol], effect.code)
    return best


def _neighbours(direction: Direction, best: dict[Direction, int]) -> list[Direction]:
    """Return the directions with a code that are an eighth of a turn away."""
    right, up = direction
    near = [(right, 0), (0, up)] if right and up else [(right or side, up or side) for side in (-1, 1)]
    return [one for one in near if one in best]
