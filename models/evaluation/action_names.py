"""Name latent actions by their measured effects, and say whose twins they are.

Shapes: N start frames, A latent actions, T frames, S = T - 1 steps, H W C pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.evaluation.action_keys import DIRECTIONS, Effect, own_chords
from models.evaluation.effects import LEAST, Effects, measure_effects, noise_floor
from models.evaluation.metric import Metric
from models.evaluation.twins import differing, distinct_actions, twins
from pipeline.config import EvaluationConfig

_STANDS, _REPAINTS, _UNSTEADY = "•", "◐", "~"
_SYMBOLS = {direction: symbol for symbol, direction in DIRECTIONS.items()}
# the share of steps that must agree before a direction gets its name; standing needs nearly all
_LEAST_MOVING, _LEAST_STANDING = 0.75, 0.95
# the same by start frames, for what rises: now and then there is a step in its way, or it is in the air
_LEAST_RISING, _LEAST_LEVEL = 0.7, 0.75


@dataclass(frozen=True)
class ActionName:
    """What a latent action does, measured on rollouts that hold it down."""

    code: int
    label: str
    """For example `view moves left`, or `rises, runs right`."""
    symbol: str
    """An arrow, `•` for standing, `◐` for another picture, `~` for nothing steady."""
    right: float
    """Mean movement of the view to the right, in pixels per frame."""
    down: float
    """Mean movement of the view downwards, in pixels per frame."""
    agreement: float
    """Share of the measured steps, or for what rises of the start frames, that agree with the name."""
    rises: float = 0.0
    """Pixels per frame by which what the player controls rises at first; 0 for an action that is not named so."""
    runs: float = 0.0
    """Pixels per frame by which it runs to the right, the view's movement undone; 0 where it is not seen."""
    twin_of: int | None = None
    """The code whose effect is the same within noise; None for nobody's twin."""
    effect_of_its_own: bool = True
    """Whether the action is nobody's twin, and steady."""
    group: int = 0
    """Codes of equal effect have the same number."""
    keys: tuple[str, ...] = ()
    """Chords that ask for exactly this effect; see `models.evaluation.action_keys`."""

    @property
    def moves(self) -> bool:
        """Tell whether the action keeps going somewhere while it is held."""
        return self.symbol in DIRECTIONS

    @property
    def note(self) -> str:
        """Return whose twin the action is, as a text; empty for nobody's twin."""
        return "" if self.twin_of is None else f"twin of {self.twin_of + 1}"


@dataclass(frozen=True, eq=False)
class NamedActions:
    """Names of all latent actions, and from which starts two of them differ."""

    names: list[ActionName]
    differs_NAA: np.ndarray
    order: list[int]
    """Codes, the steadiest first: the first of a group has the effect, the others are its twins."""
    effects: Effects
    """What they are named by."""

    def distinct(self, sources: Sequence[str], config: EvaluationConfig) -> Metric:
        """Return how many actions have an effect of their own; `sources` are the video ids of the starts."""
        steady = [name.symbol != _UNSTEADY for name in self.names]
        return distinct_actions(self.differs_NAA, self.order, steady, sources, config)


def name_actions(held_NATHWC: np.ndarray, again_NATHWC: np.ndarray | None = None) -> NamedActions:
    """Return names of latent actions: what they move or how the view moves, and whose twins they are.

    Where a camera follows, the view's movement is the name; where it stands, the movement of what the player controls.

    Args:
        held_NATHWC: rollouts of `hold_each_action`. Several start frames reveal an action whose effect depends on the
            scene.
        again_NATHWC: the rollouts of the first starts drawn again, with other noise: what parts an action from itself
            is no effect.
    """
    effects = measure_effects(held_NATHWC)
    again = None if again_NATHWC is None else again_NATHWC[:, :, : held_NATHWC.shape[2]]
    noise = None if again is None else noise_floor(held_NATHWC[: len(again)], again)
    differs = differing(effects.apart_NAA, noise)
    named = [_name(code, effects) for code in range(held_NATHWC.shape[1])]
    order = sorted(range(len(named)), key=lambda code: (named[code].symbol == _UNSTEADY, -named[code].agreement, code))
    found = twins(differs, order)
    named = [
        replace(
            name,
            twin_of=twin,
            effect_of_its_own=twin is None and name.symbol != _UNSTEADY,
            group=name.code if twin is None else twin,
        )
        for name, twin in zip(named, found, strict=True)
    ]
    named = _tell_apart(named, effects)
    keys = own_chords([_effect(name) for name in named])
    return NamedActions([replace(name, keys=keys.get(name.code, ())) for name in named], differs, order, effects)


