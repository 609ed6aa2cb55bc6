"""What each keep threshold would keep and lose, and what each hard rule costs: numbers for a picture.

They are stored with the decision, so that a report draws them without reading a clip.

Dimension keys: P clips of the pool, E thresholds of the rated clips.
"""

from __future__ import annotations

from typing import TypedDict

import numpy as np
import numpy.typing as npt

from classifier.decision.estimates import bands
from classifier.decision.threshold import RatedScores
from classifier.training.arrays import Floats
from classifier.training.intervals import MIN_SOURCES, Interval

_STEPS = 50
_MS_PER_HOUR = 3_600_000


class CurvePoint(TypedDict):
    """What a threshold keeps."""

    threshold: float
    clips: int
    """Clips of the pool from the threshold on that no hard rule drops."""
    hours: float
    """Their length."""
    rated: int
    """Rated clips from the threshold on; the estimates rest on them."""
    precision: float | None
    """Null where `rated` is 0; a share of fewer than 20 is noise."""
    precision_interval: Interval | None
    """95 %, by bootstrap over sources; null with fewer than 3 sources."""
    recall: float | None
    recall_interval: Interval | None


class HardRuleCost(TypedDict):
    """What one hard rule drops."""

    rule: str
    """As in the column `kind` of `curated`: `flag still`, `usable share`, `duplicate`, `no score`, `channel cap`."""
    clips: int
    """Clips that it applies to."""
    alone: int
    """Those of them that would be kept without it."""
    rated: int
    """Rated clips that it applies to, and no other hard rule."""
    good: int
    """Those of them that are good: each is a mistake of the rule, unless a person's rating keeps the clip."""


class Tradeoff(TypedDict):
    """The data of the picture."""

    curve: list[CurvePoint]
    """By rising threshold; the one that decided is among them. Empty where no score decides."""
    costs: list[HardRuleCost]
    """One for each hard rule that is switched on and applies to any clip."""


def trade_curve(
    rated: RatedScores, pool_P: Floats, length_ms_P: npt.NDArray[np.int32], threshold: float
) -> list[CurvePoint]:
    """Return the curve over thresholds 0, 0.02, ... 1 and the one that decided.

    Args:
        rated: clips with out-of-fold scores.
        pool_P: probabilities of the clips of the pool that no hard rule drops.
        length_ms_P: their lengths.
        threshold: the keep threshold.
    """
    thresholds = np.union1d(np.arange(_STEPS + 1) / _STEPS, [threshold])
    order = np.argsort(pool_P)
    sorted_P = pool_P[order]
    below = np.searchsorted(sorted_P, thresholds, side="left")
    length = np.concatenate([[0.0], np.cumsum(length_ms_P[order], dtype=float)])
    rated_points = rated.operating_points()
    estimated = len(rated_points.threshold_E) > 0
    precision_2E, recall_2E = bands(rated_points) if estimated else (np.zeros((2, 0)), np.zeros((2, 0)))
    known = len(rated_points.kept_SE) >= MIN_SOURCES
    points = []
    for value, index in zip(thresholds.tolist(), below.tolist(), strict=True):
        end = rated_points.at(value) if estimated else -1
        count = int(rated_points.count[end]) if end >= 0 else 0
        kept = float(rated_points.kept[end]) if end >= 0 else 0.0
        good, all_good = (float(rated_points.good[end]), float(rated_points.good[-1])) if estimated else (0.0, 0.0)
        recall = (good if end >= 0 else 0.0) / all_good if all_good else None
        points.append(
            CurvePoint(
                threshold=round(value, 6),
                clips=len(sorted_P) - index,
                hours=round(float(length[-1] - length[index]) / _MS_PER_HOUR, 4),
                rated=count,
                precision=round(good / kept, 4) if kept else None,
                precision_interval=_interval(precision_2E[:, end]) if kept and known else None,
                recall=None if recall is None else round(recall, 4),
                recall_interval=_interval(recall_2E[:, end]) if kept and known and recall is not None else None,
            )
        )
    return points


def _interval(values: Floats) -> Interval:
    return round(float(values[0]), 4), round(float(values[1]), 4)
