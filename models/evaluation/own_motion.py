"""The motion of what the player controls, measured where rollouts of different latent actions differ.

All rollouts start from one frame. What moves by itself, an enemy say, does so in each of them; what the player controls
is where the rollouts differ, once the shift of the view is undone. It is told from the background by comparing each
frame with the background, which most frames of these rollouts show.

Shapes: A latent actions, T frames, S = T - 1 steps, H W C pixels.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.fft import irfft2, next_fast_len, rfft2

from models.evaluation.first_screen import VISIBLE, FirstScreen, visible

_LEAST_AREA = 0.004  # of the picture: smaller regions are damage
_REPAINTED = 0.5  # of the picture
_LEAST_MATCH = 0.35  # of the region's contrast that must be found again for its motion to count
_NEARLY = 0.9  # of equally good matches the shortest motion counts
_REACH = 0.3  # of the frame's height: a longer step is a jump to another place (a screen that wraps around)


def own_motion(screen: FirstScreen) -> np.ndarray:
    """Return the motion (to the right, upwards) of what the player controls at each step, in pixels.

    Returns:
        float64 (A, S, 2), the shift of the view undone; nan where it was not seen in both frames.
    """
    shown, seen = screen.shown_ATHWC, screen.seen_ATHW
    actions, count = shown.shape[:2]
    changed_AHW = visible(shown[:, -1], shown[:, 0]) & seen[:, -1]
    # where the whole picture is painted anew, nothing tells what moves
    kept = changed_AHW.sum((-2, -1)) < _REPAINTED * seen[:, -1].sum((-2, -1))
    kept |= not kept.any()
    controlled = np.stack([_differs(shown[kept, step], seen[kept, step]) for step in range(1, count)])
    still = (changed_AHW & controlled.any(0)).mean((-2, -1)) < _LEAST_AREA
    contrast = _contrast(shown, seen, kept & ~still, kept & still)
    controlled = np.concatenate([controlled[:1], controlled])  # at the start it is where the first step takes it away
    motion = np.full((actions, count - 1, 2), np.nan)
    regions: dict[tuple[int, int], np.ndarray | None] = {}
    for action in range(actions):
        for step in range(count):
            # all rollouts share their first frame
            known = regions.get((0, 0)) if step == 0 and action else None
            regions[action, step] = known if known is not None else _region(contrast[action, step], controlled[step])
            if step and (moved := _displacement(regions[action, step - 1], regions[action, step])) is not None:
                motion[action, step - 1] = moved[0], -moved[1]
    return motion


def _differs(shown_AHWC: np.ndarray, seen_AHW: np.ndarray) -> np.ndarray:
    """Return where the rollouts differ visibly among those that show the pixel."""
    unseen = ~seen_AHW[..., None]
    least = np.where(unseen, 255, shown_AHWC).min(0)
    most = np.where(unseen, 0, shown_AHWC).max(0)
    return (most - least).max(-1) > VISIBLE


def _contrast(shown: np.ndarray, seen: np.ndarray, moving_A: np.ndarray, still_A: np.ndarray) -> np.ndarray:
    """Return what stands out from the background, (A, T, H, W, C); 0 where nothing does.

    The background is the median over frames. A rollout in which hardly anything changes shows the same thing at the
    same place all the time, so of such rollouts one frame counts, and not more of them than of the others.
    """
    count = max(1, int(moving_A.sum()))
    frames = np.concatenate([shown[0, :1], *shown[moving_A, 1:], *shown[still_A, -1:][:count]])
    known = np.concatenate([seen[0, :1], *seen[moving_A, 1:], *seen[still_A, -1:][:count]])
    # the first frame shows every pixel
    background = np.median(np.where(known[..., None], frames, shown[0, 0]), 0)
    contrast = (shown - background).astype(np.float32)
    contrast[~seen | (np.abs(contrast).max(-1) <= VISIBLE)] = 0
    return contrast


def _region(contrast_HWC: np.ndarray, controlled_HW: np.ndarray) -> np.ndarray | None:
    """Return the contrast of the region that overlaps most with what is controlled; None where there is none."""
    labels, count = ndimage.label(contrast_HWC.any(-1), np.ones((3, 3)))
    if not count:
        return None
    overlaps = np.bincount(labels[controlled_HW], minlength=count + 1)
    overlaps[0] = 0
    best = int(overlaps.argmax())
    region = labels == best
    if not overlaps[best] or region.sum() < _LEAST_AREA * region.size:
        return None
    return np.where(region[..., None], contrast_HWC, 0)


def _displacement(before_HWC: np.ndarray | None, after_HWC: np.ndarray | None) -> tuple[int, int] | None:
    """Return the motion (right, down) at which a region is found again best; None where it is not found.

    A match counts what is left of a region that loses a part. So damage is no motion.
    """
    if before_HWC is None or after_HWC is None:
        return None
    reach = round(_REACH * len(before_HWC))
    either = np.asarray((before_HWC != 0).any(-1) | (after_HWC != 0).any(-1))
    rows, columns = np.flatnonzero(either.any(1)), np.flatnonzero(either.any(0))
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    padded = [next_fast_len(int(own[-1] - own[0]) + 1 + reach, real=True) for own in (rows, columns)]
    old, new = (rfft2(region[part], padded, axes=(0, 1)) for region in (before_HWC, after_HWC))
    match = irfft2((old.conj() * new).sum(-1), padded)
    steps = np.arange(-reach, reach + 1)
    found = match[steps[:, None], steps]
    energy = float((before_HWC.astype(np.float64) ** 2).sum())
    if found.max() < _LEAST_MATCH * energy:
        return None
    near = np.argwhere(found >= _NEARLY * found.max()) - reach
    down, right = min(near.tolist(), key=lambda one: (abs(one[0]) + abs(one[1]), one))
    return right, down
