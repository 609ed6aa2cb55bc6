"""What each latent action does to the picture, measured on rollouts that hold it down, start by start.

Shapes: N start frames, A latent actions, T frames, S = T - 1 steps, H W C pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.evaluation.first_screen import FirstScreen, largest_region, on_first_screen, visible
from models.evaluation.own_motion import own_motion

LEAST = 2
"""Pixels a frame; less counts as standing, because a dissolving sprite can look like one pixel."""
_FIRST_STEPS = 2  # what rises falls again, or meets the top of the picture: the first steps tell
_REPAINTED = 0.25  # of the picture: so much does not change where something moves


@dataclass(frozen=True, eq=False)
class Effects:
    """Effects of the latent actions, start by start."""

    view_NAS2: np.ndarray
    """Movement of the view (right, down) at each step, pixels."""
    own_NAS2: np.ndarray
    """Movement (to the right, upwards) of what the player controls, the view's undone; nan where it was not seen."""
    repaints_NAS: np.ndarray
    """Whether most of the picture changes without a movement of the view that explains it."""
    changed_NA: np.ndarray
    """Share of the picture that the largest region covers in which the first steps differ from the start."""
    apart_NAA: np.ndarray
    """Share of the picture that the largest region covers in which two actions differ; 1 where the views part."""

    @property
    def run(self) -> np.ndarray:
        """Return the movement to the right (N, A, S): the view's; where it stands, that of what the player controls."""
        view = self.view_NAS2[..., 0]
        return np.where(np.abs(view) >= LEAST, view, self.own_NAS2[..., 0])

    @property
    def rise(self) -> np.ndarray:
        """Return the first movement upwards (N, A) of what the player controls, within the first steps; 0 for none.

        It is nan where nothing was seen, and where it tells nothing of the action: all actions move it the same way, or
        none keeps it level and it falls, as in the air.
        """
        first = self.own_NAS2[:, :, :_FIRST_STEPS, 1]
        moves = np.abs(np.nan_to_num(first)) >= LEAST
        rise = np.take_along_axis(first, moves.argmax(-1)[..., None], -1)[..., 0]
        rise = np.where(moves.any(-1), rise, np.where(np.isnan(first[..., 0]), np.nan, 0.0))
        for own in rise:
            known = own[~np.isnan(own)]
            if known.size > 1 and (np.abs(known) >= LEAST).all():
                own[np.full(own.shape, (known > 0).all()) | (own < 0)] = np.nan
        return rise


def measure_effects(held_NATHWC: np.ndarray) -> Effects:
    """Return the effects of latent actions in rollouts of `hold_each_action`."""
    screens = [on_first_screen(held) for held in held_NATHWC]
    return Effects(
        view_NAS2=np.stack([screen.shift_AS2 for screen in screens]),
        own_NAS2=np.stack([own_motion(screen) for screen in screens]),
        repaints_NAS=np.stack([_repaints(screen) for screen in screens]),
        changed_NA=np.stack([_changed(screen) for screen in screens]),
        apart_NAA=np.stack([_all_apart(screen) for screen in screens]),
    )


def noise_floor(held_NATHWC: np.ndarray, again_NATHWC: np.ndarray) -> np.ndarray:
    """Return how far each action is apart from itself, drawn again, (N, A); see `Effects.apart_NAA`."""
    pairs = [(on_first_screen(one), on_first_screen(two)) for one, two in zip(held_NATHWC, again_NATHWC, strict=True)]
    return np.array([[_apart(one, action, two, action) for action in range(len(one.shift_AS2))] for one, two in pairs])


def _repaints(screen: FirstScreen) -> np.ndarray:
    shown, seen = screen.shown_ATHWC, screen.seen_ATHW
    both = seen[:, 1:] & seen[:, :-1]
    changed = visible(shown[:, 1:], shown[:, :-1]) & both
    return np.asarray(changed.sum((-2, -1)) > _REPAINTED * np.maximum(both.sum((-2, -1)), 1))


def _changed(screen: FirstScreen) -> np.ndarray:
    shown, seen = screen.shown_ATHWC, screen.seen_ATHW
    steps = _first_steps(screen)
    return np.array([
        np.mean([largest_region(visible(own[step], own[0]) & known[step]) for step in steps])
        for own, known in zip(shown, seen, strict=True)
    ])  # fmt: skip


def _all_apart(screen: FirstScreen) -> np.ndarray:
    actions = len(screen.shift_AS2)
    apart = np.zeros((actions, actions))
    for one in range(actions):
        for other in range(one):
            apart[one, other] = apart[other, one] = _apart(screen, one, screen, other)
    return apart


def _apart(first: FirstScreen, one: int, second: FirstScreen, other: int) -> float:
    steps = _first_steps(first)
    parted = first.shift_AS2[one, : len(steps)] - second.shift_AS2[other, : len(steps)]
    if np.abs(parted.mean(0)).max() >= LEAST:
        return 1.0
    return float(np.mean([
        largest_region(
            visible(first.shown_ATHWC[one, step], second.shown_ATHWC[other, step])
            & first.seen_ATHW[one, step] & second.seen_ATHW[other, step]
        )
        for step in steps
    ]))  # fmt: skip


def _first_steps(screen: FirstScreen) -> range:
    return range(1, 1 + min(_FIRST_STEPS, screen.shift_AS2.shape[1]))
