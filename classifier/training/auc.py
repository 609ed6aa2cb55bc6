"""The area under the ROC curve: the probability that a good clip scores above a bad one.

Dimension keys: N clips, L levels of score, D draws of the bootstrap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from classifier.training.arrays import Bools, Floats
from classifier.training.intervals import Interval, WeightedMetric, ratio, source_interval


class AucMetrics(TypedDict):
    """An AUC with its interval over sources, and what it is measured on."""

    auc: float | None
    """None without both good and bad clips."""
    interval: Interval | None
    clips: int
    good: int
    sources: int


def auc(score_N: Floats, good_N: Bools) -> float:
    """Return the AUC (ties count half); NaN without both good and bad clips."""
    return float(weighted_auc(score_N, good_N)(np.ones((1, len(good_N))))[0])


def weighted_auc(score_N: Floats, good_N: Bools) -> WeightedMetric:
    """Return the function from weights of the clips (D, N) to weighted AUCs (D,)."""
    order = np.argsort(score_N, kind="stable")
    levels = np.flatnonzero(np.append(True, np.diff(score_N[order]) != 0)) if len(order) else np.array([], int)

    def weighted(weight_DN: Floats) -> Floats:
        if not len(order):
            return np.full(len(weight_DN), math.nan)
        weight_DN = weight_DN[:, order]
        good_DL = np.add.reduceat(weight_DN * good_N[order], levels, axis=1)
        bad_DL = np.add.reduceat(weight_DN * ~good_N[order], levels, axis=1)
        below_DL = np.cumsum(bad_DL, axis=1) - bad_DL
        return ratio((good_DL * (below_DL + bad_DL / 2)).sum(1), good_DL.sum(1) * bad_DL.sum(1))

    return weighted


def auc_metrics(score_N: Floats, good_N: Bools, groups_N: Sequence[str]) -> AucMetrics:
    """Return the AUC of scores with its interval over sources."""
    value = auc(score_N, good_N)
    known = math.isfinite(value)
    return {
        "auc": value if known else None,
        "interval": source_interval(weighted_auc(score_N, good_N), groups_N) if known else None,
        "clips": len(good_N),
        "good": int(good_N.sum()),
        "sources": len(set(groups_N)),
    }