def _name(code: int, effects: Effects) -> ActionName:
    view, run, rise = effects.view_NAS2[:, code].reshape(-1, 2), effects.run[:, code], effects.rise[:, code]
    right, down = (float(value) for value in view.mean(0))
    own = effects.own_NAS2[:, code, :, 0]
    runs = float(np.nanmedian(own)) if not np.isnan(own).all() else 0.0
    across, steps = _most(run.ravel(), _LEAST_MOVING)
    up, ups = _most(-view[:, 1].astype(float), _LEAST_MOVING)
    follows = bool(up)
    if not up:
        up, ups = _most(rise, _LEAST_RISING)
    rises = float(np.nanmedian(rise)) if up and not follows else 0.0
    made = ActionName(code, "", "", right, down, 0.0, rises, runs)
    if across or up:
        agreement = min(share for way, share in ((across, steps), (up, ups)) if way)
        words = [_upward(up, follows), _across(across, view[:, 0])]
        label = ", ".join(word for word in words if word)
        if follows:
            label = label.replace(", view moves", " and")
        return replace(made, label=label, symbol=_SYMBOLS[across, up], agreement=agreement)
    painted = float(effects.repaints_NAS[:, code].mean())
    if painted >= _LEAST_STANDING:
        return replace(made, label="changes the picture", symbol=_REPAINTS, agreement=painted)
    # a step with another picture is not one in which the action stands
    still = (np.abs(np.nan_to_num(run)) < LEAST) & (np.abs(effects.view_NAS2[:, code]).max(-1) < LEAST)
    still &= ~effects.repaints_NAS[:, code]
    level = 1 - float((np.abs(np.nan_to_num(rise)) >= LEAST).mean())
    agreement = float(still.mean())
    if agreement >= _LEAST_STANDING and level >= _LEAST_LEVEL:
        label = "view stands" if np.isnan(own).mean() > 0.5 else "stands"
        return replace(made, label=label, symbol=_STANDS, agreement=min(agreement, level))
    ways = [abs(_most(values, 0.0)[1]) for values in (run.ravel(), rise)]
    return replace(made, label="nothing steady", symbol=_UNSTEADY, agreement=max(*ways, agreement))


def _most(values: np.ndarray, least: float) -> tuple[int, float]:
    """Return the sign of most values that are known, and their share; 0 where too few agree or are known."""
    known = values[~np.isnan(values)]
    if len(known) < max(1, len(values) / 2):
        return 0, 0.0
    share = {way: float((way * known >= LEAST).mean()) for way in (1, -1)}
    way = max(share, key=lambda one: share[one])
    return (way if share[way] >= least else 0), share[way]


def _across(way: int, view_right: np.ndarray) -> str:
    side = "right" if way > 0 else "left"
    if not way:
        return ""
    return f"view moves {side}" if (way * view_right >= LEAST).mean() >= _LEAST_MOVING else f"runs {side}"


def _upward(way: int, follows: bool) -> str:
    if not way:
        return ""
    if follows:
        return "view moves up" if way > 0 else "view moves down"
    return "rises" if way > 0 else "falls"


def _tell_apart(named: list[ActionName], effects: Effects) -> list[ActionName]:
    """Return the names; of actions that stand and differ all the same, the one that changes the picture least stands.

    What moves by itself changes the picture under every action.
    """
    standing = [name.code for name in named if name.symbol == _STANDS and name.twin_of is None]
    if len(standing) < 2:
        return named
    changed = np.median(effects.changed_NA, 0)
    least = min(standing, key=lambda code: (changed[code], code))
    others = {name.code for name in named if name.symbol == _STANDS and name.group in standing and name.group != least}
    return [
        replace(name, label="changes the picture", symbol=_REPAINTS) if name.code in others else name for name in named
    ]


def _effect(name: ActionName) -> Effect:
    strength = max(abs(name.right), abs(name.down), abs(name.runs), abs(name.rises))
    return Effect(name.code, name.symbol, strength, twin=name.twin_of is not None)
