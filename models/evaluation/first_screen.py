"""Frames of a rollout, shifted to where their content was in its first frame, so that only what moves on its own moves.

Shapes: A latent actions, T frames, S = T - 1 steps, H W C pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from models.evaluation.view_shift import overlap, view_shift

VISIBLE = 32
"""A pixel differs where a channel does by more than this (out of 255)."""


@dataclass(frozen=True, eq=False)
class FirstScreen:
    """Rollouts of all latent actions from one frame, with the shift of the view undone."""

    shift_AS2: np.ndarray
    """By how many pixels the view moves (right, down) at each step."""
    shown_ATHWC: np.ndarray
    """int16; 0 where a pixel is not known any more."""
    seen_ATHW: np.ndarray
    """Which pixels are known."""


def on_first_screen(held_ATHWC: np.ndarray) -> FirstScreen:
    """Return uint8 rollouts that start from the same frame, with the shift of the view undone."""
    actions, count, height, width = held_ATHWC.shape[:4]
    shifts = np.array(
        [[view_shift(*own[step : step + 2]) for step in range(count - 1)] for own in held_ATHWC], np.int64
    )
    places = np.concatenate([np.zeros((actions, 1, 2), np.int64), shifts.cumsum(1)], 1)
    shown = np.zeros(held_ATHWC.shape, np.int16)
    seen = np.zeros(held_ATHWC.shape[:4], bool)
    for place in np.ndindex(actions, count):
        right, down = places[place]
        if abs(right) < width and abs(down) < height:
            target, source = overlap(right, down, height, width)
            shown[place][target] = held_ATHWC[place][source]
            seen[place][target] = True
    return FirstScreen(shifts, shown, seen)


def visible(first_HWC: np.ndarray, second_HWC: np.ndarray) -> np.ndarray:
    """Return where two frames differ visibly (H, W)."""
    return np.asarray(np.abs(first_HWC.astype(np.int16) - second_HWC).max(-1) > VISIBLE)


def largest_region(mask_HW: np.ndarray) -> float:
    """Return the share of the picture that the largest connected region of a mask covers."""
    labels, count = ndimage.label(mask_HW)
    return float(np.bincount(labels.ravel())[1:].max() / mask_HW.size) if count else 0.0
