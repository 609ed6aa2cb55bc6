"""The area under the ROC curve: the probability that a good clip scores above a bad one.

A figure of repeated folds is the mean of the AUCs of the repeats, and its interval draws sources with the same seed
for every candidate, so that two of them can be compared draw by draw.

Dimension keys: N clips, R repeats, L levels of score, D draws of the bootstrap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from classifier.training.arrays import Bools, Floats
from classifier.training.intervals import WeightedMetric, ratio, source_interval
from classifier.training.metrics import FEW_CLIPS, FEW_SOURCES, AucMetrics, PairedMetrics


@dataclass(frozen=True)
class Sides:
    """Which of N clips are good, and which are bad; the others are not compared."""

    good_N: Bools
    bad_N: Bools

    @classmethod
    def of_ratings(cls, rating_N: NDArray[np.int64], good_rating: int) -> Sides:
        """Return clips rated `good_rating` or more against those rated 1 or 2."""
        return cls(rating_N >= good_rating, rating_N <= min(2, good_rating - 1))

    @classmethod
    def extremes(cls, rating_N: NDArray[np.int64]) -> Sides:
        """Return clips rated 5 against those rated 1, as in the paper."""
        return cls(rating_N == 5, rating_N == 1)


def auc(score_N: Floats, good_N: Bools) -> float:
    """Return the AUC (ties count half) of good clips against all others; NaN without both."""
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


def auc_metrics(score_RN: Floats, sides: Sides, groups_N: Sequence[str]) -> AucMetrics:
    """Return the AUC of scores with its interval over sources.

    Args:
        score_RN: scores of every repeat (R, N), or of one (N,).
        sides: which clips are compared.
        groups_N: source of every clip.
    """
    used, groups, good_N = _compared(sides, groups_N)
    metric = _mean_auc(np.atleast_2d(score_RN)[:, used], good_N)
    value = float(metric(np.ones((1, len(good_N))))[0])
    known = math.isfinite(value)
    good_groups, bad_groups = (
        {group for group, good in zip(groups, good_N.tolist(), strict=True) if good is side} for side in (True, False)
    )
    num_good = int(good_N.sum())
    return {
        "auc": value if known else None,
        "interval": source_interval(metric, groups) if known else None,
        "clips": len(good_N),
        "good": num_good,
        "bad": len(good_N) - num_good,
        "sources": len(good_groups | bad_groups),
        "good_sources": len(good_groups),
        "bad_sources": len(bad_groups),
        "few": is_few(num_good, len(good_N) - num_good, len(good_groups), len(bad_groups)),
    }


def paired_difference(a_RN: Floats, b_RN: Floats, sides: Sides, groups_N: Sequence[str]) -> PairedMetrics | None:
    """Return AUC of `a` less AUC of `b` on the same clips and draws; None without good or without bad clips."""
    used, groups, good_N = _compared(sides, groups_N)
    first, second = (_mean_auc(np.atleast_2d(score)[:, used], good_N) for score in (a_RN, b_RN))
    value = float((first(np.ones((1, len(good_N)))) - second(np.ones((1, len(good_N)))))[0])
    if not math.isfinite(value):
        return None
    found = auc_metrics(a_RN, sides, groups_N)
    return {
        "difference": value,
        "interval": source_interval(lambda weight_DN: first(weight_DN) - second(weight_DN), groups),
        "clips": len(good_N),
        "sources": len(set(groups)),
        "few": found["few"],
    }


def is_few(good: int, bad: int, good_sources: int, bad_sources: int) -> bool:
    """Tell whether a side has fewer than 20 clips, or clips of fewer than 5 sources."""
    return min(good, bad) < FEW_CLIPS or min(good_sources, bad_sources) < FEW_SOURCES


def _compared(sides: Sides, groups_N: Sequence[str]) -> tuple[Bools, list[str], Bools]:
    used = sides.good_N | sides.bad_N
    return used, [group for group, use in zip(groups_N, used, strict=True) if use], sides.good_N[used]


def _mean_auc(score_RN: Floats, good_N: Bools) -> WeightedMetric:
    metrics = [weighted_auc(score_N, good_N) for score_N in score_RN]
    return lambda weight_DN: np.mean([metric(weight_DN) for metric in metrics], axis=0)
