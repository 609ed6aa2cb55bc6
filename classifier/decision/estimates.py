"""Precision above a threshold, for clips of sources that had no part in choosing it: bootstrap over sources.

Clips of one source are not independent, so whole sources are drawn. Two things are added to the plain bootstrap,
because the labels of a hundred clips come from a few dozen sources:

* Each draw chooses the threshold anew, and a second draw of as many sources judges it. So the interval holds for the
  precision that is later measured on as many other sources, and not only for its long-run mean.
* Each judging draw may hold sources of a kind that no label shows: half a source on average all of whose kept clips
  are bad, and half a one all of whose are good, of the usual number of clips. Without it, 40 good clips of 40 would
  have a lower bound of 1. Lower bounds count the bad ones alone.

Dimension keys: N rated clips, E possible thresholds, S sources, D draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from classifier.training.arrays import Bools, Floats
from classifier.training.intervals import MIN_SOURCES, NUM_BOOTSTRAPS, Interval
from pipeline.bootstrap import draw_counts, interval_95

DEPTH = 20
"""Rated clips that a threshold must have above it: a share of fewer is noise."""
_UNSEEN = 0.5
"""Mean number of unseen sources of each kind in a draw (Jeffreys' prior adds half a failure and half a success)."""
_MOST_THRESHOLDS = 256
_MOST_WEIGHTS = 2_000_000
_CHOOSING, _JUDGING, _UNSEEN_BAD, _UNSEEN_GOOD = range(4)


@dataclass(frozen=True)
class OperatingPoints:
    """Every threshold that tells rated clips apart, from the highest to the lowest, and what lies above each."""

    threshold_E: Floats
    kept_SE: Floats
    """Rated clips from the threshold on, by source, weighted by the clips of the pool that each stands for."""
    good_SE: Floats
    """Good ones among them."""
    count_SE: Floats
    """Rated clips from the threshold on, by source, each counted once."""

    @property
    def kept(self) -> Floats:
        """Rated clips from each threshold on, weighted (E,)."""
        return np.asarray(self.kept_SE.sum(0))

    @property
    def good(self) -> Floats:
        """Good ones among them (E,)."""
        return np.asarray(self.good_SE.sum(0))

    @property
    def count(self) -> Floats:
        """Rated clips from each threshold on, each counted once (E,)."""
        return np.asarray(self.count_SE.sum(0))

    def at(self, threshold: float) -> int:
        """Return the index of the threshold that keeps the same clips; -1 where none is kept."""
        return int(np.count_nonzero(self.threshold_E >= threshold)) - 1


@dataclass(frozen=True)
class Selection:
    """How a threshold was chosen, to be repeated in every draw."""

    threshold: float
    """What was chosen."""
    level: float | None = None
    """The lowest threshold of at least this precision; infinite: that of the highest precision; None: a given one."""
    least: float = 0.0
    """No lower threshold is chosen."""


def operating_points_of(
    probability_N: Floats,
    good_N: Bools,
    groups_N: Sequence[str],
    weight_N: Floats | None = None,
    threshold: float | None = None,
) -> OperatingPoints:
    """Return the thresholds of rated clips: 256 of them at most, and among them the one that `threshold` is."""
    names, source_N = np.unique(np.array(groups_N, str), return_inverse=True)
    order = np.argsort(-probability_N, kind="stable")
    sorted_N = probability_N[order]
    # clips of equal probability fall on the same side
    ends = np.flatnonzero(np.append(sorted_N[1:] != sorted_N[:-1], True)) if len(order) else np.zeros(0, int)
    if len(ends) > _MOST_THRESHOLDS:
        some = ends[np.linspace(0, len(ends) - 1, _MOST_THRESHOLDS).round().astype(int)]
        exact = [] if threshold is None else ends[sorted_N[ends] >= threshold][-1:]
        ends = np.union1d(some, np.array(exact, int))
    count_SE, kept_SE, good_SE = (np.zeros((len(names), len(ends))) for _ in range(3))
    place_N = np.searchsorted(ends, np.arange(len(order)))
    weight = np.ones(len(order)) if weight_N is None else weight_N[order]
    np.add.at(count_SE, (source_N[order], place_N), 1)
    np.add.at(kept_SE, (source_N[order], place_N), weight)
    np.add.at(good_SE, (source_N[order], place_N), weight * good_N[order])
    return OperatingPoints(sorted_N[ends], kept_SE.cumsum(1), good_SE.cumsum(1), count_SE.cumsum(1))


def shares(part: Floats, whole: Floats) -> Floats:
    """Return part / whole, 0 where the whole is 0."""
    return np.divide(part, whole, out=np.zeros(np.broadcast(part, whole).shape), where=np.asarray(whole) > 0)


def lower_bounds(points: OperatingPoints, confidence: float) -> Floats:
    """Return the one-sided lower bound of the precision from each threshold on (E,)."""
    drawn_DE, good_DE = _drawn(points)
    return np.asarray(np.quantile(shares(good_DE, drawn_DE), 1 - confidence, axis=0))


def bands(points: OperatingPoints) -> tuple[Floats, Floats]:
    """Return 95 % intervals of the precision and of the recall from each threshold on, two arrays (2, E)."""
    drawn_DE, good_DE = _drawn(points)
    recall_DE = shares(good_DE, good_DE[:, -1:])
    precision, recall = (np.percentile(found, [2.5, 97.5], axis=0) for found in (shares(good_DE, drawn_DE), recall_DE))
    return precision, recall


def other_sources(points: OperatingPoints, selection: Selection) -> tuple[float | None, Interval | None]:
    """Return the precision to expect on sources that had no part in the choice, and its 95 % interval.

    Returns:
        The precision without the optimism of the choice, None where no rated clip is kept; the interval for as many
        other sources, None with fewer than 3 sources.
    """
    end = points.at(selection.threshold)
    if end < 0:
        return None, None
    precision = float(points.good[end] / points.kept[end])
    if len(points.kept_SE) < MIN_SOURCES:
        return precision, None
    chosen, judged = [], []
    num_sources = len(points.kept_SE)
    bad_D, good_too_D = (_unseen(seed) * _usual_size(points)[end] for seed in (_UNSEEN_BAD, _UNSEEN_GOOD))
    whole_E = shares(points.good, points.kept)
    choosing_DS, judging_DS = (draw_counts(num_sources, NUM_BOOTSTRAPS, seed) for seed in (_CHOOSING, _JUDGING))
    for part in np.array_split(np.arange(NUM_BOOTSTRAPS), max(1, NUM_BOOTSTRAPS * num_sources // _MOST_WEIGHTS)):
        choosing, judging = choosing_DS[part], judging_DS[part]
        kept_DE, good_DE = choosing @ points.kept_SE, choosing @ points.good_SE
        # as in the choice itself, depth counts clips, whatever each stands for
        deep_DE = (choosing @ points.count_SE >= DEPTH) & (points.threshold_E >= selection.least)
        end_D = _choices(shares(good_DE, kept_DE), deep_DE, selection.level, end)
        rows = np.arange(len(part))
        optimism_D = shares(good_DE, kept_DE)[rows, end_D] - whole_E[end_D]
        chosen.append(optimism_D[kept_DE[rows, end_D] > 0])
        kept_D = (judging * points.kept_SE[:, end_D].T).sum(1) + bad_D[part] + good_too_D[part]
        good_D = (judging * points.good_SE[:, end_D].T).sum(1) + good_too_D[part]
        judged.append(good_D[kept_D > 0] / kept_D[kept_D > 0])
    optimism = float(np.concatenate(chosen).mean()) if selection.level is not None else 0.0
    return min(1.0, max(0.0, precision - optimism)), interval_95(np.concatenate(judged))


def _choices(share_DE: Floats, deep_DE: Bools, level: float | None, given: int) -> np.ndarray:
    """Return the index of the threshold that each draw chooses (D,), among those that are deep enough."""
    if level is None:
        return np.full(len(share_DE), given)
    num_ends = share_DE.shape[1]
    precision_DE = np.where(deep_DE, share_DE, -1.0)
    best_DE = precision_DE >= np.minimum(precision_DE.max(1, keepdims=True), level)
    # the last index is the lowest threshold
    return np.asarray(num_ends - 1 - best_DE[:, ::-1].argmax(1))


def _drawn(points: OperatingPoints) -> tuple[Floats, Floats]:
    """Return kept clips, with unseen sources, and good ones of each draw (D, E)."""
    num_sources = len(points.kept_SE)
    drawn_DS = draw_counts(num_sources, NUM_BOOTSTRAPS, _CHOOSING)
    unseen_DE = _unseen(_UNSEEN_BAD)[:, None] * _usual_size(points)
    return drawn_DS @ points.kept_SE + unseen_DE, drawn_DS @ points.good_SE


def _usual_size(points: OperatingPoints) -> Floats:
    """Return the mean number of kept clips of a source that has any, at each threshold (E,)."""
    return shares(points.kept, np.count_nonzero(points.kept_SE, axis=0))


def _unseen(seed: int) -> Floats:
    return np.random.default_rng(seed).poisson(_UNSEEN, NUM_BOOTSTRAPS).astype(float)


def good_labels_needed(
    points: OperatingPoints, ends: Sequence[int], target: float, confidence: float | None
) -> list[int]:
    """Return how many more labels above each threshold, all good, lift its precision (or its bound) to the target."""
    kept, good = points.kept[list(ends)], points.good[list(ends)]
    least = np.maximum(0, DEPTH - points.count[list(ends)])
    if confidence is None:
        return np.maximum(least, np.ceil((target * kept - good) / (1 - target) - 1e-9)).astype(int).tolist()
    drawn_DE, good_DE = (found[:, list(ends)] for found in _drawn(points))
    return [
        _fewest(int(least[index]), target, confidence, drawn_DE[:, index], good_DE[:, index])
        for index in range(len(least))
    ]


def _fewest(least: int, target: float, confidence: float, drawn_D: Floats, good_D: Floats) -> int:
    """Return the least number of good clips that lift a bound to the target, by bisection."""

    def reaches(more: int) -> bool:
        return bool(np.quantile((good_D + more) / np.maximum(drawn_D + more, 1e-9), 1 - confidence) >= target)

    low, high = least, max(least, 1)
    while not reaches(high):
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle) else (middle + 1, high)
    return high
