"""The keep threshold: the lowest probability whose precision is certified, and what it reaches on other clips.

Dimension keys: N clips, D draws of the bootstrap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from scipy.stats import beta

from classifier.training.arrays import Bools, Floats
from classifier.training.intervals import Interval, WeightedMetric, ratio, source_interval


class Threshold(TypedDict):
    """A keep threshold and what it rests on."""

    target_precision: float
    confidence: float
    clips: int
    threshold: float
    certified: bool
    """Whether `bound` reaches the target; otherwise only the measured precision does, or nothing."""
    precision: float | None
    """Measured on the clips that it was chosen on."""
    bound: float | None
    """Lower confidence bound of the precision."""
    recall: float


class ThresholdMetrics(TypedDict):
    """Precision and recall of keeping from a threshold on; None where undefined."""

    threshold: float
    kept: int
    clips: int
    precision: float | None
    precision_interval: Interval | None
    recall: float | None
    recall_interval: Interval | None


def precision_bound(num_good: int, num_kept: int, confidence: float) -> float:
    """Return the one-sided Clopper-Pearson lower bound of a precision."""
    if num_good == 0:
        return 0.0
    return float(beta.ppf(1 - confidence, num_good, num_kept - num_good + 1))


def choose_threshold(probability_N: Floats, good_N: Bools, target_precision: float, confidence: float) -> Threshold:
    """Return the lowest threshold whose precision is at least the target, with the given confidence.

    A point estimate would miss the target about half the time (simulated); the Clopper-Pearson bound misses it in
    under 10 %. Where too few clips are rated for any threshold to reach the bound, the fallback is the lowest
    threshold whose *measured* precision reaches the target (`certified` is then false). Where none does, the
    threshold is 1, and nothing is kept by its score.
    """
    order = np.argsort(-probability_N, kind="stable")
    probability, good = probability_N[order], np.cumsum(good_N[order])
    kept = np.arange(1, len(order) + 1)
    # clips of equal probability fall on the same side
    ends = np.flatnonzero(np.append(probability[1:] != probability[:-1], True)) if len(order) else np.array([], int)
    certified = [end for end in ends if precision_bound(int(good[end]), int(kept[end]), confidence) >= target_precision]
    measured = [end for end in ends if good[end] / kept[end] >= target_precision]
    if not measured:
        return {
            "target_precision": target_precision, "confidence": confidence, "clips": len(order), "threshold": 1.0,
            "certified": False, "precision": None, "bound": None, "recall": 0.0,
        }  # fmt: skip
    end = certified[-1] if certified else measured[-1]
    return {
        "target_precision": target_precision,
        "confidence": confidence,
        "clips": len(order),
        "threshold": float(probability[end]),
        "certified": bool(certified),
        "precision": float(good[end] / kept[end]),
        "bound": precision_bound(int(good[end]), int(kept[end]), confidence),
        "recall": float(good[end] / max(good[-1], 1)),
    }


def at_threshold(probability_N: Floats, good_N: Bools, groups_N: Sequence[str], threshold: float) -> ThresholdMetrics:
    """Return precision and recall of `probability >= threshold`, with intervals over sources."""
    kept_N = probability_N >= threshold
    precision, precision_interval = _share(
        lambda weight_DN: ratio(weight_DN @ (kept_N & good_N), weight_DN @ kept_N), groups_N
    )
    recall, recall_interval = _share(
        lambda weight_DN: ratio(weight_DN @ (kept_N & good_N), weight_DN @ good_N), groups_N
    )
    return {
        "threshold": threshold,
        "kept": int(kept_N.sum()),
        "clips": len(good_N),
        "precision": precision,
        "precision_interval": precision_interval,
        "recall": recall,
        "recall_interval": recall_interval,
    }


def _share(metric: WeightedMetric, groups_N: Sequence[str]) -> tuple[float | None, Interval | None]:
    value = float(metric(np.ones((1, len(groups_N))))[0])
    return (value, source_interval(metric, groups_N)) if math.isfinite(value) else (None, None)
