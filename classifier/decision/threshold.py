"""The keep threshold: the lowest probability above which enough of the rated clips are good, and how sure that is.

It is chosen on out-of-fold scores of all rated clips. At each possible threshold the precision is the share of good
clips among the rated ones above it. The lowest threshold at which that estimate (or its lower bound, where
`decision.confidence` asks for it) reaches the target is taken, never one that rests on fewer than 20 rated clips, nor
one below `decision.drop_below`: where bad clips are few, keeping them all may still reach the target.
Where none reaches it, `decision.fallback` says what is kept. `estimates.py` has the intervals.

Dimension keys: N rated clips, E possible thresholds, S sources, D draws of the bootstrap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

import numpy as np

from classifier.decision.estimates import (
    DEPTH,
    OperatingPoints,
    Selection,
    good_labels_needed,
    lower_bounds,
    operating_points_of,
    other_sources,
    shares,
)
from classifier.training.arrays import Bools, Floats
from classifier.training.intervals import Interval
from pipeline.config import DecisionConfig

Rule = Literal["target precision", "lower bound", "best precision", "keep rate", "fixed"]
SHOWN_CONFIDENCE = 0.95
"""Of the lower bound that is shown where the configuration asks for none."""
_MOST_TRIED = 64
"""Thresholds at which the labels that are missing are counted."""


class KeepThreshold(TypedDict):
    """A keep threshold, and what is known of the clips that it keeps."""

    rule: Rule
    """What set it: the target, a bound, the fallback of one, a keep rate, or the configuration itself."""
    threshold: float
    target_precision: float
    confidence: float
    """Of `bound`; 0.95 where the configuration asks for no bound."""
    reached: bool | None
    """Whether the target was reached; null for a rule that has none (a keep rate, a fixed threshold)."""
    clips: int
    """Rated clips with an out-of-fold score."""
    sources: int
    kept: int
    """Those from the threshold on, of `kept_sources` sources; `good` of them are good."""
    kept_sources: int
    good: int
    precision: float | None
    """`good` of `kept`, each weighted by the clips that it stands for; null where `kept` is 0."""
    expected: float | None
    """The same without the optimism of choosing the threshold on these clips."""
    interval: Interval | None
    """95 % interval of the precision on as many other sources; null with fewer than 3 sources."""
    bound: float | None
    """One-sided lower bound of the precision, by bootstrap over sources."""
    recall: float | None
    """Share of the good rated clips that is kept."""
    needed: LabelsNeeded | None
    """What would reach the target, where it is not reached."""


class LabelsNeeded(TypedDict):
    """How many more labels would reach the target, if all of them are good."""

    labels: int
    from_score: float
    """They are of clips that score at least this."""
    left: int
    """Clips that do, and that nobody rated."""
    reachable: float | None
    """The highest target that the present labels reach; null where there are too few for any."""


@dataclass(frozen=True)
class RatedScores:
    """Rated clips with a probability by a model that never saw their source."""

    probability_N: Floats
    good_N: Bools
    groups_N: Sequence[str]
    weight_N: Floats | None = None
    """Clips of the pool that each stands for, where streams that look for something were labelled; None: 1 each."""

    def operating_points(self, threshold: float | None = None) -> OperatingPoints:
        """Return the thresholds that tell them apart, and among them the one that `threshold` is."""
        return operating_points_of(self.probability_N, self.good_N, self.groups_N, self.weight_N, threshold)


def choose_threshold(
    rated: RatedScores, config: DecisionConfig, pool_N: Floats, num_clips: int, unrated_N: Floats | None = None
) -> KeepThreshold:
    """Return the keep threshold of a configuration.

    Args:
        rated: the clips that it is chosen on.
        config: its rule.
        pool_N: probabilities of the clips of the pool that no hard rule drops.
        num_clips: clips of the pool, of which a keep rate is a share.
        unrated_N: probabilities of those of `pool_N` that nobody rated, which may be labelled next; None: all.
    """
    found = _chosen(rated, config, pool_N, num_clips)
    if config.threshold is None and len(pool_N) and float(pool_N.max()) < found["threshold"]:
        selection = Selection(rate_threshold(pool_N, config.fallback_keep_rate, num_clips))
        found = _described(rated, config, "keep rate", selection, reached=False)
    if found["reached"] is False:
        found["needed"] = labels_needed(rated.operating_points(), config, pool_N if unrated_N is None else unrated_N)
    return found


def _chosen(rated: RatedScores, config: DecisionConfig, pool_N: Floats, num_clips: int) -> KeepThreshold:
    if config.threshold is not None:
        return _described(rated, config, "fixed", Selection(threshold=config.threshold))
    if config.keep_rate is not None:
        return _described(
            rated, config, "keep rate", Selection(threshold=rate_threshold(pool_N, config.keep_rate, num_clips))
        )
    points = rated.operating_points()
    deep = points.count >= DEPTH
    if not deep.any() or config.fallback == "keep-rate":
        fallback = Selection(threshold=rate_threshold(pool_N, config.fallback_keep_rate, num_clips))
    if not deep.any():
        return _described(rated, config, "keep rate", fallback, reached=False)
    least = config.drop_below if (deep & (points.threshold_E >= config.drop_below)).any() else 0.0
    deep = deep & (points.threshold_E >= least)
    reaching_E = lower_bounds(points, config.confidence) if config.confidence else shares(points.good, points.kept)
    reached = np.flatnonzero(deep & (reaching_E >= config.target_precision))
    if len(reached):
        end = int(reached[-1])
        # a bound cannot be computed inside of every draw: there the choice asks for the precision that it led to
        level = float(points.good[end] / points.kept[end]) if config.confidence else config.target_precision
        rule: Rule = "lower bound" if config.confidence else "target precision"
        return _described(rated, config, rule, Selection(float(points.threshold_E[end]), level, least), reached=True)
    if config.fallback == "keep-rate":
        return _described(rated, config, "keep rate", fallback, reached=False)
    precision_E = np.where(deep, shares(points.good, points.kept), -1)
    end = int(np.flatnonzero(precision_E == precision_E.max())[-1])
    return _described(
        rated, config, "best precision", Selection(float(points.threshold_E[end]), math.inf, least), reached=False
    )


def rate_threshold(pool_N: Floats, rate: float, num_clips: int) -> float:
    """Return the probability from which on the best-scored clips are a share of all clips; at least one is kept."""
    if not len(pool_N):
        return 1.0
    wanted = min(len(pool_N), max(1, round(rate * num_clips)))
    return float(np.partition(pool_N, len(pool_N) - wanted)[len(pool_N) - wanted])


def _described(
    rated: RatedScores, config: DecisionConfig, rule: Rule, selection: Selection, reached: bool | None = None
) -> KeepThreshold:
    kept_N = rated.probability_N >= selection.threshold
    groups_N = np.array(rated.groups_N, str)
    kept, good = int(kept_N.sum()), int((kept_N & rated.good_N).sum())
    confidence = config.confidence or SHOWN_CONFIDENCE
    points = rated.operating_points(selection.threshold)
    end = points.at(selection.threshold)
    expected, interval = other_sources(points, selection)
    return {
        "rule": rule,
        "threshold": selection.threshold,
        "target_precision": config.target_precision,
        "confidence": confidence,
        "reached": reached,
        "clips": len(kept_N),
        "sources": len(set(rated.groups_N)),
        "kept": kept,
        "kept_sources": len(np.unique(groups_N[kept_N])),
        "good": good,
        "precision": float(points.good[end] / points.kept[end]) if kept else None,
        "expected": expected,
        "interval": interval,
        "bound": float(lower_bounds(points, confidence)[end]) if kept else None,
        "recall": float(points.good[end] / points.good[-1]) * (kept > 0) if rated.good_N.any() else None,
        "needed": None,
    }


def labels_needed(points: OperatingPoints, config: DecisionConfig, unrated_N: Floats) -> LabelsNeeded | None:
    """Return the least number of further labels, all good, with which some threshold reaches the target.

    Thresholds above which enough clips are left to label come first. None where no clip is rated.
    """
    if not len(points.threshold_E):
        return None
    ends = np.unique(np.linspace(0, len(points.threshold_E) - 1, _MOST_TRIED).round().astype(int))
    target, confidence = config.target_precision, config.confidence
    labels = good_labels_needed(points, ends.tolist(), target, confidence)
    left_E = len(unrated_N) - np.searchsorted(np.sort(unrated_N), points.threshold_E[ends], side="left")
    # of several, the lowest threshold: it leaves the most clips to choose from
    best = max(range(len(ends)), key=lambda index: (left_E[index] >= labels[index], -labels[index], index))
    deep = points.count >= DEPTH
    reaching_E = lower_bounds(points, confidence) if confidence else shares(points.good, points.kept)
    return {
        "labels": labels[best],
        "from_score": float(points.threshold_E[ends[best]]),
        "left": int(left_E[best]),
        "reachable": float(reaching_E[deep].max()) if deep.any() else None,
    }
